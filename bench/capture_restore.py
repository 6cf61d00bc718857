"""What it costs to capture a vCPU and restore it elsewhere, in ioctls of this machine.

The measure is one ``fcntl.ioctl(pipe, FIONREAD)`` from Python, taken between the rounds of the same
run, for each register moved: a place that is real makes at least one system call for each. Restore
makes a VM, writes, finalizes, reads everything back and compares. Processor time is counted, and the
best round of each: what is above it is the machine's other business.

    python bench/capture_restore.py [URI...]
"""

from __future__ import annotations

import fcntl
import os
import sys
import termios
from contextlib import ExitStack
from time import process_time
from typing import TYPE_CHECKING

import armkvm
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.migration.capture import capture
from armkvm.migration.fill import fill
from armkvm.migration.move import usual_features
from armkvm.migration.ordering import rule_of
from armkvm.migration.plan import finalizing
from armkvm.migration.restore import restore
from armkvm.migration.snapshot import VmConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from armkvm.abi.regid import RegId
    from armkvm.backends.base import System, Vcpu

DEFAULT = ("model:max", "model:sme-max")
ROUNDS = 300
AT_MOST = 12
BULK_AT_LEAST = 3
LINE = "{:<16}{:>10}{:>9}{:>9}{:>9}{:>8}{:>8}{:>7}"
SVCR = armkvm.RegId(0x603000000013DA12)


def main(uris: list[str]) -> None:
    ioctls = Ioctls()
    print(LINE.format("place", "registers", "bytes", "capture", "restore", "both", "MB/s", "bulk"))
    for uri in uris or DEFAULT:
        with armkvm.connect(uri) as system, ExitStack() as closing:
            print(measure(system, ioctls, closing))
    print(f"capture, restore, both: ioctls of {ioctls.best * 1e9:.0f} ns a register; both: at most {AT_MOST}")
    print("bulk: how many times longer get_one_reg and set_one_reg take than get_regs and set_regs;")
    print(f"of the largest state, sme-max, at least {BULK_AT_LEAST}")


class Ioctls:
    """The measure: the cheapest ioctl there is, as often as asked, the best round kept."""

    def __init__(self) -> None:
        self.pipe, _ = os.pipe()
        self.best = float("inf")

    def time(self, count: int) -> None:
        ioctl, pipe, request, room = fcntl.ioctl, self.pipe, termios.FIONREAD, bytearray(4)
        began = process_time()
        for _ in range(count):
            ioctl(pipe, request, room)
        self.best = min(self.best, (process_time() - began) / count)


def measure(system: System, ioctls: Ioctls, closing: ExitStack) -> str:
    features = usual_features(system)
    vcpu = closing.enter_context(system.create_vm()).create_vcpu(0)
    vcpu.init(features)
    finalize = finalizing(_lengths(vcpu))
    if finalize is not None:
        vcpu.finalize(finalize)
    if VcpuFeature.SME in features:
        vcpu.set_one_reg(SVCR, b"\3" + bytes(7))  # everything there is: streaming, with ZA and ZT0
    fill(vcpu, seed=1)
    snapshot = capture(system, VmConfig(), [(vcpu, features)])
    state = snapshot.vcpus[0]
    writable = [(reg, data) for reg, data in state.registers.items() if rule_of(reg).name != "vector-lengths"]
    order = list(state.registers)

    def restoring() -> None:
        with restore(system, snapshot) as restored:
            if not restored.report.verified:
                raise SystemExit("\n".join(map(str, restored.report.findings)))

    work: dict[str, Callable[[], object]] = {
        "capture": lambda: capture(system, VmConfig(), [(vcpu, features)]),
        "restore": restoring,
        "bulk": lambda: (vcpu.get_regs(order), vcpu.set_regs(writable)),
        "singly": lambda: _singly(vcpu, order, writable),
    }
    best = dict.fromkeys(work, float("inf"))
    for _ in range(ROUNDS):
        for name, call in work.items():
            ioctls.time(len(order))  # as many as registers, so that what disturbs one disturbs the other
            began = process_time()
            call()
            best[name] = min(best[name], process_time() - began)
    unit = len(order) * ioctls.best
    both = best["capture"] + best["restore"]
    ratios = (f"{seconds / unit:.1f}x" for seconds in (best["capture"], best["restore"], both))
    rate, bulk = f"{state.bytes_held / both / 1e6:.1f}", f"{best['singly'] / best['bulk']:.1f}x"
    return LINE.format(system.uri, len(order), state.bytes_held, *ratios, rate, bulk)


def _lengths(vcpu: Vcpu) -> set[RegId]:
    found = set()
    for reg in (armkvm.RegId.sve_vls(), armkvm.RegId.sme_vls()):
        try:
            vcpu.get_one_reg(reg)
        except armkvm.KvmError:
            continue
        found.add(reg)
    return found


def _singly(vcpu: Vcpu, order: list[RegId], writable: list[tuple[RegId, bytes]]) -> None:
    for reg in order:
        vcpu.get_one_reg(reg)
    for reg, data in writable:
        vcpu.set_one_reg(reg, data)


if __name__ == "__main__":
    main(sys.argv[1:])
