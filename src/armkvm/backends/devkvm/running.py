"""KVM_RUN: the shared kvm_run page, a bounded wait, and what came of it.

A guest that spins never returns by itself, so a run is ended after a limit: another thread
sends this one a signal that is blocked everywhere but inside KVM_RUN (KVM_SET_SIGNAL_MASK).
The signal therefore needs no handler, cannot be lost before the call, works in any thread, and
is taken off the queue afterwards. The answer is the kernel's own EINTR.

Source: Linux Documentation/virt/kvm/api.rst; layout of struct kvm_run, include/uapi/linux/kvm.h.
"""

from __future__ import annotations

import ctypes
import mmap
import signal
import struct
import threading

from armkvm.abi.ioctls import Ioctl
from armkvm.abi.structs import ExitReason
from armkvm.backends.devkvm.descriptor import Descriptor, Scratch, _libc
from armkvm.backends.run_calls import check_mmio_data
from armkvm.errors import KvmError
from armkvm.state import Exit, Mmio, SystemEvent

_STOP = signal.SIGRTMAX - 3
_SIGNAL_MASK = struct.Struct("<IQ")  # len, sigset
_SIGSET_BYTES = 8

# Offsets in struct kvm_run.
_IMMEDIATE_EXIT, _EXIT_REASON, _EXIT = 1, 8, 32
_MMIO = struct.Struct("<Q8sIB")
_MMIO_DATA = _EXIT + 8
_SYSTEM_EVENT = struct.Struct("<II16Q")

_WATCHPOINT = 0x34  # exception class

# Bytes of the exit union that belong to a reason and are handed on as they are.
_PAYLOAD = {
    ExitReason.HYPERCALL: 72,  # nr, args[6], ret, flags
    ExitReason.DEBUG: 16,  # hsr, hsr_high, far
    ExitReason.FAIL_ENTRY: 16,  # reason, cpu
    ExitReason.INTERNAL_ERROR: 136,  # suberror, ndata, data[16]
    ExitReason.ARM_NISV: 16,  # esr_iss, fault_ipa
    ExitReason.MEMORY_FAULT: 24,  # flags, gpa, size
    ExitReason.ARM_SEA: 32,  # flags, esr, gva, gpa
    ExitReason.ARM_LDST64B: 16,  # as ARM_NISV
}


class RunPage:
    """The page a vCPU shares with userspace, and the call that uses it."""

    def __init__(self, vcpu: Descriptor, size: int) -> None:
        self._vcpu = vcpu
        self._page = mmap.mmap(vcpu.fd, size)
        self._load = 0

    def run(self, immediate_exit: bool, mmio_data: bytes, limit: float) -> Exit:
        check_mmio_data(mmio_data, self._load)
        self._page[_IMMEDIATE_EXIT] = 1 if immediate_exit else 0
        self._page[_MMIO_DATA : _MMIO_DATA + len(mmio_data)] = mmio_data
        self._load = 0
        error = _run_limited(self._vcpu, limit)
        if error:
            detail = "" if immediate_exit else f"a signal or the limit of {limit:g} seconds ended the run"
            raise KvmError(error, Ioctl.KVM_RUN.name, detail=detail if error == 4 else "")
        return self._exit()

    def _exit(self) -> Exit:
        page = self._page
        (reason,) = struct.unpack_from("<I", page, _EXIT_REASON)
        if reason == ExitReason.MMIO:
            address, data, length, is_write = _MMIO.unpack_from(page, _EXIT)
            if not is_write:  # a load is completed from here by the next run
                page[_MMIO_DATA : _MMIO_DATA + len(data)] = data = bytes(len(data))
                self._load = length
            return Exit(reason, mmio=Mmio(address, data[:length], bool(is_write)))
        if reason == ExitReason.SYSTEM_EVENT:
            kind, count, *words = _SYSTEM_EVENT.unpack_from(page, _EXIT)
            return Exit(reason, system_event=SystemEvent(kind, tuple(words[: min(count, 16)])))
        payload = bytes(page[_EXIT : _EXIT + _PAYLOAD.get(reason, 0)])
        if reason == ExitReason.DEBUG and payload[3] >> 2 != _WATCHPOINT:
            payload = payload[:8] + bytes(8)  # far, which KVM fills in for watchpoints alone
        return Exit(reason, payload=payload)

    def close(self) -> None:
        self._page.close()


def _run_limited(vcpu: Descriptor, limit: float) -> int:
    """KVM_RUN; 0 or the errno."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (_STOP,))
    try:
        _unblock_inside(vcpu, before - {_STOP})
        timer = threading.Timer(limit, signal.pthread_kill, (threading.get_ident(), _STOP))
        timer.daemon = True
        timer.start()
        try:
            result = _libc.ioctl(vcpu.fd, Ioctl.KVM_RUN, 0)
            error = ctypes.get_errno() if result < 0 else 0
        finally:
            timer.cancel()
            timer.join()
            signal.sigtimedwait((_STOP,), 0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return error


def _unblock_inside(vcpu: Descriptor, blocked: set[int]) -> None:
    """KVM_SET_SIGNAL_MASK: the signals blocked while KVM_RUN runs."""
    mask = sum(1 << (number - 1) for number in blocked)
    scratch = Scratch(_SIGNAL_MASK.size)
    try:
        scratch.memory[: _SIGNAL_MASK.size] = _SIGNAL_MASK.pack(_SIGSET_BYTES, mask)
        vcpu.number(Ioctl.KVM_SET_SIGNAL_MASK, scratch.address)
    finally:
        scratch.close()
