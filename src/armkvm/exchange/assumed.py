"""A host of which only a fresh vCPU's registers are known: what they tell, and what is assumed.

A fingerprint shows neither capabilities nor vector lengths nor write masks, nor features that its
vCPU did not have. What the kernel alone decides is taken from the kernel's profile, what registers
show is read off them, and the rest is taken as absent. Each assumption is a note of the facts.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping

from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.abi.structs import DeviceType
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.cpus import cpu_of, parts
from armkvm.arch.fields import Field
from armkvm.arch.idfields import field
from armkvm.catalog import id_of, parse
from armkvm.errors import MissingFacts
from armkvm.exchange.firecracker import Fingerprint
from armkvm.hosts.derive import SEAMS, concealed
from armkvm.hosts.recording import profile_named_by, tells_hosts_apart
from armkvm.model.host import GENERIC_V8, HIDDEN_MASKS, ZFR0, Platform
from armkvm.model.profile import PROFILES
from armkvm.model.vcpu_behaviours import PHYSICAL_TARGET
from armkvm.state import CpuVectors, HostFacts
from armkvm.value import replace

# What every recorded host answers, whatever its CPU, and the devices that every one can create.
# KVM_CAP_NR_VCPUS, the number of CPUs online, is not known of a fingerprint's host.
# Source: the recordings (tests/exchange/test_assumed.py compares all of them).
_SINCE_6_1: dict[int, int] = {
    Cap.IRQCHIP: 1,
    Cap.USER_MEMORY: 1,
    Cap.NR_MEMSLOTS: 32767,
    Cap.MP_STATE: 1,
    Cap.COALESCED_MMIO: 1,
    Cap.SYNC_MMU: 1,
    Cap.DESTROY_MEMORY_REGION_WORKS: 1,
    Cap.SET_GUEST_DEBUG: 1,
    Cap.IRQ_ROUTING: 4096,
    Cap.JOIN_MEMORY_REGIONS_WORKS: 1,
    Cap.IRQFD: 1,
    Cap.IOEVENTFD: 1,
    Cap.INTERNAL_ERROR_DATA: 1,
    Cap.VCPU_EVENTS: 1,
    Cap.MAX_VCPUS: 512,
    Cap.ONE_REG: 1,
    Cap.SIGNAL_MSI: 1,
    Cap.READONLY_MEM: 1,
    Cap.IRQFD_RESAMPLE: 1,
    Cap.ARM_PSCI: 1,
    Cap.ARM_SET_DEVICE_ADDR: 1,
    Cap.DEVICE_CTRL: 1,
    Cap.ENABLE_CAP_VM: 1,
    Cap.ARM_PSCI_0_2: 1,
    Cap.CHECK_EXTENSION_VM: 1,
    Cap.IOEVENTFD_ANY_LENGTH: 1,
    Cap.VCPU_ATTRIBUTES: 1,
    Cap.MAX_VCPU_ID: 512,
    Cap.MSI_DEVID: -errno.EINVAL,
    Cap.IMMEDIATE_EXIT: 1,
    Cap.ARM_USER_IRQ: 1,
    Cap.COALESCED_PIO: 1,
    Cap.MANUAL_DIRTY_LOG_PROTECT2: 3,
    Cap.ARM_IRQ_LINE_LAYOUT_2: 1,
    Cap.ARM_NISV_TO_USER: 1,
    Cap.ARM_INJECT_EXT_DABT: 1,
    Cap.HALT_POLL: 1,
    Cap.STEAL_TIME: 1,
    Cap.SET_GUEST_DEBUG2: 0x30003,
    Cap.PTP_KVM: 1,
    Cap.BINARY_STATS_FD: 1,
    Cap.SYSTEM_EVENT_DATA: 1,
    Cap.ARM_SYSTEM_SUSPEND: 1,
}
_NEW_IN_6_12: dict[int, int] = {
    Cap.DIRTY_LOG_RING_ACQ_REL: 0x100000,
    Cap.DIRTY_LOG_RING_WITH_BITMAP: 1,
    Cap.COUNTER_OFFSET: 1,
    Cap.ARM_SUPPORTED_BLOCK_SIZES: 1 << 30 | 1 << 21 | 1 << 12,
    Cap.ARM_SUPPORTED_REG_MASK_RANGES: 1,
    Cap.USER_MEMORY2: 1,
}
_DEVICES = frozenset((DeviceType.VFIO, DeviceType.ARM_VGIC_V3, DeviceType.ARM_VGIC_ITS))


def _kernel_caps() -> dict[str, dict[int, int]]:
    """What the kernel alone decides: the two tables, and from 6.12 on what each seam adds."""
    by_kernel = {"6.1": _SINCE_6_1, "6.12": _SINCE_6_1 | _NEW_IN_6_12}
    for seam in SEAMS:
        if seam.older in by_kernel and seam.newer not in by_kernel:
            decided = {cap: value for cap, value in seam.caps.items() if value is not None}
            asked_of_vm = dict.fromkeys(seam.vm_caps, -errno.EINVAL)
            by_kernel[seam.newer] = by_kernel[seam.older] | decided | asked_of_vm
    return by_kernel


KERNEL_CAPS: Mapping[str, Mapping[int, int]] = _kernel_caps()
"""By kernel that a fingerprint can be seen through: the capabilities that the kernel alone decides."""

_CAP_OF = {
    F.EL1_32BIT: Cap.ARM_EL1_32BIT,
    F.SVE: Cap.ARM_SVE,
    F.PMU_V3: Cap.ARM_PMU_V3,
    F.PTRAUTH_ADDRESS: Cap.ARM_PTRAUTH_ADDRESS,
    F.PTRAUTH_GENERIC: Cap.ARM_PTRAUTH_GENERIC,
    F.PMU_V3_STRICT: Cap.ARM_PMU_V3_STRICT,
}
_UNKNOWABLE = frozenset((F.SVE, F.SME, F.VEC))
_EL2 = frozenset((F.HAS_EL2, F.HAS_EL2_E2H0))

_EL1, _RAS = field("ID_AA64PFR0_EL1", "EL1"), field("ID_AA64PFR0_EL1", "RAS")
_BRPS, _WRPS = field("ID_AA64DFR0_EL1", "BRPs"), field("ID_AA64DFR0_EL1", "WRPs")
_PARANGE = field("ID_AA64MMFR0_EL1", "PARANGE")
_PA_BITS = {0: 32, 1: 36, 2: 40, 3: 42, 4: 44, 5: 48}  # beyond that it takes LPA2, which guests are not shown
_MIDR = parse("MIDR_EL1")
_MPAM = field("ID_AA64PFR0_EL1", "MPAM")
# What these CPUs show under kernels that still show it. (An emulated CPU of the same MIDR_EL1 may lack it,
# so it is no fact of the model's.) Source: public fingerprints under 5.10 and 6.1.
_MPAM_OF = {(0x41, 0xD40): 1, (0x41, 0xD4F): 1}


def host_facts(fingerprint: Fingerprint, name: str, *, treat_as: str | None = None) -> HostFacts:
    """The host that a fingerprint was taken on, as far as it can be known.

    `treat_as` names the kernel profile to see it through; without it the fingerprint's own kernel
    must have one, or MissingFacts. ValueError if there is no such profile.
    """
    profile = _profile(fingerprint, name, treat_as)
    kernel_caps = KERNEL_CAPS[profile]
    if _EL2.intersection(fingerprint.features):
        raise MissingFacts(name, "be modelled", ["the registers of a vCPU without EL2"])
    values = _initial_values(fingerprint)
    features = _features(fingerprint, values)
    ipa_bits = _PA_BITS.get(_shown(_PARANGE, values), 48)
    facts = HostFacts(
        name=name,
        cpu=_cpu_name(values[_MIDR]),
        kernel=fingerprint.kernel,
        profile=profile,
        caps={**kernel_caps, **_shown_caps(features, values, ipa_bits)},
        # What /dev/kvm refuses to answer, a VM answers: 0 without an ITS, or without what the CPU needs.
        vm_caps={cap: 0 for cap, value in kernel_caps.items() if value < 0},
        features=features,
        preferred_target=GENERIC_V8,
        ipa_bits=ipa_bits,
        device_types=_DEVICES,
        cpus=(CpuVectors(),),
        values={"plain": values},
        hidden={id_of(_MPAM.register): _MPAM.insert(0, _MPAM_OF.get(parts(values[_MIDR]), 0))},
        origin=f"fingerprint under {fingerprint.kernel}",
        notes=tuple(_notes(fingerprint, profile, ipa_bits)),
    )
    facts = concealed(facts, PROFILES[profile])
    if PHYSICAL_TARGET in PROFILES[profile]:
        facts = replace(facts, preferred_target=Platform(facts, PROFILES[profile]).physical_target)
    return facts


def _profile(fingerprint: Fingerprint, name: str, treat_as: str | None) -> str:
    known = ", ".join(KERNEL_CAPS)
    if treat_as is None:
        own = profile_named_by(fingerprint.kernel)
        if own not in KERNEL_CAPS:
            missing = (
                f"how kernel {own} behaves (FILE?kernel=PROFILE says which it is to be treated as: {known})"
            )
            raise MissingFacts(name, "be modelled", [missing])
        return own
    if treat_as not in KERNEL_CAPS:
        raise ValueError(f"a fingerprint's kernel can be treated as {known}, not as {treat_as!r}")
    return treat_as


def _cpu_name(midr: int) -> str:
    cpu = cpu_of(midr)
    return cpu.name if cpu else f"MIDR_EL1 {midr:#x}"


def _initial_values(fingerprint: Fingerprint) -> dict[RegId, int]:
    """The registers whose initial value is the host's, less what only the unknowable features show."""
    values = {
        reg: int.from_bytes(data, "little")
        for reg, data in fingerprint.registers.items()
        if tells_hosts_apart(reg)
    }
    for feature in _UNKNOWABLE & HIDDEN_MASKS.keys():
        for reg, mask in HIDDEN_MASKS[feature].items():
            if reg in values:
                values[reg] &= ~mask
    if ZFR0 in values:
        values[ZFR0] = 0
    return values


