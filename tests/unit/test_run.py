"""KVM_RUN in the model: exits, their completion, limits, stepping, events, and what is not modelled."""

from __future__ import annotations

import struct
import subprocess
import sys
from errno import EINTR, EINVAL, ENOSYS

import pytest
from tests.guest_vcpus import (
    B_SELF,
    BASE,
    BRK5,
    DEVICE,
    HVC0,
    MOVZ_X1_DEVICE,
    NOP,
    SMC0,
    SMC1,
    VECTORS,
    WFI,
    get,
    mrs,
    msr,
    put,
    vcpu_with,
    vm_with,
    write,
)
from tests.small_hosts import refused

from armkvm.abi.caps import Cap
from armkvm.abi.structs import ExitReason, GuestDebug, MpState
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.sysregs import sysreg
from armkvm.backends.locate import connect
from armkvm.backends.model import ModelVcpu
from armkvm.errors import KvmError, PlaceError
from armkvm.state import Exit, Mmio

LDR_W0, LDRSB_X0, LDRH_W0, LDR_POST = 0xB9400020, 0x39800020, 0x79400020, 0xF8408420
ADD_X0_1, STR_X0, STRB_W0, LDP_X2_X3 = 0x91000400, 0xF9000020, 0x39000020, 0xA9400C22
STEP, BY_KVM, AT_BRK = 0xCB00_0022, 0xCA00_0022, 0xF200_0005


def encoding(name: str) -> tuple[int, int, int, int, int]:
    reg = sysreg(name)
    return reg.op0, reg.op1, reg.crn, reg.crm, reg.op2


def hsr(left: Exit) -> int:
    assert left.reason == ExitReason.DEBUG
    return int(struct.unpack_from("<I", left.payload)[0])


# -- MMIO ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "data", "loaded"),
    [
        (LDR_W0, b"\x78\x56\x34\x92", 0x9234_5678),
        (LDRSB_X0, b"\x80", 0xFFFF_FFFF_FFFF_FF80),
        (LDRH_W0, b"\xfe\xff", 0xFFFE),
    ],
    ids=["word", "signed byte", "halfword"],
)
def test_a_load_from_a_device_gets_what_the_next_run_brings(load: int, data: bytes, loaded: int) -> None:
    vcpu = vcpu_with(MOVZ_X1_DEVICE, load, STR_X0)
    assert vcpu.run() == Exit(ExitReason.MMIO, mmio=Mmio(DEVICE, bytes(len(data)), is_write=False))
    assert get(vcpu, "PC") == BASE + 4, "the instruction is completed by the next run"
    left = vcpu.run(mmio_data=data)
    assert left.mmio == Mmio(DEVICE, loaded.to_bytes(8, "little"), is_write=True)
    assert get(vcpu, "X0") == loaded


@pytest.mark.parametrize(("kernel", "loaded"), [("6.1", 0xFE), ("6.12", 0xFE), ("7.3", (1 << 64) - 2)])
def test_older_kernels_lose_the_sign_of_a_load(kernel: str, loaded: int) -> None:
    vcpu = vcpu_with(MOVZ_X1_DEVICE, LDRSB_X0, STR_X0, host=f"max?kernel={kernel}")
    vcpu.run()
    vcpu.run(mmio_data=b"\xfe")
    assert get(vcpu, "X0") == loaded


def test_without_data_a_load_reads_zero_and_wrong_data_is_the_callers_mistake() -> None:
    vcpu = vcpu_with(MOVZ_X1_DEVICE, LDR_W0, STR_X0)
    with pytest.raises(ValueError, match="no load"):
        vcpu.run(mmio_data=b"1234")
    vcpu.run()
    with pytest.raises(ValueError, match="4 bytes cannot be completed with 3"):
        vcpu.run(mmio_data=b"123")
    left = vcpu.run()
    assert left.mmio is not None
    assert left.mmio.data == bytes(8)


