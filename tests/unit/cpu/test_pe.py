"""What a PE does around instructions: exceptions, MMIO, budgets, translation, V and Z, self-modified code."""

from __future__ import annotations

import struct

import pytest
from tests.unit.cpu.recorded_guests import Registers

from armkvm.arch.sysregs import sysreg
from armkvm.arch.vectors import VectorLengths
from armkvm.cpu.features import PeFeatures
from armkvm.cpu.guest_memory import GuestMemory
from armkvm.cpu.pe import PE
from armkvm.cpu.port import CPACR_EL1, ESR_EL1, FAR_EL1, SCTLR_EL1, TCR_EL1, TTBR0_EL1, VBAR_EL1, ZCR_EL1
from armkvm.cpu.stop import Reason

BASE, VECTORS, DATA = 0x4000_0000, 0x4000_1000, 0x4000_2000
SPAN = 1 << 23
NOP, HVC0, HVC9, WFI, SVC7, BRK5, ERET = (
    0xD503201F,
    0xD4000002,
    0xD4000122,
    0xD503207F,
    0xD40000E1,
    0xD42000A0,
    0xD69F03E0,
)
ADD_X1_1 = 0x91000421  # add x1, x1, #1
B_BACK_1 = 0x17FFFFFF  # b .-4
B_SELF = 0x14000000
LDRSB_X3_X2 = 0x39800043  # ldrsb x3, [x2]
STR_W1_X2 = 0xB9000041
LDR_X3_POST = 0xF8408443  # ldr x3, [x2], #8
LDR_Q3_X2 = 0x3DC00043
FMOV_D3_1 = 0x1E6E1003  # fmov d3, #1.0
ADD_V3_4S = 0x4EA48463  # add v3.4s, v3.4s, v4.4s
INC_X1_VL = 0x0430E3E1  # incb x1
RDFFR_P1 = 0x2519F001
POISON = 0x0EF819EC


class Guest:
    """A PE with 64 KiB of memory, code at its start and vectors that stop with HVC #9."""

    def __init__(self, *words: int, vqs: tuple[int, ...] = (1, 2, 4), sme: tuple[int, ...] = ()) -> None:
        self.ram = bytearray(0x10000)
        self.memory = GuestMemory()
        self.slot = self.memory.add(BASE, self.ram)
        self.registers = Registers()
        self.registers.values |= {CPACR_EL1: 0x3330000, VBAR_EL1: VECTORS, ZCR_EL1: 15, SCTLR_EL1: SPAN}
        for at in range(VECTORS - BASE, VECTORS - BASE + 0x800, 0x80):
            self.word(at, HVC9)
        self.write(*words)
        features = PeFeatures(sve=VectorLengths(vqs), sme=VectorLengths(sme))
        self.pe = PE(features, self.memory, self.registers)
        self.pe.core.pc = BASE

    def word(self, at: int, value: int) -> None:
        self.ram[at : at + 4] = struct.pack("<I", value)

    def write(self, *words: int) -> None:
        for n, value in enumerate(words):
            self.word(4 * n, value)

    def esr(self) -> int:
        return self.registers.current(ESR_EL1)


def test_hypercalls_and_wfi_stop_after_the_instruction() -> None:
    guest = Guest(NOP, HVC0, WFI)
    stop = guest.pe.run()
    assert (stop.reason, stop.pc, stop.immediate) == (Reason.HVC, BASE + 8, 0)
    stop = guest.pe.run()
    assert (stop.reason, stop.pc) == (Reason.WFI, BASE + 12)


@pytest.mark.parametrize(
    ("word", "esr", "elr"),
    [
        (SVC7, 0x56000007, BASE + 4),
        (BRK5, 0xF2000005, BASE),
        (0, 0x02000000, BASE),
        (POISON, 0x02000000, BASE),
    ],
)
def test_synchronous_exceptions_reach_el1(word: int, esr: int, elr: int) -> None:
    guest = Guest(word)
    stop = guest.pe.run()
    assert (stop.reason, stop.pc) == (Reason.HVC, VECTORS + 0x204)
    core = guest.pe.core
    assert (guest.esr(), core.elr_el1, core.spsr_el1, core.pstate) == (esr, elr, 0x3C5, 0x3C5)


def test_an_exception_from_el0_uses_the_lower_el_vector_and_banks_sp() -> None:
    guest = Guest(SVC7)
    guest.pe.core.pstate, guest.pe.core.sp_el0, guest.pe.core.sp_el1 = 0x3C0, 0x111, 0x222
    stop = guest.pe.run()
    core = guest.pe.core
    assert stop.pc == VECTORS + 0x404
    assert (core.spsr_el1, core.pstate, core.sp_el0, core.sp_el1) == (0x3C0, 0x3C5, 0x111, 0x222)


