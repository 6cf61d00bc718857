"""What one register read costs in the model, in ioctls of this machine.

The measure is one ``fcntl.ioctl(pipe, FIONREAD)`` from Python, taken between the rounds of the same
run; the best round of each counts.

    python bench/get_one_reg.py [URI...]
"""

from __future__ import annotations

import fcntl
import os
import sys
import termios
from time import perf_counter

import armkvm
from armkvm.catalog import parse

DEFAULT = ("model:neoverse-v1",)
REGISTERS = ("PC", "SP_EL1", "TPIDR_EL0", "SCTLR_EL1", "ID_AA64PFR0_EL1", "KVM_REG_ARM_PSCI_VERSION")
CALLS, ROUNDS, AT_MOST = 20_000, 20, 3


def main(uris: list[str]) -> None:
    for uri in uris or DEFAULT:
        with armkvm.connect(uri) as system, system.create_vm() as vm, vm.create_vcpu(0) as vcpu:
            vcpu.init({armkvm.VcpuFeature.PSCI_0_2})
            best = {name: float("inf") for name in REGISTERS}
            ioctl = float("inf")
            for _ in range(ROUNDS):
                ioctl = min(ioctl, time_ioctl())
                for name in REGISTERS:
                    best[name] = min(best[name], time_get(vcpu.get_one_reg, parse(name)))
            for name, seconds in best.items():
                print(f"{uri:<20} {name:<26} {seconds * 1e9:6.0f} ns  {seconds / ioctl:5.2f} ioctls")
    print(f"one ioctl: {ioctl * 1e9:.0f} ns; a read costs at most {AT_MOST}")


def time_ioctl() -> float:
    ioctl, pipe, request, room = fcntl.ioctl, PIPE, termios.FIONREAD, bytearray(4)
    began = perf_counter()
    for _ in range(CALLS):
        ioctl(pipe, request, room)
    return (perf_counter() - began) / CALLS


def time_get(get: object, reg: int) -> float:
    began = perf_counter()
    for _ in range(CALLS):
        get(reg)  # type: ignore[operator]
    return (perf_counter() - began) / CALLS


PIPE, _ = os.pipe()

if __name__ == "__main__":
    main(sys.argv[1:])