def test_immediate_exit_completes_the_access_that_is_left_over() -> None:
    vcpu = vcpu_with(MOVZ_X1_DEVICE, STRB_W0, NOP)
    assert vcpu.run().mmio == Mmio(DEVICE, b"\0", is_write=True)
    with refused(EINTR, "immediate-exit"):
        vcpu.run(immediate_exit=True)
    assert get(vcpu, "PC") == BASE + 8


def test_an_abort_instead_of_completing_leaves_the_register_alone() -> None:
    vcpu = vcpu_with(MOVZ_X1_DEVICE, LDR_W0, B_SELF)
    put(vcpu, "X0", 7)
    vcpu.run()
    events = bytearray(vcpu.get_vcpu_events())
    events[2] = 1
    vcpu.set_vcpu_events(bytes(events))
    with refused(EINTR, "immediate-exit"):
        vcpu.run(immediate_exit=True)
    assert (get(vcpu, "PC"), get(vcpu, "ELR_EL1"), get(vcpu, "X0")) == (VECTORS + 0x200, BASE + 4, 7)


def test_an_access_whose_abort_says_too_little() -> None:
    """ENOSYS, or an exit where userspace volunteered."""
    for word in (LDR_POST, LDP_X2_X3):
        vm, (vcpu,) = vm_with(MOVZ_X1_DEVICE, word)
        with refused(ENOSYS, "no-instruction-syndrome"):
            vcpu.run()
        vm.enable_cap(Cap.ARM_NISV_TO_USER)
        left = vcpu.run()
        assert left.reason == ExitReason.ARM_NISV
        assert struct.unpack("<QQ", left.payload) == (5, DEVICE), "as a real 7.3 says it"


def test_a_store_to_read_only_memory_is_mmio() -> None:
    vm, (vcpu,) = vm_with(MOVZ_X1_DEVICE, STRB_W0, LDR_W0)
    vm.set_memory(1, DEVICE, 0x1000, flags=2)
    vm.write_memory(DEVICE, b"\1\2\3\4")
    put(vcpu, "X0", 0x55)
    assert vcpu.run().mmio == Mmio(DEVICE, b"\x55", is_write=True)
    with refused(EINTR, "run-limit"):
        vcpu.run(instructions=1)
    assert get(vcpu, "X0") == 0x0403_0201


def test_memory_that_comes_and_goes_between_runs_is_seen() -> None:
    vm, (vcpu,) = vm_with(MOVZ_X1_DEVICE, LDR_W0, LDR_W0)
    assert vcpu.run().mmio is not None
    vm.set_memory(1, DEVICE, 0x1000)
    vm.write_memory(DEVICE, b"\x2a")
    with refused(EINTR, "run-limit"):
        vcpu.run(instructions=1)
    assert get(vcpu, "X0") == 0x2A
    vm.set_memory(1, DEVICE, 0)
    put(vcpu, "PC", BASE)
    assert vcpu.run().mmio is not None


# -- limits and waiting ------------------------------------------------------------------------


def test_a_run_of_so_many_instructions_ends_with_eintr_and_says_so() -> None:
    vcpu = vcpu_with(*[ADD_X0_1] * 20, B_SELF)
    with pytest.raises(KvmError) as stopped:
        vcpu.run(instructions=7)
    assert stopped.value.errno == EINTR
    assert (stopped.value.count, get(vcpu, "X0"), get(vcpu, "PC")) == (7, 7, BASE + 28)
    put(vcpu, "X1", DEVICE)
    put(vcpu, "PC", BASE)
    vcpu = vcpu_with(MOVZ_X1_DEVICE, ADD_X0_1, STR_X0)
    assert vcpu.run(instructions=100).executed == 3


def test_a_guest_that_never_ends_is_ended_by_the_clock() -> None:
    for words in ((B_SELF,), (0x04A0_E3E0, 0x17FF_FFFF)):  # b . ; incw x0, b .-4
        vcpu = vcpu_with(*words, host="max?kernel=7.3&run_limit=0.05", features=(F.PSCI_0_2, F.SVE))
        put(vcpu, "CPACR_EL1", 3 << 20 | 3 << 16)
        with refused(EINTR, "run-limit"):
            vcpu.run()


