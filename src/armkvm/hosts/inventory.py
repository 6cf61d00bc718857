"""Hosts by the thousand: a folder of host files, JSON lines, or Parquet; equal ones read once.

Most hosts of a fleet are alike but for their names. A host file is therefore looked up by its bytes
without those of its name; only the first of its kind is read, and of those alike but for numbers only
one (see `patterns`). What is no host file, or may hold another name, is looked up by all its bytes.
`Inventory` holds each kind of host once, by the fingerprint of its facts, with the labels of all hosts
that are of it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from armkvm.documents import Limits, parse_json, read_bounded
from armkvm.errors import Fault, InputError, MissingFacts
from armkvm.hosts import library
from armkvm.hosts.hostfile import fingerprint
from armkvm.hosts.patterns import Patterns
from armkvm.state import HostFacts

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

LINE_LIMITS = Limits(size=1 << 20, depth=12, items=40_000)
MOST_HOSTS = 10_000_000
MOST_IN_COLUMN = 1 << 29  # of a row group, uncompressed: it is decoded in memory
_NAME = re.compile(rb'"name":[ \t\r\n]*"([A-Za-z0-9][A-Za-z0-9._+-]{0,63})"')

Place = tuple[str, str, int]
"""Where a record stands: file, unit and number, as in ``("fleet.jsonl", "", 17)``; 0 for a whole file."""

Other = Callable[[bytes, str], HostFacts | None]
"""Reads what is no host file, such as a fingerprint; None if it is not of its kind either."""


@dataclass(slots=True)
class Inventory:
    """Hosts by kind: `facts` and `labels` by its number; `broken` records with their faults."""

    facts: dict[int, HostFacts] = field(default_factory=dict)
    labels: dict[int, list[str]] = field(default_factory=partial(defaultdict[int, list[str]], list))
    broken: list[InputError] = field(default_factory=list)
    _numbers: dict[Hashable, int] = field(default_factory=dict)
    _unnamed: dict[bytes, int | InputError] = field(default_factory=dict)
    _whole: dict[bytes, tuple[int | InputError, str]] = field(default_factory=dict)
    _patterns: Patterns = field(default_factory=Patterns)
    _known: dict[str, tuple[int, Place]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._known)

    def add(self, label: str, facts: HostFacts, where: str) -> None:
        """One more host."""
        self.add_alike(label, self._kind(facts, fingerprint(facts)), (where, "", 0))

    def __contains__(self, label: str) -> bool:
        return label in self._known

    def move(self, labels: Collection[str], kind: int, facts: HostFacts) -> None:
        """Hosts that leave their kind because their facts changed, such as their kernel."""
        gone = frozenset(labels)
        kept = [label for label in self.labels.pop(kind) if label not in gone]
        if kept:
            self.labels[kind] = kept
        self.labels[self._kind(facts, fingerprint(facts))] += labels

    def add_record(self, place: Place, data: bytes, label: str = "", other: Other | None = None) -> None:
        """One more host, from a record; what is wrong with it goes to `broken`.

        It is called `label`, or by the name it gives itself.
        """
        unnamed, _, named = _without_name(data)
        kind = self._unnamed.get(unnamed) if named else None
        if kind is None:
            kind, named = self._whole.get(data) or self._judge(data, label, place, other)
        self.add_alike(label or named, kind, place)

    def kind_of(self, data: bytes, name: str, place: Place, other: Other | None) -> int | InputError:
        """The kind of a record that need not name its host, or what is wrong with it."""
        unnamed, _, named = _without_name(data)
        if not named and data.startswith(b"{") and b'"format"' in data:
            data = b'{"name": "host", ' + data[1:]
            unnamed, _, named = _without_name(data)
        kind = self._unnamed.get(unnamed) if named else None
        if kind is None:
            kind, _ = self._whole.get(data) or self._judge(data, name, place, other)
        return kind

    def add_alike(self, name: str, kind: int | InputError, place: Place) -> None:
        """One more host of a kind, or one more record with the same faults."""
        if isinstance(kind, InputError):
            self.broken.append(InputError(_told(place), kind.faults))
            return
        label = name or self.facts[kind].name
        known = self._known.setdefault(label, (kind, place))
        if known[1] is place:
            self.labels[kind].append(label)
            if len(self._known) > MOST_HOSTS:
                raise InputError(place[0], [Fault("file", f"expected at most {MOST_HOSTS:,} hosts in all")])
        elif known != (kind, place):  # the same host named twice is one
            fault = Fault("$.name", f"{label!r} is also the host of {_told(known[1])}")
            self.broken.append(InputError(_told(place), [fault]))

    def _judge(
        self, data: bytes, label: str, place: Place, other: Other | None
    ) -> tuple[int | InputError, str]:
        """The kind of a record that is unlike all before it, or what is wrong with it; and its name."""
        unnamed, at, named = _without_name(data)
        # What is called name is the host's if nothing else is called so, or if a host file has no other.
        is_only = bool(named) and unnamed.count(b'"name"') == 1 and b"\\" not in unnamed
        is_alike, name, where = False, "", _told(place)
        kind: int | InputError
        try:
            read = self._patterns.read(unnamed, at, named) if is_only else None
            if read is not None:
                is_alike, name = True, named
            else:
                facts = None if other is None else other(data, where)
                if facts is None:
                    tree, faults = parse_json(data, where, library.LIMITS)
                    is_alike = is_only
                    facts = library.from_tree(tree, faults, label or where, where)
                    is_host_file = isinstance(tree, dict) and "format" in tree
                    is_alike = bool(named) and is_host_file and "name" not in facts.vgic
                read, name = (facts, fingerprint(facts)), facts.name
            kind = self._kind(*read)
        except InputError as bad:
            kind = bad
        except MissingFacts as bad:
            kind, is_alike = InputError(where, [Fault("$", str(bad))]), False
        if is_alike:
            self._unnamed[unnamed] = kind
        else:
            self._whole[data] = kind, name
        return kind, name

    def _kind(self, facts: HostFacts, known_by: Hashable) -> int:
        kind = self._numbers.setdefault(known_by, len(self._numbers))
        self.facts.setdefault(kind, facts)
        return kind


def _without_name(data: bytes) -> tuple[bytes, int, str]:
    """A record with nothing where the first name is that it has, where that is, and the name."""
    found = _NAME.search(data)
    if found is None:
        return data, 0, ""
    at, end = found.span(1)
    return data[:at] + data[end:], at, found[1].decode()


def _told(place: Place) -> str:
    file, unit, number = place
    return f"{file}:{unit}{number}" if number else file


# -- where records come from -----------------------------------------------------------------------


def is_inventory(path: Path) -> bool:
    """Whether a path holds many hosts rather than one."""
    return path.is_dir() or path.suffix in {".jsonl", ".ndjson", ".parquet"}


def read_into(inventory: Inventory, path: Path, other: Other | None = None) -> Iterator[None]:
    """Add all hosts of an inventory, yielding after each record."""
    if path.is_dir():
        return _folder(inventory, path, other)
    if path.suffix == ".parquet":
        return _parquet(inventory, path, other)
    return _lines(inventory, path, other)


def _folder(inventory: Inventory, folder: Path, other: Other | None) -> Iterator[None]:
    """Host files at any depth, called by their paths."""
    for file in sorted(folder.rglob("*.json")):
        label = str(file.relative_to(folder).with_suffix(""))
        try:
            if file.exists() and not file.is_file():  # opening a pipe waits for a writer
                raise InputError(str(file), [Fault("file", "expected a regular file")])
            inventory.add_record((str(file), "", 0), read_bounded(file, library.LIMITS.size), label, other)
        except InputError as bad:
            inventory.broken.append(bad)
        yield


def _lines(inventory: Inventory, path: Path, other: Other | None) -> Iterator[None]:
    """A host file to a line."""
    name, number, most = str(path), 0, LINE_LIMITS.size
    try:
        with path.open("rb", buffering=most) as file:
            while line := file.readline(most + 1):
                number += 1
                if len(line) > most:
                    raise InputError(f"{name}:{number}", [Fault("line", f"expected at most {most:,} bytes")])
                if not line.isspace():
                    inventory.add_record((name, "", number), line, other=other)
                    yield
    except OSError as bad:
        raise InputError(name, [Fault("file", f"cannot be read: {bad.strerror}")]) from bad


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
        faults = [*_parquet_faults(pq.read_metadata(path))]
        if faults:
            raise InputError(str(path), faults)
        with pq.ParquetFile(path, read_dictionary=list(_COLUMNS)) as file:
            row = 0
            for batch in file.iter_batches(columns=list(_COLUMNS), batch_size=8192):
                # Values once and rows by index: a value of a few bytes can stand in every row.
                (names, rows), (hosts, indices) = (_indexed(batch.column(name)) for name in _COLUMNS)
                texts = [_bytes(text) for text in hosts]
                kinds: dict[int, int | InputError] = {}
                for named, index in zip(rows, indices, strict=True):
                    row += 1
                    place = (str(path), "row ", row)
                    name = None if named is None else names[named]
                    if not isinstance(name, str) or not _LABEL.fullmatch(name) or index is None:
                        fault = Fault("name", "expected a name of printable characters, and a host")
                        inventory.broken.append(InputError(_told(place), [fault]))
                    else:
                        if index not in kinds:
                            kinds[index] = inventory.kind_of(texts[index], name, place, other)
                        inventory.add_alike(name, kinds[index], place)
                    yield
    except (pa.ArrowException, OSError, KeyError) as bad:
        raise InputError(str(path), [Fault("file", f"is no such Parquet file: {bad}")]) from bad


_COLUMNS = ("name", "host")


def _parquet_faults(footer: pq.FileMetaData) -> Iterator[Fault]:
    """What keeps a file from being read: a missing column, or one that would fill the memory."""
    have = footer.schema.to_arrow_schema().names
    for name in _COLUMNS:
        if name not in have:
            yield Fault("file", f"expected the columns name and host; there is no column {name}")
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        most = min(group.num_rows * library.LIMITS.size, MOST_IN_COLUMN)
        for column in map(group.column, range(group.num_columns)):
            size = column.total_uncompressed_size
            if column.path_in_schema in _COLUMNS and size > most:
                expected = f"expected at most {most:,} bytes in the {group.num_rows:,} rows, got {size:,}"
                yield Fault(f"row group {number}, column {column.path_in_schema}", expected)


def _indexed(column: pa.Array) -> tuple[list[object], list[int | None]]:
    """The values of a column, each once, and which of them each row has."""
    encoded = column if hasattr(column, "dictionary") else column.dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_pylist()


_LABEL = re.compile(r"[!-~][ -~]{0,199}")


def _bytes(text: object) -> bytes:
    return text.encode() if isinstance(text, str) else text if isinstance(text, bytes) else b""
