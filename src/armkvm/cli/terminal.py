"""Talk to a person: notes and progress on stderr, tables on a terminal. Results go through `Outcome`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sized
from typing import TYPE_CHECKING, TypeVar

from armkvm.cli.printable import printable

if TYPE_CHECKING:
    from armkvm.report.table import Table

_T = TypeVar("_T")


def say(text: str) -> None:
    """A message on stderr, each of its lines under our name."""
    for line in text.split("\n"):
        print(f"armkvm: {printable(line)}", file=sys.stderr)


def progress(things: Iterable[_T], what: str, total: int | None = None) -> Iterable[_T]:
    """The things, with a bar on stderr if that is a terminal; `total` where they cannot be counted."""
    if not sys.stderr.isatty():
        return things
    from rich.console import Console
    from rich.progress import track

    total = len(things) if isinstance(things, Sized) else total
    return track(things, what, total=total, console=Console(stderr=True), transient=True)


def show_table(table: Table) -> None:
    """A table on the terminal, as wide as that is."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in table.headings:
        grid.add_column(heading, overflow="fold")
    for row in table.rows:
        grid.add_row(*map(printable, row))
    Console(highlight=False, markup=False).print(grid)
