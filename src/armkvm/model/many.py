"""Many registers at once: the answers of `one_reg`, with what is alike for a run made out once.

A run is a stretch of ids of one kind whose members are accessible together: if the one that is
hardest to reach can be read (or written), so can the rest, and each is plain storage. Whatever is
of no such kind, or is refused, goes through `one_reg`. How a list of ids falls into runs is
remembered, as a VMM asks for the same lists again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from struct import Struct
from typing import Any

from armkvm.abi.regid import P_BYTES, SVE_P, Z_BYTES, RegId
from armkvm.arch.pstate import AARCH32
from armkvm.model import core_regs, matrix, vectors
from armkvm.model.one_reg import get_one_reg, set_one_reg
from armkvm.model.outcome import Refused
from armkvm.model.sysregs import idregs
from armkvm.model.sysregs.catalogue import BY_ID
from armkvm.model.sysregs.table import always, store, stored
from armkvm.model.vcpu import Vcpu

Pair = tuple[int, bytes]

_CORE, _SYSREG, _ID, _Z, _P, _ROW = range(1, 7)
_SHARED: dict[int, int] = {
    **{reg: _CORE for reg in core_regs.ALL if reg not in core_regs.V and RegId(reg).size == 8},
    **{int(RegId.z(n)): _Z for n in range(vectors.Z_COUNT)},
    **{int(RegId.p(n)): _P for n in range(vectors.P_COUNT)},
    **dict.fromkeys(matrix.ROWS, _ROW),
}
_ALWAYS = {reg: row for reg, row in BY_ID.items() if row.visible is always}
_READ: dict[int, int] = {
    **_SHARED,
    **{reg: _SYSREG for reg, row in _ALWAYS.items() if row.read is stored},
    **{reg: _ID for reg, row in _ALWAYS.items() if row.read is idregs.read_id},
}
_WRITTEN: dict[int, int] = {
    **_SHARED,
    **{reg: _SYSREG for reg, row in _ALWAYS.items() if row.read is stored and row.write is store},
    **{reg: _ID for reg, row in _ALWAYS.items() if row.write is idregs.write_id},
}
del _WRITTEN[core_regs.PSTATE]  # its mode decides what other writes keep
_SIZES = {_CORE: 8, _SYSREG: 8, _ID: 8, _Z: Z_BYTES, _P: P_BYTES, _ROW: Z_BYTES}
_REMEMBERED = 64  # lists of ids; a VMM has one or two


class _Run:
    """A stretch of ids of one kind, and how to reach all of them with one call each.

    `kind`: None where ids must be answered one by one. `pick` takes the run's members out of where
    they live, a mapping by id or a file by index; `words` cuts them into 8 bytes each.
    """

    __slots__ = ("count", "hardest", "indexes", "kind", "pick", "regs", "span", "start", "words")

    def __init__(self, kind: int | None, regs: Sequence[int], start: int) -> None:
        self.kind = kind if len(regs) > 1 else None  # one alone gains nothing
        self.regs = regs
        self.start, self.count = start, len(regs)
        self.hardest = max(regs) if kind == _ROW else regs[0]  # rows of ZA end somewhere
        self.indexes: Sequence[int] = ()
        if kind in (_Z, _P, _ROW):
            self.indexes = [((reg & 0xFFFF) - (SVE_P if kind == _P else 0)) >> 5 for reg in regs]
        self.pick: Callable[[Any], tuple[Any, ...]] = itemgetter(*(self.indexes or regs))
        first, last = min(self.indexes, default=0), max(self.indexes, default=0)
        self.span = slice(first, last + 1) if [*self.indexes] == [*range(first, last + 1)] else None
        self.words = (Struct(f"<{len(regs)}Q"), Struct("8s" * len(regs)))

    def place(self, file: list[bytes], values: Sequence[bytes]) -> None:
        """Put the members' values where they live; the last counts of an id that is there twice."""
        if self.span is not None:
            file[self.span] = values
            return
        for index, value in zip(self.indexes, values, strict=True):
            file[index] = value


def _runs(regs: tuple[int, ...], kinds: Mapping[int, int]) -> list[_Run]:
    runs: list[_Run] = []
    for kind, group in groupby(regs, kinds.get):
        runs.append(_Run(kind, list(group), runs[-1].start + runs[-1].count if runs else 0))
    return runs


@lru_cache(maxsize=_REMEMBERED)
def _reads(regs: tuple[int, ...]) -> list[_Run]:
    return _runs(regs, _READ)


