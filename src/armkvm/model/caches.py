"""Cache geometry: the demultiplexed CCSIDR_EL1 ids.

Source: Linux arch/arm64/kvm/sys_regs.c (demux_c15_get, demux_c15_set, get_ccsidr, set_ccsidr).
"""

from __future__ import annotations

from functools import lru_cache

from armkvm.abi.regid import CCSIDR_COUNT, RegId
from armkvm.arch.idfields import field
from armkvm.arch.sysregs import sysreg
from armkvm.catalog import id_of
from armkvm.model import register_rules, rules
from armkvm.model.host import Platform
from armkvm.model.outcome import Refused
from armkvm.model.vcpu import Vcpu
from armkvm.model.vcpu_behaviours import HOST_CACHE_GEOMETRY

_CTR = id_of(sysreg("CTR_EL0"))
_IMIN = field("CTR_EL0", "IminLine")
_DMIN = field("CTR_EL0", "DminLine")
_LINE_SIZE = 0b111  # log2(bytes) - 4
_IDS = tuple(int(RegId.ccsidr(n)) for n in range(CCSIDR_COUNT))


def listed(vcpu: Vcpu) -> list[int]:
    """The demultiplexed block of KVM_GET_REG_LIST."""
    return list(vcpu.demux)


def get(vcpu: Vcpu, reg: int) -> bytes | Refused:
    """KVM_GET_ONE_REG of a CCSIDR_EL1."""
    value = vcpu.demux.get(reg)
    if value is None:
        return Refused(register_rules.NO_SUCH_DEMUX)
    return value.to_bytes(4, "little")


def put(vcpu: Vcpu, reg: int, data: bytes | None) -> Refused | None:
    """KVM_SET_ONE_REG of a CCSIDR_EL1."""
    # identity and size
    if reg not in vcpu.demux:
        return Refused(register_rules.NO_SUCH_DEMUX)
    if data is None:
        return Refused(rules.BAD_POINTER)
    # value
    value = int.from_bytes(data, "little")
    platform = vcpu.vm.platform
    if HOST_CACHE_GEOMETRY in platform.profile:
        if value != vcpu.demux[reg]:
            return Refused(register_rules.CCSIDR_FIXED, f"asked for {value:#x}, it is {vcpu.demux[reg]:#x}")
        return None
    smallest = _smallest_line(platform, reg & 1)
    if (value & _LINE_SIZE) + 4 < smallest:
        return Refused(
            register_rules.CCSIDR_INVALID, f"asked for {value:#x}, lines are at least {1 << smallest} bytes"
        )
    # effect
    vcpu.demux[reg] = value
    return None


def reset(vcpu: Vcpu) -> None:
    """At the first KVM_ARM_VCPU_INIT: the host's caches, or made-up ones with its smallest line."""
    platform = vcpu.vm.platform
    if HOST_CACHE_GEOMETRY in platform.profile:
        values = platform.facts.values["plain"]
        vcpu.demux = {reg: values[RegId(reg)] for reg in _IDS if RegId(reg) in values}
    else:
        # A line below 16 bytes has no encoding: as in the kernel, what does not fit LineSize is cut off.
        vcpu.demux = {reg: _smallest_line(platform, reg & 1) - 4 & _LINE_SIZE for reg in _IDS}


@lru_cache(maxsize=64)
def _smallest_line(platform: Platform, instruction: int) -> int:
    """log2 of the smallest cache line in bytes, as the host's CTR_EL0 says."""
    ctr = platform.value(_CTR)
    return (_IMIN if instruction else _DMIN).extract(ctr) + 2
