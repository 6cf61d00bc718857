"""Rows of the feature ID registers, and who may change them.

A write passes, in the kernel's order: the register's own check, which may also rewrite the value;
the freeze at the VM's first run; the comparison, field by field, with what the register was
initialised to (not with what it holds now); and is then stored for the whole VM.

Source: Linux arch/arm64/kvm/sys_regs.c (set_id_reg, set_id_aa64*_el1, set_imp_id_reg, set_clidr).
"""

from __future__ import annotations

from collections.abc import Callable

from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.encoding import SysReg
from armkvm.arch.fields import Field, accepted_values, accepts
from armkvm.arch.idfields import field, fields_of
from armkvm.arch.sysregs import name_of, sysreg
from armkvm.model import rules
from armkvm.model.outcome import Refused
from armkvm.model.profile import (
    HIDES_NV,
    HOST_CACHE_GEOMETRY,
    KEEPS_EL0_EL1,
    WRITABLE_ID_REGISTERS,
    WRITABLE_IMP_ID,
)
from armkvm.model.sysregs.table import Row, rows, store, to_host
from armkvm.model.tables.writable import AARCH32, effective_mask, reported_mask
from armkvm.model.vcpu import Vcpu

Check = Callable[[Vcpu, int, int], "int | Refused"]
"""A register's own check of a value, given the limit: the value to go on with, or why not."""

CLIDR = sysreg("CLIDR_EL1")
CTR = sysreg("CTR_EL0")
_CTR_IDC = field("CTR_EL0", "IDC")
IMPLEMENTATION = ("MIDR_EL1", "REVIDR_EL1", "AIDR_EL1")


def read_id(vcpu: Vcpu, row: Row) -> int:
    """Read the VM's value."""
    return vcpu.id_regs[row.id]


def write_id(vcpu: Vcpu, row: Row, value: int) -> Refused | None:
    """Write a feature ID register of the VM."""
    vm, limit = vcpu.vm, vcpu.id_limits[row.id]
    if row.reg in AARCH32 and not vm.platform.has_aarch32_el0:
        return None  # the host cannot run AArch32, so its view is write-ignored
    # the register's own check
    check = _CHECKS.get(row.reg)
    if check is not None:
        checked = check(vcpu, value, limit)
        if isinstance(checked, Refused):
            return checked
        value = checked
    # permission
    if vm.has_run and WRITABLE_ID_REGISTERS in vm.profile:
        return None if value == vcpu.id_regs[row.id] else Refused(rules.ID_FROZEN, _was(vcpu, row, value))
    # value
    fault = _beyond(vm.profile.id_table, row.reg, limit, value)
    if fault:
        return Refused(rules.ID_ABOVE_LIMIT, fault)
    # effect
    vcpu.vm.write_id(row.id, value)
    return None


def _beyond(table: str, reg: SysReg, limit: int, value: int) -> str:
    """What is wrong with a value of an ID register, "" if nothing is."""
    if value == limit:
        return ""
    writable = effective_mask(table, reg)
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


def _was(vcpu: Vcpu, row: Row, value: int) -> str:
    return f"asked for {value:#x}, it is {vcpu.id_regs[row.id]:#x}"


# -- checks of their own -----------------------------------------------------------------------


def _at_least(part: Field, least: int) -> Check:
    """A field that may not fall below the oldest version KVM can emulate."""

    def check(vcpu: Vcpu, value: int, limit: int) -> int | Refused:
        if part.extract(value) < least:
            return Refused(
                rules.ID_ABOVE_LIMIT, f"{part} is {part.extract(value):#x}, the least is {least:#x}"
            )
        return value

    return check


def _check_pfr0(vcpu: Vcpu, value: int, limit: int) -> int | Refused:
    """Exception levels a vCPU has cannot be taken away."""
    if KEEPS_EL0_EL1 not in vcpu.vm.profile:
        return value
    levels = ["EL0", "EL1", *(["EL2"] if F.HAS_EL2 in vcpu.features else [])]
    for level in levels:
        part = field("ID_AA64PFR0_EL1", level)
        if not part.extract(value):
            return Refused(rules.ID_ABOVE_LIMIT, f"{part} is 0, but the vCPU has {level}")
    return value


_PMUVER = field("ID_AA64DFR0_EL1", "PMUVer")
_DEBUGVER = _at_least(field("ID_AA64DFR0_EL1", "DebugVer"), 6)
_PERFMON = field("ID_DFR0_EL1", "PerfMon")
_COPDBG = _at_least(field("ID_DFR0_EL1", "CopDbg"), 6)
_IMP_DEF = 0xF


def _check_dfr0(vcpu: Vcpu, value: int, limit: int) -> int | Refused:
    """An implementation-defined PMU is no PMU; KVM emulates nothing older than Armv8.0 debug."""
    if _PMUVER.extract(value) == _IMP_DEF:
        value = _PMUVER.insert(value, 0)
    return _DEBUGVER(vcpu, value, limit)