@lru_cache(maxsize=_REMEMBERED)
def _writes(regs: tuple[int, ...]) -> list[_Run]:
    return _runs(regs, _WRITTEN)


# -- reading ---------------------------------------------------------------------------------------


def get(vcpu: Vcpu, regs: Iterable[int]) -> list[bytes] | tuple[int, Refused]:
    """Read registers in order: their values, or the first that is refused."""
    values: list[bytes] = []
    for run in _reads(tuple(regs)):
        if run.kind is not None and not isinstance(get_one_reg(vcpu, run.hardest), Refused):
            values += _read(vcpu, run)
            continue
        for reg in run.regs:
            data = get_one_reg(vcpu, reg)
            if isinstance(data, Refused):
                return reg, data
            values.append(data)
    return values


def _read(vcpu: Vcpu, run: _Run) -> Sequence[bytes]:
    if run.indexes:
        return run.pick(_file(vcpu, run))
    home = vcpu.core if run.kind == _CORE else vcpu.sysregs if run.kind == _SYSREG else vcpu.id_regs
    numbers, pieces = run.words
    return pieces.unpack(numbers.pack(*run.pick(home)))


def _file(vcpu: Vcpu, run: _Run) -> list[bytes]:
    return vcpu.z if run.kind == _Z else vcpu.p if run.kind == _P else vcpu.za


# -- writing ---------------------------------------------------------------------------------------


def put(vcpu: Vcpu, pairs: Iterable[Pair]) -> tuple[int, Refused] | None:
    """Write registers in order, up to the first that is refused; None if none is.

    ValueError for data of another length than its id says, which is found before the write.
    """
    listed = list(pairs)
    data = list(map(itemgetter(1), listed))
    for run in _writes(tuple(map(itemgetter(0), listed))):
        values = data[run.start : run.start + run.count]
        done = 0
        if run.kind is not None and set(map(len, values)) == {_SIZES[run.kind]}:
            if run.kind == _ID:
                if _write_id_registers(vcpu, run, values):
                    continue
            else:
                refused = set_one_reg(vcpu, run.regs[0], values[0])
                if refused is not None:
                    return run.regs[0], refused
                done = 1
                if _can_write_together(vcpu, run):
                    _write(vcpu, run, values)
                    continue
        for reg, value in zip(run.regs[done:], values[done:], strict=True):
            if len(value) != 1 << (reg >> 52 & 15):
                raise ValueError(f"{RegId(reg)!r} holds {RegId(reg).size} bytes, not {len(value)}")
            refused = set_one_reg(vcpu, reg, value)
            if refused is not None:
                return reg, refused
    return None


def _can_write_together(vcpu: Vcpu, run: _Run) -> bool:
    """Whether what held for the first holds for all: there are rows enough, and no mode narrows writes."""
    if run.kind == _ROW:
        return max(run.indexes) < matrix.row_count(vcpu)
    return run.kind != _CORE or not vcpu.core[core_regs.PSTATE] & AARCH32


def _write(vcpu: Vcpu, run: _Run, values: Sequence[bytes]) -> None:
    if not run.indexes:
        home = vcpu.core if run.kind == _CORE else vcpu.sysregs
        home.update(zip(run.regs, _numbers(run, values), strict=True))
        return
    if run.kind == _ROW:
        size = matrix.row_count(vcpu)
    else:
        vq = vectors.vector_length(vcpu)
        size = vq.vl if run.kind == _Z else vq.pl
    whole = len(values[0])
    if size < whole:
        tail = bytes(whole - size)
        values = [value[:size] + tail for value in values]
    run.place(_file(vcpu, run), values)


def _write_id_registers(vcpu: Vcpu, run: _Run, values: Sequence[bytes]) -> bool:
    """Write them all if none is refused; otherwise do nothing."""
    if vcpu.vm.has_run or not vcpu.id_limits or isinstance(get_one_reg(vcpu, run.hardest), Refused):
        return False
    asked, limits = _numbers(run, values), run.pick(vcpu.id_limits)
    settled = idregs.settle_together(vcpu, tuple(run.regs), asked, limits)
    if settled is None:
        return False
    for reg, value in zip(run.regs, settled, strict=True):
        if value is not None and value != vcpu.id_regs[reg]:  # as of now: an id may be there twice
            vcpu.vm.write_id(reg, value)
    return True


def _numbers(run: _Run, values: Sequence[bytes]) -> tuple[int, ...]:
    numbers, _ = run.words
    return numbers.unpack(b"".join(values))