def _features(fingerprint: Fingerprint, values: Mapping[RegId, int]) -> frozenset[F]:
    """What the vCPU had, if it can be known whole; what every host has; AArch32 where it shows."""
    had = frozenset(feature for feature in fingerprint.features if isinstance(feature, F)) - _UNKNOWABLE
    aarch32 = frozenset((F.EL1_32BIT,)) if _shown(_EL1, values) == 2 else frozenset[F]()
    return had | aarch32 | {F.POWER_OFF, F.PSCI_0_2}


def _shown_caps(features: frozenset[F], values: Mapping[RegId, int], ipa_bits: int) -> dict[int, int]:
    """The capabilities that ID registers show, and those of features."""
    return {
        Cap.ARM_INJECT_SERROR_ESR: int(_shown(_RAS, values) > 0),
        Cap.GUEST_DEBUG_HW_BPS: _shown(_BRPS, values) + 1,
        Cap.GUEST_DEBUG_HW_WPS: _shown(_WRPS, values) + 1,
        Cap.ARM_VM_IPA_SIZE: ipa_bits,
        **{cap: int(feature in features) for feature, cap in _CAP_OF.items()},
    }


def _shown(part: Field, values: Mapping[RegId, int]) -> int:
    return part.extract(values.get(id_of(part.register), 0))


def _notes(fingerprint: Fingerprint, profile: str, ipa_bits: int) -> Iterator[str]:
    kernel = fingerprint.kernel
    had = ", ".join(map(str, fingerprint.features))
    yield f"read from a fingerprint by Firecracker {fingerprint.firecracker}: registers of a vCPU with {had}"
    if profile_named_by(kernel) == profile:
        yield (
            f"assumed from profile {profile}: capabilities that the kernel alone decides, and which ID "
            f"register bits a VM may set; {kernel} may carry backports"
        )
    else:
        yield (
            f"kernel {kernel} is treated as {profile}, as asked for: register lists, capabilities and "
            f"which ID register bits a VM may set are those of {profile}"
        )
        yield f"ID register fields are as {kernel} shows them, less those that {profile} hides"
    yield "features that the vCPU did not have (PMU, pointer authentication, EL2, MTE) count as not offered"
    yield "vector lengths are not in a fingerprint: SVE and SME count as not offered"
    yield f"read off ID registers: {ipa_bits} bits of IPA, breakpoints and watchpoints, AArch32 at EL1, RAS"
    yield "how many CPUs the host has is not known; all are taken to be alike, with a GICv3"
