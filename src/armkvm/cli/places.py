"""Opening places on the command line's behalf."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from armkvm.backends.locate import connect
from armkvm.cli.terminal import say

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from armkvm.backends.base import System

_S = TypeVar("_S")


def open_place(uri: str, record: Path | None = None) -> System:
    """The place, after saying what a user of it should know; with `record`, every call goes to that trace."""
    system = tell(connect(uri), uri)
    return system if record is None else _recorded(system, record)


def record_option(parser: argparse.ArgumentParser, where: str = "there") -> None:
    """Declare ``--record FILE``."""
    from pathlib import Path

    parser.add_argument(
        "--record", type=Path, metavar="FILE", help=f"write every call made {where} to a trace for `replay`"
    )


def _recorded(system: System, path: Path) -> System:
    from armkvm.backends.record import Recorder
    from armkvm.traces.lines import TraceWriter, header

    try:
        file = path.open("w", encoding="utf-8")
    except OSError:
        system.close()
        raise
    writer = TraceWriter(file, header(system.uri, system.kernel))
    return Recorder(system, writer.write, file.close)


def tell(system: _S, name: str) -> _S:
    """The place, after saying what a user of it should know."""
    for note in getattr(system, "notes", ()):
        say(f"note: {name}: {note}")
    return system
