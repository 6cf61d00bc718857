"""``armkvm-trace-1``: a sequence as JSON lines, described in docs/traces.md.

The first line says what it is; every other is one step, in the order of the calls.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from armkvm.documents import Limits, parse_json, write_whole
from armkvm.errors import Fault, InputError
from armkvm.hosts import shape
from armkvm.traces.schema import faults_of

FORMAT = "armkvm-trace-1"
_LINE = Limits(size=1 << 20, depth=8, items=20_000)
_MOST_LINES = 100_000


def header(place: str, kernel: str, **more: object) -> dict[str, Any]:
    """The first line of a trace made on a place."""
    return {"format": FORMAT, "place": place, "kernel": kernel, **more}


def line(step: Mapping[str, Any]) -> str:
    """One line."""
    return json.dumps(step, separators=(", ", ": ")) + "\n"


def text(first: Mapping[str, Any], steps: Iterable[Mapping[str, Any]]) -> str:
    """A whole trace."""
    return line(first) + "".join(map(line, steps))


class TraceWriter:
    """Writes a trace step by step; what was written survives a crash of whoever records."""

    def __init__(self, file: IO[str], first: Mapping[str, Any]) -> None:
        self._file = file
        self.write(first)

    def write(self, step: Mapping[str, Any]) -> None:
        """Append one step."""
        self._file.write(line(step))
        self._file.flush()


def is_trace(data: bytes) -> bool:
    """Whether a file is meant to be this format, of any version, rather than one JSON document."""
    first = data.partition(b"\n")[0]
    return b'"armkvm-trace-' in first and first.rstrip().endswith(b"}")


def parse(data: bytes, source: str, name: str) -> dict[str, Any]:
    """The sequence in a file's lines; InputError with all that is wrong, each with its line."""
    lines = data.splitlines()
    if len(lines) > _MOST_LINES:
        raise InputError(
            source, [Fault("file", f"expected at most {_MOST_LINES:,} lines, got {len(lines):,}")]
        )
    faults: list[Fault] = []
    trees: list[Any] = []
    for number, raw in enumerate(lines, 1):
        try:
            tree, wrong = parse_json(raw, source, _LINE)
        except InputError as bad:
            tree, wrong = None, list(bad.faults)
        paths = (fault.path.removeprefix("line 1 ") for fault in wrong)
        faults += [
            Fault(f"line {number}: {path}", fault.message) for path, fault in zip(paths, wrong, strict=True)
        ]
        trees.append(tree)
    first = trees[0] if trees and isinstance(trees[0], dict) else {}
    if not faults and first.get("format") != FORMAT:
        faults.append(Fault("line 1: $.format", f"expected {FORMAT}, got {first.get('format')!r}"))
    title = first.get("name", name)
    sequence = {"name": title, "vm0": False, "vcpu0": False, "steps": trees[1:]}
    if not faults:
        faults = list(map(_by_line, faults_of({"probes": [sequence]})))
    if faults:
        raise InputError(source, shape.limited(faults))
    return sequence


def _by_line(fault: Fault) -> Fault:
    """A fault's place as a line of the file: the header is the first, the first step the second."""
    found = _STEP.match(fault.path)
    if found is None:
        return Fault(fault.path.replace("$.probes[0]", "line 1: $"), fault.message)
    return Fault(f"line {int(found[1]) + 2}: ${fault.path[found.end() :]}", fault.message)


_STEP = re.compile(r"\$\.probes\[0\]\.steps\[(\d+)\]")


def save(path: Path, first: Mapping[str, Any], steps: Iterable[Mapping[str, Any]]) -> None:
    """Write a whole trace: the file appears complete or not at all."""
    write_whole(path, text(first, steps).encode())
