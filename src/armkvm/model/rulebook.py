"""The whole rule book, wherever its parts are kept: every reason for which the model refuses a call."""

from __future__ import annotations

from types import ModuleType

from armkvm.errors import Rule
from armkvm.model import device_rules, rules, run_rules

PARTS: tuple[ModuleType, ...] = (rules, device_rules, run_rules)
RULES: dict[str, Rule] = rules.RULES
"""Rules by name."""
