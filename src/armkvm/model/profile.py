"""What differs between kernels, as named behaviours.

A behaviour (`model.behaviour`) is one way in which kernels differ, with the release that brought
it, how to see it from userspace and the test that shows it. A `KernelProfile` is the set of
behaviours of one kernel, plus the few numbers that belong to a header. The model asks for
behaviours, never for versions; a release number only picks the profile that a recorded host
defaults to.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from armkvm.abi.vcpu_features import (
    BITS_6_1,
    BITS_6_16,
    BITS_7_3,
    BITS_SME_V4,
    BITS_SME_V12,
    VcpuFeature,
)
from armkvm.errors import ModelBug
from armkvm.model.abort_behaviours import (
    ABORT_COMMITTED_AT_ONCE,
    ABORT_SYNDROME_SIGN_EXTENDED,
    SERROR_SURVIVES_INIT,
    SERROR_TAKEN_AT_ONCE,
)
from armkvm.model.behaviour import BEHAVIOURS, Behaviour
from armkvm.model.device_behaviours import (
    DIST_ID_BEFORE_INIT,
    GIC_FIELD_AT_CREATION,
    GIC_FIELD_AT_FIRST_RUN,
    IIDR_REVISION_IGNORED,
    MAINTENANCE_IRQ,
    TIMER_IRQS_OF_VM,
    VM_ATTRIBUTES,
)
from armkvm.model.run_behaviours import MMIO_SIGN_LOST, SMC_IS_A_CALL
from armkvm.model.trap_behaviours import (
    FGU_BY_FEATURE,
    FINE_GRAINED_UNDEF,
    IDST_EXCEPTIONS,
    RAS_BY_FIELD,
    SETTLES_PERMISSIONS,
)
from armkvm.model.vcpu_behaviours import (
    EAGER_SPLIT,
    EVENTS_BEFORE_INIT,
    FOUR_TIMERS,
    HIDES_MPAM,
    HIDES_NV,
    HOST_CACHE_GEOMETRY,
    KEEPS_EL0_EL1,
    PHYSICAL_TARGET,
    PHYSICAL_TIMER_IDS,
    PMMIR,
    PMU_BY_ID_REGISTERS,
    PMU_NR_COUNTERS,
    PMU_SETS_AND_CLEARS,
    PSCI_1_3,
    SCTLR_EL2_RES1,
    SYSREG_TABLE_IS_WHOLE,
    TIMER_ISTATUS_COMPUTED,
    UNGATED_TCR2_PIR,
    VENDOR_HYP_BMAP_2,
    VM_WIDE_FEATURES,
    WRITABLE_ID_REGISTERS,
    WRITABLE_IMP_ID,
)
from armkvm.model.vector_behaviours import (
    EL2_LENGTHS_MASKED,
    FFR_NEEDS_FA64,
    IMPLICIT_FINALIZATION,
    LARGEST_LENGTH_CHECKED,
    LISTS_SME_STATE,
    SME_GUESTS,
    SME_NEEDS_A_LENGTH,
    SME_VLS_ALIAS,
    SMIDR_PER_VCPU,
    SMPRI_READS_TRAP,
    SMPRI_STORED,
    SMPRIMAP_IS_ZERO,
    SVCR_PLAIN,
    SVE_VLS_CALLS,
    VECTOR_IDS_ENOENT,
    ZA_OFF_IS_EINVAL,
    ZFR0_WITH_SME,
)
from armkvm.value import Value, replace


class KernelProfile(Value):
    """One kernel as the model sees it.

    `feature_bits` and `feature_count` come from its header (a bit at or above the count is
    unknown, ENOENT); `id_table` names its masks in `model.tables.writable`.
    """

    name: str
    release: str
    behaviours: frozenset[str]
    feature_bits: Mapping[VcpuFeature, int]
    feature_count: int
    id_table: str
    summary: str = ""

    __eq__, __hash__ = object.__eq__, object.__hash__  # a profile is itself, and can key a cache

    def __contains__(self, behaviour: str) -> bool:
        return behaviour in self.behaviours

    def bit_of(self, feature: VcpuFeature) -> int | None:
        """The feature's number in this kernel's header, or None if the header lacks it."""
        return self.feature_bits.get(feature)

    def with_behaviour(self, name: str) -> KernelProfile:
        """This kernel as it would be with one more behaviour, called ``KERNEL+BEHAVIOUR``.

        ValueError if no behaviour is called that, or it changes something this kernel lacks.
        """
        added = _behaviour(name)
        if added.needs and added.needs not in self:
            raise ValueError(f"{name} builds on {added.needs}, which kernel {self.name} does not have")
        if name in self:
            return self
        return replace(self, name=f"{self.name}+{name}", behaviours=self.behaviours | {name})

    def without_behaviour(self, name: str) -> KernelProfile:
        """This kernel as it would be with one behaviour less, called ``KERNEL+no-BEHAVIOUR``.

        ValueError if no behaviour is called that, or one that this kernel has builds on it.
        """
        _behaviour(name)
        above = sorted(other for other in self.behaviours if BEHAVIOURS[other].needs == name)
        if above:
            raise ValueError(f"{above[0]} builds on {name}, and kernel {self.name} has it")
        if name not in self:
            return self
        return replace(self, name=f"{self.name}+no-{name}", behaviours=self.behaviours - {name})

    def as_seen(self, seen: Mapping[str, bool]) -> KernelProfile:
        """This kernel with what was seen of it: behaviours by name, and whether it has them.

        ValueError if it cannot have these alone.
        """
        return _as_seen(self, frozenset(seen.items())) if seen else self


@lru_cache(maxsize=1024)  # hosts of a fleet that were seen to be alike have one profile
def _as_seen(profile: KernelProfile, seen: frozenset[tuple[str, bool]]) -> KernelProfile:
    for name, _ in sorted(seen):
        _behaviour(name)
    # What others build on is added before and taken away after them.
    for name, has in sorted(seen, key=lambda each: (-_depth(each[0]), each)):
        profile = profile if has else profile.without_behaviour(name)
    for name, has in sorted(seen, key=lambda each: (_depth(each[0]), each)):
        profile = profile.with_behaviour(name) if has else profile
    return profile


def _behaviour(name: str) -> Behaviour:
    if name not in BEHAVIOURS:
        raise ValueError(f"no behaviour is called {name!r}; known are {', '.join(sorted(BEHAVIOURS))}")
    return BEHAVIOURS[name]


def _depth(name: str) -> int:
    """How many behaviours a behaviour builds on, one on another."""
    needs = _behaviour(name).needs
    return 1 + _depth(needs) if needs else 0


def _profile(
    name: str,
    *,
    base: frozenset[str] = frozenset(),
    add: tuple[str, ...] = (),
    drop: tuple[str, ...] = (),
    bits: Mapping[VcpuFeature, int],
    count: int,
    id_table: str = "",
    summary: str = "",
) -> KernelProfile:
    unknown = set(drop) - base | set(add) & base
    if unknown:
        raise ModelBug(f"profile {name} drops what its base lacks, or adds what it has: {sorted(unknown)}")
    return KernelProfile(name, name, base - set(drop) | set(add), bits, count, id_table or name, summary)


_6_1 = _profile(
    "6.1",
    add=(
        *(PHYSICAL_TARGET, HOST_CACHE_GEOMETRY, TIMER_ISTATUS_COMPUTED),
        *(ABORT_SYNDROME_SIGN_EXTENDED, MMIO_SIGN_LOST),
    ),
    bits=BITS_6_1,
    count=7,
)
_6_12 = _profile(
    "6.12",
    base=_6_1.behaviours,
    drop=(PHYSICAL_TARGET, HOST_CACHE_GEOMETRY, ABORT_SYNDROME_SIGN_EXTENDED),
    add=(
        VM_WIDE_FEATURES,
        WRITABLE_ID_REGISTERS,
        PHYSICAL_TIMER_IDS,
        UNGATED_TCR2_PIR,
        EVENTS_BEFORE_INIT,
        SERROR_SURVIVES_INIT,
        EAGER_SPLIT,
        PMU_BY_ID_REGISTERS,
        PMU_SETS_AND_CLEARS,
        FOUR_TIMERS,
        TIMER_IRQS_OF_VM,
        VM_ATTRIBUTES,
        FINE_GRAINED_UNDEF,
        SMC_IS_A_CALL,
    ),
    bits=BITS_6_1,
    count=7,
)
_6_18 = _profile(
    "6.18",
    base=_6_12.behaviours,
    drop=(
        *(UNGATED_TCR2_PIR, EVENTS_BEFORE_INIT, TIMER_ISTATUS_COMPUTED, PMU_SETS_AND_CLEARS),
        MMIO_SIGN_LOST,
    ),
    add=(
        WRITABLE_IMP_ID,
        SYSREG_TABLE_IS_WHOLE,
        VENDOR_HYP_BMAP_2,
        PSCI_1_3,
        KEEPS_EL0_EL1,
        HIDES_NV,
        HIDES_MPAM,
        SCTLR_EL2_RES1,
        PMU_NR_COUNTERS,
        *(GIC_FIELD_AT_CREATION, MAINTENANCE_IRQ, DIST_ID_BEFORE_INIT, IIDR_REVISION_IGNORED),
        *(FGU_BY_FEATURE, RAS_BY_FIELD),
        *(ABORT_COMMITTED_AT_ONCE, SERROR_TAKEN_AT_ONCE),
    ),
    bits=BITS_6_16,
    count=9,
)
_7_0 = _profile(
    "7.0",
    base=_6_18.behaviours,
    drop=(SCTLR_EL2_RES1, IIDR_REVISION_IGNORED),
    bits=BITS_6_16,
    count=9,
)
_7_2 = _profile(
    "7.2",
    base=_7_0.behaviours,
    add=(GIC_FIELD_AT_FIRST_RUN, EL2_LENGTHS_MASKED),
    bits=BITS_6_16,
    count=9,
)
_7_3 = _profile(
    "7.3",
    base=_7_2.behaviours,
    add=(PMMIR, SETTLES_PERMISSIONS, IDST_EXCEPTIONS),
    bits=BITS_7_3,
    count=10,
)

_SME_V12 = _profile(
    "sme-v12",
    base=_7_2.behaviours,
    add=(
        *(SME_GUESTS, FFR_NEEDS_FA64, LISTS_SME_STATE, ZFR0_WITH_SME, SME_NEEDS_A_LENGTH),
        *(LARGEST_LENGTH_CHECKED, SMPRIMAP_IS_ZERO),
        IDST_EXCEPTIONS,
    ),
    bits=BITS_SME_V12,
    count=10,
    summary="revision 12 of the SME series (July 2026), on 7.2",
)
_SME_V4 = _profile(
    "sme-v4",
    base=_6_12.behaviours,
    drop=(UNGATED_TCR2_PIR, EVENTS_BEFORE_INIT),
    add=(
        *(PSCI_1_3, SME_GUESTS, SME_VLS_ALIAS, ZA_OFF_IS_EINVAL, SVCR_PLAIN),
        *(SMPRI_STORED, SMPRI_READS_TRAP, SMIDR_PER_VCPU, IIDR_REVISION_IGNORED),
    ),
    bits=BITS_SME_V4,
    count=9,
    summary="revision 4 of the SME series (February 2025), on 6.14",
)

# What the road to SVE looked like in the kernels of its time is taken to be as in 6.1, but for SVE.
_SVE_V7 = _profile(
    "sve-v7",
    base=_6_1.behaviours,
    bits=BITS_6_1,
    count=7,
    id_table="6.1",
    summary="revision 7 of the SVE series (March 2019), as merged in 5.2; the rest as in 6.1",
)
_SVE_V5 = _profile(
    "sve-v5",
    base=_SVE_V7.behaviours,
    add=(IMPLICIT_FINALIZATION, VECTOR_IDS_ENOENT),
    bits=BITS_6_1,
    count=7,
    id_table="6.1",
    summary="revision 5 of the SVE series (February 2019): implicit finalization; the rest as in 6.1",
)
_SVE_IOCTL_2017 = _profile(
    "sve-ioctl-2017",
    base=_SVE_V7.behaviours,
    add=(SVE_VLS_CALLS,),
    bits=BITS_6_1,
    count=7,
    id_table="6.1",
    summary="ioctls for the vector lengths, as proposed in December 2017; the rest as in 6.1",
)

PROFILES: dict[str, KernelProfile] = {
    p.name: p
    for p in (_6_1, _6_12, _6_18, _7_0, _7_2, _7_3, _SVE_IOCTL_2017, _SVE_V5, _SVE_V7, _SME_V4, _SME_V12)
}


def profile_named(text: str) -> KernelProfile:
    """The profile ``KERNEL[+BEHAVIOUR|+no-BEHAVIOUR]...``; its `release` is KERNEL. ValueError if none is.

    >>> profile_named("7.3+non-id-masks").release
    '7.3'
    """
    kernel, *changes = text.split("+")
    if kernel not in PROFILES:
        raise ValueError(f"no kernel profile is called {kernel!r}; known are {', '.join(PROFILES)}")
    profile = PROFILES[kernel]
    for name in changes:
        without = name.removeprefix("no-")
        profile = profile.with_behaviour(name) if without == name else profile.without_behaviour(without)
    return profile
