"""The package keeps what it promises to those who import it."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import armkvm

SLOW_TO_IMPORT = {"dataclasses", "typing", "json", "re", "inspect"}


def test_public_names_are_what_their_modules_define() -> None:
    for name, home in armkvm._PUBLIC.items():
        assert getattr(armkvm, name) is getattr(importlib.import_module(f"armkvm.{home}"), name)


def test_all_lists_the_public_names_and_nothing_else() -> None:
    assert armkvm.__all__ == ["__version__", *sorted(armkvm._PUBLIC)]
    assert dir(armkvm) == sorted(armkvm.__all__)


def test_type_checkers_see_the_names_that_run_time_has() -> None:
    """The block under TYPE_CHECKING says again what the table says, so they are compared."""
    tree = ast.parse(Path(armkvm.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    exported = {alias.asname: node.module for node in imports for alias in node.names}
    assert exported == {name: f"armkvm.{home}" for name, home in armkvm._PUBLIC.items()}


def test_unknown_attribute_is_refused_by_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'manager'"):
        _ = armkvm.manager


@pytest.mark.parametrize("module", ["armkvm", "armkvm.errors", "armkvm.catalog"])
def test_start_up_modules_import_nothing_slow(module: str) -> None:
    """`armkvm regs --decode` has a start-up budget of three bare interpreters."""
    program = f"import sys; before = set(sys.modules); import {module}; print(*set(sys.modules) - before)"
    source = str(Path(armkvm.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {source!r}); {program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert SLOW_TO_IMPORT.isdisjoint(run.stdout.split())