def test_a_guest_that_waits_does_not_hang() -> None:
    vcpu = vcpu_with(WFI, ADD_X0_1)
    with refused(EINTR, "guest-waits"):
        vcpu.run()
    assert get(vcpu, "PC") == BASE + 4
    put(vcpu, "PC", BASE)
    put(vcpu, "CNTV_CTL_EL0", 1)
    with pytest.raises(PlaceError, match="timer interrupt"):
        vcpu.run()


@pytest.mark.parametrize("state", [MpState.STOPPED, MpState.SUSPENDED])
def test_a_vcpu_that_is_off_does_not_run(state: int) -> None:
    vcpu = vcpu_with(ADD_X0_1)
    vcpu.set_mp_state(state)
    with refused(EINTR, "vcpu-powered-off"):
        vcpu.run()
    assert get(vcpu, "PC") == BASE


# -- KVM_SET_GUEST_DEBUG: as a 7.3 kernel answered in the lab ----------------------------------


def test_single_steps_are_those_of_a_real_kvm() -> None:
    """Executed by the CPU, or completed by KVM: MMIO, hypercalls. The PC and syndrome of each."""
    words = (MOVZ_X1_DEVICE, LDR_W0, ADD_X0_1, STR_X0, NOP, HVC0, SMC0, SMC1, WFI, BRK5)
    vcpu = vcpu_with(*words)
    vcpu.set_guest_debug(GuestDebug.ENABLE | GuestDebug.SINGLESTEP)
    seen = []
    for _ in range(13):
        left = vcpu.run()
        seen.append((None if left.mmio else hsr(left), get(vcpu, "PC") - BASE))
    assert seen == [
        (STEP, 4),
        (None, 4),
        (BY_KVM, 8),
        (STEP, 12),
        (None, 12),
        (BY_KVM, 16),
        (STEP, 20),
        (BY_KVM, 24),
        (BY_KVM, 28),
        (BY_KVM, 32),
        (STEP, 36),
        (AT_BRK, 36),
        (AT_BRK, 36),
    ]
    vcpu.set_guest_debug(0)
    with refused(EINTR, "run-limit"):
        vcpu.run(instructions=1)
    assert (get(vcpu, "PC"), get(vcpu, "ESR_EL1")) == (VECTORS + 0x200, AT_BRK)


@pytest.mark.parametrize("control", [8, 1 << 5, 1 << 31])
def test_an_unknown_control_is_refused(control: int) -> None:
    with refused(EINVAL, "guest-debug-control"):
        vcpu_with(NOP).set_guest_debug(control)


def test_breakpoint_registers_are_not_modelled_and_said_so() -> None:
    vcpu = vcpu_with(NOP)
    vcpu.set_guest_debug(GuestDebug.ENABLE | GuestDebug.USE_HW, bytes(512))
    with pytest.raises(PlaceError, match="breakpoint"):
        vcpu.run()
    with pytest.raises(ValueError, match="512 bytes"):
        vcpu.set_guest_debug(1, bytes(8))


# -- system registers --------------------------------------------------------------------------


def exception(vcpu: ModelVcpu) -> tuple[int, int]:
    """Class and syndrome that the guest took after one instruction, (0, -1) if none."""
    with refused(EINTR, "run-limit"):
        vcpu.run(instructions=1)
    esr = get(vcpu, "ESR_EL1")
    return (esr >> 26, esr & 0x1FF_FFFF) if get(vcpu, "PC") == VECTORS + 0x200 else (0, -1)


SME_READS = [
    # (register, features, what follows from traps.guest_access)
    ("SMPRI_EL1", (F.SME,), (0, -1)),
    ("SMIDR_EL1", (F.SME,), (0, -1)),
    ("TPIDR2_EL0", (F.SME,), (0, -1)),
    ("SMPRI_EL1", (F.SVE,), (0, 0)),
    ("TPIDR2_EL0", (F.SVE,), (0, 0)),
    ("SVCR", (F.SVE,), (0, 0)),
    ("ZCR_EL1", (F.SME,), (0, 0)),
    ("TCR_EL1", (F.SME,), (0, -1)),
]


