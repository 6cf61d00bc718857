"""Firmware pseudo-registers: PSCI version, workaround levels, hypercall service bitmaps.

Source: Linux arch/arm64/kvm/hypercalls.c.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.idfields import field
from armkvm.catalog import BITMAPS, FIRMWARE, id_of, parse
from armkvm.model import register_rules, rules
from armkvm.model.outcome import Refused
from armkvm.model.profile import KernelProfile
from armkvm.model.vcpu import Vcpu
from armkvm.model.vcpu_behaviours import PSCI_1_3, VENDOR_HYP_BMAP_2

if TYPE_CHECKING:
    from armkvm.model.vm import Vm

PSCI_VERSION, WORKAROUND_1, WORKAROUND_2, WORKAROUND_3 = (int(parse(name)) for name in FIRMWARE)
WORKAROUNDS = (WORKAROUND_1, WORKAROUND_2, WORKAROUND_3)
STD, STD_HYP, VENDOR_HYP, VENDOR_HYP_2 = (int(parse(name)) for name in BITMAPS)

PSCI_0_1, PSCI_0_2 = 1, 2
_PSCI_1_X = {n: 0x10000 | n for n in range(4)}

# Services a kernel implements, and which of them a VM starts with.
_SUPPORTED = {STD: 0b1, STD_HYP: 0b1, VENDOR_HYP: 0b11, VENDOR_HYP_2: 0b11}
_INITIAL = {STD: 0b1, STD_HYP: 0b1, VENDOR_HYP: 0b11, VENDOR_HYP_2: 0}

_LEVEL = 0xF
_WA2_ENABLED = 1 << 4
_WA2_AVAIL = 2
_WA2_NOT_REQUIRED = 3

_SSBS = field("ID_AA64PFR1_EL1", "SSBS")
_PFR1 = int(id_of(_SSBS.register))


def listed(vcpu: Vcpu) -> list[int]:
    """Both blocks of KVM_GET_REG_LIST."""
    return [PSCI_VERSION, *WORKAROUNDS, *_bitmaps(vcpu.vm.profile)]


def _bitmaps(profile: KernelProfile) -> list[int]:
    return [STD, STD_HYP, VENDOR_HYP, *([VENDOR_HYP_2] if VENDOR_HYP_BMAP_2 in profile else [])]


def initial_bitmaps(profile: KernelProfile) -> dict[int, int]:
    """The service bitmaps of a new VM."""
    return {reg: _INITIAL[reg] for reg in _bitmaps(profile)}


@lru_cache(maxsize=256)
def supported_bitmaps(profile: KernelProfile) -> Mapping[RegId, int]:
    """The services a kernel implements, by bitmap."""
    return {RegId(reg): _SUPPORTED[reg] for reg in _bitmaps(profile)}


def get(vcpu: Vcpu, reg: int) -> bytes | Refused:
    """KVM_GET_ONE_REG of a firmware register or bitmap; both match the whole id."""
    if reg in vcpu.vm.bitmaps:
        return vcpu.vm.bitmaps[reg].to_bytes(8, "little")
    if reg == PSCI_VERSION:
        return psci_version(vcpu).to_bytes(8, "little")
    if reg in WORKAROUNDS:
        return workaround_level(vcpu, reg).to_bytes(8, "little")
    return Refused(register_rules.NO_SUCH_FIRMWARE)


def put(vcpu: Vcpu, reg: int, data: bytes | None) -> Refused | None:
    """KVM_SET_ONE_REG of a firmware register or bitmap."""
    # size, which the kernel checks before it reads the pointer and before it knows the id
    if 1 << (reg >> 52 & 15) != 8:
        return Refused(register_rules.NO_SUCH_FIRMWARE, "firmware registers have 64 bits")
    if data is None:
        return Refused(rules.BAD_POINTER)
    value = int.from_bytes(data, "little")
    if reg in vcpu.vm.bitmaps:
        return _put_bitmap(vcpu.vm, reg, value)
    if reg == PSCI_VERSION:
        return _put_psci_version(vcpu, value)
    if reg in (WORKAROUND_1, WORKAROUND_3):
        return _check_workaround(vcpu, reg, value)
    if reg == WORKAROUND_2:
        return _check_workaround_2(vcpu, value)
    return Refused(register_rules.NO_SUCH_FIRMWARE)


def workaround_level(vcpu: Vcpu, reg: int) -> int:
    """The level of protection a guest is promised: the host's.

    For Spectre v4 (2) a host with SSBS promises nothing, the guest having SSBS itself; to a guest
    that is not shown SSBS it says that none is needed.
    """
    level = vcpu.vm.platform.value(RegId(reg))
    if reg == WORKAROUND_2 and not level and _SSBS.extract(vcpu.id_limits[_PFR1]):
        return level if _SSBS.extract(vcpu.id_regs[_PFR1]) else _WA2_NOT_REQUIRED
    return level


def psci_version(vcpu: Vcpu) -> int:
    """The PSCI version a vCPU's guest sees."""
    if F.PSCI_0_2 not in vcpu.features:
        return PSCI_0_1
    return vcpu.vm.psci_version or _newest(vcpu.vm.profile)


