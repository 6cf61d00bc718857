"""Fuzzing finds a difference that is there, shrinks it, remembers it, and finds none that is not."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

import armkvm
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.backends.base import System
from armkvm.cli.main import run
from armkvm.errors import InputError, PlaceError
from armkvm.fuzzing import campaign
from armkvm.fuzzing.campaign import Plan, Tally
from armkvm.fuzzing.compare import answered, compare
from armkvm.fuzzing.explained import Explained, explained
from armkvm.fuzzing.generate import Generator
from armkvm.fuzzing.ground import survey
from armkvm.model import rules
from armkvm.traces.recordings import read
from armkvm.traces.replay import replay
from armkvm.traces.schema import faults_of

SAME = Plan("model:max", "model:max", 40)
# two hosts whose vCPUs differ in what lengths they take, and little else
UNLIKE = Plan("model:max-vq4", "model:max", 60, seed=3)


def finish(plan: Plan, folder: Path, jobs: int = 1) -> Tally:
    *_, last = campaign.run(plan, folder, armkvm.connect, jobs)
    return last


def test_a_sequence_is_a_function_of_seed_and_number() -> None:
    with armkvm.connect("model:max") as system:
        one, other = Generator(survey(system)), Generator(survey(system))
    assert one.sequence(1, 2) == other.sequence(1, 2)
    assert len({json.dumps(one.sequence(seed, n)) for seed in (1, 2) for n in range(20)}) == 40


@pytest.mark.parametrize("uri", ["model:max", "model:cortex-a57?kernel=6.1", "model:sme-max"])
def test_sequences_are_valid_traces_that_reach_into_every_corner(uri: str) -> None:
    """Every call is made, some succeed and some are refused, and several VMs live at once."""
    with armkvm.connect(uri) as system:
        generator = Generator(survey(system))
        steps = [answered(generator.sequence(0, number), system) for number in range(150)]
    for sequence in steps:
        assert faults_of({"probes": [{"name": "x", "vm0": False, "steps": sequence}]}) == []
    done = [step for sequence in steps for step in sequence]
    assert {step["errno"] for step in done} >= {None, "EINVAL", "ENOENT", "EPERM", "ENOEXEC", "EINTR"} - (
        set() if "max" in uri else {"EPERM"}
    )
    assert len({step["ioctl"] for step in done}) >= 15
    assert {step.get("vm") for step in done} >= {0, 1}
    assert {step.get("vcpu") for step in done} >= {0, 1, 2}


@pytest.mark.parametrize("kernel", ["sve-ioctl-2017", "sve-v5", "sve-v7"])
def test_sequences_are_made_wherever_sve_stands(kernel: str) -> None:
    """A survey needs no KVM_ARM_VCPU_FINALIZE where there is none, and sees Z, P and FFR all the same."""
    with armkvm.connect(f"model:max?kernel={kernel}") as system:
        ground = survey(system)
    assert {RegId.z(31), RegId.p(15), RegId.ffr()} <= set(ground.initial)


def test_a_place_does_not_differ_from_itself(tmp_path: Path) -> None:
    tally = finish(SAME, tmp_path)
    assert (tally.done, tally.unexplained.total(), tally.explained.total()) == (40, 0, 0)


def test_a_wrong_errno_is_found_and_shrunk_to_what_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least sequence makes a vCPU and the call; the trace it gives replays, and shows it."""
    with armkvm.connect("model:max") as reference, armkvm.connect("model:max") as tried:

        class Wrong:
            """A place that says EPERM where ENOEXEC belongs."""

            def __getattr__(self, name: str) -> object:
                return getattr(tried, name)

            def create_vm(self, machine_type: int = 0) -> object:
                monkeypatch.setattr(rules.NOT_INITIALISED, "errno", errno.EPERM)
                return tried.create_vm(machine_type)

        class Right(Wrong):
            def create_vm(self, machine_type: int = 0) -> object:
                monkeypatch.setattr(rules.NOT_INITIALISED, "errno", errno.ENOEXEC)
                return reference.create_vm(machine_type)

        places: dict[str, System] = {"wrong": Wrong(), "right": Right()}  # type: ignore[dict-item]
        worker = campaign.Worker(Plan("wrong", "right", 200), places.__getitem__)
        found = next(result for n in range(200) if (result := worker.carry_out(n)).is_unexplained)
    assert "errno ENOEXEC EPERM" in found.signature
    assert [step["ioctl"] for step in found.trace[:2]] == ["KVM_CREATE_VM", "KVM_CREATE_VCPU"]
    assert len(found.trace) == 3


