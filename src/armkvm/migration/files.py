"""Snapshots in files: read within limits, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from armkvm.documents import read_bounded, write_whole
from armkvm.migration import codec
from armkvm.migration.snapshot import Snapshot


def load(path: Path) -> Snapshot:
    """The snapshot in a file; InputError with everything that is wrong with it."""
    return codec.decode(read_bounded(path, codec.LIMITS.size), str(path))


def save(path: Path, snapshot: Snapshot) -> None:
    """Write a snapshot; the file has its old contents or the new ones, whatever happens meanwhile."""
    write_whole(path, codec.encode(snapshot))
