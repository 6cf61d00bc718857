"""Documents that cross the border: strict, bounded JSON on the way in, whole files on the way out.

Snapshots and host files come from strangers. `read_bounded` never reads more than it may,
`parse_json` accepts JSON as RFC 8259 means it (UTF-8, no NaN, no key twice, no fractions where the
formats of this package have none) within limits of size, nesting and number of items that are
checked before a tree is built. `write_whole` replaces a file in one step, so that whoever looks
finds the old contents or the new ones, never a piece.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from armkvm.errors import Fault, InputError
from armkvm.value import Value

if TYPE_CHECKING:
    from pathlib import Path


class Limits(Value):
    """How much of a stranger's document is looked at: bytes, nesting, and items all together."""

    size: int
    depth: int
    items: int


class NotAllowed:
    """Stands where a document holds something our formats never do: NaN, fractions, huge numbers."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text if len(self.text) <= 24 else f"{self.text[:20]}... ({len(self.text)} characters)"


class JsonObject(dict[str, object]):
    """A JSON object that remembers which keys came more than once (the last value stays)."""

    __slots__ = ("repeated",)

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.repeated: tuple[str, ...] = ()
        if len(self) != len(pairs):
            self.repeated = tuple(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)


def read_bounded(path: Path | str, limit: int) -> bytes:
    """The contents of a file of at most `limit` bytes, which is checked before reading.

    InputError if it is larger or cannot be read.
    """
    try:
        with open(path, "rb") as file:
            # A pipe or device has no size to ask for: one byte too many tells as well.
            size = os.fstat(file.fileno()).st_size
            data = b"" if size > limit else file.read(limit + 1)
    except (OSError, ValueError) as bad:
        reason = bad.strerror if isinstance(bad, OSError) and bad.strerror else str(bad)
        raise InputError(str(path), [Fault("file", f"cannot be read: {reason}")]) from bad
    if max(size, len(data)) > limit:
        got = f"{size:,}" if size > limit else "more"
        raise InputError(str(path), [Fault("file", f"expected at most {limit:,} bytes, got {got}")])
    return data


def parse_json(data: bytes, source: str, limits: Limits) -> tuple[object, list[Fault]]:
    """The tree of a JSON document, with the faults that do not keep it from being a tree.

    Those are keys that come twice; `NotAllowed` marks values for the caller to refuse where it
    meets them. What is no JSON at all, or beyond `limits`, is an InputError.
    """
    if len(data) > limits.size:
        raise InputError(
            source, [Fault("file", f"expected at most {limits.size:,} bytes, got {len(data):,}")]
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as bad:
        fault = Fault(f"byte {bad.start}", f"expected UTF-8, got byte 0x{data[bad.start]:02x} ({bad.reason})")
        raise InputError(source, [fault]) from bad
    _check_shape(text, source, limits)
    repeating: list[JsonObject] = []

    def keep(pairs: list[tuple[str, object]]) -> JsonObject:
        found = JsonObject(pairs)
        if found.repeated:
            repeating.append(found)
        return found

    try:
        tree = json.loads(
            text,
            object_pairs_hook=keep,
            parse_constant=NotAllowed,
            parse_float=NotAllowed,
            parse_int=lambda digits: int(digits) if len(digits) <= 20 else NotAllowed(digits),
        )
    except json.JSONDecodeError as bad:
        got = "the end of the file" if bad.pos >= len(text.rstrip()) else repr(text[bad.pos : bad.pos + 16])
        fault = Fault(f"line {bad.lineno} column {bad.colno}", f"expected JSON, got {got} ({bad.msg})")
        raise InputError(source, [fault]) from bad
    except RecursionError as bad:  # the caller's stack was nearly full; the document is within limits
        raise InputError(source, [Fault("$", "nested too deeply to read here")]) from bad
    return tree, _repeated_keys(tree, "$") if repeating else []


def short(value: object) -> str:
    """A value as an error message shows it: never long, whatever came."""
    if isinstance(value, dict):
        return f"an object with {len(value)} members"
    if isinstance(value, list):
        return f"an array of {len(value)}"
    if isinstance(value, str) and len(value) > 80:
        return f"{value[:40]!a}... ({len(value)} characters)"
    return "null" if value is None else json.dumps(value) if isinstance(value, (str, int)) else repr(value)


def step(path: str, key: object) -> str:
    """The path of a member: ``$.vcpus[0].mp_state``; keys that are no plain words are quoted."""
    if isinstance(key, str):
        return f"{path}.{key}" if key.isidentifier() and len(key) <= 40 else f"{path}[{short(key)}]"
    return f"{path}[{key}]"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it has its old contents or all of the new ones, whatever happens.

    The new contents are on disk before they get the name. OSError as from any write; the
    directory is then as it was. Devices and pipes, which have no old contents, are written plainly.
    """
    try:
        _write_whole(path.resolve(), data)  # a symbolic link stays one
    except OSError as bad:
        if bad.errno is not None:
            bad.filename, bad.filename2 = str(path), None  # not the name it has meanwhile
        raise


def _write_whole(path: Path, data: bytes) -> None:
    mode = None
    if path.exists():
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            path.write_bytes(data)
            return
    import secrets

    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if mode is not None:
                os.fchmod(descriptor, stat.S_IMODE(mode))
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# A string (an unfinished one runs to the end, so that no text is scanned twice), or a bracket.
_STRING_OR_BRACKET = r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]'


def _check_shape(text: str, source: str, limits: Limits) -> None:
    """Refuse what would build too deep or too large a tree, without building it.

    Every item follows a comma or the opening of its container, so counting those bounds the tree,
    and four quotes an item are enough for a key and a value. A text that is no JSON may pass here
    and fails in the parser.
    """
    items = text.count(",") + text.count("[") + text.count("{")
    if items > limits.items or text.count('"') > 4 * limits.items:
        raise InputError(source, [Fault("$", f"expected at most {limits.items:,} items in all, got more")])
    if text.count("[") + text.count("{") <= limits.depth:
        return
    depth = 0
    for token in re.finditer(_STRING_OR_BRACKET, text, re.DOTALL):
        mark = text[token.start()]
        if mark in "[{":
            depth += 1
            if depth > limits.depth:
                where = text.count("\n", 0, token.start()) + 1
                fault = Fault(f"line {where}", f"expected at most {limits.depth} levels of nesting, got more")
                raise InputError(source, [fault])
        elif mark in "]}":
            depth -= 1


def _repeated_keys(tree: object, path: str) -> list[Fault]:
    faults: list[Fault] = []
    if isinstance(tree, JsonObject):
        faults += [Fault(path, f"expected each key once, got {short(key)} twice") for key in tree.repeated]
    members: Iterable[tuple[object, object]] = ()
    if isinstance(tree, dict):
        members = tree.items()
    elif isinstance(tree, list):
        members = enumerate(tree)
    for key, value in members:
        if isinstance(value, (dict, list)):
            faults += _repeated_keys(value, step(path, key))
    return faults
