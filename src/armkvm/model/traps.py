"""From a VM's ID registers to what its guest's accesses come to.

Pure functions of a vCPU's record: `fgu` and `hcrx`, `hcr` give the control bits KVM programs, and
`guest_access` the outcome of one read or write, with the ID fields that decided it. A VM that has not
run is looked at as its first run would settle it.

What the CPU itself has is known only as far as KVM shows it; where KVM sets no trap the outcome is
`Outcome.HARDWARE`. Nested forwarding (an EL2 guest trapping its own guest) is not decided here.

Source: Linux arch/arm64/kvm/sys_regs.c (kvm_calculate_traps), config.c, emulate-nested.c
(triage_sysreg_trap).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.accesses import GUEST_ONLY, access_name, find_access, is_instruction
from armkvm.arch.encoding import SysReg
from armkvm.arch.features import IdValues, feature
from armkvm.arch.fgt import BITS, FgtBit, bit_of
from armkvm.arch.idfields import FieldValue, in_feature_id_space
from armkvm.arch.sysregs import NAMES, sysreg
from armkvm.catalog import id_of
from armkvm.errors import ModelBug
from armkvm.model.profile import KernelProfile
from armkvm.model.sysregs import catalogue, settle
from armkvm.model.tables import guest as rows
from armkvm.model.tables.guest import Answer, GuestRow
from armkvm.model.trap_behaviours import FGU_BY_FEATURE, FINE_GRAINED_UNDEF, IDST_EXCEPTIONS
from armkvm.model.vcpu import Vcpu
from armkvm.model.vcpu_behaviours import WRITABLE_ID_REGISTERS, WRITABLE_IMP_ID

EC_UNKNOWN, EC_SYS64 = 0x00, 0x18
_T = TypeVar("_T")
_CTR = sysreg("CTR_EL0")


class Outcome(Enum):
    """What an access comes to for the guest."""

    REGISTER = "accesses the guest's own register"
    VALUE = "gives the VM's value"
    RAZ_WI = "gives zero, or is ignored"
    EMULATED = "reaches a device KVM emulates"
    IGNORED = "is ignored"
    UNDEFINED = "is UNDEF"
    TRAPPED = "is a trapped system register access (class 0x18) at EL1"
    HARDWARE = "is left to the CPU"


@dataclass(frozen=True, slots=True)
class GuestAccess:
    """The outcome of one access. `because` are the ID fields that decided it, `control` the trap."""

    reg: SysReg
    is_write: bool
    outcome: Outcome
    control: str = ""
    because: tuple[FieldValue, ...] = ()
    value: int | None = None
    note: str = ""

    @property
    def exception_class(self) -> int | None:
        """The class of the exception the guest takes at EL1; None if it takes none."""
        return {Outcome.UNDEFINED: EC_UNKNOWN, Outcome.TRAPPED: EC_SYS64}.get(self.outcome)

    @property
    def _words(self) -> str:
        if self.outcome is Outcome.RAZ_WI:
            return "is ignored" if self.is_write else "gives zero"
        return str(self.outcome.value)

    def __str__(self) -> str:
        what = "execution" if is_instruction(self.reg) else "write" if self.is_write else "read"
        text = f"this guest's {what} of {access_name(self.reg)} {self._words}"
        if self.value is not None:
            text += f", {self.value:#x}"
        if self.because:
            fields = " and ".join(f"{part.field} is {part.value}" for part in self.because)
            text += f" {'although' if self.outcome is Outcome.HARDWARE else 'because'} {fields}"
        if self.note:
            text += f": {self.note}"
        return text + (f" ({self.control})" if self.control else "")


# -- what decides ------------------------------------------------------------------------------


def ids_of(vcpu: Vcpu) -> IdValues:
    """The ID registers a guest sees."""
    values = vcpu.id_regs
    return lambda reg: values.get(int(RegId.sysreg(reg)), 0)


def _host_ids(vcpu: Vcpu) -> IdValues:
    """The ID registers KVM starts a plain vCPU with: what is known of the CPU."""
    platform = vcpu.vm.platform
    return lambda reg: platform.value(RegId.sysreg(reg))


def host_has(vcpu: Vcpu, name: str) -> bool:
    """Whether the CPU has a feature, as far as KVM shows."""
    return feature(name).holds(_host_ids(vcpu))


def settled(vcpu: Vcpu) -> Vcpu:
    """The vCPU as it is once its VM has run; itself if it has."""
    if vcpu.vm.has_settled:
        return vcpu
    later = copy.copy(vcpu)
    later.id_regs = dict(vcpu.id_regs)
    for part, value in settle.changes(vcpu.vm):
        reg = int(id_of(part.register))
        later.id_regs[reg] = part.insert(later.id_regs[reg], value)
    return later


# -- control bits ------------------------------------------------------------------------------


def undefined_bits(vcpu: Vcpu) -> list[FgtBit]:
    """The fine-grained bits by which this kernel makes accesses UNDEFINED to the guest."""
    ids = ids_of(settled(vcpu))
    return [bit for bit in BITS if _takes_part(bit, vcpu.vm.profile) and not bit.condition.holds(ids)]


def _takes_part(bit: FgtBit, profile: KernelProfile) -> bool:
    """Whether this kernel makes accesses UNDEFINED by that bit."""
    if FGU_BY_FEATURE in profile:
        return not bit.never_undef
    by_hand = bit.name in rows.FGU_BY_HAND or bit.feature in rows.FGU_FEATURES_BY_HAND
    return by_hand and FINE_GRAINED_UNDEF in profile


def fgu(vcpu: Vcpu) -> dict[str, int]:
    """Fine-grained UNDEF masks: group ("HFGRTR" stands for HFGRTR_EL2 and HFGWTR_EL2) -> bits."""
    masks: dict[str, int] = {}
    for bit in undefined_bits(vcpu):
        masks[bit.group] = masks.get(bit.group, 0) | bit.mask
    return masks


def hcrx(vcpu: Vcpu) -> int:
    """HCRX_EL2 while the guest runs; 0 where neither kernel nor CPU has it."""
    if FINE_GRAINED_UNDEF not in vcpu.vm.profile or not host_has(vcpu, "FEAT_HCX"):
        return 0
    ids = ids_of(settled(vcpu))
    always = sum(1 << bit for bit, _ in rows.HCRX_ALWAYS)
    return always | sum(1 << bit for bit, _, name in rows.HCRX if feature(name).holds(ids))


def hcr(vcpu: Vcpu) -> int:
    """The bits of HCR_EL2 by which accesses trap, or features are given to the guest."""
    ids, profile = ids_of(settled(vcpu)), vcpu.vm.profile
    ctr = int(RegId.sysreg(_CTR))
    caches_are_the_hosts = vcpu.id_regs.get(ctr) == vcpu.id_limits.get(ctr)
    by_vm = WRITABLE_ID_REGISTERS in profile
    wanted = {
        "TID1": WRITABLE_IMP_ID in profile,
        "TID4": by_vm and caches_are_the_hosts and host_has(vcpu, "FEAT_EVT"),
        "TID2": by_vm and not (caches_are_the_hosts and host_has(vcpu, "FEAT_EVT")),
        "TERR": host_has(vcpu, "FEAT_RAS"),
        "TEA": host_has(vcpu, "FEAT_RAS"),
        "TTLBOS": by_vm and not feature("FEAT_TLBIOS").holds(ids),
        "ATA": vcpu.vm.has_mte,
        "API": F.PTRAUTH_ADDRESS in vcpu.features,
        "APK": F.PTRAUTH_ADDRESS in vcpu.features,
        "RW": F.EL1_32BIT not in vcpu.features,
    }
    always = sum(1 << bit for bit in rows.HCR_ALWAYS.values())
    return always | sum(1 << rows.HCR[name] for name, is_set in wanted.items() if is_set)


# -- one access --------------------------------------------------------------------------------


def guest_access(vcpu: Vcpu, reg: SysReg, is_write: bool = False) -> GuestAccess:
    """What a guest's MRS (or MSR, or SYS instruction) comes to, at EL1 or EL0 with no trap of its own.

    In KVM's order: fine-grained UNDEF, the register's visibility, what KVM answers to a trapped
    access, and last the guest's own register.
    """
    vcpu = settled(vcpu)
    return (
        _fine_grained(vcpu, reg, is_write)
        or _out_of_reach(vcpu, reg, is_write)
        or _hidden(vcpu, reg, is_write)
        or _answered(vcpu, reg, is_write)
        or _own(vcpu, reg, is_write)
    )


def _fine_grained(vcpu: Vcpu, reg: SysReg, is_write: bool) -> GuestAccess | None:
    bit = bit_of(reg)
    if bit is None or not bit.has_side(is_write):
        return None
    if not host_has(vcpu, "FEAT_FGT2" if bit.group.endswith("2") else "FEAT_FGT"):
        return None
    ids = ids_of(vcpu)
    if not _takes_part(bit, vcpu.vm.profile) or bit.condition.holds(ids):
        return None
    return GuestAccess(reg, is_write, Outcome.UNDEFINED, bit.control(is_write), bit.condition.because(ids))


def _out_of_reach(vcpu: Vcpu, reg: SysReg, is_write: bool) -> GuestAccess | None:
    """What no register of that name allows at EL1: the next level's, and writes of read-only ones."""
    if reg.op0 == 3 and reg.op1 in (4, 5, 6) and F.HAS_EL2 not in vcpu.features:
        return GuestAccess(reg, is_write, Outcome.UNDEFINED, note="it belongs to EL2, which the vCPU lacks")
    bit = bit_of(reg)
    if is_write and (in_feature_id_space(reg) or (bit is not None and bit.sides == "r")):
        return GuestAccess(reg, True, Outcome.UNDEFINED, note="it is read-only")
    return None


