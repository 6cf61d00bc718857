"""A cpio archive ("newc") as Linux unpacks an initramfs from; written in a fixed order with fixed dates."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass

_FIELDS = 13  # after the magic; eight hexadecimal digits each


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, a link (`data` is where it points) or a directory."""

    mode: int
    data: bytes = b""


def file(data: bytes, executable: bool = False) -> Entry:
    """A file with these contents."""
    return Entry(stat.S_IFREG | (0o755 if executable else 0o644), data)


def link(target: str) -> Entry:
    """A symbolic link."""
    return Entry(stat.S_IFLNK | 0o777, target.encode())


DIRECTORY = Entry(stat.S_IFDIR | 0o755)


def archive(entries: Mapping[str, Entry]) -> bytes:
    """The archive of `entries` (path without leading slash -> entry); missing directories are made."""
    complete: dict[str, Entry] = {}
    for path in sorted(entries):
        parts = path.split("/")
        for depth in range(1, len(parts)):
            complete.setdefault("/".join(parts[:depth]), DIRECTORY)
        complete[path] = entries[path]
    out = bytearray()
    for inode, (path, entry) in enumerate(complete.items(), 1):
        _append(out, inode, path, entry)
    _append(out, 0, "TRAILER!!!", Entry(0))
    return bytes(out)


def _append(out: bytearray, inode: int, path: str, entry: Entry) -> None:
    name = path.encode() + b"\0"
    fields = [inode, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, 0, 0, len(name), 0]
    if len(fields) != _FIELDS:
        raise AssertionError("a newc header has 13 fields")
    out += b"070701" + "".join(f"{field:08X}" for field in fields).encode() + name
    out += bytes(-len(out) % 4)
    out += entry.data
    out += bytes(-len(out) % 4)
