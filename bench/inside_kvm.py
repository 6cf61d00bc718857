"""Runs inside an arm64 machine with KVM: what one vCPU's capture and restore cost, three ways, side by side.

Prints one JSON object. `bench/kvm_cost.py` starts it in a lab.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from armkvm import VcpuFeature
from armkvm.abi.ioctls import Ioctl
from armkvm.abi.regid import RegId
from armkvm.backends.base import System, Vcpu, Vm
from armkvm.backends.devkvm import open_place as open_kvm
from armkvm.backends.devkvm.vcpu import DevKvmVcpu
from armkvm.backends.remote import open_place as open_remote

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 30
C_LOOP = sys.argv[2] if len(sys.argv) > 2 else ""
FEATURES = (VcpuFeature.SVE, VcpuFeature.PSCI_0_2)
GET, SET = int(Ioctl.KVM_GET_ONE_REG), int(Ioctl.KVM_SET_ONE_REG)


def fresh(system: System) -> tuple[Vm, Vcpu]:
    """A VM and its vCPU, ready to have registers read and written."""
    vm = system.create_vm()
    vcpu = vm.create_vcpu(0)
    vcpu.init(FEATURES)
    vcpu.finalize(VcpuFeature.SVE)
    return vm, vcpu


def bare(fd: int, ids: Sequence[int]) -> Callable[[], None]:
    """The floor: `fcntl.ioctl` over buffers made ready beforehand, nothing else."""
    sizes = [RegId(reg).size for reg in ids]
    memory = ctypes.create_string_buffer(sum(sizes) + 64)
    address = ctypes.addressof(memory)
    calls = []
    for reg, size in zip(ids, sizes, strict=True):
        calls.append(struct.pack("<QQ", reg, address))
        address += size
    ioctl = fcntl.ioctl

    def round_trip() -> None:
        for call in calls:
            ioctl(fd, GET, call)
        for call in calls:
            ioctl(fd, SET, call)

    round_trip.keeps = memory  # type: ignore[attr-defined]
    return round_trip


def ours(vcpu: Vcpu, ids: Sequence[int]) -> Callable[[], None]:
    """What users call; a fresh list every time, so that nothing is ready beforehand."""

    def round_trip() -> None:
        values = vcpu.get_regs(ids)
        vcpu.set_regs(zip(ids, values, strict=True))

    return round_trip


def best(round_trips: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Microseconds per register and call, the median of rounds that take turns."""
    times: dict[str, list[float]] = {name: [] for name in round_trips}
    for _ in range(ROUNDS):
        for name, round_trip in round_trips.items():
            start = time.perf_counter()
            round_trip()
            times[name].append(time.perf_counter() - start)
    return {name: sorted(values)[len(values) // 2] for name, values in times.items()}


def main() -> None:
    """Measure and print."""
    with open_kvm("", {}) as system, open_remote("python3 -IS -m armkvm.backends.remote.agent", {}) as agent:
        vm, vcpu = fresh(system)
        _, remote = fresh(agent)
        writable = []
        for reg in vcpu.reg_list():
            try:
                vcpu.set_one_reg(reg, vcpu.get_one_reg(reg))
                writable.append(reg)
            except OSError:  # KVM_REG_ARM64_SVE_VLS, after finalize
                continue
        assert isinstance(vcpu, DevKvmVcpu)
        timed = best(
            {"bare": bare(vcpu.fd, writable), "kvm": ours(vcpu, writable), "agent": ours(remote, writable)}
        )
        fresh_plan = []
        for _ in range(ROUNDS):
            other_vm, other = fresh(system)
            start = time.perf_counter()
            ours(other, writable)()
            fresh_plan.append(time.perf_counter() - start)
            other_vm.close()
        timed["kvm, first time"] = sorted(fresh_plan)[len(fresh_plan) // 2]
        vm.close()
    if C_LOOP:
        answer = subprocess.run([C_LOOP, str(ROUNDS)], capture_output=True, text=True, check=True)
        timed["C"] = float(answer.stdout)
    calls = 2 * len(writable)
    result = {name: round(seconds / calls * 1e6, 2) for name, seconds in timed.items()}
    print(json.dumps({"registers": len(writable), "rounds": ROUNDS, "us_per_call": result}))


main()