def test_eret_returns_to_el0() -> None:
    guest = Guest(ERET)
    core = guest.pe.core
    core.elr_el1, core.spsr_el1, core.sp_el0 = BASE + 0x100, 0x3C0, 0x1230
    guest.word(0x100, SVC7)
    guest.pe.run()
    assert (core.elr_el1, core.spsr_el1, core.sp_el0) == (BASE + 0x104, 0x3C0, 0x1230)


def test_a_read_outside_memory_is_completed_by_the_caller() -> None:
    guest = Guest(LDRSB_X3_X2, HVC0)
    guest.pe.core.x[2] = 0x0900_0000
    stop = guest.pe.run()
    assert stop.reason is Reason.MMIO
    assert stop.access is not None
    assert (stop.access.ipa, stop.access.size, stop.access.is_write) == (0x0900_0000, 1, False)
    assert guest.pe.core.pc == BASE
    assert stop.transfer is not None
    assert (stop.transfer.register, stop.transfer.value_of(b"\x80")) == (3, 0xFFFFFFFFFFFFFF80)
    guest.pe.core.pc += 4
    assert guest.pe.run().reason is Reason.HVC


def test_a_write_to_a_read_only_slot_is_mmio() -> None:
    guest = Guest(STR_W1_X2)
    guest.memory.add(0x5000_0000, bytearray(4096), readonly=True)
    guest.pe.core.x[1], guest.pe.core.x[2] = 0x12345678, 0x5000_0010
    stop = guest.pe.run()
    assert (stop.reason, stop.data) == (Reason.MMIO, b"\x78\x56\x34\x12")


@pytest.mark.parametrize("word", [LDR_X3_POST, LDR_Q3_X2])
def test_what_has_no_instruction_syndrome_cannot_be_completed(word: int) -> None:
    guest = Guest(word)
    guest.pe.core.x[2] = 0x0900_0000
    stop = guest.pe.run()
    assert (stop.reason, stop.pc, stop.word) == (Reason.NO_SYNDROME, BASE, word)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 17, 100])
def test_a_budget_is_exact(count: int) -> None:
    """add; incb; add; b back to the start: base, emulated and branch instructions all count as one."""
    guest = Guest(ADD_X1_1, INC_X1_VL, ADD_X1_1, 0x17FFFFFD)
    guest.pe.core.x[1] = 0
    stop = guest.pe.run(instructions=count)
    assert (stop.reason, stop.executed) == (Reason.BUDGET, count)
    full, rest = divmod(count, 4)
    assert guest.pe.core.x[1] == full * 66 + (0, 1, 65, 66)[rest]
    assert guest.pe.core.pc == BASE + 4 * rest


def test_running_in_pieces_is_running_at_once() -> None:
    whole, pieces = (Guest(ADD_X1_1, INC_X1_VL, ADD_V3_4S, 0x17FFFFFD) for _ in range(2))
    whole.pe.run(instructions=60)
    for n in (1, 7, 2, 30, 20):
        pieces.pe.run(instructions=n)
    assert whole.pe.core == pieces.pe.core
    assert whole.pe.vectors == pieces.pe.vectors


def test_a_time_budget_ends_an_endless_loop() -> None:
    guest = Guest(B_SELF)
    assert guest.pe.run(time_left=lambda: 20_000).reason is Reason.BUDGET


def test_a_stop_request_is_honoured() -> None:
    guest = Guest(B_SELF)
    guest.pe.stop()
    assert guest.pe.run().reason is Reason.STOPPED


@pytest.mark.parametrize(("word", "register"), [(FMOV_D3_1, 3), (ADD_V3_4S, 3)])
def test_writing_a_v_register_zeroes_the_rest_of_its_z(word: int, register: int) -> None:
    guest = Guest(word, HVC0)
    vectors = guest.pe.vectors
    for n in (2, 3):
        vectors.z[256 * n : 256 * n + 64] = b"\x77" * 64
    guest.pe.run()
    assert vectors.z[256 * register + 16 : 256 * (register + 1)] == bytes(240)
    assert vectors.z[2 * 256 : 2 * 256 + 64] == b"\x77" * 64


def test_a_vector_load_that_faults_leaves_z_as_it_was() -> None:
    guest = Guest(LDR_Q3_X2)
    guest.pe.vectors.z[3 * 256 : 3 * 256 + 64] = b"\x77" * 64
    guest.pe.core.x[2] = 0x0900_0000
    guest.pe.run()
    assert guest.pe.vectors.z[3 * 256 : 3 * 256 + 64] == b"\x77" * 64


