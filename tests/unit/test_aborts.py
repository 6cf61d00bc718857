"""What injected aborts and a second INIT leave in the registers, as real kernels were seen to.

Seen on `lab:max` under 6.1.192, 6.12.95, 7.2.12 and 7.3.4: every row of `SEEN` is what they answered.
"""

from __future__ import annotations

from errno import EINTR, EINVAL, ENOEXEC

import pytest
from tests.small_hosts import refused

import armkvm
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.backends.base import Vcpu
from armkvm.catalog import parse

KERNELS = ("6.1", "6.12", "7.2", "7.3")
EXT_DABT = b"\0\0\1" + bytes(61)
VBAR, PC = 0x80000, 0x1234

# PSTATE before, SCTLR_EL1 (None: as reset) -> PC, PSTATE after, exception class
SEEN = {
    (0x3C5, None): (0x80200, 0x3C5, 0x25),
    (0x3C5, 0): (0x80200, 0x40_03C5, 0x25),
    (0x3C5, 1 << 44): (0x80200, 0x40_13C5, 0x25),
    (0x3C4, None): (0x80000, 0x3C5, 0x25),
    (0x8000_03C0, None): (0x80400, 0x8000_03C5, 0x24),
    (0x6000_0010, None): (0x80600, 0x6000_03C5, 0x24),
}


def put(vcpu: Vcpu, name: str, value: int) -> None:
    reg = parse(name)
    vcpu.set_one_reg(reg, value.to_bytes(reg.size, "little"))


def get(vcpu: Vcpu, name: str) -> int:
    return int.from_bytes(vcpu.get_one_reg(parse(name)), "little")


def vcpu_of(kernel: str, *features: F) -> Vcpu:
    vcpu = armkvm.connect(f"model:max?kernel={kernel}").create_vm().create_vcpu(0)
    vcpu.init({F.PSCI_0_2, *features})
    return vcpu


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("before", "sctlr"), SEEN)
def test_an_injected_abort_enters_el1(kernel: str, before: int, sctlr: int | None) -> None:
    """At once since 6.17, before that when the vCPU is next run; the syndrome is there at once."""
    pc, pstate, exception_class = SEEN[before, sctlr]
    vcpu = vcpu_of(kernel)
    put(vcpu, "PC", PC)
    put(vcpu, "VBAR_EL1", VBAR)
    put(vcpu, "PSTATE", before)
    if sctlr is not None:
        put(vcpu, "SCTLR_EL1", sctlr)
    vcpu.set_vcpu_events(EXT_DABT)
    at_once = kernel.startswith("7")
    high = 0xFFFF_FFFF << 32 if kernel == "6.1" else 0
    assert get(vcpu, "ESR_EL1") == high | exception_class << 26 | at_once << 25 | 0x10
    assert get(vcpu, "FAR_EL1") == 0
    assert get(vcpu, "PC") == (pc if at_once else PC)
    with refused(EINTR, "immediate-exit"):
        vcpu.run(immediate_exit=True)
    names = ("PC", "PSTATE", "ELR_EL1", "SPSR_EL1")
    assert [get(vcpu, name) for name in names] == [pc, pstate, PC, before]
    assert vcpu.get_vcpu_events()[2] == 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_second_init_leaves_what_nothing_resets(kernel: str) -> None:
    """SP_EL1, ELR_EL1 and SPSR_EL1 live among the system registers, and have no reset value there."""
    vcpu = vcpu_of(kernel)
    names = ("SP_EL1", "ELR_EL1", "SPSR_EL1", "X3", "SP", "PC", "SPSR_ABT")
    for name in names:
        put(vcpu, name, 0xF000)
    vcpu.init({F.PSCI_0_2})
    assert [get(vcpu, name) for name in names] == [0xF000] * 3 + [0] * 4


@pytest.mark.parametrize("kernel", KERNELS)
def test_csselr_passes_through_hardware_only_with_the_hosts_caches(kernel: str) -> None:
    """On 6.1 a run leaves the four bits that the CPU has of it; later kernels emulate the register."""
    vcpu = vcpu_of(kernel)
    before = get(vcpu, "CSSELR_EL1")
    with refused(EINTR, "immediate-exit"):
        vcpu.run(immediate_exit=True)
    assert get(vcpu, "CSSELR_EL1") == (before & 0xF if kernel == "6.1" else before)


