"""Core registers: offsets into struct kvm_regs.

Source: Linux arch/arm64/kvm/guest.c (get_core_reg, set_core_reg, core_reg_size_from_offset).
"""

from __future__ import annotations

from armkvm.abi import core
from armkvm.abi.regid import CORE_WORDS, RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.pstate import AARCH32, AARCH32_USER, DAIF, EL0T, EL1H, EL1T, EL2H, EL2T
from armkvm.catalog import name_of, parse
from armkvm.model import register_rules, rules
from armkvm.model.outcome import Refused
from armkvm.model.vcpu import Vcpu
from armkvm.model.vectors import has_v_registers

PC = int(parse("PC"))
PSTATE = int(parse("PSTATE"))
X = tuple(int(RegId.x(n)) for n in range(31))
ALL = tuple(int(RegId.core(word, size)) for word, size in core.REGISTERS.values())
V = frozenset(int(RegId.v(n)) for n in range(32))

_SYS32 = 0x1F
_AARCH32_EL1 = frozenset((0x11, 0x12, 0x13, 0x17, 0x1B, _SYS32))

# KVM keeps these among the system registers, where nothing says what they are reset to.
_NOT_RESET = tuple(int(parse(name)) for name in ("SP_EL1", "ELR_EL1", "SPSR_EL1"))

PSTATE_EL1H = DAIF | EL1H
PSTATE_EL2H = DAIF | EL2H
PSTATE_SVC32 = 0x1D3


def get(vcpu: Vcpu, reg: int) -> bytes | Refused:
    """KVM_GET_ONE_REG of a core register."""
    value = vcpu.core.get(reg)
    if value is None or (reg in V and not has_v_registers(vcpu)):
        return _misnamed(reg)
    return value.to_bytes(1 << (reg >> 52 & 15), "little")


def put(vcpu: Vcpu, reg: int, data: bytes | None) -> Refused | None:
    """KVM_SET_ONE_REG of a core register."""
    # identity and size
    if reg not in vcpu.core or (reg in V and not has_v_registers(vcpu)):
        return _misnamed(reg)
    if data is None:
        return Refused(rules.BAD_POINTER)
    # value
    value = int.from_bytes(data, "little")
    if reg == PSTATE and not _mode_allowed(vcpu, value & 0x1F):
        return Refused(register_rules.BAD_PSTATE_MODE, f"asked for mode {value & 0x1F:#x}")
    # effect
    vcpu.core[reg] = value
    if vcpu.core[PSTATE] & AARCH32:
        _truncate_to_32_bits(vcpu)
    return None


def _misnamed(number: int) -> Refused:
    """Why an id of the core class names no register of this vCPU."""
    reg = RegId(number)
    word = number & 0xFFFFFFF & ~(0xFFF << 16) | (number >> 28 & 15) << 28
    if word >= CORE_WORDS or word + reg.size // 4 >= CORE_WORDS:
        return Refused(register_rules.CORE_BEYOND_END, f"word {word}, {reg.size} bytes")
    if number in V:
        return Refused(register_rules.V_ON_SVE, f"{name_of(reg)} is Z{name_of(reg)[1:]}[127:0]")
    size = core.SIZE_AT.get(word)
    if size is None:
        return Refused(register_rules.CORE_MISPLACED, f"no register starts at word {word}")
    return Refused(
        register_rules.CORE_MISPLACED, f"the register at word {word} has {size} bytes, not {reg.size}"
    )


def _mode_allowed(vcpu: Vcpu, mode: int) -> bool:
    is_32bit = F.EL1_32BIT in vcpu.features
    if mode == AARCH32_USER:
        return vcpu.vm.platform.has_aarch32_el0
    if mode in _AARCH32_EL1:
        return is_32bit
    if mode in (EL2T, EL2H):
        return F.HAS_EL2 in vcpu.features and not is_32bit
    return mode in (EL0T, EL1T, EL1H) and not is_32bit


def _truncate_to_32_bits(vcpu: Vcpu) -> None:
    """While PSTATE says AArch32, every core write narrows the registers that mode can see."""
    visible = X[:15] if vcpu.core[PSTATE] & 0x1F in (AARCH32_USER, _SYS32) else X
    for reg in (*visible, PC):
        vcpu.core[reg] &= 0xFFFF_FFFF


def reset(vcpu: Vcpu) -> None:
    """What KVM_ARM_VCPU_INIT leaves in the core registers."""
    vcpu.core = dict.fromkeys(ALL, 0) | {reg: vcpu.core[reg] for reg in _NOT_RESET if reg in vcpu.core}
    if F.EL1_32BIT in vcpu.features:
        vcpu.core[PSTATE] = PSTATE_SVC32
    else:
        vcpu.core[PSTATE] = PSTATE_EL2H if F.HAS_EL2 in vcpu.features else PSTATE_EL1H
