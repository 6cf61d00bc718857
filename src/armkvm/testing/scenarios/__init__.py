"""The scenarios, by subject. Importing a module registers what it holds."""

from __future__ import annotations

from importlib import import_module

SUBJECTS = (
    *("lifecycle", "register_ids", "lists", "vectors", "streaming", "id_registers", "firmware"),
    "vcpu_state",
)


def load() -> None:
    """Register every scenario, in the order of `SUBJECTS`."""
    for subject in SUBJECTS:
        import_module(f"{__name__}.{subject}")
