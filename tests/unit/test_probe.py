"""A probed host is the host: its facts come back, and its model answers as the host did."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.recordings import REPOSITORY

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.backends.model import ModelDevice, ModelSystem, ModelVcpu, ModelVm
from armkvm.cli.main import run
from armkvm.hosts import hostfile, library
from armkvm.hosts.recording import profile_named_by
from armkvm.model.host import Platform
from armkvm.model.vgic.hardware import ASSUMED_CTLR
from armkvm.probe import VOLATILE, probe
from armkvm.state import CpuVectors, HostFacts
from armkvm.testing import conformance

HOSTS = [(name, kernel) for name, kernels in library.names().items() for kernel in kernels]


def seen(facts: HostFacts, platform: Platform) -> HostFacts:
    """Of a built-in host's facts what a probe can see, in its words."""
    alike = len(set(facts.cpus)) == 1
    el2 = {"ICH_VTR_EL2": platform.gic.vtr, "ICH_VMCR_EL2": 0, "ICH_HCR_EL2": 0}
    return replace(
        facts,
        cpus=(facts.cpus[0] if alike else CpuVectors(platform.sve, platform.sme),),
        features=facts.features | {F.POWER_OFF},  # every kernel takes it; recorders did not try
        profile=facts.profile if F.SME in facts.features else profile_named_by(facts.kernel),
        vgic={"ICC_CTLR_EL1": ASSUMED_CTLR, "ICC_SRE_EL1": 7, **(el2 if F.HAS_EL2 in facts.features else {})},
    )


def plain(facts: HostFacts) -> HostFacts:
    """Facts without names, and what the protocol does not carry."""
    return replace(facts, name="", cpu="", origin="", notes=(), cpu_flags=frozenset(), writable_masks=None)


@pytest.mark.parametrize(("name", "kernel"), HOSTS)
def test_a_built_in_hosts_facts_come_back(name: str, kernel: str) -> None:
    facts, profile = library.find(name, kernel)
    system = ModelSystem(facts, profile)
    if F.SME in facts.features and not system.platform.offers(F.SME):
        pytest.skip("no vCPU can have SME on its unlike CPUs, so that KVM hides it")
    found = probe(system)
    assert plain(found) == plain(seen(facts, system.platform))
    assert hostfile.decode(json.loads(hostfile.encode(found)), "probed") == found


@pytest.mark.parametrize("uri", ["model:max", "model:max-mte?kernel=6.12", "model:a64fx?kernel=6.1"])
def test_probing_twice_gives_the_same_file(uri: str, tmp_path: Path) -> None:
    """And so does probing the model that was made of it."""
    first, again, model = tmp_path / "first.json", tmp_path / "again.json", tmp_path / "model.json"
    for place, file in ((uri, first), (uri, again), (f"model:{first}", model)):
        assert run(["probe", place, "-o", str(file)]) == 0
    assert first.read_bytes() == again.read_bytes() == model.read_bytes()


def test_what_may_differ_between_two_probes_is_documented() -> None:
    page = (REPOSITORY / "docs" / "hosts.md").read_text()
    volatile = page.partition("| volatile | why |")[2].partition("\n\n")[0]
    for member, why in VOLATILE.items():
        assert f"| {', '.join(f'`{name}`' for name in member.split(', '))} | {why} |" in volatile


def test_masks_and_tag_memory_are_seen() -> None:
    facts, profile = library.find("max-mte", "7.3")
    system = ModelSystem(facts, profile)
    found = probe(system)
    assert found.cpu_flags == {"mte", "mte3"}
    assert found.writable_masks == dict(system.create_vm().writable_masks())
    assert probe(ModelSystem(*library.find("max", "6.1"))).writable_masks is None


def test_the_model_of_a_probed_host_keeps_the_rules() -> None:
    facts, profile = library.find("max-nested", "7.3")
    again = ModelSystem(probe(ModelSystem(facts, profile)), profile)
    told = [conformance.run(system) for system in (ModelSystem(facts, profile), again)]
    assert [one.as_json() for one in told[0]] == [one.as_json() for one in told[1]]


def test_a_probe_closes_what_it_makes_and_needs_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ModelVm | ModelVcpu | ModelDevice] = []

    def noted(kind: type[ModelVm | ModelVcpu | ModelDevice]) -> None:
        before = kind.__init__

        def init(self: ModelVm, *arguments: object) -> None:
            before(self, *arguments)  # type: ignore[arg-type]
            made.append(self)

        monkeypatch.setattr(kind, "__init__", init)

    def never(*_: object) -> None:
        raise AssertionError("a probe has no business here")

    for kind in (ModelVm, ModelVcpu, ModelDevice):
        noted(kind)
    monkeypatch.setattr(ModelVm, "set_memory", never)
    monkeypatch.setattr(ModelVcpu, "run", never)
    probe(ModelSystem(*library.find("max-nested", "7.3")))
    assert {type(one) for one in made} == {ModelVm, ModelVcpu, ModelDevice}
    assert all(one.closed for one in made)