@pytest.mark.parametrize(("name", "features", "taken"), SME_READS, ids=str)
def test_what_a_guest_may_read_follows_the_vcpus_features(
    name: str, features: tuple[F, ...], taken: tuple[int, int]
) -> None:
    vcpu = vcpu_with(mrs(encoding(name), 3), host="sme-max?kernel=sme-v12", features=(F.PSCI_0_2, *features))
    put(vcpu, "CPACR_EL1", 3 << 24 | 3 << 20 | 3 << 16)
    assert exception(vcpu) == taken


def test_a_missing_identity_register_traps_with_its_access() -> None:
    vcpu = vcpu_with(mrs(encoding("SMIDR_EL1"), 3), host="sme-max?kernel=sme-v12")
    ec, iss = exception(vcpu)
    assert ec == 0x18
    assert (iss & 1, iss >> 5 & 31) == (1, 3)


def test_priorities_are_read_as_zero_and_writes_ignored() -> None:
    priority = encoding("SMPRI_EL1")
    vcpu = vcpu_with(
        msr(priority, 4), mrs(priority, 3), host="sme-max?kernel=sme-v12", features=(F.PSCI_0_2, F.SME)
    )
    put(vcpu, "X4", 15)
    put(vcpu, "X3", 15)
    with refused(EINTR, "run-limit"):
        vcpu.run(instructions=2)
    assert get(vcpu, "X3") == 0


def test_identity_that_userspace_changed_is_what_the_guest_reads() -> None:
    vcpu = vcpu_with(*(mrs(encoding(name), n) for n, name in enumerate(("ID_AA64ISAR0_EL1", "MPIDR_EL1"))))
    isar0 = get(vcpu, "ID_AA64ISAR0_EL1") & ~(0xF << 60)
    put(vcpu, "ID_AA64ISAR0_EL1", isar0)
    with refused(EINTR, "run-limit"):
        vcpu.run(instructions=2)
    assert (get(vcpu, "X0"), get(vcpu, "X1")) == (isar0, 1 << 31)


def test_a_cpu_drops_what_it_does_not_implement() -> None:
    smcr, zcr, vbar = (encoding(name) for name in ("SMCR_EL1", "ZCR_EL1", "VBAR_EL1"))
    words = [word for n, reg in enumerate((smcr, zcr, vbar)) for word in (msr(reg, 9), mrs(reg, n))]
    vcpu = vcpu_with(*words, host="sme-max?kernel=sme-v12", features=(F.PSCI_0_2, F.SVE, F.SME))
    put(vcpu, "CPACR_EL1", 3 << 24 | 3 << 20 | 3 << 16)
    put(vcpu, "X9", (1 << 64) - 1)
    with refused(EINTR, "run-limit"):
        vcpu.run(instructions=6)
    assert [get(vcpu, f"X{n}") for n in range(3)] == [0xC000_000F, 0xF, 0xFFFF_FFFF_FFFF_FFE0]


@pytest.mark.parametrize(
    ("word", "value", "named"),
    [
        (msr(encoding("SCTLR_EL1"), 4), 1 << 25, "big-endian"),
        (msr(encoding("MDSCR_EL1"), 4), 1, "single steps"),
        (mrs((3, 3, 14, 0, 0), 4), 0, "CNTFRQ_EL0"),
    ],
)
def test_what_is_not_modelled_is_named(word: int, value: int, named: str) -> None:
    vcpu = vcpu_with(NOP, word)
    put(vcpu, "X4", value)
    with pytest.raises(PlaceError, match=named):
        vcpu.run()
    assert get(vcpu, "PC") == BASE + 4


