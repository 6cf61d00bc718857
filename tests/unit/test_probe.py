"""A probed host is the host: its facts come back, and its model answers as the host did."""

from __future__ import annotations

import json
from errno import EINVAL, ENOEXEC
from pathlib import Path

import pytest
from tests.recordings import REPOSITORY
from tests.small_hosts import refused

import armkvm
from armkvm.abi.caps import DEFAULT_IPA_BITS, Cap
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.fields import Field
from armkvm.arch.idfields import field
from armkvm.arch.sysregs import sysreg
from armkvm.backends.model import ModelDevice, ModelSystem, ModelVcpu, ModelVm
from armkvm.catalog import id_of
from armkvm.cli.main import run
from armkvm.errors import UnknownPlace
from armkvm.hosts import hostfile, library
from armkvm.hosts.recording import profile_named_by
from armkvm.model.host import Platform
from armkvm.model.vgic.hardware import ASSUMED_CTLR
from armkvm.probe import VOLATILE, probe
from armkvm.probe.kernel import _TRIALS
from armkvm.state import CpuVectors, Exit, HostFacts
from armkvm.testing import conformance
from armkvm.value import replace

MPAM, MPAM_FRAC = field("ID_AA64PFR0_EL1", "MPAM"), field("ID_AA64PFR1_EL1", "MPAM_frac")
NV = field("ID_AA64MMFR2_EL1", "NV")
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
    return replace(
        facts,
        name="",
        cpu="",
        origin="",
        notes=(),
        cpu_flags=frozenset(),
        writable_masks=None,
        hidden={},
        behaviours={},
    )


@pytest.mark.parametrize(("name", "kernel"), HOSTS)
def test_a_built_in_hosts_facts_come_back(name: str, kernel: str) -> None:
    facts, profile = library.find(name, kernel)
    system = ModelSystem(facts, profile)
    if F.SME in facts.features and not system.platform.offers(F.SME):
        pytest.skip("no vCPU can have SME on its unlike CPUs, so that KVM hides it")
    found = probe(system)
    assert plain(found) == plain(seen(facts, system.platform))
    assert hostfile.decode(json.loads(hostfile.encode(found)), "probed") == found


@pytest.mark.parametrize(
    "uri",
    [
        *("model:max", "model:max-mte?kernel=6.12", "model:a64fx?kernel=6.1"),
        *("model:max?kernel=sve-v7", "model:sme-max?kernel=sme-v4"),
    ],
)
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


@pytest.mark.parametrize(("name", "kernel"), HOSTS)
def test_the_behaviours_seen_are_those_of_the_kernel(name: str, kernel: str) -> None:
    """Every trial that a host can tell by tells what the profile says."""
    facts, profile = library.find(name, kernel)
    seen = probe(ModelSystem(facts, profile)).behaviours
    assert seen == {behaviour: behaviour in profile for behaviour in seen}
    assert len(seen) >= 20


# What shows them is a fact of the host (capabilities, caches, PMCR_EL0) as well.
_COUPLED = {"writable-imp-id", "host-cache-geometry", "pmu-by-id-registers"}


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "7.3"])
@pytest.mark.parametrize("behaviour", sorted(_TRIALS.keys() - _COUPLED))
def test_what_a_kernel_has_or_lacks_against_its_release_is_seen(kernel: str, behaviour: str) -> None:
    """And the probed host's model has it, or not: what was seen counts, not the release."""
    facts, profile = library.find("max-nested" if kernel == "7.3" else "max", kernel)
    change = profile.without_behaviour if behaviour in profile else profile.with_behaviour
    try:
        changed = change(behaviour)
    except ValueError:
        return  # another one builds on it
    found = probe(ModelSystem(facts, changed))
    if behaviour not in found.behaviours:
        return  # this host cannot tell
    assert found.behaviours[behaviour] == (behaviour in changed) != (behaviour in profile)
    read = hostfile.decode(json.loads(hostfile.encode(found)), "probed")
    assert library.seen_through(read)[1].behaviours == changed.behaviours


