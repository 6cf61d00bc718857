"""SVE instructions, a table of rows per family; `ROWS` is all of them."""

from __future__ import annotations

from armkvm.cpu.sve import compare, counts, floating, integer, loads, permute, predicates, stores

ROWS = (
    *counts.ROWS,
    *predicates.ROWS,
    *compare.ROWS,
    *integer.ROWS,
    *permute.ROWS,
    *floating.ROWS,
    *loads.ROWS,
    *stores.ROWS,
)
