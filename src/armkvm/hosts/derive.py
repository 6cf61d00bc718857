"""A host's facts under another kernel than the one they were recorded under.

Facts are what userspace saw, and each kernel shows its own part of a CPU. Going to an older kernel
mostly means hiding; going to a newer one is possible only where nothing has to be invented. One row
describes each pair of neighbouring kernels; a derivation follows the rows from one kernel to the
other.

Source: the recordings of equal CPUs under several kernels; Linux arch/arm64/kernel/cpufeature.c and
arch/arm64/kvm/sys_regs.c of 6.1, 6.12 and 7.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

from armkvm.abi.caps import SME_CAPS, Cap
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.cpus import cpu_of
from armkvm.arch.fields import Field
from armkvm.arch.idfields import field, named_fields
from armkvm.arch.sysregs import sysreg
from armkvm.catalog import id_of, name_of, parse
from armkvm.errors import MissingFacts
from armkvm.model.profile import PROFILES, KernelProfile
from armkvm.model.sysregs.idrules import SHOWN_ONCE
from armkvm.state import CpuVectors, HostFacts
from armkvm.value import replace

ALL_VARIANTS = ("plain", "el2", "el2_e2h0")
EL2_VARIANTS = ALL_VARIANTS[1:]


class Seam(NamedTuple):
    """What separates the facts under one kernel from those under the next newer known one.

    `hidden`: fields that only the newer kernel shows; `hidden_with_el2`: the same for vCPUs with
    EL2. `caps`: capabilities new in the newer kernel, with their value where the kernel alone
    decides it, None where the host does; `vm_caps`: those of them that a VM descriptor answers
    otherwise; `renumbered`: older and newer number of a capability. `features`: new vCPU features.
    `hides_once_shown`: whether only the older kernel shows NV and MPAM. `newer_only`, `older_only`:
    registers whose host value shows on one side only.
    """

    older: str
    newer: str
    hidden: tuple[Field, ...] = ()
    hidden_with_el2: tuple[Field, ...] = ()
    hides_once_shown: bool = False
    caps: Mapping[int, int | None] = {}
    vm_caps: tuple[Cap, ...] = ()
    renumbered: tuple[tuple[int, int], ...] = ()
    features: frozenset[F] = frozenset()
    newer_only: tuple[RegId, ...] = ()
    older_only: tuple[RegId, ...] = ()


def _fields(**registers: str) -> tuple[Field, ...]:
    return tuple(
        field(f"ID_AA64{reg}_EL1", name) for reg, names in registers.items() for name in names.split()
    )


def _spanning(seams: tuple[Seam, ...], older: str, newer: str) -> Seam:
    """One seam for several in a row; not what they renumber, nor ids that only one side has."""
    return Seam(
        older=older,
        newer=newer,
        hidden=tuple(part for seam in seams for part in seam.hidden),
        hidden_with_el2=tuple(part for seam in seams for part in seam.hidden_with_el2),
        hides_once_shown=any(seam.hides_once_shown for seam in seams),
        caps={cap: value for seam in seams for cap, value in seam.caps.items()},
        vm_caps=tuple(cap for seam in seams for cap in seam.vm_caps),
        features=frozenset(feature for seam in seams for feature in seam.features),
    )


_RELEASES: tuple[Seam, ...] = (
    Seam(
        older="6.1",
        newer="6.12",
        hidden=_fields(
            DFR0="DebugVer PMUVer",
            PFR2="FPMR",
            ZFR0="B16B16",
            FPFR0="F8CVT F8FMA F8DP4 F8DP2 F8E4M3 F8E5M2",
            ISAR1="XS",
            ISAR2="LUT CSSC RPRFM MOPS",
            MMFR1="HCX",
            MMFR3="S1POE S1PIE TCRX",
            MMFR4="E2H0",
        ),
        older_only=(*(RegId.ccsidr(n) for n in range(3)), parse("CLIDR_EL1"), parse("PMCR_EL0")),
    ),
    Seam(
        older="6.12",
        newer="6.18",
        hidden=_fields(
            PFR1="DF2 RAS_frac",
            ZFR0="EltPerm F16MM",
            FPFR0="F8MM8 F8MM4",
            ISAR1="LS64",
            ISAR2="ATS1A",
            ISAR3="FPRCVT LSFE FAMINMAX",
            MMFR3="SCTLRX",
            MMFR4="NV_frac",
        ),
        hides_once_shown=True,
        caps={
            Cap.GUEST_MEMFD: 1,
            Cap.GUEST_MEMFD_FLAGS: 3,
            Cap.ARM_WRITABLE_IMP_ID_REGS: 1,
            Cap.ARM_EL2: None,
            Cap.ARM_EL2_E2H0: None,
            Cap.ARM_CACHEABLE_PFNMAP_SUPPORTED: None,
        },
        vm_caps=(Cap.ARM_CACHEABLE_PFNMAP_SUPPORTED,),
        features=frozenset((F.HAS_EL2, F.HAS_EL2_E2H0)),
    ),
    Seam(
        older="6.18",
        newer="7.0",
        hidden_with_el2=_fields(MMFR1="XNX HAFDBS"),
        caps={Cap.ARM_SEA_TO_USER: 1},
    ),
    Seam(
        older="7.0",
        newer="7.2",
        hidden=_fields(PFR2="GCIE", FPFR0="F16MM2", ISAR3="LSUI"),
    ),
    Seam(
        older="7.2",
        newer="7.3",
        caps={Cap.ARM_PMU_V3_STRICT: None},
        features=frozenset((F.PMU_V3_STRICT,)),
        newer_only=(parse("PMMIR_EL1"),),
    ),
)
_SME_CAP = {revision: SME_CAPS[revision] for revision in ("sme-v4", "sme-v12")}
SEAMS: tuple[Seam, ...] = (
    # The road to SVE is modelled on 6.1, and shows what 6.1 shows.
    *(Seam(older=road, newer="6.1") for road in ("sve-ioctl-2017", "sve-v5", "sve-v7")),
    *_RELEASES,
    Seam(
        older="7.2",
        newer="sme-v12",
        hidden=(field("ID_AA64PFR1_EL1", "SME"), *named_fields(sysreg("ID_AA64SMFR0_EL1"))),
        caps={_SME_CAP["sme-v12"]: None},
        features=frozenset((F.SME,)),
        newer_only=(parse("SMIDR_EL1"),),
    ),
    # Revision 4 was based on 6.14, of which the model knows what it shares with 6.12.
    _spanning(_RELEASES[1:4], "sme-v4", "sme-v12")._replace(
        renumbered=((_SME_CAP["sme-v4"], _SME_CAP["sme-v12"]),)
    ),
)


def derive(facts: HostFacts, profile: str, *, assume: bool = False) -> HostFacts:
    """The same host under another kernel profile.

    MissingFacts, naming everything that is not known, if that would mean inventing something. With
    `assume` a newer kernel is taken to show nothing of what it alone would show, and a note says so.
    """
    start = facts.profile
    if start == profile:
        return facts
    purpose = f"be derived for kernel {profile} from facts under {start}"
    path = _path(start, profile)
    if not path:
        unknown = {start, profile} - {end for seam in SEAMS for end in (seam.older, seam.newer)}
        raise MissingFacts(facts.name, purpose, [f"how kernel {name} differs" for name in sorted(unknown)])
    steps = [(seam, back, _missing(seam, back, facts)) for seam, back in path]
    missing = [fact for _, back, lacking in steps if back or not assume for fact in lacking]
    if missing:
        raise MissingFacts(facts.name, purpose, missing)
    notes = [*facts.notes, f"facts recorded under kernel {start}, derived for {profile}"]
    assumed = [fact for _, back, lacking in steps if not back for fact in lacking]
    if assumed:
        notes.append(f"not known, and taken as not shown under {profile}: {', '.join(assumed)}")
    origin = f"derived, {facts.origin}" if facts.origin else "derived"
    for seam, back, _ in steps:
        facts = _older(facts, seam, notes) if back else _newer(facts, seam)
    return replace(
        concealed(facts, PROFILES[profile]),
        profile=profile,
        kernel=PROFILES[profile].release,
        writable_masks=None,  # these two are the other kernel's
        behaviours={},
        origin=origin,
        notes=tuple(notes),
    )


def concealed(facts: HostFacts, profile: KernelProfile) -> HostFacts:
    """The facts without the fields that a kernel hides; the CPU's own values of those are kept apart.

    A host that showed them under it could not take back what its registers hold.
    """
    parts = [part for part, hiding in SHOWN_ONCE if hiding in profile]
    plain, hidden = facts.values["plain"], dict(facts.hidden)
    cpu = cpu_of(plain.get(parse("MIDR_EL1"), 0))
    for part in parts:
        reg = id_of(part.register)
        own = part.extract(plain.get(reg, 0))
        if own and not (part == _NV and cpu and cpu.nv == own):
            hidden[reg] = part.insert(hidden.get(reg, 0), own)
    values = {variant: _cleared(held, parts) for variant, held in facts.values.items()}
    return replace(facts, hidden=hidden, values=values)


def _path(start: str, end: str) -> list[tuple[Seam, bool]]:
    """The seams between two kernels, each with whether it is crossed backwards; [] if there is no way."""
    reached: dict[str, list[tuple[Seam, bool]]] = {start: []}
    while end not in reached:
        further = {
            there: [*reached[here], (seam, back)]
            for seam in SEAMS
            for here, there, back in ((seam.older, seam.newer, False), (seam.newer, seam.older, True))
            if here in reached and there not in reached
        }
        if not further:
            return []
        reached |= further
    return reached[end]


def _missing(seam: Seam, back: bool, facts: HostFacts) -> list[str]:
    """What would have to be invented to cross a seam."""
    if back:
        return [name_of(reg) for reg in seam.older_only]
    with_el2 = [variant for variant in EL2_VARIANTS if variant in facts.values]
    fields = [*seam.hidden, *(seam.hidden_with_el2 if with_el2 else ())]
    caps = [_cap_name(cap) for cap, value in seam.caps.items() if value is None]
    return [*map(str, fields), *caps, *map(name_of, seam.newer_only)]


def _cap_name(cap: int) -> str:
    return f"KVM_CAP_{'ARM_SME' if cap in _SME_CAP.values() else Cap(cap).name}"


def _older(facts: HostFacts, seam: Seam, notes: list[str]) -> HostFacts:
    """One step back: hide what the older kernel does not know."""
    hide = dict.fromkeys(facts.values, seam.hidden)
    hide |= {v: seam.hidden + seam.hidden_with_el2 for v in EL2_VARIANTS if v in facts.values}
    features = facts.features - seam.features
    variants = ALL_VARIANTS if F.HAS_EL2 in features else ("plain",)
    values = {
        variant: _cleared(_without(facts.values[variant], seam.newer_only), hide[variant])
        for variant in variants
        if variant in facts.values
    }
    if seam.hides_once_shown:
        _show_nv(values, notes)
        _show_hidden(values, facts.hidden)
    caps = _without(facts.caps, seam.caps)
    caps |= {older: facts.caps[newer] for older, newer in seam.renumbered if newer in facts.caps}
    return replace(
        facts,
        caps=_without(caps, [newer for _, newer in seam.renumbered]),
        vm_caps=_without(facts.vm_caps, seam.vm_caps),
        features=features,
        cpus=facts.cpus if F.SME in features else tuple(CpuVectors(cpu.sve) for cpu in facts.cpus),
        values=values,
    )


def _newer(facts: HostFacts, seam: Seam) -> HostFacts:
    """One step forward, where nothing is unknown; what the newer kernel hides goes last, by `concealed`."""
    known = {cap: value for cap, value in seam.caps.items() if value is not None}
    return replace(facts, caps={**facts.caps, **known})


_NV = field("ID_AA64MMFR2_EL1", "NV")


def _show_nv(values: Mapping[str, dict[RegId, int]], notes: list[str]) -> None:
    """Kernels that do not hide NV show the CPU's own, which its kind tells."""
    cpu = cpu_of(values["plain"].get(parse("MIDR_EL1"), 0))
    if cpu is None:
        notes.append(f"{_NV} of this CPU is not known, and taken as 0")
        return
    for variant in values.values():
        variant[id_of(_NV.register)] = _NV.insert(variant.get(id_of(_NV.register), 0), cpu.nv)


def _show_hidden(values: Mapping[str, dict[RegId, int]], hidden: Mapping[RegId, int]) -> None:
    """The same for what the facts themselves tell of the CPU."""
    for part, _ in SHOWN_ONCE:
        reg = id_of(part.register)
        own = part.extract(hidden.get(reg, 0))
        for variant in values.values():
            if own and reg in variant:
                variant[reg] = part.insert(variant[reg], own)


_K = TypeVar("_K", bound=int)


def _without(mapping: Mapping[_K, int], keys: Iterable[int]) -> dict[_K, int]:
    left_out = set(keys)
    return {key: value for key, value in mapping.items() if key not in left_out}


def _cleared(values: Mapping[RegId, int], fields: Iterable[Field]) -> dict[RegId, int]:
    cleared = dict(values)
    for part in fields:
        reg = id_of(part.register)
        if reg in cleared:
            cleared[reg] &= ~part.mask
    return cleared
