"""What a page consists of. All text is plain: whoever draws it escapes it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

BITS = "Bits"
"""The heading of a column whose cells are bits of a 64-bit register, such as ``59:56``."""


class State(StrEnum):
    """What a cell of the matrix says."""

    SELF = "self"
    HOME = "home"
    MOVES = "moves"
    NEW = "new"
    NEVER = "never"


MARKS = {State.SELF: "·", State.HOME: "■", State.MOVES: "●", State.NEW: "◐", State.NEVER: "○"}


@dataclass(frozen=True, slots=True)
class Block:
    """A heading, sentences, and a table; `more` says what was left out of it."""

    heading: str
    lines: tuple[str, ...] = ()
    headings: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    more: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """One pool, one vCPU, one kind of host: what holds of it, and what can be unfolded."""

    title: str
    lines: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    folds: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """One answer of the matrix; `says` is a whole sentence, `blocks` the reasons."""

    state: State
    says: str
    count: int = 0
    blocks: tuple[Block, ...] = ()

    @property
    def mark(self) -> str:
        """The answer in a sign and a number."""
        return f"{MARKS[self.state]} {self.count}" if self.count else MARKS[self.state]


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of host against every column. `group` changes where a line is to be drawn."""

    name: str
    note: str
    group: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """`short` stands above the column, `name` is what it stands for."""

    short: str
    name: str
    group: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """Kinds of hosts against one another, or against pools."""

    caption: str
    corner: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    meanings: tuple[tuple[State, str], ...]

    @property
    def legend(self) -> tuple[tuple[State, str], ...]:
        """What the answers mean, of those that are given."""
        given = {cell.state for row in self.rows for cell in row.cells}
        return tuple((state, says) for state, says in self.meanings if state in given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page that can be jumped to."""

    key: str
    title: str
    lines: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()
    matrix: Matrix | None = None
    blocks: tuple[Block, ...] = ()
    folds: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """`verb` names the command, `good` whether its answer is the one hoped for."""

    verb: str
    title: str
    good: bool
    lines: tuple[str, ...]
    sections: tuple[Section, ...]
