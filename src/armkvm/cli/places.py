"""Opening places on the command line's behalf."""

from __future__ import annotations

from typing import TYPE_CHECKING

from armkvm.backends.locate import connect
from armkvm.cli.terminal import say

if TYPE_CHECKING:
    from armkvm.backends.base import System


def open_place(uri: str) -> System:
    """The place, after saying what a user of it should know."""
    system = connect(uri)
    for note in getattr(system, "notes", ()):
        say(f"note: {uri}: {note}")
    return system
