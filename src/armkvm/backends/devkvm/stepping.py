"""So many instructions of a guest on a real KVM, which counts none: single steps, one by one.

Source: Linux arch/arm64/kvm/debug.c, handle_exit.c (kvm_handle_guest_debug).
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EINTR
from struct import unpack_from

from armkvm.abi.ioctls import Ioctl
from armkvm.abi.structs import ExitReason, GuestDebug
from armkvm.errors import KvmError
from armkvm.state import Exit

_EC_SHIFT, _SOFTWARE_STEP = 26, 0x32
_EXECUTED_ONE = 1 << 24  # ISS.ISV: the step was of an instruction that the CPU executed


def run_counted(run: Callable[[], Exit], set_debug: Callable[[int], None], instructions: int) -> Exit:
    """KVM_RUN again and again until `instructions` were executed; EINTR then, as a signal would give.

    A step that KVM itself completed (MMIO, a hypercall) was counted with its exit.
    """
    executed = 0
    set_debug(GuestDebug.ENABLE | GuestDebug.SINGLESTEP)
    try:
        while executed < instructions:
            try:
                left = run()
            except KvmError as refused:
                refused.count = executed
                raise
            if not _is_step(left):
                return left._replace(executed=executed + 1)
            (syndrome,) = unpack_from("<I", left.payload)
            executed += 1 if syndrome & _EXECUTED_ONE else 0
    finally:
        set_debug(0)
    detail = f"{instructions} instructions were executed"
    raise KvmError(EINTR, Ioctl.KVM_RUN.name, detail=detail, count=instructions)


def _is_step(left: Exit) -> bool:
    if left.reason != ExitReason.DEBUG:
        return False
    (syndrome,) = unpack_from("<I", left.payload)
    return bool(syndrome >> _EC_SHIFT == _SOFTWARE_STEP)