def test_before_init_events_are_set_where_they_are_read() -> None:
    """6.12.95 lets both calls through, checks what is reserved, and keeps the abort for the first run."""
    vcpu = armkvm.connect("model:max?kernel=6.12").create_vm().create_vcpu(0)
    with refused(EINVAL, "events-reserved"):
        vcpu.set_vcpu_events(b"\0" * 16 + b"\1" + bytes(47))
    vcpu.set_vcpu_events(EXT_DABT)
    vcpu.init({F.PSCI_0_2})
    assert get(vcpu, "PC") == 0
    with refused(EINTR, "immediate-exit"):
        vcpu.run(immediate_exit=True)
    assert get(vcpu, "PC") == get(vcpu, "VBAR_EL1") + 0x200 & (1 << 64) - 1
    newer = armkvm.connect("model:max?kernel=7.3").create_vm().create_vcpu(0)
    with refused(ENOEXEC, "not-initialised"):
        newer.set_vcpu_events(EXT_DABT)


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "7.3"])
def test_a_pending_serror_is_reported_and_outlives_an_init_after_a_run_since_6_12(kernel: str) -> None:
    """Without a syndrome of userspace's it has IDS alone; the VM's runs and other writes leave it."""
    for with_esr, esr in ((1, 0), (0, 1 << 24)):
        vcpu = vcpu_of(kernel)
        vcpu.set_vcpu_events(bytes((1, with_esr)) + bytes(62))
        told = bytes((1, 1)) + bytes(6) + esr.to_bytes(8, "little") + bytes(48)
        assert vcpu.get_vcpu_events() == told
        vcpu.set_vcpu_events(bytes(64))
        with refused(EINTR, "immediate-exit"):
            vcpu.run(immediate_exit=True)
        assert vcpu.get_vcpu_events() == told
        vcpu.init({F.PSCI_0_2})
        assert vcpu.get_vcpu_events() == (b"\0\1" + bytes(62) if kernel == "6.1" else told)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("abort", [0, 1])
def test_any_init_before_the_first_run_clears_a_serror(kernel: str, abort: int) -> None:
    vcpu = vcpu_of(kernel)
    vcpu.set_vcpu_events(bytes((1, 0, abort)) + bytes(61))
    assert vcpu.get_vcpu_events()[0] == 1
    vcpu.init({F.PSCI_0_2})
    assert vcpu.get_vcpu_events()[0] == 0


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("pstate", "vector"),
    [(0x0, 0x80580), (0x4, 0x80180), (0x5, 0x80380), (0x10, 0x80780), (0x105, None), (0x3C5, None)],
)
@pytest.mark.parametrize(("with_esr", "syndrome"), [(0, 0xBF00_0000), (1, 0xBE00_0123)])
def test_a_serror_that_nothing_masks_is_taken_at_once_since_6_17(
    kernel: str, pstate: int, vector: int | None, with_esr: int, syndrome: int
) -> None:
    vcpu = vcpu_of(kernel)
    for name, value in (("PC", PC), ("VBAR_EL1", VBAR), ("PSTATE", pstate), ("FAR_EL1", 0x55)):
        put(vcpu, name, value)
    vcpu.set_vcpu_events(bytes((1, with_esr)) + bytes(6) + (0x123).to_bytes(8, "little") + bytes(48))
    if vector is None or not kernel.startswith("7"):
        assert vcpu.get_vcpu_events()[0] == 1
        assert (get(vcpu, "PC"), get(vcpu, "PSTATE")) == (PC, pstate)
        return
    assert vcpu.get_vcpu_events() == b"\0\1" + bytes(62)
    assert (get(vcpu, "PC"), get(vcpu, "PSTATE")) == (vector, 0x3C5)
    assert (get(vcpu, "ESR_EL1"), get(vcpu, "FAR_EL1")) == (syndrome, 0x55)
    assert (get(vcpu, "ELR_EL1"), get(vcpu, "SPSR_EL1")) == (PC, pstate)


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_abort_comes_before_the_serror_of_the_same_call_since_6_17(kernel: str) -> None:
    """It masks the SError, which stays pending; and stays taken where the SError's syndrome is refused."""
    taken = kernel.startswith("7")
    for esr, errno in ((0x77, 0), (1 << 30, EINVAL)):
        vcpu = vcpu_of(kernel)
        for name, value in (("PC", PC), ("VBAR_EL1", VBAR), ("PSTATE", 0)):
            put(vcpu, name, value)
        events = bytes((1, 1, 1)) + bytes(5) + esr.to_bytes(8, "little") + bytes(48)
        if errno:
            with refused(errno, "events-no-esr"):
                vcpu.set_vcpu_events(events)
        else:
            vcpu.set_vcpu_events(events)
        assert vcpu.get_vcpu_events()[0] == (not errno)
        assert get(vcpu, "PC") == (VBAR + 0x400 if taken else PC)


def test_the_first_init_clears_a_serror_set_before_it() -> None:
    vcpu = armkvm.connect("model:max?kernel=6.12").create_vm().create_vcpu(0)
    vcpu.set_vcpu_events(b"\1\1" + bytes(62))
    assert vcpu.get_vcpu_events()[0] == 1
    vcpu.init({F.PSCI_0_2})
    assert vcpu.get_vcpu_events()[0] == 0
