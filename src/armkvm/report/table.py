"""Rows under headings."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Table:
    """A table of words; how it is drawn is up to whoever shows it."""

    __slots__ = ("headings", "rows")

    def __init__(self, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        self.headings = tuple(headings)
        self.rows = [tuple(row) for row in rows]

    def text(self) -> str:
        """Columns padded to their widest word, two spaces apart."""
        lines = [self.headings, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )
