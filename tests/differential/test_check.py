"""`armkvm check` predicts recorded restores exactly, and its verdict is what the rehearsal says."""

from __future__ import annotations

import json
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from tests.differential.test_rehearsal import RECORDED, capture_name
from tests.recordings import SHARED_DATA

from armkvm.backends.model import ModelSystem
from armkvm.cli.main import run
from armkvm.hosts import library
from armkvm.migration.check import Config, check
from armkvm.migration.ordering import VOLATILE, Stage, rule_of
from armkvm.migration.plan import LENGTHS

if TYPE_CHECKING:
    from armkvm.backends.base import System

PAIRS = [
    ("7.3-max", "7.3-neoverse-v1", "all"),
    ("7.3-neoverse-n2", "7.3-neoverse-v1", "sve"),
    ("7.3-neoverse-n1", "7.3-neoverse-v1", "base"),
    ("6.1-max", "7.3-max", "all"),
    ("7.3-max", "6.1-max", "base"),
    ("7.3-max", "6.18-neoverse-n1", "sve"),
    ("7.3-max", "7.3-max-sve-1-2-4", "sve"),
    ("7.2-max", "6.12-neoverse-v1", "all"),
    ("sme-v12-max", "sme-v12-sve1-sme-2-4-8-16", "sve_sme"),
    ("sme-v12-max", "sme-v12-nosve", "sme"),
]


@pytest.mark.shared
@pytest.mark.parametrize(("source", "destination", "config"), PAIRS)
def test_the_command_predicts_a_recorded_restore(
    source: str, destination: str, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recording: dict[str, Any] = json.loads((SHARED_DATA / "pairs" / f"{destination}.json").read_text())
    (pair,) = [
        pair
        for pair in recording["pairs"]
        if (pair["source"], pair["config"], pair.get("svcr", 0)) == (source, config, 0)
    ]
    places = [str(SHARED_DATA / "captures" / f"{capture_name(name)}.json") for name in (source, destination)]
    status = run(["check", *places, "--config", config, "--order", "ids-first", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert {key: answer["restore"].get(key) for key in RECORDED} == {key: pair.get(key) for key in RECORDED}
    assert answer["features"] == pair["features"]
    assert status == (0 if answer["verdict"] in ("identical", "superset") else 1)


HOSTS = ("max", "max-vq4", "neoverse-v1", "neoverse-n1", "cortex-a72", "a64fx", "max-nosve")


VOLATILE_REGS = {row.reg for row in VOLATILE}


def place(name: str) -> System:
    return ModelSystem(*library.find(name, "7.3"))


@pytest.mark.parametrize(("source", "destination"), list(permutations(HOSTS, 2)))
def test_every_register_that_did_not_arrive_is_explained(source: str, destination: str) -> None:
    """Vectors that fail because of their lengths are explained by those."""
    forth = check(place(source), place(destination), Config.ALL).forth
    (tried,) = forth.rehearsals
    explained = {found.reg for found in forth.findings if found.blocking}
    changed = {reg: data for reg, data in tried.differs.items() if data is not None and reg not in LENGTHS}
    amiss = {*tried.refused, *tried.missing_here} - VOLATILE_REGS
    amiss |= {reg for reg, error in tried.lengths.items() if error is not None}
    amiss |= changed.keys() - VOLATILE_REGS
    if any(tried.lengths.values()):
        amiss = {reg for reg in amiss if rule_of(reg).stage is not Stage.VECTORS}
    assert amiss <= explained
    assert forth.possible == (tried.init is None and not amiss)


def test_both_directions_make_the_verdict() -> None:
    """The same host is identical; one with longer vectors only is a superset of the other."""
    longer, shorter = place("max"), place("max-vq4")
    assert check(longer, longer).verdict == "identical"
    assert check(shorter, longer).verdict == "superset"
    assert check(longer, shorter).verdict == "subset"
    assert check(longer, place("neoverse-v1")).verdict == "incompatible"


@pytest.mark.parametrize(
    ("field", "asked", "takes"), [("DebugVer", "0xa", "0x6-0x9"), ("DoubleLock", "0x0", "0x8-0xf")]
)
def test_a_field_that_decides_is_named_with_what_would_be_taken(field: str, asked: str, takes: str) -> None:
    """What is taken is found by trying: DebugVer has a floor of its own, DoubleLock is signed."""
    found = check(place("max"), place("neoverse-v1")).forth.findings
    (one,) = [each for each in found if each.field == field]
    assert one.asked.startswith(asked)
    assert (one.acceptable, one.severity, one.rule) == (takes, "error", "id-above-limit")