def _check_id_dfr0(vcpu: Vcpu, value: int, limit: int) -> int | Refused:
    if _PERFMON.extract(value) == _IMP_DEF:
        value = _PERFMON.insert(value, 0)
    if _PERFMON.extract(value) in (1, 2):
        return Refused(rules.ID_ABOVE_LIMIT, f"{_PERFMON} is older than PMUv3")
    return _COPDBG(vcpu, value, limit)


_GRANULES_2 = [field("ID_AA64MMFR0_EL1", name) for name in ("TGRAN4_2", "TGRAN64_2", "TGRAN16_2")]


def _check_mmfr0(vcpu: Vcpu, value: int, limit: int) -> int | Refused:
    """With EL2, a stage 2 granule is as initialised or not there (1)."""
    if F.HAS_EL2 in vcpu.features:
        for part in _GRANULES_2:
            if part.extract(value) not in (part.extract(limit), 1):
                return Refused(rules.ID_ABOVE_LIMIT, f"{part} is {part.extract(value):#x}")
    return value


_NV = field("ID_AA64MMFR2_EL1", "NV")


def _check_mmfr2(vcpu: Vcpu, value: int, limit: int) -> int | Refused:
    """NV was shown once: the CPU's own value is welcome back, and dropped."""
    if HIDES_NV in vcpu.vm.profile and _NV.extract(value) == vcpu.vm.platform.hardware_nv:
        return _NV.insert(value, 0)
    return value


_L1IP = field("CTR_EL0", "L1Ip")


def _check_ctr(vcpu: Vcpu, value: int, limit: int) -> int | Refused:
    """VPIPT and AIVIVT instruction caches are not emulated; PIPT may be shown as VIPT."""
    if _L1IP.extract(value) in (0, 1):
        return Refused(rules.ID_ABOVE_LIMIT, f"{_L1IP} is {_L1IP.extract(value)}, allowed are 2 and 3")
    return value


_CHECKS: dict[SysReg, Check] = {
    sysreg("ID_AA64PFR0_EL1"): _check_pfr0,
    sysreg("ID_AA64DFR0_EL1"): _check_dfr0,
    sysreg("ID_DFR0_EL1"): _check_id_dfr0,
    sysreg("ID_AA64MMFR0_EL1"): _check_mmfr0,
    sysreg("ID_AA64MMFR2_EL1"): _check_mmfr2,
    CTR: _check_ctr,
}


# -- implementation IDs and cache levels -------------------------------------------------------


def write_implementation(vcpu: Vcpu, row: Row, value: int) -> Refused | None:
    """An implementation ID register: the host's value, or the VM's own by capability."""
    vm, current = vcpu.vm, vcpu.id_regs[row.id]
    if value == current:
        return None
    if WRITABLE_IMP_ID not in vm.profile:
        return Refused(rules.ID_INVARIANT, _was(vcpu, row, value))
    if Cap.ARM_WRITABLE_IMP_ID_REGS not in vm.caps:
        return Refused(rules.IMP_ID_NOT_ENABLED, _was(vcpu, row, value))
    if vm.has_run:
        return Refused(rules.ID_FROZEN, _was(vcpu, row, value))
    mask = reported_mask(vm.profile.id_table, row.reg)
    if value & ~mask:
        return Refused(rules.ID_ABOVE_LIMIT, f"{name_of(row.reg)} holds only bits {mask:#x}")
    vm.write_id(row.id, value)
    return None


_CLIDR_RES0 = ~((1 << 47) - 1)
_LOC, _LOUIS_LOUU = 7 << 24, 7 << 21 | 7 << 27


def _write_clidr(vcpu: Vcpu, row: Row, value: int) -> Refused | None:
    """Per vCPU and never frozen; must not promise coherence the host's caches lack."""
    if HOST_CACHE_GEOMETRY in vcpu.vm.profile:
        current = vcpu.sysregs[row.id]
        return (
            None
            if value == current
            else Refused(rules.ID_INVARIANT, f"asked for {value:#x}, it is {current:#x}")
        )
    promises_no_cleaning = not value & _LOC or not value & _LOUIS_LOUU
    host_needs_cleaning = not _CTR_IDC.extract(vcpu.vm.platform.value(RegId.sysreg(CTR)))
    if value & _CLIDR_RES0 or (promises_no_cleaning and host_needs_cleaning):
        return Refused(rules.CLIDR_INVALID, f"asked for {value:#x}")
    return store(vcpu, row, value)


def _write_ctr(vcpu: Vcpu, row: Row, value: int) -> Refused | None:
    if HOST_CACHE_GEOMETRY in vcpu.vm.profile and value != vcpu.id_regs[row.id]:
        return Refused(rules.ID_INVARIANT, _was(vcpu, row, value))
    return write_id(vcpu, row, value)


ID_SPACE = [SysReg.of(3, 0, 0, crm, op2) for crm in range(1, 8) for op2 in range(8)]

ROWS: list[Row] = [
    *rows(*IMPLEMENTATION, reset=None, read=read_id, write=write_implementation),
    *(Row(reg, reset=None, read=read_id, write=write_id) for reg in ID_SPACE),
    *rows("CTR_EL0", reset=None, read=read_id, write=_write_ctr),
    *rows("CLIDR_EL1", reset=to_host, write=_write_clidr),
]
