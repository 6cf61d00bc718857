"""The model's in-kernel GICv3, timers and PMU attributes, step by step against what real KVM answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.recordings import recordings

from armkvm.backends.model import ModelSystem
from armkvm.hosts.recording import facts
from armkvm.model.profile import PROFILES
from armkvm.traces.recordings import sequences
from armkvm.traces.replay import replay


def load(path: Path) -> dict[str, Any]:
    recording: dict[str, Any] = json.loads(path.read_text())
    return recording


def host(recording: dict[str, Any], name: str) -> ModelSystem:
    known = facts(recording, name)
    return ModelSystem(known, PROFILES[known.profile])


@pytest.mark.parametrize("path", recordings("vgic/*.json"))
def test_every_answer_of_a_recording_is_predicted(path: Path) -> None:
    recording = load(path)
    steps = [step for sequence in recording["probes"] for step in sequence["steps"]]
    assert len(steps) >= 704
    assert [str(difference) for difference in replay(sequences(recording), host(recording, path.stem))] == []


@pytest.mark.parametrize("path", recordings("vgic/*.json"))
def test_a_host_whose_gic_is_not_known_is_taken_for_the_recorded_kind(path: Path) -> None:
    """Every recorded GIC is the one that is assumed, so its answers follow without `vgic_facts`."""
    recording = load(path)
    del recording["vgic_facts"]
    system = host(recording, path.stem)
    assert system.platform.assumptions == (
        "the host's GIC is not known; ICC_CTLR_EL1 is assumed to be 0x8c00",
    )
    assert list(replay(sequences(recording), system)) == []


@pytest.mark.shared
def test_a_difference_would_be_seen(shared_data: Path) -> None:
    """The comparison can fail: another host's GIC gives other answers."""
    recording = load(shared_data / "vgic" / "7.3-max.json")
    recording["vgic_facts"]["ICC_CTLR_EL1"] = "0xce00"
    different = {difference.sequence for difference in replay(sequences(recording), host(recording, "other"))}
    assert {"all_registers", "ctlr_seis", "ctlr_prib_raise", "apr_by_pribits"} <= different
    assert "timer_irqs" not in different
