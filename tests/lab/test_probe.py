"""A probed lab is the lab: its facts are those recorded, and its model answers recorded calls as it does."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.lab.conftest import OpenLab
from tests.recordings import recordings

from armkvm.backends.model import ModelSystem
from armkvm.hosts import library
from armkvm.model.profile import PROFILES
from armkvm.probe import probe
from armkvm.traces.recordings import read
from armkvm.traces.replay import replay

pytestmark = pytest.mark.lab

PATTERNS = ("captures/7.3/max.json", "captures/6.12/neoverse-v1.json", "captures/6.1/max.json")


@pytest.mark.parametrize("path", [p for pattern in PATTERNS for p in recordings(pattern)])
def test_a_probed_labs_model_answers_as_the_lab_does(lab: OpenLab, path: Path) -> None:
    recorded = library.read(path)
    system = lab(recorded.cpu, recorded.kernel)
    found = probe(system)
    assert found == probe(system), "probing twice gives the same facts"
    for member in ("caps", "vm_caps", "preferred_target", "device_types", "cpus", "values", "writable_masks"):
        assert getattr(found, member) == getattr(recorded, member), member
    assert found.behaviours == {name: name in PROFILES[found.profile] for name in found.behaviours}
    assert len(found.behaviours) > 20
    sequences = read(path)
    assert list(replay(sequences, system)) == []
    assert list(replay(sequences, ModelSystem(*library.seen_through(found)))) == []
