"""A host's facts, learnt from it through the protocol alone.

Everything is asked of VMs made for the purpose and closed again; none of them has memory, no guest runs.
What a place does not show stays out: the lengths of single CPUs that differ (only what guests can
have is seen), and the Features line of /proc/cpuinfo.

The same host gives the same facts, but for `VOLATILE`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress

from armkvm.abi import vls
from armkvm.abi.attributes import VgicGroup, cpu_sysreg
from armkvm.abi.caps import DEFAULT_IPA_BITS, SME_CAPS, Cap
from armkvm.abi.regid import RegId
from armkvm.abi.structs import DEVICE_NAMES, DeviceType
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.cpus import cpu_of
from armkvm.arch.fields import Field
from armkvm.arch.idfields import field
from armkvm.arch.sysregs import sysreg
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.base import SveVlsCalls, System, Vcpu, Vm
from armkvm.catalog import id_of
from armkvm.errors import KvmError
from armkvm.hosts.hostfile import CAP_OF
from armkvm.hosts.recording import profile_named_by, tells_hosts_apart
from armkvm.model.sysregs.idrules import SHOWN_ONCE
from armkvm.probe.kernel import Subject, behaviours
from armkvm.probe.scratch import gic_of, initialise, read, vcpu_of, write
from armkvm.state import CpuVectors, HostFacts

VOLATILE: Mapping[str, str] = {
    "caps.NR_VCPUS": "how many CPUs are online at the moment",
    "cpu, MIDR_EL1, REVIDR_EL1, AIDR_EL1, CLIDR_EL1, CCSIDR_EL1": "on a host whose CPUs differ, those of "
    "the CPU that the probe ran on",
}
"""Members of the file that may differ from one probe of a host to the next, and why."""

MOST_CAPS = 320  # beyond every number that a kernel or a series has used so far

# feature -> what else it needs to be accepted at all
_NEEDS: Mapping[F, frozenset[F]] = {
    F.PTRAUTH_ADDRESS: frozenset((F.PTRAUTH_GENERIC,)),
    F.PTRAUTH_GENERIC: frozenset((F.PTRAUTH_ADDRESS,)),
    F.HAS_EL2_E2H0: frozenset((F.HAS_EL2,)),
    F.PMU_V3_STRICT: frozenset((F.PMU_V3,)),
}
_NOT_A_FEATURE = frozenset((F.VEC,))  # FINALIZE's word only
# What register values are not read with: it hides registers, or makes another kind of vCPU.
_APART = frozenset((F.POWER_OFF, F.EL1_32BIT, F.HAS_EL2, F.HAS_EL2_E2H0, F.PMU_V3_STRICT))
_VARIANTS: Mapping[str, frozenset[F]] = {
    "plain": frozenset(),
    "el2": frozenset((F.HAS_EL2,)),
    "el2_e2h0": frozenset((F.HAS_EL2, F.HAS_EL2_E2H0)),
}
_GIC_REGISTERS = ("ICC_CTLR_EL1", "ICC_SRE_EL1")
_GIC_EL2_REGISTERS = ("ICH_VTR_EL2", "ICH_VMCR_EL2", "ICH_HCR_EL2")
_MTE = field("ID_AA64PFR1_EL1", "MTE")
_MTE_FLAGS = {2: ("mte",), 3: ("mte", "mte3")}
_MIDR = id_of(sysreg("MIDR_EL1"))


def probe(system: System, name: str = "") -> HostFacts:
    """What can be known of a place's host; `name` "" names it after its CPU."""
    caps, vm_caps = _caps(system)
    features = _features(system, caps)
    values = {
        variant: _values(system, features, extra) for variant, extra in _VARIANTS.items() if extra <= features
    }
    midr = values["plain"].get(_MIDR, 0)
    known = cpu_of(midr)
    cpu = known.name if known else f"MIDR_EL1 {midr:#x}"
    with system.create_vm() as vm:
        target = vm.preferred_target()[0]
        masks = _writable_masks(vm)
        devices = frozenset(kind for kind in DEVICE_NAMES if _can_make(vm, kind))
    hidden, hides = _shown_once(system, known.nv if known else 0)
    return HostFacts(
        name=name or re.sub("[^a-z0-9]+", "-", cpu.lower()).strip("-"),
        cpu=cpu,
        kernel=system.kernel,
        profile=_profile(system.kernel, features, caps),
        caps=caps,
        vm_caps=vm_caps,
        features=features,
        preferred_target=target,
        ipa_bits=caps.get(Cap.ARM_VM_IPA_SIZE, 0) or DEFAULT_IPA_BITS,
        device_types=devices,
        cpus=(CpuVectors(_lengths(system, features, F.SVE), _lengths(system, features, F.SME)),),
        values=values,
        cpu_flags=_mte_flags(system),
        writable_masks=masks,
        hidden=hidden,
        behaviours=behaviours(Subject(system, features, devices)) | hides,
        vgic=_vgic(system, features) if DeviceType.ARM_VGIC_V3 in devices else {},
        origin=f"probed under {system.kernel}",
    )


def _profile(kernel: str, features: frozenset[F], caps: Mapping[int, int]) -> str:
    """The release's own, or the SME series' if guests can have SME: that no mainline release offers."""
    if F.SME in features:
        return next((series for series in ("sme-v12", "sme-v4") if caps.get(SME_CAPS[series], 0) > 0), kernel)
    return profile_named_by(kernel)


# -- capabilities and features ---------------------------------------------------------------------


def _caps(system: System) -> tuple[dict[int, int], dict[int, int]]:
    """What /dev/kvm says, without zeros; and what a VM says where that differs."""
    with system.create_vm() as vm:
        on_system = [_cap(system, number) for number in range(MOST_CAPS)]
        on_vm = [_cap(vm, number) for number in range(MOST_CAPS)]
    return (
        {number: value for number, value in enumerate(on_system) if value},
        {number: value for number, value in enumerate(on_vm) if value != on_system[number]},
    )


