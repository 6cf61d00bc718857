"""What a verb returns: how it went, for people, and for programs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from armkvm.report.table import Table

DONE, FINDINGS, USAGE, UNREADABLE, BACKEND, BUG = 0, 1, 2, 3, 4, 70


class UsageError(Exception):
    """Words that parse and yet mean nothing; the message says what would."""


class Outcome:
    """`status` is the exit code, `parts` is printed as text, `tree` as JSON."""

    __slots__ = ("parts", "status", "tree")

    def __init__(self, status: int, parts: Sequence[str | Table], tree: object) -> None:
        self.status = status
        self.parts = parts
        self.tree = tree