def _hidden(vcpu: Vcpu, reg: SysReg, is_write: bool) -> GuestAccess | None:
    """A register the guest is not given, by its own field or because userspace has none either."""
    ids = ids_of(vcpu)
    enabled_by, needed = _ENABLED.get(reg, ("", ""))
    if enabled_by and FINE_GRAINED_UNDEF in vcpu.vm.profile and not feature(needed).holds(ids):
        control = enabled_by if host_has(vcpu, "FEAT_HCX") else ""
        return GuestAccess(reg, is_write, Outcome.UNDEFINED, control, feature(needed).because(ids))
    row = None if is_instruction(reg) else catalogue.BY_ID.get(int(id_of(reg)))
    if row is None or row.visible(vcpu):
        return None
    rule = _rule(vcpu, reg)
    if rule is not None and rule.answer in (Answer.IDENTITY, Answer.RAZ_WI):
        return None
    control, shown_by = _GIVEN.get(reg, ("" if rule is None else rule.control, needed or _feature_of(reg)))
    if not control:
        return _left_to_the_cpu(vcpu, reg, is_write, shown_by)
    because = feature(shown_by).because(ids) if shown_by else ()
    return GuestAccess(reg, is_write, Outcome.UNDEFINED, control, because)


def _feature_of(reg: SysReg) -> str:
    bit = bit_of(reg)
    return "" if bit is None or bit.never_undef else bit.feature


