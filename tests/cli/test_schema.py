"""``--json`` of the fleet verbs is as the published schema says, and the schema says nothing else."""

from __future__ import annotations

import contextlib
import io
import json
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from tests.recordings import REPOSITORY

from armkvm.cli.main import run

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = json.loads((REPOSITORY / "src" / "armkvm" / "report" / "fleet.schema.json").read_text())
COMMANDS = [
    "check neoverse-v1 neoverse-n2",
    "check neoverse-v1 neoverse-v1",
    "check neoverse-v1 neoverse-n1",
    "check vm.json max",
    "check sme-max sme-nofa64",
    "baseline neoverse-v1 neoverse-n2",
    "baseline neoverse-v1 neoverse-n1",
    "baseline neoverse-v1 neoverse-n2 --write qemu",
    "pools neoverse-v1 neoverse-n1 --admit neoverse-n2 --vm vm.json",
    "pools neoverse-v1?kernel=6.12 neoverse-n2 --kernel *=7.3 --moves",
    "drift neoverse-v1?kernel=6.1 neoverse-v1?kernel=7.3",
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each command prints, parsed."""
    found = {}
    with contextlib.chdir(tmp_path_factory.mktemp("answers")), contextlib.redirect_stderr(io.StringIO()):
        with contextlib.redirect_stdout(io.StringIO()):
            assert run(["save", "model:neoverse-v1", "vm.json", "--vcpus", "2"]) == 0
        for command in COMMANDS:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                assert run([*command.split(), "--json"]) in {0, 1}
            found[command] = json.loads(printed.getvalue())
    return found


@cache
def validator(verb: str) -> Draft202012Validator:
    return Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{verb}"})


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_printed_is_as_the_schema_says(command: str, answers: dict[str, Any]) -> None:
    verb = command.split(maxsplit=1)[0]
    faults = [
        f"{fault.json_path}: {fault.message}" for fault in validator(verb).iter_errors(answers[command])
    ]
    assert faults == []


@pytest.mark.parametrize("verb", ["check", "baseline", "pools", "drift"])
def test_a_member_more_or_less_is_a_fault(verb: str, answers: dict[str, Any]) -> None:
    answer = next(tree for command, tree in answers.items() if command.startswith(verb))
    assert not validator(verb).is_valid({**answer, "surprise": 1})
    for member in answer:
        assert not validator(verb).is_valid({key: answer[key] for key in answer if key != member}), member


def members(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        yield from node
        for value in node.values():
            yield from members(value)
    elif isinstance(node, list):
        for value in node:
            yield from members(value)


def described(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        yield from node.get("properties", {})
        for value in node.values():
            yield from described(value)
    elif isinstance(node, list):
        for value in node:
            yield from described(value)


def test_every_member_described_is_printed_somewhere(answers: dict[str, Any]) -> None:
    """A description of what no command prints would be a promise that nobody keeps."""
    assert set(described(SCHEMA)) <= set(members(answers))
