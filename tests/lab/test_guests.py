"""Guests under real kernels do what they do in the model: exits, steps, calls, exceptions; and they move.

What is compared is what the guest and userspace see, call by call, on a model of the very host.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from errno import EINTR

import pytest
from tests.guest_vcpus import (
    BASE,
    BRK5,
    HVC0,
    MASKED_EL1H,
    MEMORY,
    MOVZ_X1_DEVICE,
    NOP,
    SMC0,
    SMC1,
    VECTORS,
    get,
    put,
    write,
)
from tests.lab.conftest import OpenLab
from tests.recordings import REPOSITORY

from armkvm.abi.caps import Cap
from armkvm.abi.structs import GuestDebug, MpState
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.base import System, Vcpu, Vm
from armkvm.backends.locate import connect
from armkvm.errors import KvmError
from armkvm.migration.board import StopAt
from armkvm.migration.guest_move import move_guest
from armkvm.migration.move import Wanted
from armkvm.migration.program import parse

pytestmark = pytest.mark.lab

KERNELS = ("6.1", "6.12", "7.3")
REPORT = (0xD2A12009, 0xF9000120)  # mov x9, #0x09000000; str x0, [x9]
LOG = (0xD2A12001, 0xD5385200, 0xF9000020)  # mov x1, #0x09000000; mrs x0, esr_el1; str x0, [x1]
LDR_W0, LDRSB_X0, LDR_POST, STR_POST, ADD_X0_1, STR_X0 = (
    *(0xB9400020, 0x39800020, 0xF8408420, 0xF8008420),
    *(0x91000400, 0xF9000020),
)
CALLS: list[tuple[int, ...]] = [
    *((0x8400_0000 + n,) for n in (0, 5, 6, 7)),
    *((0x8400_000A, asked) for asked in (0x8400_0015, 0xC400_0003, 0xC400_0002, 0x8000_0000, 0x8400_000E)),
    *((0x8400_0004, *arguments) for arguments in ((1, 0), (1, 1), (5, 0), (1, 4))),
    (0x8000_0000,),
    *((0x8000_0001, asked) for asked in (0x8000_8000, 0x8000_7FFF, 0x8000_3FFF, 0xC500_0020, 5)),
    *((0xC500_0020, asked) for asked in (0xC500_0020, 0xC500_0021)),
    *((function,) for function in (0xC500_0021, 0x8600_FF01, 0x8600_0000, 0x8400_0050, 0x8400_0052)),
    *((0x8400_0051, asked) for asked in (0xC400_0053, 5)),
    *((function, 1, 2, 3) for function in (0x8000_8000, 0x8000_7FFF, 0x8000_3FFF, 0x9900_0000)),
    *((0x8400_0012, 1), (0x8400_0015, 2), (0x8400_0015, 0, 1)),
    (0xC400_0003, 1, BASE + 0x40, 0x1_0000_0002),
    (0xC400_0003, 1, BASE + 0x40, 5),
    (0xC400_0003, 7, BASE + 0x40, 5),
]
# (what, word): what a guest without SVE and SME meets, under each setting of CPACR_EL1. Left out is
# where QEMU looks at FPEN ahead of ZEN and SMEN, and what the model knows nothing of.
ENABLES = (3 << 20, 3 << 24 | 3 << 20 | 3 << 16, 1 << 24 | 1 << 20 | 1 << 16)
ACCESSES = {
    "mrs x0, tpidr2_el0": 0xD53BD0A0,
    "mrs x0, smpri_el1": 0xD5381280,
    "mrs x0, zcr_el1": 0xD5381200,
    "mrs x0, smidr_el1": 0xD53900C0,
    "mrs x0, id_aa64isar0_el1": 0xD5380600,
    "mrs x0, svcr": 0xD53B4240,
    "mrs x0, smcr_el1": 0xD53812C0,
    "mrs x0, fpmr": 0xD53B4440,
    "mrs x0, s3_0_c10_c8_0": 0xD538A800,
    "rdvl x0, #1": 0x04BF5020,
    "fmov d0, d0": 0x1E604000,
}

Seen = list[object]


def on(system: System, experiment: Callable[[Vm, Vcpu, Vcpu], Seen]) -> Seen:
    """What an experiment sees with two vCPUs, the second powered off."""
    with system.create_vm() as vm:
        first, second = vm.create_vcpu(0), vm.create_vcpu(1)
        first.init({F.PSCI_0_2})
        second.init({F.PSCI_0_2, F.POWER_OFF})
        vm.set_memory(0, BASE, MEMORY)
        put(first, "VBAR_EL1", VECTORS)
        return experiment(vm, first, second)


def run(vm: Vm, vcpu: Vcpu, *words: int, **registers: int) -> object:
    """One KVM_RUN from `BASE`: the exit or errno, and where the guest is then."""
    write(vm, BASE, *words)
    for name, value in {"PC": BASE, "PSTATE": MASKED_EL1H, **registers}.items():
        put(vcpu, name, value)
    try:
        left = vcpu.run()
    except KvmError as refused:
        return refused.errno, get(vcpu, "PC")
    seen = left.reason, left.mmio, left.system_event, left.payload, get(vcpu, "PC")
    with suppress(KvmError):
        vcpu.run(immediate_exit=True)
    return seen


def loads(vm: Vm, vcpu: Vcpu, *words: int) -> Seen:
    seen: Seen = []
    for word in words:
        seen.append(run(vm, vcpu, MOVZ_X1_DEVICE, word, STR_X0))
        put(vcpu, "PC", BASE + 4)
        left = vcpu.run()
        assert left.mmio is not None
        seen.append(vcpu.run(mmio_data=b"\xfe\xdc\xba\x98"[: len(left.mmio.data)]))
        with suppress(KvmError):
            vcpu.run(immediate_exit=True)
    return seen


def devices(vm: Vm, vcpu: Vcpu, _: Vcpu) -> Seen:
    seen = loads(vm, vcpu, LDR_W0, LDRSB_X0)
    seen.append(run(vm, vcpu, MOVZ_X1_DEVICE, LDR_POST))
    vm.enable_cap(Cap.ARM_NISV_TO_USER)
    seen += [run(vm, vcpu, MOVZ_X1_DEVICE, word) for word in (LDR_POST, STR_POST)]
    return seen


def steps(vm: Vm, vcpu: Vcpu, _: Vcpu) -> Seen:
    write(vm, BASE, MOVZ_X1_DEVICE, LDR_W0, ADD_X0_1, STR_X0, NOP, HVC0, SMC0, SMC1, BRK5)
    put(vcpu, "PC", BASE)
    vcpu.set_guest_debug(GuestDebug.ENABLE | GuestDebug.SINGLESTEP)
    seen: Seen = [(vcpu.run(), get(vcpu, "PC")) for _ in range(12)]
    for control in (8, 1 << 5, 1 << 31):
        with pytest.raises(KvmError) as refused:
            vcpu.set_guest_debug(control)
        seen.append(refused.value.errno)
    vcpu.set_guest_debug(0)
    put(vcpu, "PC", BASE)
    for count in (1, 2, 3):
        try:
            seen.append((vcpu.run(instructions=count), get(vcpu, "PC")))
        except KvmError as ended:
            seen.append((ended.errno, ended.count, get(vcpu, "PC")))
    return seen


def calls(vm: Vm, vcpu: Vcpu, other: Vcpu) -> Seen:
    seen: Seen = []
    for word in (HVC0, SMC0):
        for arguments in CALLS:
            registers = {f"X{n}": value for n, value in enumerate((*arguments, 0, 0, 0)[:4])}
            left = run(vm, vcpu, word, *REPORT, **registers)
            results = [get(vcpu, f"X{n}") for n in range(4)]
            seen.append((arguments, left, results, vcpu.get_mp_state(), other.get_mp_state()))
        seen.append([get(other, name) for name in ("PC", "X0", "PSTATE")])
        other.set_mp_state(MpState.STOPPED)
    return seen


def ends(vm: Vm, vcpu: Vcpu, other: Vcpu) -> Seen:
    seen: Seen = []
    for arguments in ((0x8400_0008, 0), (0x8400_0009, 0), (0x8400_0012, 0), (0xC400_0012, 1 << 31)):
        seen.append(run(vm, vcpu, HVC0, *REPORT, X0=arguments[0], X1=arguments[1]))
        seen.append((get(vcpu, "X0"), vcpu.get_mp_state(), other.get_mp_state()))
        vcpu.set_mp_state(MpState.RUNNABLE)
    return seen


def exceptions(vm: Vm, vcpu: Vcpu, _: Vcpu) -> Seen:
    write(vm, VECTORS + 0x200, *LOG)
    return [
        (cpacr, name, run(vm, vcpu, word, *REPORT, CPACR_EL1=cpacr))
        for cpacr in ENABLES
        for name, word in ACCESSES.items()
    ]


# Older kernels leave some of these accesses to the CPU, of which the model knows too little.
EXPERIMENTS = [
    *((kernel, each) for kernel in KERNELS for each in (devices, steps, calls, ends)),
    ("7.3", exceptions),
]


@pytest.mark.parametrize(("kernel", "experiment"), EXPERIMENTS)
def test_the_model_runs_guests_as_the_kernel_does(
    lab: OpenLab, kernel: str, experiment: Callable[[Vm, Vcpu, Vcpu], Seen]
) -> None:
    real, modelled = on(lab("max", kernel), experiment), on(connect(f"model:max?kernel={kernel}"), experiment)
    for n, (there, here) in enumerate(zip(real, modelled, strict=True)):
        assert there == here, n


def test_a_waiting_guest_ends_with_eintr(lab: OpenLab) -> None:
    def waits(vm: Vm, vcpu: Vcpu, _: Vcpu) -> Seen:
        return [run(vm, vcpu, 0xD503207F, *REPORT)]

    assert on(lab("max", "7.3"), waits) == [(EINTR, BASE + 4)] == on(connect("model:max?kernel=7.3"), waits)


@pytest.mark.parametrize(
    ("source", "destination"),
    [("model:max?kernel=7.3", "lab"), ("lab", "model:max-vq4?kernel=7.3"), ("lab", "lab")],
)
@pytest.mark.parametrize("stop", [StopAt(13), StopAt(None, 3000)], ids=str)
def test_a_guest_moves_between_models_and_real_kernels(
    lab: OpenLab, source: str, destination: str, stop: StopAt
) -> None:
    """A matrix product in plain SVE, between CPUs with and without long vectors."""
    path = REPOSITORY / "examples" / "sve-matmul.elf"
    program = parse(path.read_bytes(), path.name, 1 << 20)
    wanted = Wanted(features=(F.PSCI_0_2, F.SVE), vls=VectorLengths.parse("1-4"))
    from_ = lab("max", "7.3") if source == "lab" else connect(source)
    to = lab("max,sve-max-vq=4", "7.3") if destination == "lab" else connect(destination)
    report = move_guest(from_, to, wanted, program, stop)
    assert report.agrees, (report.migration.findings, report.differences, report.unmoved)
