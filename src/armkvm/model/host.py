"""A host's facts seen through a kernel: what this KVM offers its VMs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache

from armkvm.abi.regid import RegId
from armkvm.abi.structs import DeviceType, is_feature_id
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.cpus import cpu_of, parts
from armkvm.arch.encoding import SysReg
from armkvm.arch.fields import Field
from armkvm.arch.idfields import field, fields_of
from armkvm.arch.sysregs import sysreg
from armkvm.arch.vectors import ARCH_VQ_MAX, VectorLengths, common, first_partial, virtualisable
from armkvm.catalog import id_of
from armkvm.model.profile import KernelProfile
from armkvm.model.tables.writable import Masks, masks_of
from armkvm.model.vector_behaviours import (
    LARGEST_LENGTH_CHECKED,
    SME_GUESTS,
    SME_NEEDS_A_LENGTH,
    ZFR0_WITH_SME,
)
from armkvm.model.vgic.hardware import ASSUMED_CTLR, HostGic
from armkvm.state import CpuVectors, HostFacts

# Fields that show a feature of the vCPU, and are 0 when it was not asked for. A register without
# fields named is hidden whole.
SHOWN_BY: Mapping[F, tuple[tuple[str, tuple[str, ...]], ...]] = {
    F.SVE: (("ID_AA64PFR0_EL1", ("SVE",)),),
    F.PMU_V3: (("ID_AA64DFR0_EL1", ("PMUVer",)), ("ID_DFR0_EL1", ("PerfMon",))),
    F.PTRAUTH_ADDRESS: (("ID_AA64ISAR1_EL1", ("APA", "API")), ("ID_AA64ISAR2_EL1", ("APA3",))),
    F.PTRAUTH_GENERIC: (("ID_AA64ISAR1_EL1", ("GPA", "GPI")), ("ID_AA64ISAR2_EL1", ("GPA3",))),
    F.SME: (("ID_AA64PFR1_EL1", ("SME",)), ("ID_AA64SMFR0_EL1", ())),
}
ZFR0 = id_of(sysreg("ID_AA64ZFR0_EL1"))
PFR1 = id_of(sysreg("ID_AA64PFR1_EL1"))
_MIDR = id_of(sysreg("MIDR_EL1"))
_PMCR = id_of(sysreg("PMCR_EL0"))
_NV = field("ID_AA64MMFR2_EL1", "NV")
_VH = field("ID_AA64MMFR1_EL1", "VH")
_PFR0 = id_of(sysreg("ID_AA64PFR0_EL1"))
_EL0 = field("ID_AA64PFR0_EL1", "EL0")
PFR1_MTE = field("ID_AA64PFR1_EL1", "MTE")


def _hidden_masks() -> dict[F, dict[RegId, int]]:
    masks: dict[F, dict[RegId, int]] = {}
    for feature, registers in SHOWN_BY.items():
        for name, names in registers:
            reg = sysreg(name)
            chosen = [field(name, n) for n in names] if names else fields_of(reg)
            masks.setdefault(feature, {})[id_of(reg)] = sum(f.mask for f in chosen)
    return masks


HIDDEN_MASKS = _hidden_masks()


@lru_cache(maxsize=256)
def _hidden_without(features: frozenset[F], zfr0_with_sme: bool) -> tuple[tuple[RegId, int], ...]:
    """The bits that a vCPU with only these features is not shown, by register."""
    left_out = [masks for feature, masks in HIDDEN_MASKS.items() if feature not in features]
    if not features & ({F.SVE, F.SME} if zfr0_with_sme else {F.SVE}):
        left_out.append({ZFR0: -1})
    return tuple(pair for masks in left_out for pair in masks.items())


GENERIC_V8 = 5
# (implementer, part number) -> target: AEM, Foundation, Cortex-A57, X-Gene, Cortex-A53
_TARGETS = {(0x41, 0xD0F): 0, (0x41, 0xD00): 1, (0x41, 0xD07): 2, (0x50, 0x000): 3, (0x41, 0xD03): 4}


def target_of(midr: int) -> int:
    """KVM_ARM_TARGET_* of a CPU: five old ones have a number, the rest is generic."""
    return _TARGETS.get(parts(midr), GENERIC_V8)


class Ground:
    """What a host offers whatever its registers hold: features and vector lengths, under a kernel profile."""

    def __init__(self, features: frozenset[F], cpus: tuple[CpuVectors, ...], profile: KernelProfile) -> None:
        self._features = features
        self._cpus = cpus
        self._profile = profile
        self.offered = frozenset(filter(self._offers, {*features, F.SVE, F.SME}))

    @cached_property
    def sve(self) -> VectorLengths:
        """Lengths every SVE vCPU can be given; empty without SVE."""
        if F.SVE not in self._features:
            return VectorLengths()
        return virtualisable((cpu.sve for cpu in self._cpus), required=1)

    @cached_property
    def sme(self) -> VectorLengths:
        """Lengths every SME vCPU can be given; may be empty although the CPUs have SME."""
        if F.SME not in self._features:
            return VectorLengths()
        sets = [cpu.sme for cpu in self._cpus]
        return common(sets) if self._has_unchecked_sme else virtualisable(sets)

    @cached_property
    def sve_limit(self) -> int:
        """The vq of a fresh vCPU's Z registers; not always one of `sve`."""
        return self._limit(self.sve, [cpu.sve for cpu in self._cpus])

    @cached_property
    def sme_limit(self) -> int:
        """The same in streaming mode, and of ZA. Some kernels offer SME where this is 0."""
        if self._has_unchecked_sme:
            return ARCH_VQ_MAX
        return self._limit(self.sme, [cpu.sme for cpu in self._cpus])

    @property
    def _has_unchecked_sme(self) -> bool:
        """Whether the CPUs differ in the smallest length, and the kernel takes that for no limit."""
        return SME_NEEDS_A_LENGTH not in self._profile and first_partial(c.sme for c in self._cpus) == 1

    def _limit(self, offered: VectorLengths, sets: list[VectorLengths]) -> int:
        partial = first_partial(sets)
        if LARGEST_LENGTH_CHECKED in self._profile or not partial:
            return offered.max
        return min(partial - 1, common(sets).max)

    def _offers(self, feature: F) -> bool:
        if feature is F.SVE:
            return bool(self.sve)
        if feature is F.SME:
            has_sme = F.SME in self._features and SME_GUESTS in self._profile
            if SME_NEEDS_A_LENGTH in self._profile:
                return has_sme and bool(self.sme)
            return has_sme and all(cpu.sme for cpu in self._cpus)
        return True