def test_a_stable_release_that_took_a_behaviour_back_is_followed(tmp_path: Path) -> None:
    """6.12.117 refuses events before INIT, which 6.12.95 answered; both are called 6.12."""
    file = tmp_path / "host.json"
    for kernel, errno in (("6.12", 0), ("6.12+no-events-before-init", ENOEXEC)):
        assert run(["probe", f"model:max?kernel={kernel}", "-o", str(file)]) == 0
        vcpu = armkvm.connect(f"model:{file}").create_vm().create_vcpu(0)
        if errno:
            with refused(errno, "not-initialised"):
                vcpu.get_vcpu_events()
        else:
            vcpu.get_vcpu_events()


def test_facts_that_no_kernel_can_have_together_are_refused() -> None:
    facts = replace(library.find("max", "6.12")[0], behaviours={"vm-wide-features": False})
    with pytest.raises(UnknownPlace, match="writable-id-registers builds on vm-wide-features"):
        library.seen_through(facts)


@pytest.mark.parametrize("part", [MPAM, MPAM_FRAC, NV], ids=str)
def test_a_field_that_the_kernel_hides_is_found_by_what_it_takes_back(part: Field) -> None:
    facts, profile = library.find("neoverse-n1", "7.3")
    value = part.insert(0, 1)
    found = probe(ModelSystem(replace(facts, hidden={id_of(part.register): value}), profile))
    assert found.hidden == {id_of(part.register): value}
    assert found.behaviours["hides-nv" if part is NV else "hides-mpam"]
    assert probe(ModelSystem(facts, profile)).hidden == {}


def test_masks_of_a_probed_host_count_more_than_its_kernels() -> None:
    """A field that this host's kernel, against its release, fixes or lets be written."""
    facts, profile = library.find("max", "7.3")
    masks = dict(ModelSystem(facts, profile).create_vm().writable_masks())
    isar0, rndr = id_of(sysreg("ID_AA64ISAR0_EL1")), field("ID_AA64ISAR0_EL1", "RNDR")
    own = replace(facts, writable_masks={**masks, isar0: masks[isar0] & ~rndr.mask})
    for host, errno in ((facts, 0), (replace(facts, writable_masks=masks), 0), (own, EINVAL)):
        with ModelSystem(host, profile) as system, system.create_vm() as vm, vm.create_vcpu(0) as vcpu:
            vcpu.init({F.PSCI_0_2})
            assert vm.writable_masks() == (masks if host is not own else own.writable_masks)
            value = rndr.insert(int.from_bytes(vcpu.get_one_reg(isar0), "little"), 0).to_bytes(8, "little")
            if errno:
                with refused(errno, "id-above-limit"):
                    vcpu.set_one_reg(isar0, value)
            else:
                vcpu.set_one_reg(isar0, value)
    assert library.seen_through(own, "7.2")[0].writable_masks is None, "another kernel has its own"


def test_a_host_whose_ipa_size_is_0_has_the_default(tmp_path: Path) -> None:
    """Old kernels know one size only; a probe says of them what their file says."""
    host = library.builtin("max", "6.1")
    old = replace(host, caps={**host.caps, Cap.ARM_VM_IPA_SIZE: 0}, ipa_bits=DEFAULT_IPA_BITS)
    with ModelSystem(*library.seen_through(old)) as system:
        seen = probe(system)
    assert seen.ipa_bits == DEFAULT_IPA_BITS
    (tmp_path / "old.json").write_bytes(hostfile.encode(seen))
    assert library.read(tmp_path / "old.json").ipa_bits == DEFAULT_IPA_BITS


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
    run = ModelVcpu.run

    def enters_no_guest(vcpu: ModelVcpu, immediate_exit: bool = False) -> Exit:
        assert immediate_exit
        return run(vcpu, immediate_exit)

    monkeypatch.setattr(ModelVcpu, "run", enters_no_guest)
    probe(ModelSystem(*library.find("max-nested", "7.3")))
    assert {type(one) for one in made} == {ModelVm, ModelVcpu, ModelDevice}
    assert all(one.closed for one in made)


@pytest.mark.parametrize("kernel", ["sve-ioctl-2017", "sve-v5"])
def test_a_host_is_the_same_wherever_sve_stands(kernel: str) -> None:
    """Lengths that only a call tells are learnt too, and where FINALIZE is missing nothing waits for it."""
    merged = probe(armkvm.connect("model:max?kernel=sve-v7"))
    facts = probe(armkvm.connect(f"model:max?kernel={kernel}"))
    assert list(facts.cpus[0].sve) == list(range(1, 17))
    assert replace(facts, kernel=merged.kernel, profile=merged.profile, origin=merged.origin) == merged
