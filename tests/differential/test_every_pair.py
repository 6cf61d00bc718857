"""What `check` says of two hosts is what a restore does, with and without a baseline; for all hosts.

By default some pairs, other ones each time; ``pytest -m long`` takes all, a quarter of an hour.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from tests.differential.test_rehearsal import RECORDED, capture_name, is_recorded
from tests.every_host import every_host
from tests.recordings import SHARED_DATA, shared_recordings

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.backends.model import ModelSystem
from armkvm.cli.main import run
from armkvm.errors import KvmError
from armkvm.migration.advice import Code
from armkvm.migration.baseline import Baseline, baseline
from armkvm.migration.check import Direction, check, check_states, fresh
from armkvm.migration.ordering import VOLATILE
from armkvm.migration.plan import LENGTHS
from armkvm.migration.provision import provision, registers
from armkvm.migration.restore import restore
from armkvm.migration.snapshot import Origin, Snapshot, VcpuState, VmConfig
from armkvm.migration.verdict import same
from armkvm.model.acceptance import accepts, offered

if TYPE_CHECKING:
    from pathlib import Path

    from armkvm.state import Acceptance

UNCOMPARED = {row.reg for row in VOLATILE if row.bits == (1 << 64) - 1}


def place(label: str) -> ModelSystem:
    host = every_host()[label]
    return ModelSystem(host.facts, host.profile, label)


@cache
def accepted(label: str, features: frozenset[F]) -> Acceptance:
    return accepts(every_host()[label], features)


def common(*labels: str) -> Baseline:
    return baseline({label: offered(every_host()[label]) for label in labels}, accepted)


def hold_against_restore(said: Direction, config: VmConfig, state: VcpuState, there: ModelSystem) -> None:
    """Every register's fate and the verdict, against a restore of the same state."""
    snapshot = Snapshot(Origin("here"), config, (state,))
    with restore(there, snapshot) as restored:
        report = restored.report
    (outcome,) = report.vcpus
    moves = said.possible or {found.code for found in said.findings if found.blocking} <= {Code.GIC}
    assert moves == report.verified
    if not said.rehearsals or said.rehearsals[0].init is not None:
        assert not outcome.tried
        return
    (tried,) = said.rehearsals
    skipped = outcome.skipped | {*LENGTHS}
    refused = {reg: error.errno for reg, error in tried.refused.items() if reg not in skipped}
    assert refused == {reg: number for reg, number in outcome.refused.items() if reg not in skipped}
    assert {reg for reg, error in tried.lengths.items() if error} == outcome.skipped & {*LENGTHS}
    ignored = {*UNCOMPARED, *skipped, *tried.refused, *tried.missing_here}
    changed = {
        reg: data
        for reg, data in tried.differs.items()
        if reg not in ignored and data is not None and not same(reg, data, state.registers[reg])
    }
    assert changed == {reg: data for reg, data in outcome.differs.items() if reg not in ignored}
    assert set(tried.extra_here) == set(outcome.extra) - UNCOMPARED
    unfinished = tried.finalize is not None
    assert unfinished or set(tried.missing_here) <= set(outcome.refused) | outcome.skipped


def hold_both_ways(one: str, two: str) -> None:
    """A check in both directions, of what runs on each and of a VM made to their baseline."""
    here, there = place(one), place(two)
    result = check(here, there)
    assert result.back is not None
    guest = common(one, two).guest
    for source, destination, said in ((here, there, result.forth), (there, here, result.back)):
        state = fresh(source, said.features)
        hold_against_restore(said, VmConfig(), state, destination)
        if guest is not None:
            config, made = provision(source, guest)
            moved = check_states((made,), config, destination).forth
            hold_against_restore(moved, config, made, destination)
            amiss = {found.reg for found in moved.findings if found.blocking}
            assert not amiss & ({*registers(guest), *LENGTHS}), (one, two)


PAIRS = [*combinations(every_host(), 2)]


@given(st.sampled_from(PAIRS))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_check_is_a_restore_explained(pair: tuple[str, str]) -> None:
    hold_both_ways(*pair)


@pytest.mark.long
@pytest.mark.parametrize("source", every_host())
def test_check_is_a_restore_explained_for_every_pair(source: str) -> None:
    for one, two in PAIRS:
        if one == source:
            hold_both_ways(one, two)


@pytest.mark.long
@pytest.mark.parametrize("path", shared_recordings("pairs/*.json"))
def test_the_command_predicts_every_recorded_restore(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--config CONFIG --order ids-first --json``: the result's `restore` is the recorded one."""
    recording: dict[str, Any] = json.loads(path.read_text())
    if not is_recorded(recording["destination"]):
        pytest.skip(f"the destination {recording['destination']} was not recorded")
    compared = 0
    for pair in recording["pairs"]:
        if not is_recorded(pair["source"]) or pair.get("svcr"):
            continue
        names = (capture_name(name) for name in (pair["source"], recording["destination"]))
        hosts = [str(SHARED_DATA / "captures" / f"{name}.json") for name in names]
        run(["check", *hosts, "--config", pair["config"], "--order", "ids-first", "--json"])
        said = json.loads(capsys.readouterr().out)["restore"]
        about = (pair["source"], pair["config"])
        assert {key: said.get(key) for key in RECORDED} == {key: pair.get(key) for key in RECORDED}, about
        compared += 1
    assert compared > 10


def test_a_host_that_refuses_a_baseline_says_so() -> None:
    """`provision` is no way around the host: what it does not take is refused."""
    guest = common("max?kernel=7.3").guest
    assert guest is not None
    with pytest.raises(KvmError):
        provision(place("neoverse-n1?kernel=7.3"), guest)
