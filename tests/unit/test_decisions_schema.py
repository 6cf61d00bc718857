"""What check, baseline, pools and drift print with --json is what the published schema says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from armkvm.cli.main import run
from armkvm.migration.check import Verdict
from armkvm.migration.drift import Change, Treatment
from armkvm.report import baselines

SCHEMA: dict[str, Any] = json.loads(Path(baselines.__file__).with_name("decisions.schema.json").read_text())

COMMANDS = [
    "check max neoverse-v1",
    "check max max",
    "check cortex-a72 max --config base",
    "check max cortex-a72",
    "check sme-max max?kernel=7.3 --config sme",
    "check VM max",
    "baseline max max-vq4 --moves --write qemu",
    "baseline neoverse-n1?kernel=7.3 neoverse-v1?kernel=7.3",
    "baseline max neoverse-n2?kernel=7.3 --moves",
    "pools max max-vq4 neoverse-n1?kernel=7.3 --admit neoverse-v1 --moves --vm VM",
    "pools max neoverse-v1 --keep SME",
    "baseline max neoverse-v1 --features SME",
    "pools max?kernel=6.12 max-vq4?kernel=6.12 --kernel *=6.12",
    "drift max?kernel=6.1 max",
    "drift max max",
]


def validator(verb: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{verb}"})


@pytest.fixture
def vm(tmp_path: Path) -> str:
    assert run(["save", "model:max-vq4", str(tmp_path / "vm.json")]) == 0
    return str(tmp_path / "vm.json")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_result_is_as_published(command: str, vm: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    words = [vm if word == "VM" else word for word in command.split()]
    assert run([*words, "--json"]) in (0, 1)
    tree = json.loads(capsys.readouterr().out)
    check = validator(words[0])
    assert [error.message for error in check.iter_errors(tree)] == []
    for member in SCHEMA["$defs"][words[0]].get("required", ("verdict", "findings")):
        assert not check.is_valid({name: value for name, value in tree.items() if name != member})


def test_the_schema_is_one_and_knows_the_words() -> None:
    """Every word that a verb can say, and no other."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    rows = SCHEMA["$defs"]["drift"]["properties"]["drifts"]["items"]["properties"]
    assert rows["change"]["enum"] == [*Change]
    assert sorted(rows["treatment"]["enum"]) == sorted(Treatment)
    assert SCHEMA["$defs"]["verdict"]["enum"] == [*Verdict]