def test_findings_accumulate_as_traces_that_replay(tmp_path: Path) -> None:
    tally = finish(UNLIKE, tmp_path)
    assert tally.unexplained
    assert set(tally.files) == set(tally.unexplained)
    for path in tally.files.values():
        with armkvm.connect(UNLIKE.reference) as reference, armkvm.connect(UNLIKE.tried) as tried:
            assert list(replay(read(path), reference)) == []
            assert list(replay(read(path), tried)) != []


def test_an_interrupted_campaign_goes_on(tmp_path: Path) -> None:
    """What was done is not done again, a line cut short is, and the end is that of one that ran through."""
    through, parts = tmp_path / "through", tmp_path / "parts"
    whole = finish(UNLIKE, through)
    for tally in campaign.run(UNLIKE, parts, armkvm.connect):
        if tally.done == 25:
            break
    journal = parts / "done.jsonl"
    journal.write_bytes(journal.read_bytes()[:-5])
    states = [tally.done for tally in campaign.run(UNLIKE, parts, armkvm.connect)]
    assert states[-1] == 60
    assert len(states) == 60 - 24 + 1
    again = finish(UNLIKE, parts)
    assert again.unexplained == whole.unexplained
    assert sorted(path.name for path in parts.iterdir()) == sorted(path.name for path in through.iterdir())


def test_several_processes_find_the_same(tmp_path: Path) -> None:
    alone, together = finish(UNLIKE, tmp_path / "1"), finish(UNLIKE, tmp_path / "2", jobs=2)
    assert alone.unexplained == together.unexplained


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_place_that_cannot_be_opened_is_said_as_ever(tmp_path: Path, jobs: int) -> None:
    """From another process, too, the reason arrives whole."""
    missing = f"model:{tmp_path}/missing.json"
    with pytest.raises(InputError, match=r"missing\.json: file: cannot be read"):
        finish(Plan(missing, "model:max", 20), tmp_path, jobs)


def test_a_folder_belongs_to_one_campaign(tmp_path: Path) -> None:
    finish(Plan("model:max", "model:max", 1), tmp_path)
    with pytest.raises(InputError, match="a folder of its own"):
        finish(Plan("model:max", "model:max", 1, seed=1), tmp_path)
    assert run(["fuzz", "model:max", "--against", "model:max", "--seed", "1", "--folder", str(tmp_path)]) == 3


def test_a_place_that_dies_is_opened_again_and_told(tmp_path: Path) -> None:
    """Once is bad luck; twice on one sequence is a finding, and the campaign goes on."""
    opened: list[str] = []

    def connect(uri: str) -> System:
        opened.append(uri)
        system = armkvm.connect("model:max")
        if uri == "dying":

            def die(*_: object) -> None:
                raise PlaceError("the line is cut")

            system.create_vm = die  # type: ignore[method-assign, assignment]
        return system

    *_, tally = campaign.run(Plan("dying", "model:max", 2), tmp_path, connect)
    assert tally.unexplained == {"a place died": 2}
    assert opened.count("dying") == 5


def test_an_explained_difference_is_counted_by_its_name() -> None:
    with armkvm.connect("model:max") as reference, armkvm.connect("model:max-vq1") as tried:
        vcpu = {"vm": 0, "vcpu": 0}
        steps: list[dict[str, Any]] = [
            {"ioctl": "KVM_CREATE_VM"},
            {"ioctl": "KVM_CREATE_VCPU", "vm": 0, "id": 0},
            {"ioctl": "KVM_ARM_VCPU_INIT", **vcpu, "features": [F.SVE.value]},
            {"ioctl": "KVM_GET_ONE_REG", **vcpu, "id": armkvm.RegId.sve_vls().hex},
        ]
        row = Explained(
            "lengths", "they differ", ioctl="KVM_GET_ONE_REG", reg="KVM_REG_ARM64_SVE_*", kernels=("7.3",)
        )
        found = compare(steps, reference, tried, [row])
        assert found is not None
        assert found.explained == row
        covering = Explained("x", "y", after="KVM_ARM_VCPU_INIT", feature="SVE")
        found = compare(steps, reference, tried, [covering])
        assert found is not None
        assert found.explained == covering
        for other in (
            Explained("x", "y", what="errno"),
            Explained("x", "y", kernels=("6.1",)),
            Explained("x", "y", after="KVM_RUN"),
            Explained("x", "y", feature="PMU_V3"),
        ):
            found = compare(steps, reference, tried, [other])
            assert found is not None
            assert found.explained is None


def test_known_differences_have_names_and_reasons() -> None:
    rows = explained()
    assert len({row.name for row in rows}) == len(rows)
    assert all(len(row.because) > 20 for row in rows)
