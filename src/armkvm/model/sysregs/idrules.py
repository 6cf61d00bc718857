"""What a feature ID register of a VM may be set to: the rules, without the VM.

First the register's own check, which may rewrite the value; then the comparison, field by field,
with the limit, which is what the register was initialised to. Between the two the kernel looks
whether the VM has run, so `idregs` calls them one by one.

Source: Linux arch/arm64/kvm/sys_regs.c (set_id_aa64*_el1, arm64_check_features).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.encoding import SysReg
from armkvm.arch.fields import Field, accepted_bits, accepted_values, accepts
from armkvm.arch.idfields import field, fields_of, narrow_fields
from armkvm.arch.sysregs import sysreg
from armkvm.model import register_rules
from armkvm.model.host import Platform
from armkvm.model.outcome import Refused
from armkvm.model.profile import KernelProfile
from armkvm.model.tables.writable import AARCH32, Masks
from armkvm.model.vcpu_behaviours import HIDES_MPAM, HIDES_NV, KEEPS_EL0_EL1


class Guest(NamedTuple):
    """All that the rules ask about: the kernel, the CPU, and whether the vCPU has EL2.

    `hardware`: the CPU's own values of fields that kernels showed once.
    """

    profile: KernelProfile
    masks: Masks
    hardware: tuple[tuple[Field, int], ...]
    has_aarch32_el0: bool
    has_el2: bool


SHOWN_ONCE: tuple[tuple[Field, str], ...] = (
    (field("ID_AA64MMFR2_EL1", "NV"), HIDES_NV),
    (field("ID_AA64PFR0_EL1", "MPAM"), HIDES_MPAM),
    (field("ID_AA64PFR1_EL1", "MPAM_frac"), HIDES_MPAM),
)
"""Fields with the behaviour that hides them. The CPU's own value is welcome back, and dropped."""
_HIDDEN_BY = dict(SHOWN_ONCE)


def guest_on(platform: Platform, features: frozenset[F]) -> Guest:
    """A vCPU with these features on that host."""
    return _guest(platform, F.HAS_EL2 in features)


@lru_cache(maxsize=1024)
def _guest(platform: Platform, has_el2: bool) -> Guest:
    hardware = tuple((part, platform.hardware(part)) for part, _ in SHOWN_ONCE)
    return Guest(platform.profile, platform.masks, hardware, platform.has_aarch32_el0, has_el2)


Check = Callable[[Guest, int, int], "int | Refused"]
"""A register's own check of a value, given the limit: the value to go on with, or why not."""


def own_check(guest: Guest, reg: SysReg, value: int, limit: int) -> int | Refused:
    """What the register itself makes of a value before anything else is looked at."""
    for part, hardware in guest.hardware:
        if part.register == reg and _HIDDEN_BY[part] in guest.profile and part.extract(value) == hardware:
            value = part.insert(value, 0)
    check = _CHECKS.get(reg)
    return value if check is None else check(guest, value, limit)


def is_ignored(guest: Guest, reg: SysReg) -> bool:
    """Whether writes are ignored: the AArch32 view on a host that cannot run AArch32."""
    return reg in AARCH32 and not guest.has_aarch32_el0


def beyond(guest: Guest, reg: SysReg, value: int, limit: int) -> str:
    """What is wrong with a value of an ID register, "" if nothing is."""
    if value == limit:
        return ""
    writable = guest.masks.effective.get(reg, 0)
    for part in fields_of(reg):
        asked, most = part.extract(value), part.extract(limit)
        if asked == most:
            continue
        if part.mask & ~writable:
            return f"{part} is {asked:#x}, and this kernel fixes it at {most:#x}"
        if not accepts(part, most, asked):
            allowed = ", ".join(f"{v:#x}" for v in accepted_values(part, most))
            return f"{part} is {asked:#x}, allowed are {allowed}"
    return ""


def accepted(guest: Guest, reg: SysReg, limit: int) -> tuple[int, ...]:
    """The values of each narrow field that stick when written alone, as a set of bits (bit v for value v).

    A wider field accepts only what it is.
    """
    writable = 0 if is_ignored(guest, reg) else guest.masks.effective.get(reg, 0)
    has_check = reg in _CHECKS or any(part.register == reg for part, _ in guest.hardware)
    if has_check:
        return tuple(_tried(guest, part, limit, writable) for part in narrow_fields(reg))
    return tuple([sticking[limit >> lsb & low] for lsb, low, sticking in _by_field(reg, writable)])


def _tried(guest: Guest, part: Field, limit: int, writable: int) -> int:
    """The values of a field that stick, of a register with a check of its own."""
    now = part.extract(limit)
    if part.mask & ~writable:
        return 1 << now
    tried = ((value, part.insert(limit, value)) for value in accepted_values(part, now) if value != now)
    kept = (1 << v for v, written in tried if own_check(guest, part.register, written, limit) == written)
    return sum(kept, 1 << now)