def test_a_32_bit_guest_is_refused_by_name() -> None:
    vcpu = vcpu_with(NOP, features=(F.PSCI_0_2,))
    with connect("model:max?kernel=7.3").create_vm() as vm:
        strange = vm.create_vcpu(0)
        strange.init({F.EL1_32BIT, F.PSCI_0_2})
        with pytest.raises(PlaceError, match="a 32-bit EL1"):
            strange.run()
    put(vcpu, "PSTATE", 0x10)
    with pytest.raises(PlaceError, match="AArch32"):
        vcpu.run()


# -- exceptions from outside -------------------------------------------------------------------


def test_a_pending_serror_is_taken_when_it_is_not_masked() -> None:
    vcpu = vcpu_with(NOP, NOP, 0xD503_44FF, *[NOP] * 2000)  # msr daifclr, #4
    events = bytearray(vcpu.get_vcpu_events())
    events[0], events[1], events[8] = 1, 1, 0x11
    vcpu.set_vcpu_events(bytes(events))
    with refused(EINTR, "run-limit"):
        vcpu.run(instructions=2)
    assert vcpu.get_vcpu_events()[0] == 1, "masked: still pending"
    with refused(EINTR, "run-limit"):
        vcpu.run(instructions=1500)
    assert vcpu.get_vcpu_events()[0] == 0
    assert get(vcpu, "ESR_EL1") == 0xBE00_0011
    assert BASE + 12 <= get(vcpu, "ELR_EL1") <= BASE + 12 + 4 * 1000


# -- translation -------------------------------------------------------------------------------


def test_a_guest_runs_with_its_mmu_on() -> None:
    """Memory seen at 0x80000000 through one 1 GiB block; what is not mapped aborts."""
    sctlr = encoding("SCTLR_EL1")
    code = (msr(sctlr, 4), 0xD503_3FDF, 0xF940_0041, 0xF940_0062)  # isb; ldr x1, [x2]; ldr x2, [x3]
    vm, (vcpu,) = vm_with(*code)
    table, block = BASE + 0x8000, 0x401  # access flag, block
    entries = [0, BASE | block, BASE | block, 0]
    vm.write_memory(table, struct.pack("<4Q", *entries))
    vm.write_memory(BASE + 0x2000, struct.pack("<Q", 0x1234))
    put(vcpu, "TTBR0_EL1", table)
    put(vcpu, "TCR_EL1", 25 | 1 << 23)  # 39 bits of address, the upper half off
    put(vcpu, "X4", get(vcpu, "SCTLR_EL1") | 1)
    put(vcpu, "X2", 0x8000_2000)
    put(vcpu, "X3", 0xC000_0010)
    with refused(EINTR, "run-limit"):
        vcpu.run(instructions=4)
    assert get(vcpu, "X1") == 0x1234
    assert (get(vcpu, "ESR_EL1") >> 26, get(vcpu, "FAR_EL1")) == (0x25, 0xC000_0010)
    assert get(vcpu, "PC") == VECTORS + 0x200


# -- the extra ---------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["numpy", "unicorn"])
def test_without_the_extra_one_clear_error_names_it(missing: str) -> None:
    program = f"""
import sys
sys.modules[{missing!r}] = None
sys.path[:0] = ["src", "."]
from tests.guest_vcpus import NOP, vcpu_with
from armkvm.errors import PlaceError
try:
    vcpu_with(NOP).run()
except PlaceError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == (
        f"running guests in the model needs the extra 'guest', and {missing} is not installed: "
        "pip install 'armkvm[guest]'\n"
    )


def test_code_that_another_vcpu_changed_is_executed_anew() -> None:
    vm, (first, second) = vm_with(ADD_X0_1, B_SELF, vcpus=2)
    with refused(EINTR, "run-limit"):
        first.run(instructions=3)
    second.set_mp_state(MpState.RUNNABLE)
    write(vm, BASE + 0x100, 0xB900_0020)  # str w0, [x1]
    put(second, "PC", BASE + 0x100)
    put(second, "X0", NOP)
    put(second, "X1", BASE)
    with refused(EINTR, "run-limit"):
        second.run(instructions=1)
    put(first, "PC", BASE)
    with refused(EINTR, "run-limit"):
        first.run(instructions=2)
    assert get(first, "X0") == 1
