"""SME instructions, a table of rows per family; `ROWS` is all of them."""

from __future__ import annotations

from armkvm.cpu.sme import arrays, groups, lookup, modes, outer, tiles

ROWS = (*modes.ROWS, *tiles.ROWS, *outer.ROWS, *lookup.ROWS, *arrays.ROWS, *groups.ROWS)
