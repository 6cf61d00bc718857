"""Runs inside the lab's machine, beside the kernel: what cannot be seen from outside.

Prints ``ok NAME`` after each check, so that the test outside can tell which ones were made.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from errno import EINTR
from pathlib import Path

from armkvm import VcpuFeature
from armkvm.abi.regid import RegId
from armkvm.backends.base import System, Vcpu, Vm
from armkvm.backends.devkvm import open_place
from armkvm.errors import KvmError

FEATURES = (VcpuFeature.PSCI_0_2,)
SPIN = 0x14000000.to_bytes(4, "little")  # b .


def fds() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def mappings() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())


def a_guest(system: System, code: bytes) -> tuple[Vm, Vcpu]:
    vm = system.create_vm()
    vm.set_memory(0, 0x40000000, 0x10000)
    vm.write_memory(0x40000000, code)
    vcpu = vm.create_vcpu(0)
    vcpu.init(FEATURES)
    vcpu.set_one_reg(RegId.core(64), (0x40000000).to_bytes(8, "little"))
    return vm, vcpu


def ended(vcpu: Vcpu) -> float:
    """Seconds until KVM_RUN is ended by its limit."""
    start = time.monotonic()
    try:
        vcpu.run()
    except KvmError as error:
        if error.errno == EINTR:
            return time.monotonic() - start
        raise
    raise AssertionError("the guest spins, and still KVM_RUN returned")


def check_limit() -> None:
    with open_place("", {"run_limit": "0.3"}) as system:
        vm, vcpu = a_guest(system, SPIN)
        assert 0.2 < ended(vcpu) < 10
        assert 0.2 < ended(vcpu) < 10, "again"
        seconds = []
        thread = threading.Thread(target=lambda: seconds.append(ended(vcpu)))
        thread.start()
        thread.join(30)
        assert seconds, "in another thread"
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
        vm.close()


def check_signal() -> None:
    """A signal of the program's own ends a run, and its handler is called."""
    handled = []
    signal.signal(signal.SIGALRM, lambda *_: handled.append(1))
    with open_place("", {"run_limit": "60"}) as system:
        vm, vcpu = a_guest(system, SPIN)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        assert ended(vcpu) < 30
        assert handled == [1]
        vm.close()


def check_stopped() -> None:
    """A stopped vCPU waits in KVM_RUN, and no longer than the limit."""
    with open_place("", {"run_limit": "0.3"}) as system, system.create_vm() as vm:
        vcpu = vm.create_vcpu(0)
        vcpu.init((VcpuFeature.POWER_OFF,))
        assert 0.2 < ended(vcpu) < 10


def refused(call: Callable[..., object], *arguments: object) -> None:
    try:
        call(*arguments)
    except KvmError:
        return
    raise AssertionError(f"{call} {arguments} is refused")


def use_and_misuse(system: System) -> None:
    with system.create_vm() as vm:
        vm.set_memory(0, 0, 0x10000)
        vcpu = vm.create_vcpu(0)
        vcpu.init(FEATURES)
        vcpu.get_regs([RegId.x(n) for n in range(31)])
        device = vm.create_device(7)
        assert device is not None
        refused(vm.create_vcpu, 0)
        refused(vm.create_device, 99)
        refused(vm.set_memory, 0, 1, 0x1000)
        refused(device.has_attr, 99, 0)
        refused(vcpu.run, True)  # the vGIC is not set up: this breaks the VM


def check_leaks() -> None:
    """Nothing is left of hundreds of VMs, well or badly used."""
    outside = fds()
    with open_place("", {}) as system:
        for _ in range(20):
            use_and_misuse(system)
        before = fds(), mappings()
        for _ in range(180):
            use_and_misuse(system)
        assert (fds(), mappings()) == before
    assert fds() == outside


def check_interrupted_calls() -> None:
    """Signals that arrive all the time disturb no call but KVM_RUN."""
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        with open_place("", {}) as system:
            for _ in range(50):
                with system.create_vm() as vm, vm.create_vcpu(0) as vcpu:
                    vcpu.init(FEATURES)
                    regs = vcpu.reg_list()
                    values = vcpu.get_regs(regs)
                    assert len(values) == len(regs)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


for name, check in list(globals().items()):
    if name.startswith("check_"):
        check()
        print("ok", name, flush=True)
