"""A guest's HVC and SMC: filter, service bitmaps, and KVM's own services; the rest is PSCI.

Source: Linux arch/arm64/kvm/hypercalls.c, handle_exit.c (handle_hvc, handle_smc), trng.c, pvtime.c;
Arm DEN 0028 (SMCCC), DEN 0057 (paravirtualised time), DEN 0098 (TRNG).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct

from armkvm.abi.attributes import ADDR_UNDEF
from armkvm.abi.structs import ExitReason
from armkvm.cpu.exceptions import Unmodelled
from armkvm.model import firmware, psci, smccc_filter
from armkvm.model.psci import Answer, Arguments
from armkvm.model.run_behaviours import SMC_IS_A_CALL
from armkvm.model.vcpu import Vcpu
from armkvm.state import Exit

_MASK32, _MASK64 = 0xFFFF_FFFF, (1 << 64) - 1
_NOT_SUPPORTED, _SUCCESS, _NOT_REQUIRED = -1, 0, -2

_SMCCC_1_1 = 0x1_0001
_VERSION, _ARCH_FEATURES = 0x8000_0000, 0x8000_0001
_WORKAROUND_1, _WORKAROUND_2, _WORKAROUND_3 = 0x8000_8000, 0x8000_7FFF, 0x8000_3FFF
_PV_TIME_FEATURES, _PV_TIME_ST = 0xC500_0020, 0xC500_0021
_VENDOR_UID, _VENDOR_FEATURES, _PTP = 0x8600_FF01, 0x8600_0000, 0x8600_0001
_DISCOVER_IMPL_VER, _DISCOVER_IMPL_CPUS = 0xC600_0040, 0xC600_0041
_TRNG_VERSION, _TRNG_FEATURES, _TRNG_UUID = 0x8400_0050, 0x8400_0051, 0x8400_0052
_TRNG_RND32, _TRNG_RND64 = 0x8400_0053, 0xC400_0053
_TRNG = (_TRNG_VERSION, _TRNG_FEATURES, _TRNG_UUID, _TRNG_RND32, _TRNG_RND64)
_TRNG_1_0 = 0x1_0000
_TRNG_UID = (0x00E0_210D, 0xEB11_8443, 0x4452_7080, 0x4C5A_4E55)
_KVM_UID = (0xB66F_B428, 0xE911_C52E, 0x564B_CAA9, 0x743A_004D)

# Which bit of which bitmap lets a call through.
_GATED: dict[int, tuple[int, int]] = {
    **dict.fromkeys(_TRNG, (firmware.STD, 0)),
    **dict.fromkeys((_PV_TIME_FEATURES, _PV_TIME_ST), (firmware.STD_HYP, 0)),
    **dict.fromkeys((_VENDOR_UID, _VENDOR_FEATURES), (firmware.VENDOR_HYP, 0)),
    _PTP: (firmware.VENDOR_HYP, 1),
    _DISCOVER_IMPL_VER: (firmware.VENDOR_HYP_2, 0),
    _DISCOVER_IMPL_CPUS: (firmware.VENDOR_HYP_2, 1),
}
_STANDARD_OWNER, _LAST_PSCI = 4, 0x1F

_STOLEN_TIME_BYTES = 64
_HYPERCALL = Struct("<Q6QQQ")  # nr, args, ret, flags
_EXIT_SMC = 1

# A workaround register's level -> what ARCH_FEATURES says of the call.
_LEVELS = {0: _NOT_SUPPORTED, 1: _SUCCESS, 2: 1}
_LEVELS_2 = {0: _NOT_SUPPORTED, 1: _NOT_SUPPORTED, 2: _SUCCESS, 3: _NOT_REQUIRED}


def call(vcpu: Vcpu, x: Arguments, *, is_smc: bool, immediate: int) -> Answer:
    """One HVC or SMC with its immediate; `x` is X0 to X30, changed in place."""
    if is_smc and (immediate or SMC_IS_A_CALL not in vcpu.vm.profile):
        x[0] = _MASK64
        return None
    function = x[0] & _MASK32
    if not is_smc and function in (_WORKAROUND_1, _WORKAROUND_2, _WORKAROUND_3):
        x[:2] = [0, 0]  # done on the way into EL2, before KVM looks at the call
        return None
    action = smccc_filter.action_of(vcpu.vm, function)
    if action == "FWD_TO_USER":
        payload = _HYPERCALL.pack(function, *[0] * 7, _EXIT_SMC if is_smc else 0)
        return Exit(ExitReason.HYPERCALL, payload=payload)
    if action == "DENY" or not _is_allowed(vcpu, function):
        return _returning(x, _NOT_SUPPORTED)
    service = _SERVICES.get(function)
    return psci.call(vcpu, x) if service is None else _returning(x, *service(vcpu, x))


def _returning(x: Arguments, *values: int) -> Answer:
    x[:4] = [value & _MASK64 for value in (*values, 0, 0, 0)[:4]]
    return None


def _is_allowed(vcpu: Vcpu, function: int) -> bool:
    if function in _GATED:
        bitmap, bit = _GATED[function]
        return bool(vcpu.vm.bitmaps.get(bitmap, 0) >> bit & 1)
    is_psci = function >> 24 & 0x3F == _STANDARD_OWNER and function & 0xFFFF <= _LAST_PSCI
    return function in (_VERSION, _ARCH_FEATURES) or is_psci or function in psci.PSCI_0_1_FUNCTIONS


def _version(vcpu: Vcpu, x: Arguments) -> Sequence[int]:
    return (_SMCCC_1_1,)


def _arch_features(vcpu: Vcpu, x: Arguments) -> Sequence[int]:
    asked = x[1] & _MASK32
    if asked == _WORKAROUND_2:
        return (_LEVELS_2[firmware.workaround_level(vcpu, firmware.WORKAROUND_2)],)
    register = {_WORKAROUND_1: firmware.WORKAROUND_1, _WORKAROUND_3: firmware.WORKAROUND_3}.get(asked)
    if register is not None:
        return (_LEVELS[firmware.workaround_level(vcpu, register)],)
    if asked == _PV_TIME_FEATURES and vcpu.vm.bitmaps[firmware.STD_HYP] & 1:
        return (_SUCCESS,)
    return (_NOT_SUPPORTED,)


def _pv_time_features(vcpu: Vcpu, x: Arguments) -> Sequence[int]:
    known = x[1] & _MASK32 in (_PV_TIME_FEATURES, _PV_TIME_ST) and vcpu.stolen_time != ADDR_UNDEF
    return (_SUCCESS if known else _NOT_SUPPORTED,)


def _pv_time_st(vcpu: Vcpu, x: Arguments) -> Sequence[int]:
    """Where the guest finds its stolen time, which starts at none."""
    if vcpu.stolen_time == ADDR_UNDEF:
        return (_NOT_SUPPORTED,)
    vcpu.vm.memory.write(vcpu.stolen_time, bytes(_STOLEN_TIME_BYTES))
    return (vcpu.stolen_time,)


def _vendor_uid(vcpu: Vcpu, x: Arguments) -> Sequence[int]:
    return _KVM_UID


def _vendor_features(vcpu: Vcpu, x: Arguments) -> Sequence[int]:
    bitmaps = vcpu.vm.bitmaps
    return (bitmaps[firmware.VENDOR_HYP], 0, bitmaps.get(firmware.VENDOR_HYP_2, 0))


def _trng_version(vcpu: Vcpu, x: Arguments) -> Sequence[int]:
    return (_TRNG_1_0,)


def _trng_features(vcpu: Vcpu, x: Arguments) -> Sequence[int]:
    return (_SUCCESS if x[1] & _MASK32 in _TRNG else _NOT_SUPPORTED,)


def _trng_uuid(vcpu: Vcpu, x: Arguments) -> Sequence[int]:
    return _TRNG_UID


def _clock(vcpu: Vcpu, x: Arguments) -> Sequence[int]:
    raise Unmodelled("the host's clock, which a guest asks for by the KVM_PTP hypercall")


def _entropy(vcpu: Vcpu, x: Arguments) -> Sequence[int]:
    raise Unmodelled("the host's entropy, which a guest asks for by a TRNG hypercall")


_SERVICES: dict[int, Callable[[Vcpu, Arguments], Sequence[int]]] = {
    _VERSION: _version,
    _ARCH_FEATURES: _arch_features,
    _PV_TIME_FEATURES: _pv_time_features,
    _PV_TIME_ST: _pv_time_st,
    _VENDOR_UID: _vendor_uid,
    _VENDOR_FEATURES: _vendor_features,
    _PTP: _clock,
    _TRNG_VERSION: _trng_version,
    _TRNG_FEATURES: _trng_features,
    _TRNG_UUID: _trng_uuid,
    _TRNG_RND32: _entropy,
    _TRNG_RND64: _entropy,
}
