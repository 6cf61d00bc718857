"""Hosts by the thousand: a folder of host files, JSON lines, or Parquet; equal ones read once.

Most hosts of a fleet are alike but for their names. A record is therefore looked up by its bytes
without the name; only the first of its kind is parsed and checked. `Inventory` holds each kind of
host once, by the fingerprint of its facts, with the labels of all hosts that are of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from armkvm.documents import Limits, parse_json, read_bounded
from armkvm.errors import Fault, InputError, MissingFacts
from armkvm.hosts import library
from armkvm.hosts.hostfile import fingerprint
from armkvm.state import HostFacts

LINE_LIMITS = Limits(size=1 << 20, depth=12, items=40_000)
MOST_HOSTS = 10_000_000
_NAME = re.compile(rb'"name":\s?"([A-Za-z0-9][A-Za-z0-9._+-]{0,63})",?\s*')

Record = tuple[str, bytes]
"""Where a record stands (``fleet.jsonl:17``), and its bytes."""

Other = Callable[[bytes, str], HostFacts | None]
"""Reads what is no host file, such as a fingerprint; None if it is not of its kind either."""


@dataclass(slots=True)
class Inventory:
    """Hosts by kind: `facts` and `labels` by fingerprint; `broken` records with their faults."""

    facts: dict[str, HostFacts] = field(default_factory=dict)
    labels: dict[str, list[str]] = field(default_factory=dict)
    broken: list[InputError] = field(default_factory=list)
    _kinds: dict[bytes, str | InputError] = field(default_factory=dict)
    _where: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._where)

    def add(self, label: str, facts: HostFacts, where: str) -> str:
        """One more host; returns its fingerprint."""
        kind = fingerprint(facts)
        self.facts.setdefault(kind, facts)
        self._join(label, kind, where)
        return kind

    def move(self, label: str, facts: HostFacts) -> None:
        """A host that left its kind because its facts changed, such as its kernel."""
        kind = fingerprint(facts)
        self.facts.setdefault(kind, facts)
        self.labels.setdefault(kind, []).append(label)

    def add_record(self, where: str, data: bytes, label: str = "", other: Other | None = None) -> None:
        """One more host, from a record; what is wrong with it goes to `broken`.

        It is called `label`, or by the name it gives itself.
        """
        found = _NAME.search(data)
        key = data if found is None else data[: found.start()] + data[found.end() :]
        name = label or (found[1].decode() if found else "")
        kind = self._kinds.get(key)
        if kind is None:
            try:
                facts = _read(data, name or where, where, other)
                kind = fingerprint(facts)
                self.facts.setdefault(kind, facts)
                name = name or facts.name
            except (InputError, MissingFacts) as bad:
                kind = bad if isinstance(bad, InputError) else InputError(where, [Fault("$", str(bad))])
            self._kinds[key] = kind
        if isinstance(kind, InputError):
            self.broken.append(InputError(where, kind.faults))
        else:
            self._join(name or self.facts[kind].name, kind, where)

    def _join(self, label: str, kind: str, where: str) -> None:
        known = label in self._where
        first = self._where.setdefault(label, where)
        if known and first == where and label in self.labels.get(kind, ()):
            return  # the same host named twice
        if known:
            self.broken.append(InputError(where, [Fault("$.name", f"{label!r} is also the host of {first}")]))
        else:
            self.labels.setdefault(kind, []).append(label)


def _read(data: bytes, name: str, where: str, other: Other | None) -> HostFacts:
    if other is not None and (facts := other(data, where)) is not None:
        return facts
    tree, faults = parse_json(data, where, library.LIMITS)
    return library.from_tree(tree, faults, name, where)


# -- where records come from -----------------------------------------------------------------------


def is_inventory(path: Path) -> bool:
    """Whether a path holds many hosts rather than one."""
    return path.is_dir() or path.suffix in {".jsonl", ".ndjson", ".parquet"}


def read_into(inventory: Inventory, path: Path, other: Other | None = None) -> Iterator[None]:
    """Add all hosts of an inventory, yielding after each record."""
    if path.is_dir():
        for file in sorted(path.rglob("*.json")):
            label = str(file.relative_to(path).with_suffix(""))
            try:
                inventory.add_record(str(file), read_bounded(file, library.LIMITS.size), label, other)
            except InputError as bad:
                inventory.broken.append(bad)
            yield
    elif path.suffix == ".parquet":
        yield from _parquet(inventory, path, other)
    else:
        for where, line in _lines(path):
            inventory.add_record(where, line, other=other)
            yield


def _lines(path: Path) -> Iterator[Record]:
    try:
        with path.open("rb") as file:
            number, name = 0, str(path)
            while line := file.readline(LINE_LIMITS.size + 1):
                number += 1
                where = f"{name}:{number}"
                if len(line) > LINE_LIMITS.size:
                    raise InputError(where, [Fault("line", f"expected at most {LINE_LIMITS.size:,} bytes")])
                if line.strip():
                    yield where, line
    except OSError as bad:
        raise InputError(str(path), [Fault("file", f"cannot be read: {bad.strerror}")]) from bad


def _parquet(inventory: Inventory, path: Path, other: Other | None) -> Iterator[None]:
    """Columns ``name`` and ``host``, the latter a host file's text, which may leave out the name."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise InputError(
            str(path), [Fault("file", "Parquet needs pyarrow: pip install armkvm[fleet]")]
        ) from None
    try:
        with pq.ParquetFile(path) as file:
            row = 0
            for batch in file.iter_batches(columns=["name", "host"], batch_size=8192):
                names, hosts = batch.column(0).to_pylist(), batch.column(1)
                if not pa.types.is_dictionary(hosts.type):
                    hosts = hosts.dictionary_encode()
                texts = [_bytes(text) for text in hosts.dictionary.to_pylist()]
                for name, index in zip(names, hosts.indices.to_pylist(), strict=True):
                    row += 1
                    where = f"{path}:row {row}"
                    if not isinstance(name, str) or not _LABEL.fullmatch(name) or index is None:
                        fault = Fault("name", "expected a name of printable characters, and a host")
                        inventory.broken.append(InputError(where, [fault]))
                    else:
                        inventory.add_record(where, texts[index], name, other)
                    yield
    except (pa.ArrowException, OSError, KeyError) as bad:
        raise InputError(str(path), [Fault("file", f"is no such Parquet file: {bad}")]) from bad


_LABEL = re.compile(r"[!-~][ -~]{0,199}")


def _bytes(text: object) -> bytes:
    return text.encode() if isinstance(text, str) else text if isinstance(text, bytes) else b""