class _Sticking(dict[int, int]):
    """By a field's limit the values that stick, as bits; worked out when first asked for."""

    def __init__(self, part: Field, writable: int) -> None:
        self._part = part
        self._is_open = not part.mask & ~writable

    def __missing__(self, limit: int) -> int:
        bits = self[limit] = accepted_bits(self._part, limit) if self._is_open else 1 << limit
        return bits


@lru_cache(maxsize=1024)
def _by_field(reg: SysReg, writable: int) -> tuple[tuple[int, int, _Sticking], ...]:
    """The narrow fields of a register without a check of its own: lsb, mask shifted there, what sticks."""
    return tuple((part.lsb, part.mask >> part.lsb, _Sticking(part, writable)) for part in narrow_fields(reg))


# -- checks of their own -----------------------------------------------------------------------


def _at_least(part: Field, least: int) -> Check:
    """A field that may not fall below the oldest version KVM can emulate."""

    def check(guest: Guest, value: int, limit: int) -> int | Refused:
        if part.extract(value) < least:
            return Refused(
                register_rules.ID_ABOVE_LIMIT, f"{part} is {part.extract(value):#x}, the least is {least:#x}"
            )
        return value

    return check


_LEVELS = [field("ID_AA64PFR0_EL1", name) for name in ("EL0", "EL1", "EL2")]


def _check_pfr0(guest: Guest, value: int, limit: int) -> int | Refused:
    """Exception levels a vCPU has cannot be taken away."""
    if KEEPS_EL0_EL1 not in guest.profile:
        return value
    for part in _LEVELS if guest.has_el2 else _LEVELS[:2]:
        if not part.extract(value):
            return Refused(register_rules.ID_ABOVE_LIMIT, f"{part} is 0, but the vCPU has {part.name}")
    return value


_PMUVER = field("ID_AA64DFR0_EL1", "PMUVer")
_DEBUGVER = _at_least(field("ID_AA64DFR0_EL1", "DebugVer"), 6)
_PERFMON = field("ID_DFR0_EL1", "PerfMon")
_COPDBG = _at_least(field("ID_DFR0_EL1", "CopDbg"), 6)
_IMP_DEF = 0xF


def _check_dfr0(guest: Guest, value: int, limit: int) -> int | Refused:
    """An implementation-defined PMU is no PMU; KVM emulates nothing older than Armv8.0 debug."""
    if _PMUVER.extract(value) == _IMP_DEF:
        value = _PMUVER.insert(value, 0)
    return _DEBUGVER(guest, value, limit)


def _check_id_dfr0(guest: Guest, value: int, limit: int) -> int | Refused:
    if _PERFMON.extract(value) == _IMP_DEF:
        value = _PERFMON.insert(value, 0)
    if _PERFMON.extract(value) in (1, 2):
        return Refused(register_rules.ID_ABOVE_LIMIT, f"{_PERFMON} is older than PMUv3")
    return _COPDBG(guest, value, limit)


_GRANULES_2 = [field("ID_AA64MMFR0_EL1", name) for name in ("TGRAN4_2", "TGRAN64_2", "TGRAN16_2")]


def _check_mmfr0(guest: Guest, value: int, limit: int) -> int | Refused:
    """With EL2, a stage 2 granule is as initialised or not there (1)."""
    if guest.has_el2:
        for part in _GRANULES_2:
            if part.extract(value) not in (part.extract(limit), 1):
                return Refused(register_rules.ID_ABOVE_LIMIT, f"{part} is {part.extract(value):#x}")
    return value


_L1IP = field("CTR_EL0", "L1Ip")


def _check_ctr(guest: Guest, value: int, limit: int) -> int | Refused:
    """Where the policy is written: PIPT may be shown as VIPT; VPIPT and AIVIVT caches are not emulated."""
    if not _L1IP.mask & guest.masks.effective.get(_L1IP.register, 0):
        return value
    if _L1IP.extract(value) in (0, 1):
        return Refused(
            register_rules.ID_ABOVE_LIMIT, f"{_L1IP} is {_L1IP.extract(value)}, allowed are 2 and 3"
        )
    return value


_CHECKS: dict[SysReg, Check] = {
    sysreg("ID_AA64PFR0_EL1"): _check_pfr0,
    sysreg("ID_AA64DFR0_EL1"): _check_dfr0,
    sysreg("ID_DFR0_EL1"): _check_id_dfr0,
    sysreg("ID_AA64MMFR0_EL1"): _check_mmfr0,
    sysreg("CTR_EL0"): _check_ctr,
}
