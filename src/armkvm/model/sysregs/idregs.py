"""Rows of the feature ID registers, and who may change them.

A write passes, in the kernel's order: the register's own check, which may also rewrite the value;
the freeze at the VM's first run; the comparison, field by field, with what the register was
initialised to (not with what it holds now); and is then stored for the whole VM.

Source: Linux arch/arm64/kvm/sys_regs.c (set_id_reg, set_id_aa64*_el1, set_imp_id_reg, set_clidr).
"""

from __future__ import annotations

from functools import lru_cache

from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.arch.encoding import SysReg
from armkvm.arch.idfields import field
from armkvm.arch.sysregs import name_of, sysreg
from armkvm.catalog import id_of
from armkvm.model import register_rules
from armkvm.model.outcome import Refused
from armkvm.model.sysregs import idrules
from armkvm.model.sysregs.table import Row, rows, store, to_host
from armkvm.model.vcpu import Vcpu
from armkvm.model.vcpu_behaviours import HOST_CACHE_GEOMETRY, WRITABLE_ID_REGISTERS, WRITABLE_IMP_ID

CTR = sysreg("CTR_EL0")
_CTR_IDC = field("CTR_EL0", "IDC")
IMPLEMENTATION = ("MIDR_EL1", "REVIDR_EL1", "AIDR_EL1")


def read_id(vcpu: Vcpu, row: Row) -> int:
    """Read the VM's value."""
    return vcpu.id_regs[row.id]


def write_id(vcpu: Vcpu, row: Row, value: int) -> Refused | None:
    """Write a feature ID register of the VM."""
    vm, limit = vcpu.vm, vcpu.id_limits[row.id]
    guest = idrules.guest_on(vm.platform, vcpu.features)
    if idrules.is_ignored(guest, row.reg):
        return None
    # the register's own check
    checked = idrules.own_check(guest, row.reg, value, limit)
    if isinstance(checked, Refused):
        return checked
    # permission
    if vm.has_run and WRITABLE_ID_REGISTERS in vm.profile:
        unchanged = checked == vcpu.id_regs[row.id]
        return None if unchanged else Refused(register_rules.ID_FROZEN, _was(vcpu, row, checked))
    # value
    fault = idrules.beyond(guest, row.reg, checked, limit)
    if fault:
        return Refused(register_rules.ID_ABOVE_LIMIT, fault)
    # effect
    vm.write_id(row.id, checked)
    return None


def settle_together(
    vcpu: Vcpu, regs: tuple[int, ...], asked: tuple[int, ...], limits: tuple[int, ...]
) -> tuple[int | None, ...] | None:
    """What writes of several ID registers would store on a VM that has not run.

    None for a register that ignores writes; None instead of all where one is refused.
    """
    guest = idrules.guest_on(vcpu.vm.platform, vcpu.features)
    return _settle_together(guest, regs, asked, limits)


@lru_cache(maxsize=64)  # a fleet's VMs are told the same, many times
def _settle_together(
    guest: idrules.Guest, regs: tuple[int, ...], asked: tuple[int, ...], limits: tuple[int, ...]
) -> tuple[int | None, ...] | None:
    settled: list[int | None] = []
    for number, value, limit in zip(regs, asked, limits, strict=True):
        reg = _ID_SPACE_BY_ID[number]
        if idrules.is_ignored(guest, reg):
            settled.append(None)
            continue
        checked = idrules.own_check(guest, reg, value, limit)
        if isinstance(checked, Refused) or idrules.beyond(guest, reg, checked, limit):
            return None
        settled.append(checked)
    return tuple(settled)


def _was(vcpu: Vcpu, row: Row, value: int) -> str:
    return f"asked for {value:#x}, it is {vcpu.id_regs[row.id]:#x}"


# -- implementation IDs and cache levels -------------------------------------------------------


def write_implementation(vcpu: Vcpu, row: Row, value: int) -> Refused | None:
    """An implementation ID register: the host's value, or the VM's own by capability."""
    vm, current = vcpu.vm, vcpu.id_regs[row.id]
    if value == current:
        return None
    if WRITABLE_IMP_ID not in vm.profile:
        return Refused(register_rules.ID_INVARIANT, _was(vcpu, row, value))
    if Cap.ARM_WRITABLE_IMP_ID_REGS not in vm.caps:
        return Refused(register_rules.IMP_ID_NOT_ENABLED, _was(vcpu, row, value))
    if vm.has_run:
        return Refused(register_rules.ID_FROZEN, _was(vcpu, row, value))
    mask = vm.platform.masks.reported.get(row.reg, 0)
    if value & ~mask:
        return Refused(register_rules.ID_ABOVE_LIMIT, f"{name_of(row.reg)} holds only bits {mask:#x}")
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
            else Refused(register_rules.ID_INVARIANT, f"asked for {value:#x}, it is {current:#x}")
        )
    promises_no_cleaning = not value & _LOC or not value & _LOUIS_LOUU
    host_needs_cleaning = not _CTR_IDC.extract(vcpu.vm.platform.value(RegId.sysreg(CTR)))
    if value & _CLIDR_RES0 or (promises_no_cleaning and host_needs_cleaning):
        return Refused(register_rules.CLIDR_INVALID, f"asked for {value:#x}")
    return store(vcpu, row, value)


def _write_ctr(vcpu: Vcpu, row: Row, value: int) -> Refused | None:
    if HOST_CACHE_GEOMETRY in vcpu.vm.profile and value != vcpu.id_regs[row.id]:
        return Refused(register_rules.ID_INVARIANT, _was(vcpu, row, value))
    return write_id(vcpu, row, value)


ID_SPACE = [SysReg.of(3, 0, 0, crm, op2) for crm in range(1, 8) for op2 in range(8)]
_ID_SPACE_BY_ID = {int(id_of(reg)): reg for reg in ID_SPACE}

ROWS: list[Row] = [
    *rows(*IMPLEMENTATION, reset=None, read=read_id, write=write_implementation),
    *(Row(reg, reset=None, read=read_id, write=write_id) for reg in ID_SPACE),
    *rows("CTR_EL0", reset=None, read=read_id, write=_write_ctr),
    *rows("CLIDR_EL1", reset=to_host, write=_write_clidr),
]
