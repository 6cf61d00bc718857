"""The SME recordings, reproduced from the host's facts alone.

`sme_experiments` does again what was done on a real kernel with revision 12 of the SME series; here
every answer of the model is held against the recorded one.
"""

from __future__ import annotations

import json
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.differential import sme_experiments as experiments
from tests.differential.sme_lab import MOVES_BY_ITSELF, Lab
from tests.recordings import recordings

from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.backends.model import ModelSystem
from armkvm.hosts.recording import ANSWERS, facts
from armkvm.model.profile import PROFILES
from armkvm.traces.recordings import sequences
from armkvm.traces.replay import replay

if TYPE_CHECKING:
    from pathlib import Path

    from armkvm.backends.base import System

CAPTURES = recordings("captures/sme-v12/*.json")
RANDOM = recordings("random/sme-v12-*.json")


class Recorded:
    """A recording, and the model of its host, built from what is no answer."""

    def __init__(self, path: Path) -> None:
        self.answers: dict[str, Any] = json.loads(path.read_text())
        known = {key: value for key, value in self.answers.items() if key not in ANSWERS}
        host = facts(known, path.stem)
        self.system = cast("System", ModelSystem(host, PROFILES[host.profile]))

    @cached_property
    def lab(self) -> Lab:
        return Lab.of(self.system, self.answers["feature_sets"])

    def answer(self, experiment: str) -> Any:  # noqa: ANN401 - JSON
        """What was recorded, or skip: not every experiment makes sense on every host."""
        if experiment not in self.answers:
            pytest.skip(f"{experiment} was not recorded on this host")
        return self.answers[experiment]


_LOADED: dict[Path, Recorded] = {}


@pytest.fixture
def recorded(path: Path) -> Recorded:
    if path not in _LOADED:
        _LOADED.clear()
        _LOADED[path] = Recorded(path)
    return _LOADED[path]


def differing(recorded: object, here: object, path: str = "") -> list[str]:
    """Where two answers differ, down to the leaf; a key that was not recorded is not compared."""
    if isinstance(recorded, dict) and isinstance(here, dict):
        missing = [f"{path}.{key}: not reproduced" for key in recorded.keys() - here.keys()]
        return missing + [
            line
            for key in recorded.keys() & here.keys()
            for line in differing(recorded[key], here[key], f"{path}.{key}")
        ]
    if isinstance(recorded, list) and isinstance(here, list) and len(recorded) == len(here):
        return [
            line
            for n, pair in enumerate(zip(recorded, here, strict=True))
            for line in differing(*pair, f"{path}[{n}]")
        ]
    return [] if recorded == here else [f"{path}: recorded {recorded}, here {here}"]


every_capture = pytest.mark.parametrize("path", CAPTURES)


@pytest.mark.parametrize("path", [*CAPTURES, *RANDOM])
def test_every_answer_of_every_call_sequence(recorded: Recorded) -> None:
    """117, 120, 60 or 3 scripted sequences per host, and 700 random ones."""
    assert [str(difference) for difference in replay(sequences(recorded.answers), recorded.system)] == []


@every_capture
def test_register_lists_in_every_mode(recorded: Recorded) -> None:
    """Order and members of KVM_GET_REG_LIST for each feature set and each value of SVCR."""
    answers = recorded.answer("lists")
    modes = {name: [int(svcr) for svcr in rows] for name, rows in answers.items()}
    assert differing(answers, experiments.lists(recorded.lab, modes)) == []


@every_capture
def test_access_tables(recorded: Recorded) -> None:
    """Read, write, read of about 42 ids in up to 20 states."""
    answers = recorded.answer("access")
    ids = recorded.answer("access_ids")
    assert differing(answers, experiments.access(recorded.lab, answers, ids)) == []


@every_capture
def test_sets_of_vector_lengths(recorded: Recorded) -> None:
    """Which sets are accepted, and what size they give Z, P, FFR, ZA and ZT0."""
    answers = recorded.answer("vls_matrix")
    assert differing(answers, experiments.vls_matrix(recorded.lab, answers)) == []


@every_capture
def test_size_of_z_and_p_follows_the_mode(recorded: Recorded) -> None:
    """The SVE length outside streaming mode, the SME length in it."""
    answers = recorded.answer("z_p_bytes_by_mode")
    assert differing(answers, experiments.z_p_bytes_by_mode(recorded.lab, answers)) == []


@every_capture
def test_what_a_write_of_svcr_changes(recorded: Recorded) -> None:
    """16 transitions and back, of vCPUs with SME alone and with both, every register full."""
    answers = recorded.answer("svcr_transitions")
    assert differing(answers, experiments.svcr_transitions(recorded.lab)) == []


@every_capture
def test_copies_of_a_vcpu_in_four_orders(recorded: Recorded) -> None:
    """What is refused and what is silently lost when registers are copied in each order."""
    answers = recorded.answer("copies")
    lab = recorded.lab
    assert differing(answers, [experiments.copy(lab, row) for row in answers]) == []


@every_capture
def test_bytes_of_each_register(recorded: Recorded) -> None:
    """Little-endian payloads, tails cut to the length and read as zero."""
    answers = recorded.answer("payload_layout")
    assert differing(answers, experiments.payload_layout(recorded.lab, answers)) == []


@every_capture
def test_no_id_answers_unlisted(recorded: Recorded) -> None:
    """All ids of SME's class in five sizes and all of op0 = 3, with the errno of each refusal."""
    answers = recorded.answer("get_sweep")
    assert differing(answers, experiments.get_sweep(recorded.lab)) == []


@every_capture
def test_writable_masks(recorded: Recorded) -> None:
    """The same for every VM of a host, whatever its features."""
    lab = recorded.lab
    masks = experiments.writable_masks(lab)
    assert masks == recorded.answer("writable_masks")
    assert experiments.writable_masks(lab, lab.with_all_vectors()) == masks


_SME_CLASS = re.compile(r"0x60[0-9a-f]{6}0017[0-9a-f]{4}")


@pytest.mark.parametrize("path", [*recordings("captures/7.2/*.json"), *recordings("random/7.2-*.json")])
def test_without_sme_only_its_own_ids_change(path: Path) -> None:
    """What 7.2 answered holds with the series, but that it knows SME's class and feature bit: ids of
    that class that are none, and SME on a host without it, are EINVAL instead of ENOENT.
    """
    recording = json.loads(path.read_text())
    system = cast("System", ModelSystem(facts(recording, path.stem), PROFILES["sme-v12"]))
    bit = PROFILES["sme-v12"].bit_of(VcpuFeature.SME)
    for difference in replay(sequences(recording), system):
        assert (difference.recorded, difference.here) == ("ENOENT", "EINVAL"), str(difference)
        asks_for_sme = "INIT" in difference.call and f", {bit}]" in difference.call
        assert asks_for_sme or _SME_CLASS.search(difference.call), str(difference)


@every_capture
def test_values_of_a_fresh_vcpu(recorded: Recorded) -> None:
    """Every register of a vCPU with SVE and SME, right after KVM_ARM_VCPU_FINALIZE."""
    answers = recorded.answer("values_sve_sme")
    here = experiments.initial_values(recorded.lab)
    expected = {reg: value.ljust(len(here[reg]), "0") for reg, value in answers.items()}
    moving = {f"{reg:#018x}" for reg in MOVES_BY_ITSELF}
    assert here.keys() == expected.keys()
    assert {reg: value for reg, value in here.items() if reg not in moving} == {
        reg: value for reg, value in expected.items() if reg not in moving
    }
