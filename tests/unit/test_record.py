"""A recorded place is the place, and its trace replays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.recordings import REPOSITORY

import armkvm
from armkvm.backends.record import Recorder
from armkvm.catalog import parse
from armkvm.cli.main import run
from armkvm.errors import PlaceError
from armkvm.testing import conformance
from armkvm.traces import lines
from armkvm.traces.recordings import read
from armkvm.traces.replay import replay
from armkvm.traces.schema import faults_of
from armkvm.traces.stage import IOCTLS

HOSTS = ("model:max-nested", "model:neoverse-v1?kernel=6.1", "model:sme-max")


@pytest.mark.parametrize("uri", HOSTS)
def test_a_recorded_place_keeps_the_rules_and_its_trace_replays(uri: str, tmp_path: Path) -> None:
    """Whatever the suite does passes through unchanged, and every answer is written down as it was."""
    steps: list[dict[str, Any]] = []
    with armkvm.connect(uri) as system, Recorder(system, steps.append) as recorded:
        told = [conformance.run(place) for place in (system, recorded)]
        assert [one.as_json() for one in told[0]] == [one.as_json() for one in told[1]]
    assert len(steps) > 2000
    assert any(step["errno"] and step["because"] for step in steps)
    sequence = {"name": "all", "vm0": False, "steps": steps}
    assert faults_of({"probes": [sequence]}) == []
    file = tmp_path / "trace.jsonl"
    lines.save(file, lines.header(uri, "x"), steps)
    with armkvm.connect(uri) as system:
        assert list(replay(read(file), system)) == []


def test_a_changed_answer_is_noticed() -> None:
    """Errnos, bytes, lists, masks and results of a trace are all compared."""
    steps: list[dict[str, Any]] = []
    with armkvm.connect("model:max") as system:
        recorded = Recorder(system, steps.append)
        recorded.check_extension(armkvm.Cap.ARM_SVE)
        vm = recorded.create_vm()
        vm.writable_masks()
        vm.preferred_target()
        vcpu = vm.create_vcpu(0)
        vcpu.init({armkvm.VcpuFeature.PSCI_0_2})
        vcpu.get_one_reg(parse("X0"))
        vcpu.reg_list()
        for name, other in (
            ("result", 7),
            ("masks", {}),
            ("target_out", 1),
            ("value", "ff" * 8),
            ("list", []),
        ):
            changed = [{**step, name: other} if name in step else step for step in steps]
            found = list(replay([{"name": "x", "vm0": False, "steps": changed}], system))
            assert {one.what for one in found} == {name}
        changed = [{**step, "errno": "EPERM"} if "features" in step else step for step in steps]
        [found_one] = replay([{"name": "x", "vm0": False, "steps": changed}], system)
        assert (found_one.what, found_one.recorded, found_one.here) == ("errno", "EPERM", None)


def test_what_moves_by_itself_is_not_compared() -> None:
    steps: list[dict[str, Any]] = []
    with armkvm.connect("model:max") as system:
        vcpu = Recorder(system, steps.append).create_vm().create_vcpu(0)
        vcpu.init()
        vcpu.get_one_reg(parse("KVM_REG_ARM_TIMER_CNT"))
        steps[-1]["value"] = "11" * 8
        assert list(replay([{"name": "x", "vm0": False, "steps": steps}], system)) == []


def test_a_place_that_dies_ends_the_trace_before_the_call() -> None:
    """No answer came, so none is written; what was written before is there."""

    class Dying:
        uri, kernel = "x", "y"

        def api_version(self) -> int:
            return 12

        def check_extension(self, _: int) -> int:
            raise PlaceError("the line is cut")

        def close(self) -> None: ...

    steps: list[dict[str, Any]] = []
    recorder = Recorder(Dying(), steps.append)  # type: ignore[arg-type]  # as much of a place as it needs
    assert recorder.api_version() == 12
    with pytest.raises(PlaceError):
        recorder.check_extension(1)
    assert steps == [{"ioctl": "KVM_GET_API_VERSION", "errno": None, "result": 12}]


def test_a_migration_is_recorded_at_its_destination(tmp_path: Path) -> None:
    trace = tmp_path / "moved.jsonl"
    words = ["migrate", "model:max-vq4", "model:max-sve-1-2-4", "--vls", "1,2", "--record", str(trace)]
    assert run(words) == 0
    first, *steps = map(json.loads, trace.read_text().splitlines())
    assert first["format"] == lines.FORMAT
    assert first["place"] == "model:max-sve-1-2-4"
    assert sum(step["ioctl"] == "KVM_SET_ONE_REG" for step in steps) > 200
    assert run(["replay", str(trace), "--on", "model:max-sve-1-2-4"]) == 0
    assert run(["replay", str(trace), "--on", "model:max-vq1"]) == 1


def test_the_page_of_the_format_names_every_call() -> None:
    page = (REPOSITORY / "docs" / "traces.md").read_text()
    table = page.partition("| call | arguments | answer |")[2].partition("\n\n")[0]
    named = {word for row in table.splitlines()[2:] for word in row.split("|")[1].strip().split(", ")}
    assert named == IOCTLS