def _left_to_the_cpu(vcpu: Vcpu, reg: SysReg, is_write: bool, needed: str) -> GuestAccess:
    """KVM sets no trap. What it hides without one is not prevented, unless the CPU lacks it too."""
    if not needed or feature(needed).holds(ids_of(vcpu)):
        return GuestAccess(reg, is_write, Outcome.HARDWARE)
    note = "KVM sets no trap here"
    if not host_has(vcpu, needed):
        note += f"; as far as it shows, the CPU has no {needed}"
    return GuestAccess(reg, is_write, Outcome.HARDWARE, "", feature(needed).because(ids_of(vcpu)), note=note)


def _answered(vcpu: Vcpu, reg: SysReg, is_write: bool) -> GuestAccess | None:
    """What KVM makes of an access that traps whatever the ID registers say."""
    if is_instruction(reg):
        return _instruction(vcpu, reg)
    rule = _rule(vcpu, reg)
    if rule is None:
        return None
    if rule.feature and not feature(rule.feature).holds(ids_of(vcpu)):
        return GuestAccess(
            reg, is_write, Outcome.UNDEFINED, rule.control, feature(rule.feature).because(ids_of(vcpu))
        )
    if rule.answer is Answer.IDENTITY:
        row = catalogue.BY_ID.get(int(id_of(reg)))
        if row is not None and row.visible(vcpu) and not is_write:
            return None
        return _missing_identity(vcpu, reg, is_write, rule.control)
    outcome = _OUTCOMES[rule.answer]
    if rule.answer is Answer.IGNORED_WRITES and not is_write:
        outcome = Outcome.REGISTER
    bit = bit_of(reg)
    if bit is None or rule.control:
        return GuestAccess(reg, is_write, outcome, rule.control)
    if bit in fine_traps(vcpu, "w" if is_write else "r"):
        return GuestAccess(reg, is_write, outcome, bit.control(is_write))
    return GuestAccess(reg, is_write, outcome, note="it is not trapped; the host keeps the CPU's own zero")


