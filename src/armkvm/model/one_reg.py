"""KVM_GET_ONE_REG and KVM_SET_ONE_REG: one ritual, then dispatch by class.

`reg` is any 64-bit number; `data` is None where the user pointer is bad.

Source: Linux arch/arm64/kvm/arm.c, guest.c (kvm_arm_get_reg, kvm_arm_set_reg).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from armkvm.abi.regid import KVM_REG_ARM64, RegClass
from armkvm.model import caches, core_regs, firmware, matrix, register_rules, rules, vectors
from armkvm.model.lifecycle import GET_ONE_REG, SET_ONE_REG
from armkvm.model.outcome import Refused
from armkvm.model.sysregs.catalogue import BY_ID, invariant_of
from armkvm.model.sysregs.table import always
from armkvm.model.vcpu import Vcpu

_Get = Callable[[Vcpu, int], bytes | Refused]
_Set = Callable[[Vcpu, int, bytes | None], Refused | None]

_H = TypeVar("_H")

_REMEMBERED = 1 << 14
_FIXED_BITS = 0xFF0F_FFFF << 32  # architecture, and the zero bits 51:32; not the size


def get_one_reg(vcpu: Vcpu, reg: int) -> bytes | Refused:
    """Read a register. A bad pointer is the caller's to report: it is found out last."""
    # phase
    rule = vcpu.refuses.get(GET_ONE_REG)
    if rule is not None:
        return Refused(rule)
    # identity
    return _GET[reg](vcpu, reg)


def set_one_reg(vcpu: Vcpu, reg: int, data: bytes | None) -> Refused | None:
    """Write a register."""
    # phase
    rule = vcpu.refuses.get(SET_ONE_REG)
    if rule is not None:
        return Refused(rule)
    # identity
    return _SET[reg](vcpu, reg, data)


class _Handlers(dict[int, _H]):
    """Which function answers for an id; worked out once, for what an id names never changes."""

    def __init__(self, by_class: dict[int, _H], unknown: _H, foreign: _H) -> None:
        super().__init__()
        self.by_class, self.unknown, self.foreign = by_class, unknown, foreign

    def __missing__(self, reg: int) -> _H:
        handler = self.foreign
        if reg & _FIXED_BITS == KVM_REG_ARM64:
            handler = self.by_class.get(reg >> 16 & 0xFFF, self.unknown)
        if len(self) < _REMEMBERED:
            self[reg] = handler
        return handler


def _get_sysreg(vcpu: Vcpu, reg: int) -> bytes | Refused:
    row = BY_ID.get(reg)
    if row is None:
        return Refused(register_rules.NO_SUCH_SYSREG)
    if row.visible is not always and not row.visible(vcpu):  # most are, and need no call to say so
        return Refused(register_rules.SYSREG_HIDDEN)
    return row.read(vcpu, row).to_bytes(8, "little")


def _set_sysreg(vcpu: Vcpu, reg: int, data: bytes | None) -> Refused | None:
    # the kernel reads the value before it looks the register up
    if data is None:
        return Refused(rules.BAD_POINTER)
    row = BY_ID.get(reg)
    if row is None:
        return Refused(register_rules.NO_SUCH_SYSREG)
    if row.visible is not always and not row.visible(vcpu):
        return Refused(register_rules.SYSREG_HIDDEN)
    return row.write(vcpu, row, int.from_bytes(data, "little"))


def _get_unknown(vcpu: Vcpu, reg: int) -> bytes | Refused:
    twin = invariant_of(vcpu.vm.profile, reg)
    return Refused(register_rules.UNKNOWN_CLASS) if twin is None else _get_sysreg(vcpu, twin)


def _set_unknown(vcpu: Vcpu, reg: int, data: bytes | None) -> Refused | None:
    if data is None:
        return Refused(rules.BAD_POINTER)
    twin = invariant_of(vcpu.vm.profile, reg)
    return Refused(register_rules.UNKNOWN_CLASS) if twin is None else _set_sysreg(vcpu, twin, data)


def _get_sme(vcpu: Vcpu, reg: int) -> bytes | Refused:
    return matrix.get(vcpu, reg) if matrix.is_known(vcpu) else _get_unknown(vcpu, reg)


def _set_sme(vcpu: Vcpu, reg: int, data: bytes | None) -> Refused | None:
    return matrix.put(vcpu, reg, data) if matrix.is_known(vcpu) else _set_unknown(vcpu, reg, data)


def _get_foreign(vcpu: Vcpu, reg: int) -> bytes | Refused:
    return Refused(register_rules.FOREIGN_ID)


def _set_foreign(vcpu: Vcpu, reg: int, data: bytes | None) -> Refused | None:
    return Refused(register_rules.FOREIGN_ID)


_GET = _Handlers[_Get](
    {
        RegClass.CORE: core_regs.get,
        RegClass.DEMUX: caches.get,
        RegClass.SYSREG: _get_sysreg,
        RegClass.FW: firmware.get,
        RegClass.FW_FEAT_BMAP: firmware.get,
        RegClass.SVE: vectors.get,
        RegClass.SME: _get_sme,
    },
    _get_unknown,
    _get_foreign,
)
_SET = _Handlers[_Set](
    {
        RegClass.CORE: core_regs.put,
        RegClass.DEMUX: caches.put,
        RegClass.SYSREG: _set_sysreg,
        RegClass.FW: firmware.put,
        RegClass.FW_FEAT_BMAP: firmware.put,
        RegClass.SVE: vectors.put,
        RegClass.SME: _set_sme,
    },
    _set_unknown,
    _set_foreign,
)
