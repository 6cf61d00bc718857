"""Hosts out of fingerprints: what is read off registers holds, and what is assumed is said.

The recordings of our own are turned into fingerprints to be compared with what else they hold, and
the model of a public fingerprint's host has to give that very fingerprint.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.exchange import samples
from tests.exchange.samples import VCPU
from tests.model_hosts import capture_file, recorded_snapshot
from tests.recordings import recordings, shared_recordings

from armkvm.abi.caps import SME_CAPS, Cap
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.idfields import field
from armkvm.backends.model import ModelSystem
from armkvm.catalog import id_of, name_of, parse
from armkvm.errors import MissingFacts
from armkvm.exchange.assumed import KERNEL_CAPS, host_facts
from armkvm.exchange.firecracker import Fingerprint, read_fingerprint
from armkvm.hosts import hostfile, recording
from armkvm.model.acceptance import accepts
from armkvm.model.host import Platform
from armkvm.model.profile import PROFILES
from armkvm.state import HostFacts

CAPTURES = [
    row
    for row in shared_recordings("captures/*/*.json")
    if str(row.id) == "absent" or str(row.id).split("/")[1] in KERNEL_CAPS
]


def vcpu_of(facts: HostFacts, fingerprint: Fingerprint) -> dict[RegId, bytes]:
    """What a fresh vCPU holds in the model of a host, as far as a fingerprint can."""
    with ModelSystem(facts, PROFILES[facts.profile]).create_vm() as vm, vm.create_vcpu(0) as vcpu:
        vcpu.init(fingerprint.features)
        regs = [reg for reg in vcpu.reg_list() if reg.size <= 16]
        return dict(zip(regs, vcpu.get_regs(regs), strict=True))


NEVER_STILL = {"PC", "KVM_REG_ARM_TIMER_CNT", "KVM_REG_ARM_PTIMER_CNT"}
"""What Firecracker leaves out."""


def fingerprint_of(capture: str, config: str = "base") -> Fingerprint:
    """The fingerprint Firecracker would have taken where a recording was made."""
    state = recorded_snapshot(capture, config).vcpus[0]
    registers = {
        name_of(reg) or reg.hex: int.from_bytes(data, "little")
        for reg, data in state.registers.items()
        if reg.size in (4, 8, 16) and name_of(reg) not in NEVER_STILL
    }
    document = samples.fingerprint(capture_file(capture)["kernel"], registers)
    return read_fingerprint(document, capture)


# -- the kernel ------------------------------------------------------------------------------------


def test_a_kernel_with_a_profile_is_seen_through_it() -> None:
    facts = host_facts(read_fingerprint(samples.fingerprint("6.18.7-1.x86"), "f"), "f")
    assert (facts.profile, facts.kernel, facts.cpu) == ("6.18", "6.18.7-1.x86", "Neoverse V1")


@pytest.mark.parametrize("kernel", ["5.10.255-253.1008.amzn2.aarch64", "6.6.1", "6", "next", ""])
def test_a_kernel_without_a_profile_is_treated_as_the_user_says_or_not_at_all(kernel: str) -> None:
    fingerprint = read_fingerprint(samples.fingerprint(kernel), "f")
    with pytest.raises(
        MissingFacts, match=r"to be treated as: 6\.1, 6\.12, 6\.18, 7\.0, 7\.2, 7\.3, sme-v12"
    ):
        host_facts(fingerprint, "graviton")
    facts = host_facts(fingerprint, "graviton", treat_as="6.1")
    assert (facts.profile, facts.kernel) == ("6.1", kernel)
    assert (
        f"kernel {kernel} is treated as 6.1, as asked for: register lists, capabilities and "
        "which ID register bits a VM may set are those of 6.1"
    ) in facts.notes


def test_a_kernel_is_not_treated_as_one_that_is_not_known() -> None:
    fingerprint = read_fingerprint(samples.fingerprint(), "f")
    with pytest.raises(ValueError, match=r"treated as 6\.1, .*, not as '5\.10'"):
        host_facts(fingerprint, "f", treat_as="5.10")


def test_another_kernel_than_its_own_is_said_too() -> None:
    facts = host_facts(read_fingerprint(samples.fingerprint("6.18.7"), "f"), "f", treat_as="7.3")
    assert facts.profile == "7.3"
    assert any(note.startswith("kernel 6.18.7 is treated as 7.3") for note in facts.notes)


@pytest.mark.parametrize("name", ["ID_AA64MMFR2_EL1", "ID_AA64PFR0_EL1"])
def test_what_the_kernel_treated_as_would_hide_is_hidden(name: str) -> None:
    """Else the host could not take its own register back, and no field of it could be lowered."""
    shown = {
        "ID_AA64MMFR2_EL1": field("ID_AA64MMFR2_EL1", "NV"),
        "ID_AA64PFR0_EL1": field("ID_AA64PFR0_EL1", "MPAM"),
    }
    registers = VCPU | {reg: part.insert(VCPU.get(reg, 0), 1) for reg, part in shown.items()}
    fingerprint = read_fingerprint(samples.fingerprint("6.1.172", registers), "f")
    reg, part = parse(name), shown[name]
    old, new = (host_facts(fingerprint, "f", treat_as=kernel) for kernel in ("6.1", "7.3"))
    assert part.extract(old.values["plain"][reg]) == 1
    assert part.extract(new.values["plain"][reg]) == 0
    assert part.extract(new.hidden[reg]) == 1
    with ModelSystem(new, PROFILES["7.3"]).create_vm() as vm, vm.create_vcpu(0) as vcpu:
        vcpu.init({F.PSCI_0_2})
        fresh = vcpu.get_one_reg(reg)
        vcpu.set_one_reg(reg, registers[name].to_bytes(8, "little"))
        assert vcpu.get_one_reg(reg) == fresh


# -- what is assumed -------------------------------------------------------------------------------


def test_every_assumption_is_a_note() -> None:
    facts = host_facts(read_fingerprint(samples.fingerprint("6.18.7"), "f"), "f")
    assert facts.notes == (
        "read from a fingerprint by Firecracker 1.16.0: registers of a vCPU with PSCI_0_2",
        (
            "assumed from profile 6.18: capabilities that the kernel alone decides, and which ID register "
            "bits a VM may set; 6.18.7 may carry backports"
        ),
        "features that the vCPU did not have (PMU, pointer authentication, EL2, MTE) count as not offered",
        "vector lengths are not in a fingerprint: SVE and SME count as not offered",
        "read off ID registers: 48 bits of IPA, breakpoints and watchpoints, AArch32 at EL1, RAS",
        "how many CPUs the host has is not known; all are taken to be alike, with a GICv3",
    )


def test_a_vcpu_with_sve_shows_no_lengths_so_its_host_counts_as_having_none() -> None:
    pfr0 = field("ID_AA64PFR0_EL1", "SVE")
    registers = {
        **VCPU,
        "ID_AA64PFR0_EL1": pfr0.insert(VCPU["ID_AA64PFR0_EL1"], 1),
        "ID_AA64ZFR0_EL1": 0x11,
    }
    tree = json.loads(samples.fingerprint(registers=registers))
    tree["guest_cpu_config"]["vcpu_features"] = [{"index": 0, "bitmap": "0b111xxxx"}]
    facts = host_facts(read_fingerprint(json.dumps(tree).encode(), "f"), "f")
    assert facts.features == {F.POWER_OFF, F.PSCI_0_2, F.PTRAUTH_ADDRESS, F.PTRAUTH_GENERIC}
    assert pfr0.extract(facts.values["plain"][id_of(pfr0.register)]) == 0
    assert facts.values["plain"][parse("ID_AA64ZFR0_EL1")] == 0
    assert (facts.caps[Cap.ARM_SVE], facts.caps[Cap.ARM_PTRAUTH_ADDRESS]) == (0, 1)


def test_a_vcpu_with_el2_tells_too_little_of_others() -> None:
    tree = json.loads(samples.fingerprint())
    tree["guest_cpu_config"]["vcpu_features"] = [{"index": 0, "bitmap": "0b1xxxxxxx"}]
    with pytest.raises(MissingFacts, match="the registers of a vCPU without EL2"):
        host_facts(read_fingerprint(json.dumps(tree).encode(), "f"), "f")


@pytest.mark.parametrize("kernel", [*KERNEL_CAPS])
def test_a_fingerprints_host_can_be_kept_in_a_host_file(kernel: str) -> None:
    facts = host_facts(read_fingerprint(samples.fingerprint(), "f"), "f", treat_as=kernel)
    assert hostfile.decode(json.loads(hostfile.encode(facts)), "f") == facts
    assert facts.origin == "fingerprint under 6.18.7"


# -- against recordings ----------------------------------------------------------------------------

# Capabilities that a feature decides which a vCPU without it does not show, and the count of CPUs.
NOT_SHOWN = (
    *(Cap.NR_VCPUS, Cap.ARM_PMU_V3, Cap.ARM_SVE, Cap.ARM_PTRAUTH_ADDRESS, Cap.ARM_PTRAUTH_GENERIC),
    *(Cap.ARM_MTE, Cap.ARM_EL2, Cap.ARM_EL2_E2H0, Cap.ARM_PMU_V3_STRICT, SME_CAPS["sme-v12"]),
)


@pytest.mark.parametrize("path", CAPTURES)
def test_capabilities_are_those_that_real_hosts_answer(path: Path) -> None:
    name = f"{path.parent.name}/{path.stem}"
    real = recording.facts(capture_file(name), name)
    made = host_facts(fingerprint_of(name), path.stem, treat_as=path.parent.name)
    shown = {cap: value for cap, value in real.caps.items() if value and cap not in NOT_SHOWN}
    shown[Cap.ARM_VM_IPA_SIZE] = min(48, real.ipa_bits)  # LPA2 is not shown to guests
    assert {cap: value for cap, value in made.caps.items() if value} == shown
    assert made.vm_caps.keys() == real.vm_caps.keys()
    assert made.device_types == real.device_types
    assert made.preferred_target == real.preferred_target
    assert made.profile == real.profile
    assert made.features == real.features & {F.POWER_OFF, F.PSCI_0_2, F.EL1_32BIT} | {F.POWER_OFF}
    assert hostfile.decode(json.loads(hostfile.encode(made)), name) == made


@pytest.mark.parametrize("path", CAPTURES)
def test_the_model_of_a_recorded_hosts_fingerprint_gives_it_again(path: Path) -> None:
    fingerprint = fingerprint_of(f"{path.parent.name}/{path.stem}")
    again = vcpu_of(host_facts(fingerprint, path.stem, treat_as=path.parent.name), fingerprint)
    assert {reg: again.get(reg) for reg in fingerprint.registers} == dict(fingerprint.registers)
    assert {name_of(reg) for reg in again.keys() - fingerprint.registers.keys()} <= NEVER_STILL


# What a fingerprint of a kernel has and our recordings of that release have not: Amazon Linux lists
# the physical timer under 6.1.
BACKPORTED = {"6.1": {"KVM_REG_ARM_PTIMER_CTL", "KVM_REG_ARM_PTIMER_CVAL"}, "6.18": set[str]()}


@pytest.mark.parametrize("path", recordings("firecracker/*6.1*.json"))
def test_the_model_of_a_public_fingerprints_host_gives_it_again(path: Path) -> None:
    fingerprint = read_fingerprint(path.read_bytes(), path.name)
    facts = host_facts(fingerprint, path.stem)
    again = vcpu_of(facts, fingerprint)
    assert {name_of(reg) for reg in fingerprint.registers.keys() - again.keys()} == BACKPORTED[facts.profile]
    assert {name_of(reg) for reg in again.keys() - fingerprint.registers.keys()} <= NEVER_STILL
    differing = {reg for reg, data in fingerprint.registers.items() if reg in again and again[reg] != data}
    assert differing == {parse("X0")}  # where Firecracker put the device tree


@pytest.mark.parametrize("path", recordings("firecracker/*5.10*.json"))
def test_treating_5_10_as_6_1_changes_what_guests_see(path: Path) -> None:
    fingerprint = read_fingerprint(path.read_bytes(), path.name)
    again = vcpu_of(host_facts(fingerprint, path.stem, treat_as="6.1"), fingerprint)
    differing = {
        name_of(reg) for reg, data in fingerprint.registers.items() if reg in again and again[reg] != data
    }
    has_aarch32 = {"ID_DFR0_EL1"} if "N1" in path.name else set[str]()
    assert differing == {"X0", "ID_AA64DFR0_EL1", "KVM_REG_ARM_PSCI_VERSION", *has_aarch32}
    assert len(fingerprint.registers.keys() - again.keys()) == 76  # 74 of the PMU, and the two of 6.1


@pytest.mark.parametrize("path", recordings("firecracker/*.json"))
def test_what_a_public_fingerprints_host_accepts_starts_with_its_own_values(path: Path) -> None:
    fingerprint = read_fingerprint(path.read_bytes(), path.name)
    facts = host_facts(fingerprint, path.stem, treat_as="6.1" if "5.10" in path.name else None)
    acceptance = accepts(Platform(facts, PROFILES[facts.profile]), {F.PSCI_0_2})
    pfr0 = parse("ID_AA64PFR0_EL1")
    assert acceptance.initial[pfr0] == fingerprint.number("ID_AA64PFR0_EL1")
    assert acceptance.identity[parse("MIDR_EL1")] == fingerprint.number("MIDR_EL1")
    assert acceptance.identity_is_writable == (facts.profile == "6.18")
    assert hostfile.decode(json.loads(hostfile.encode(facts)), path.stem) == facts