def fine_traps(vcpu: Vcpu, side: str) -> list[FgtBit]:
    """The fine-grained bits that trap this side's accesses without making them UNDEFINED."""
    ids, held = ids_of(vcpu), [row for row in rows.FINE_TRAPS if row.since in vcpu.vm.profile]
    first = {row.name: row for row in reversed(held)}
    return [
        bit
        for bit in BITS
        if bit.name in first and side in first[bit.name].sides and feature(first[bit.name].feature).holds(ids)
    ]


_OUTCOMES = {
    Answer.UNDEFINED: Outcome.UNDEFINED,
    Answer.RAZ_WI: Outcome.RAZ_WI,
    Answer.EMULATED: Outcome.EMULATED,
    Answer.IGNORED_WRITES: Outcome.IGNORED,
}


def _instruction(vcpu: Vcpu, reg: SysReg) -> GuestAccess:
    """Without fine-grained traps, outer-shareable TLB maintenance alone has a trap."""
    is_outer_tlbi = reg.crn in (8, 9) and reg.crm in (1, 5)
    can_trap = WRITABLE_ID_REGISTERS in vcpu.vm.profile and host_has(vcpu, "FEAT_EVT_TTLBxS")
    shown, ids = feature("FEAT_TLBIOS"), ids_of(vcpu)
    if is_outer_tlbi and can_trap and not shown.holds(ids):
        return GuestAccess(reg, True, Outcome.UNDEFINED, "HCR_EL2.TTLBOS", shown.because(ids))
    return _left_to_the_cpu(vcpu, reg, True, _feature_of(reg))


def _missing_identity(vcpu: Vcpu, reg: SysReg, is_write: bool, control: str) -> GuestAccess:
    """An ID register that KVM does not give this guest."""
    idst, ids = feature("FEAT_IDST"), ids_of(vcpu)
    if IDST_EXCEPTIONS in vcpu.vm.profile and idst.holds(ids) and not is_write:
        return GuestAccess(reg, is_write, Outcome.TRAPPED, control, idst.because(ids))
    return GuestAccess(reg, is_write, Outcome.UNDEFINED, control)


def _own(vcpu: Vcpu, reg: SysReg, is_write: bool) -> GuestAccess:
    """ID registers, registers that userspace shares with the guest, and what is left to the CPU."""
    if in_feature_id_space(reg) or reg in _IMPLEMENTATION:
        return GuestAccess(reg, False, Outcome.VALUE, value=ids_of(vcpu)(reg))
    if int(id_of(reg)) in catalogue.BY_ID:
        return GuestAccess(reg, is_write, Outcome.REGISTER)
    if (reg.op0, reg.crn) == (3, 0) and reg.op1 in (0, 1, 3) and reg not in NAMES:
        return _missing_identity(vcpu, reg, is_write, "")
    if reg in NAMES or reg in GUEST_ONLY or bit_of(reg) is not None:
        return _left_to_the_cpu(vcpu, reg, is_write, _UNPREVENTED.get(reg) or _feature_of(reg))
    return GuestAccess(reg, is_write, Outcome.UNDEFINED, note="no such register is known")


def _rule(vcpu: Vcpu, reg: SysReg) -> GuestRow | None:
    """The row that says what KVM answers, as this kernel has it."""
    for row in _RULES.get(reg, ()):
        if not row.since or row.since in vcpu.vm.profile:
            return row
    return None if reg in _NOT_OF_SPAN else rows.SPANS.get((reg.op0, reg.op1, reg.crn))


def _named(names: Iterable[str]) -> list[SysReg]:
    found = [find_access(name) for name in names]
    if None in found:
        raise ModelBug(f"a guest access row names an unknown register: {', '.join(names)}")
    return [reg for reg in found if reg is not None]


def _by_register(table: Mapping[str, _T]) -> dict[SysReg, _T]:
    return dict(zip(_named(table), table.values(), strict=True))


_RULES: dict[SysReg, list[GuestRow]] = {}
for _row in rows.ROWS:
    for _reg in _named(_row.registers.split()):
        _RULES.setdefault(_reg, []).append(_row)
_ENABLED, _GIVEN = _by_register(rows.ENABLED), _by_register(rows.GIVEN)
_UNPREVENTED = _by_register(rows.UNPREVENTED)
_NOT_OF_SPAN = frozenset(_named(rows.NOT_OF_SPAN.split()))
_IMPLEMENTATION = frozenset(_named(("MIDR_EL1", "REVIDR_EL1", "AIDR_EL1", "CTR_EL0")))