@pytest.mark.parametrize(
    ("cpacr", "word", "esr"),
    [
        (0x0000000, FMOV_D3_1, 0x1FE00000),
        (0x0100000, FMOV_D3_1, None),
        (0x0300000, INC_X1_VL, 0x66000000),
        (0x0030000, INC_X1_VL, 0x1FE00000),
    ],
)
def test_cpacr_traps_fp_and_sve(cpacr: int, word: int, esr: int | None) -> None:
    guest = Guest(word, HVC0)
    guest.registers.store(CPACR_EL1, cpacr)
    stop = guest.pe.run()
    if esr is None:
        assert stop.immediate == 0
    else:
        assert (stop.immediate, guest.esr()) == (9, esr)


@pytest.mark.parametrize(
    ("word", "esr"), [(ADD_V3_4S, 0x76000001), (FMOV_D3_1, None), (RDFFR_P1, 0x76000001)]
)
def test_streaming_mode_without_fa64_refuses_advsimd(word: int, esr: int | None) -> None:
    guest = Guest(word, HVC0, sme=(1, 2))
    guest.pe.vectors.set_svcr(1)
    stop = guest.pe.run()
    assert (stop.immediate, guest.esr()) == ((9, esr) if esr else (0, 0))


def test_an_instruction_that_this_emulator_lacks_is_named() -> None:
    aese = 0x4522E020  # aese z0.b, z0.b, z1.b
    guest = Guest(aese)
    stop = guest.pe.run()
    assert (stop.reason, stop.word, stop.pc) == (Reason.UNIMPLEMENTED, aese, BASE)
    assert "0x4522e020" in stop.detail
    assert hex(BASE) in stop.detail


def test_code_that_rewrites_itself_and_says_so_runs_as_rewritten() -> None:
    ic_ivau_x2, isb = 0xD50B7522, 0xD5033FDF
    guest = Guest(STR_W1_X2, ic_ivau_x2, isb, NOP, HVC0)
    guest.pe.core.x[1], guest.pe.core.x[2] = FMOV_D3_1, BASE + 12
    guest.registers.store(CPACR_EL1, 0)
    assert guest.pe.run().immediate == 9
    assert (guest.pe.core.elr_el1, guest.esr()) == (BASE + 12, 0x1FE00000)


def test_a_word_the_engine_cannot_take_may_appear_at_any_time() -> None:
    """Written by the guest into code that ran before, without cache maintenance."""
    guest = Guest(NOP, STR_W1_X2, 0x17FFFFFE)
    guest.pe.core.x[1], guest.pe.core.x[2] = POISON, BASE
    assert guest.pe.run().immediate == 9
    assert (guest.pe.core.elr_el1, guest.esr()) == (BASE, 0x02000000)


def test_translation_maps_code_and_data_and_faults_name_the_address() -> None:
    """4 KiB pages, 39-bit addresses: one page of code, one of data elsewhere, one read-only."""
    guest = Guest(STR_W1_X2, LDRSB_X3_X2, HVC0)
    tables = 0x8000
    page = 0x403  # valid, a page, access flag
    entries = {
        tables: (BASE + tables + 0x1000) | 3,
        tables + 0x1000: (BASE + tables + 0x2000) | 3,
        tables + 0x2000: BASE | page,
        tables + 0x2008: VECTORS | page,
        tables + 0x2010: DATA | page,
        tables + 0x2018: DATA | page | 1 << 7,
    }
    for at, value in entries.items():
        guest.ram[at : at + 8] = struct.pack("<Q", value)
    guest.registers.values |= {SCTLR_EL1: SPAN | 1, TCR_EL1: 25, TTBR0_EL1: BASE + tables, VBAR_EL1: 0x1000}
    core = guest.pe.core
    core.pc, core.x[1], core.x[2] = 0, 0x55, 0x2010
    assert guest.pe.run().immediate == 0
    assert (guest.ram[0x2010], core.x[3]) == (0x55, 0x55)
    core.pc, core.x[2] = 0, 0x3010
    assert guest.pe.run().immediate == 9
    assert (guest.esr(), guest.registers.current(FAR_EL1)) == (0x9600004F, 0x3010)
    core.pc, core.x[2] = 0, 0x7010
    assert guest.pe.run().immediate == 9
    assert (guest.esr(), guest.registers.current(FAR_EL1)) == (0x96000047, 0x7010)


def test_mrs_of_an_unknown_register_at_el0_is_undefined() -> None:
    guest = Guest(0xD5380003)  # mrs x3, midr_el1
    guest.registers.store(sysreg("MIDR_EL1"), 0x1234)
    guest.pe.core.pstate = 0x3C0
    guest.pe.run()
    assert guest.esr() == 0x02000000
    guest.pe.core.pc, guest.pe.core.pstate = BASE, 0x3C5
    guest.write(0xD5380003, HVC0)
    guest.pe.run()
    assert guest.pe.core.x[3] == 0x1234
