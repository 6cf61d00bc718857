"""Pages that instructions were fetched from: what in them is watched, and whether they changed since.

No page is writable and translated from at once: what is translated has been scanned.
"""

# ruff: noqa: ANN401 - the binding's callbacks have no types

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import unicorn as uc

from armkvm.cpu.guest_memory import PAGE, GuestMemory
from armkvm.cpu.poison import poisonous
from armkvm.cpu.translation import AccessKind
from armkvm.cpu.watched_words import watched

_MAX_HOOKS_PER_PAGE = 48


class CodePages:
    """The code that one engine may have translated.

    Before an instruction that has to be watched `on_watched` is called with its address; each page is
    scanned for them when it is first fetched from. While `fp_watched`, that is FP and AdvSIMD as well.
    """

    def __init__(
        self, engine: uc.Uc, memory: GuestMemory, on_watched: Callable[[int], None], *, has_el2: bool
    ) -> None:
        self._uc = engine
        self._memory = memory
        self._on_watched = on_watched
        self._has_el2 = has_el2
        self.fp_watched = False
        self._fetched: dict[int, int] = {}  # virtual page -> physical, of those fetched from
        self._scanned: dict[int, bytes] = {}  # physical page -> what was in it when it was scanned
        self._writable: set[int] = set()  # physical pages the engine may have a writable mapping of
        self._poison: dict[int, list[int]] = {}  # virtual page -> addresses the engine must not translate
        self._hooks: list[int] = []

    def fetching(self, page: int, ipa: int) -> None:
        """Instructions are about to be translated from the virtual page, which is at `ipa`."""
        if self._fetched.get(page) != ipa:
            self._fetched[page] = ipa
            self._watch(page, ipa)

    def storing(self, ipa: int) -> None:
        """The engine is about to have a writable mapping of the page."""
        self._writable.add(ipa)

    def is_fetched(self, page: int, ipa: int) -> bool:
        """Whether the virtual page was fetched from while it was at `ipa`."""
        return self._fetched.get(page) == ipa

    def conflicts(self, ipa: int, kind: AccessKind) -> bool:
        """Whether with this access the page would be both writable and translated from."""
        if kind is AccessKind.FETCH:
            return ipa in self._writable
        return kind is AccessKind.WRITE and ipa in self._scanned

    def includes(self, ipa: int, size: int = 1) -> bool:
        """Whether any of [ipa, ipa + size) lies in a page that instructions were fetched from."""
        return any(page in self._scanned for page in range(ipa & -PAGE, ipa + size, PAGE))

    def is_poison(self, va: int) -> bool:
        """Whether `va` holds a word that only the PE may look at."""
        return va in self._poison.get(va & -PAGE, ())

    def are_stale(self) -> bool:
        """Whether any page is not what it was when it was scanned."""
        return any(self._memory.read(ipa, PAGE) != content for ipa, content in self._scanned.items())

    def unwatch(self) -> None:
        """Call for no instruction any more; translated code, which still would, is the caller's to drop."""
        for hook in self._hooks:
            self._uc.hook_del(hook)
        self._hooks.clear()
        self._poison.clear()
        self._set_exits()

    def forget(self) -> None:
        """Take no page for fetched from, or writable."""
        self._fetched.clear()
        self._scanned.clear()
        self._writable.clear()

    def _watch(self, page: int, ipa: int) -> None:
        content = self._memory.read(ipa, PAGE)
        if content is None:
            return
        words = np.frombuffer(content, "<u4")
        self._scanned[ipa] = content
        poison = np.flatnonzero(poisonous(words))
        if poison.size or page in self._poison:
            self._poison[page] = [page + 4 * int(n) for n in poison]
            self._set_exits()
        flags = watched(words, fp=self.fp_watched, banked=self._has_el2)
        spans = np.flatnonzero(np.diff(flags, prepend=False, append=False)).reshape(-1, 2).tolist()
        if len(spans) > _MAX_HOOKS_PER_PAGE:
            spans = [[0, PAGE // 4]]
        self._hooks += [
            self._uc.hook_add(uc.UC_HOOK_CODE, self._on_code, None, page + 4 * first, page + 4 * last - 4)
            for first, last in spans
        ]

    def _on_code(self, _uc: Any, address: int, _size: int, _data: Any) -> None:
        self._on_watched(address)

    def _set_exits(self) -> None:
        self._uc.ctl_set_exits([va for page in self._poison.values() for va in page])
