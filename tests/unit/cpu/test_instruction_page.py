"""docs/instructions.md names every row of the tables, and nothing else; `python -m` this module writes it."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from armkvm.cpu.decode import Row
from armkvm.cpu.emulation import DECODER

PAGE = Path(__file__).parents[3] / "docs" / "instructions.md"
_START = "## The instructions, by room\n"


def _room(row: Row) -> str:
    """The module whose table has the row: where `execute` was made, but for those made elsewhere."""
    return row.execute.__module__.removeprefix("armkvm.cpu.")


def listed() -> str:
    """The generated part of the page: for each room the mnemonics, and what else they need."""
    parts = []
    for room, rows in groupby(sorted(DECODER.rows, key=lambda r: (_room(r), r.mnemonic)), _room):
        names = dict.fromkeys(f"{row.mnemonic}{f' [{row.needs}]' if row.needs else ''}" for row in rows)
        parts.append(f"\n### `{room}`\n\n" + "".join(f"- {name}\n" for name in names))
    return "".join(parts)


def test_the_page_lists_the_rows() -> None:
    written = PAGE.read_text().split(_START)[1]
    assert written == listed()


if __name__ == "__main__":
    head = PAGE.read_text().split(_START)[0]
    PAGE.write_text(head + _START + listed())
    sys.stdout.write(f"{len(DECODER.rows)} rows\n")
