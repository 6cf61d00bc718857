"""The whole rule book: every reason for which the model refuses a call. A part of it is a module of rows."""

from __future__ import annotations

from types import ModuleType

from armkvm.errors import Rule
from armkvm.model import device_rules, register_rules, rules, run_rules, vector_rules

PARTS: tuple[ModuleType, ...] = (rules, register_rules, vector_rules, device_rules, run_rules)
RULES: dict[str, Rule] = {
    row.name: row for part in PARTS for row in vars(part).values() if isinstance(row, Rule)
}
"""Rules by name."""
