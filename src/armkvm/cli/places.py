"""Opening places on the command line's behalf."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from armkvm.backends.locate import connect
from armkvm.cli.terminal import say

if TYPE_CHECKING:
    from armkvm.backends.base import System

_S = TypeVar("_S")


def open_place(uri: str) -> System:
    """The place, after saying what a user of it should know."""
    return tell(connect(uri), uri)


def tell(system: _S, name: str) -> _S:
    """The place, after saying what a user of it should know."""
    for note in getattr(system, "notes", ()):
        say(f"note: {name}: {note}")
    return system
