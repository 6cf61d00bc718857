"""A page as one HTML file: its style and script inside, nothing fetched, strangers' names escaped.

A Content-Security-Policy allows exactly that style and that script, by their hashes, and nothing
else. The reasons behind the matrix are data that the script draws when asked; equal sentences and
equal tables are held once, so that the file stays small.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from armkvm.report.page.parts import BITS, MARKS, Block, Matrix, Page, State

_FOLDER = Path(__file__).parent


def render(page: Page) -> str:
    """The whole file."""
    style, script = ((_FOLDER / name).read_text("utf-8") for name in ("page.css", "page.js"))
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        page=page,
        style=style,
        script=script,
        policy="; ".join(
            (
                "default-src 'none'",
                f"style-src '{_hash(style)}'",
                f"script-src '{_hash(script)}'",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
        reasons=_reasons([section.matrix for section in page.sections if section.matrix is not None]),
        BITS=BITS,
        MARKS=MARKS,
        SELF=State.SELF,
    )


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _reasons(matrices: Sequence[Matrix]) -> dict[str, Any]:
    """What the script draws: for each cell of the matrix its tables, and for those their words, by number."""
    texts: dict[str, int] = {}
    tables: dict[Block, int] = {}

    def text(words: str) -> int:
        return texts.setdefault(words, len(texts))

    def table(block: Block) -> int:
        return tables.setdefault(block, len(tables))

    cells = [
        [[table(block) for block in cell.blocks] for cell in row.cells]
        for matrix in matrices
        for row in matrix.rows
    ]
    drawn = [
        {
            "heading": text(block.heading),
            "lines": list(map(text, block.lines)),
            "headings": list(map(text, block.headings)),
            "rows": [list(map(text, row)) for row in block.rows],
            "more": text(block.more),
        }
        for block in tables
    ]
    return {"cells": cells, "tables": drawn, "bits": BITS, "texts": list(texts)}