ground_of = lru_cache(maxsize=1024)(Ground)  # the hosts of a fleet have few


class Platform:
    """What a host offers under a kernel profile. Immutable once built."""

    def __init__(self, facts: HostFacts, profile: KernelProfile) -> None:
        self.facts = facts
        self.profile = profile
        self.ground = ground_of(facts.features, facts.cpus, profile)
        self._all: dict[str, dict[int, int]] = {}
        self._limits: dict[tuple[frozenset[F], bool], dict[int, int]] = {}

    @property
    def sve(self) -> VectorLengths:
        """Lengths every SVE vCPU can be given; empty without SVE."""
        return self.ground.sve

    @property
    def sme(self) -> VectorLengths:
        """Lengths every SME vCPU can be given; may be empty although the CPUs have SME."""
        return self.ground.sme

    @property
    def physical_target(self) -> int:
        """KVM_ARM_TARGET_* of the physical CPU."""
        return target_of(self._midr)

    @property
    def _midr(self) -> int:
        return self.value(_MIDR)

    def hardware(self, part: Field) -> int:
        """The CPU's own value of an ID field, also under kernels that hide it; 0 if not known."""
        reg = id_of(part.register)
        if reg in self.facts.hidden:
            return part.extract(self.facts.hidden[reg])
        if part == _NV and (cpu := cpu_of(self._midr)):
            return cpu.nv
        return part.extract(self.value(reg))

    def offers(self, feature: F) -> bool:
        """Whether KVM_ARM_VCPU_INIT accepts a feature on this host."""
        return feature in self.ground.offered

    def value(self, reg: RegId, default: int = 0) -> int:
        """The host's own value of a register, as a plain vCPU sees it."""
        return self.facts.values["plain"].get(reg, default)

    @cached_property
    def has_vhe(self) -> bool:
        """Whether the host kernel itself runs at EL2, guests' EL1 registers being loaded eagerly."""
        return bool(_VH.extract(self.value(id_of(_VH.register))))

    @cached_property
    def pmu_counters(self) -> int:
        """Event counters a VM's PMU starts with: PMCR_EL0.N of the host."""
        return self.value(_PMCR) >> 11 & 0x1F

    @cached_property
    def gic(self) -> HostGic:
        """What virtual CPU interfaces of a GICv3 start with."""
        return HostGic.of(self.facts.vgic)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the model takes for granted because the host's facts do not say it."""
        if DeviceType.ARM_VGIC_V3 in self.facts.device_types and not self.gic.known:
            return (f"the host's GIC is not known; ICC_CTLR_EL1 is assumed to be {ASSUMED_CTLR:#x}",)
        return ()

    @property
    def has_aarch32_el0(self) -> bool:
        """Whether guests can use AArch32 at EL0 on every CPU."""
        return _EL0.extract(self.value(_PFR0)) == 2

    @cached_property
    def masks(self) -> Masks:
        """What userspace may write in feature ID registers: as probed, else as the kernel's rows have it."""
        probed = self.facts.writable_masks
        table = self.profile.id_table
        if probed is None:
            return masks_of(table, self.has_aarch32_el0)
        pairs = ((reg.encoding, mask) for reg, mask in probed.items())
        known = frozenset((encoding, mask) for encoding, mask in pairs if encoding is not None and mask)
        return masks_of(table, self.has_aarch32_el0, known)

    def limits(self, features: frozenset[F], mte: bool) -> dict[int, int]:
        """The feature ID registers of a VM with these features: initial values and write limits.

        What the host shows with every feature on, less the fields of the features left out.
        """
        key = (features, mte)
        if key not in self._limits:
            self._limits[key] = self._compute_limits(features, mte)
        return self._limits[key]

    def _compute_limits(self, features: frozenset[F], mte: bool) -> dict[int, int]:
        limits = self._shown(self._variant(features)).copy()
        for reg, mask in _hidden_without(features, ZFR0_WITH_SME in self.profile):
            if reg in limits:
                limits[reg] &= ~mask
        if mte and PFR1 in limits:
            limits[PFR1] = PFR1_MTE.insert(limits[PFR1], 3 if "mte3" in self.facts.cpu_flags else 2)
        return limits

    def _shown(self, variant: str) -> dict[int, int]:
        """The feature ID registers as vCPUs of a variant are shown them with every feature on."""
        if variant not in self._all:
            values = self.facts.values[variant]
            shown = {reg: values[reg] for reg in _feature_ids_among(tuple(values))}
            self._all[variant] = _NOTHING | shown
        return self._all[variant]

    def _variant(self, features: frozenset[F]) -> str:
        if F.HAS_EL2 in features:
            name = "el2_e2h0" if F.HAS_EL2_E2H0 in features else "el2"
            return name if name in self.facts.values else "plain"
        return "plain"


# What a VM keeps of its own; a host's facts need not name what is 0.
_NOTHING: dict[int, int] = {
    **{RegId.sysreg(SysReg.of(3, 0, 0, crm, op2)): 0 for crm in range(1, 8) for op2 in range(8)},
    **{id_of(sysreg(name)): 0 for name in ("MIDR_EL1", "REVIDR_EL1", "AIDR_EL1", "SMIDR_EL1", "CTR_EL0")},
}


@lru_cache(maxsize=256)  # the hosts of a fleet have few sets of registers
def _feature_ids_among(registers: tuple[RegId, ...]) -> tuple[RegId, ...]:
    return tuple(filter(is_feature_id, registers))