@lru_cache(maxsize=256)
def psci_versions(features: frozenset[F], profile: KernelProfile) -> tuple[int, ...]:
    """The PSCI versions a vCPU can be given, oldest first."""
    if F.PSCI_0_2 not in features:
        return (PSCI_0_1,)
    newest = _newest(profile)
    return (PSCI_0_2, *(version for version in _PSCI_1_X.values() if version <= newest))


def _newest(profile: KernelProfile) -> int:
    return _PSCI_1_X[3] if PSCI_1_3 in profile else _PSCI_1_X[1]


def _put_psci_version(vcpu: Vcpu, value: int) -> Refused | None:
    allowed = psci_versions(vcpu.features, vcpu.vm.profile)
    if value not in allowed:
        return Refused(
            register_rules.PSCI_VERSION_INVALID,
            f"asked for {value:#x}, possible are {', '.join(f'{v:#x}' for v in allowed)}",
        )
    vcpu.vm.psci_version = value
    return None


def _check_workaround(vcpu: Vcpu, reg: int, value: int) -> Refused | None:
    """A level is checked and then dropped: reading always shows the host's."""
    host = workaround_level(vcpu, reg)
    if value & ~_LEVEL or value > host:
        return Refused(
            register_rules.WORKAROUND_ABOVE_HOST, f"asked for {value:#x}, the host is at {host:#x}"
        )
    return None


def _check_workaround_2(vcpu: Vcpu, value: int) -> Refused | None:
    host = workaround_level(vcpu, WORKAROUND_2)
    level = value & _LEVEL
    if value & ~(_LEVEL | _WA2_ENABLED) or (value & _WA2_ENABLED and level != _WA2_AVAIL):
        return Refused(register_rules.WORKAROUND_ABOVE_HOST, f"{value:#x} is no level")
    # levels 0 and 1 both mean "do nothing special", 2 and 3 both mean "safe"
    if level > 3 or (level >= _WA2_AVAIL and host & _LEVEL < 3):
        return Refused(
            register_rules.WORKAROUND_ABOVE_HOST, f"asked for {value:#x}, the host is at {host:#x}"
        )
    return None


def _put_bitmap(vm: Vm, reg: int, value: int) -> Refused | None:
    supported = _SUPPORTED[reg]
    if value & ~supported:
        return Refused(
            register_rules.BITMAP_UNSUPPORTED, f"asked for {value:#x}, supported are {supported:#x}"
        )
    if vm.has_run and value != vm.bitmaps[reg]:
        return Refused(register_rules.BITMAP_FROZEN, f"asked for {value:#x}, it is {vm.bitmaps[reg]:#x}")
    vm.bitmaps[reg] = value
    return None