def _cap(where: System | Vm, number: int) -> int:
    """A capability's value; where the call itself is refused, the errno, negative."""
    try:
        return where.check_extension(number)
    except KvmError as refused:
        return -(refused.errno or 0)


def _features(system: System, caps: Mapping[int, int]) -> frozenset[F]:
    """What KVM_ARM_VCPU_INIT accepts, and a capability confirms where there is one.

    The number of one feature has meant another in some series of patches, so that acceptance alone
    does not prove which it is.
    """
    return frozenset(
        feature
        for feature in F
        if feature not in _NOT_A_FEATURE
        and (feature not in CAP_OF or caps.get(CAP_OF[feature], 0) > 0)
        and _accepts(system, {feature} | _NEEDS.get(feature, frozenset()))
    )


def _accepts(system: System, features: set[F]) -> bool:
    with system.create_vm() as vm, vm.create_vcpu(0) as vcpu:
        try:
            vcpu.init(features | {F.PSCI_0_2})
        except (KvmError, ValueError):  # ValueError: the kernel's header has no number for it
            return False
    return True


# -- registers -------------------------------------------------------------------------------------


def _lengths(system: System, features: frozenset[F], feature: F) -> VectorLengths:
    """The lengths that a vCPU can have: what its set is before anything was chosen."""
    if feature not in features:
        return VectorLengths()
    with vcpu_of(system, (feature,)) as (_, vcpu):
        low = RegId.sve_vls() if feature is F.SVE else RegId.sme_vls()
        for reg in (low, RegId(low | 0xFFFF)):  # the places that revisions put SME's at
            with suppress(KvmError):
                return vls.decode(vcpu.get_one_reg(reg))
        if feature is F.SVE and isinstance(vcpu, SveVlsCalls):
            with suppress(KvmError):
                return vls.decode(vcpu.get_sve_vls())
    return VectorLengths()


def _values(system: System, features: frozenset[F], extra: frozenset[F]) -> dict[RegId, int]:
    """The host's registers on a vCPU with everything the host has, and `extra`."""
    with vcpu_of(system, features - _APART | extra) as (_, vcpu):
        if {F.SVE, F.SME} & features:
            with suppress(KvmError):  # where there is no such call the list is granted without it
                vcpu.finalize(F.SVE)
        found = {}
        for reg in filter(tells_hosts_apart, vcpu.reg_list()):
            with suppress(KvmError):
                found[reg] = int.from_bytes(vcpu.get_one_reg(reg), "little")
        return found


def _shown_once(system: System, cpu_nv: int) -> tuple[dict[RegId, int], dict[str, bool]]:
    """The CPU's own values of fields that kernels showed once, and whether this one hides them.

    A kernel that hides a field takes exactly the CPU's value of it, and drops that.
    """
    hidden: dict[RegId, int] = {}
    hides: dict[str, bool] = {}
    with vcpu_of(system) as (_, vcpu):
        for part, behaviour in SHOWN_ONCE:
            reg = id_of(part.register)
            value = read(vcpu, reg)
            shown = part.extract(value)
            taken = 0 if shown else _taken_back(vcpu, reg, part, value)
            if shown or taken:
                hidden[reg] = part.insert(hidden.get(reg, 0), shown or taken)
                hides[behaviour] = bool(taken)
            elif part.name == "NV" and cpu_nv:
                hides[behaviour] = False
    return hidden, hides


def _taken_back(vcpu: Vcpu, reg: RegId, part: Field, value: int) -> int:
    """The value of a field that the kernel accepts and drops; 0 if there is none."""
    for tried in range(1, 1 << part.width):
        with suppress(KvmError):
            write(vcpu, reg, part.insert(value, tried))
            if read(vcpu, reg) == value:
                return tried
    return 0


def _writable_masks(vm: Vm) -> dict[RegId, int] | None:
    try:
        return dict(vm.writable_masks())
    except KvmError:
        return None


def _mte_flags(system: System) -> frozenset[str]:
    """What /proc/cpuinfo would say of tag memory, from what a VM with tags is shown."""
    with system.create_vm() as vm:
        try:
            vm.enable_cap(Cap.ARM_MTE)
        except KvmError:
            return frozenset()
        with vm.create_vcpu(0) as vcpu:
            vcpu.init({F.PSCI_0_2})
            shown = int.from_bytes(vcpu.get_one_reg(id_of(_MTE.register)), "little")
    return frozenset(_MTE_FLAGS.get(_MTE.extract(shown), ()))


# -- devices ---------------------------------------------------------------------------------------


def _can_make(vm: Vm, kind: int) -> bool:
    try:
        vm.create_device(kind, test=True)
    except KvmError:
        return False
    return True


def _vgic(system: System, features: frozenset[F]) -> dict[str, int]:
    """The CPU interface as a guest is first shown it; with EL2 if guests can have that."""
    found = _gic_registers(system, frozenset(), _GIC_REGISTERS)
    if F.HAS_EL2 in features:
        found |= _gic_registers(system, frozenset((F.HAS_EL2,)), _GIC_EL2_REGISTERS)
    return found


def _gic_registers(system: System, features: frozenset[F], names: tuple[str, ...]) -> dict[str, int]:
    found: dict[str, int] = {}
    with suppress(KvmError), vcpu_of(system, features) as (vm, _), gic_of(vm) as gic:
        initialise(gic)
        for name in names:
            with suppress(KvmError):
                found[name] = int.from_bytes(
                    gic.get_attr(VgicGroup.CPU_SYSREGS, cpu_sysreg(sysreg(name))), "little"
                )
    return found
