"""What a guest of KVM cannot execute it takes an exception for: classes and syndromes as a real KVM gave.

The syndromes were seen under Linux 7.3's KVM on QEMU's max, the same words between the same handlers.
"""

from __future__ import annotations

import random

import pytest
from tests.guest_vcpus import BASE, MASKED_EL1H, NOP, VECTORS, get, put, vcpu_with

from armkvm.arch.accesses import GUEST_ONLY, access_name
from armkvm.arch.encoding import SysReg
from armkvm.backends.model import ModelVcpu
from armkvm.errors import KvmError, PlaceError

UNDEFINED, FP_TRAP = 0x0200_0000, 0x1FE0_0000
FROM_EL1 = VECTORS + 0x200
MAX = "max?kernel=7.3"


def step(vcpu: ModelVcpu, instructions: int = 1) -> str:
    """What stopped it, if that was not the budget."""
    try:
        exited = vcpu.run(instructions=instructions)
    except KvmError:
        return ""
    except PlaceError as gap:
        return str(gap)
    return str(exited)


def took(vcpu: ModelVcpu) -> int | None:
    """The syndrome of the exception it has taken from EL1, if it has."""
    return get(vcpu, "ESR_EL1") if get(vcpu, "PC") == FROM_EL1 else None


@pytest.mark.parametrize("host", [MAX, "neoverse-n1", "sme-max"])
@pytest.mark.parametrize(
    "word",
    [
        *(0xD50D4641, 0xD5282768, 0xD52B7720, 0xD508606A, 0xD50BF64E),
        *(0xD5088DA0, 0xD50A7D5B),
        *(0xD5480000, 0xD5500000, 0xD57B297D, 0xD5415AF3),
    ],
    ids=hex,
)
def test_system_instructions_that_are_not_are_undefined(host: str, word: int) -> None:
    """Unallocated SYS and SYSL, those of FEAT_GCS, and 128-bit ones, which KVM gives to no guest."""
    vcpu = vcpu_with(word, host=host)
    assert not step(vcpu)
    assert took(vcpu) == UNDEFINED
    assert get(vcpu, "ELR_EL1") == BASE


_GONE = {
    *("BRB IALL", "BRB INJ", "GCSPUSHX", "GCSPOPCX", "GCSPUSHM", "AT S1E1A", "COSP RCTX"),
    *("DC IGSW", "DC IGDSW", "DC CGSW", "DC CGDSW", "DC CIGSW", "DC CIGDSW", "DC IGVAC", "DC IGDVAC"),
}
_NOT_MODELLED = {"DC GVA", "DC GZVA"}


@pytest.mark.parametrize("reg", [reg for reg in GUEST_ONLY if reg.op0 == 1], ids=access_name)
def test_every_system_instruction_gets_on(reg: SysReg) -> None:
    """Each is executed, is UNDEFINED as on the real kernel, or is named; all of TLBI with nXS as well."""
    vcpu = vcpu_with(0xD5080000 | (reg & 0x3FFF) << 5 | 9, NOP)
    put(vcpu, "X9", BASE + 0x800)
    stopped, name = step(vcpu), access_name(reg)
    assert (name in stopped) == bool(stopped) == (name in _NOT_MODELLED)
    assert took(vcpu) == (UNDEFINED if name in _GONE else None)
    assert get(vcpu, "PC") == (FROM_EL1 if name in _GONE else BASE if name in _NOT_MODELLED else BASE + 4)


@pytest.mark.parametrize("seed", range(4))
def test_no_system_word_stands_still(seed: int) -> None:
    """Any word 0xD5......: it is executed, an exception is taken, or it is named; never is nothing done."""
    rng = random.Random(seed)
    for _ in range(200):
        word = 0xD500_0000 | rng.getrandbits(24)
        vcpu = vcpu_with(word)
        assert step(vcpu) or get(vcpu, "PC") != BASE, hex(word)


@pytest.mark.parametrize("word", [0xD53B4400, 0xD51B4400, 0xD53B4420, 0xD51B4420], ids=hex)
def test_fpcr_and_fpsr_are_closed_with_fp(word: int) -> None:
    """MRS and MSR of FPCR and FPSR while CPACR_EL1.FPEN is 0; with 3 they are the guest's."""
    closed, opened = vcpu_with(word, NOP), vcpu_with(word, NOP)
    put(opened, "CPACR_EL1", 3 << 20)
    for vcpu in (closed, opened):
        assert not step(vcpu)
    assert took(closed) == FP_TRAP
    assert get(opened, "PC") == BASE + 4


ILLEGAL_STATE, PC_ALIGNMENT = 0x3A00_0000, 0x8A00_0000
MSR_SPSR_X1, MSR_ELR_X2, ERET, BR_X2, BLR_X2, RET_X2 = (
    0xD518_4001,
    0xD518_4022,
    0xD69F_03E0,
    0xD61F_0040,
    0xD63F_0040,
    0xD65F_0040,
)


def returning(spsr: int, elr: int = BASE + 0x100, *, host: str = MAX) -> ModelVcpu:
    """A vCPU before ERET, after the two moves that say where to."""
    vcpu = vcpu_with(MSR_SPSR_X1, MSR_ELR_X2, ERET, host=host)
    put(vcpu, "X1", spsr)
    put(vcpu, "X2", elr)
    assert not step(vcpu, 2)
    return vcpu


@pytest.mark.parametrize(
    "spsr", [0x13, 0x1D3, 0x1, 0x2, 0x3, 0x6, 0x7, 0x8, 0x9, 0xC, 0xD, 0x11, 0x1F], ids=hex
)
def test_an_illegal_return_ends_in_an_illegal_execution_state(spsr: int) -> None:
    """PSTATE.IL is set, level and stack stay, NZCV and DAIF come from SPSR_EL1; the next one is refused."""
    vcpu = returning(spsr | 0x6000_0000)
    assert not step(vcpu)
    assert get(vcpu, "PC") == BASE + 0x100
    assert get(vcpu, "PSTATE") == 0x6010_0005 | spsr & 0x3C0
    assert not step(vcpu)
    assert took(vcpu) == ILLEGAL_STATE
    assert get(vcpu, "ELR_EL1") == BASE + 0x100
    assert get(vcpu, "SPSR_EL1") == 0x6010_0005 | spsr & 0x3C0
    assert get(vcpu, "PSTATE") & 0x10_03CF == MASKED_EL1H


@pytest.mark.parametrize("budgets", [(1, 1), (2,)])
@pytest.mark.parametrize(("mode", "vector"), [(0x5, 0x200), (0x4, 0x0), (0x0, 0x400)])
def test_a_return_may_carry_il(mode: int, vector: int, budgets: tuple[int, ...]) -> None:
    """A legal return with SPSR_EL1.IL goes where it should, and nothing can be executed there."""
    vcpu = returning(0x10_03C0 | mode)
    for budget in budgets:
        assert not step(vcpu, budget)
    assert get(vcpu, "PC") == VECTORS + vector
    assert get(vcpu, "ESR_EL1") == ILLEGAL_STATE
    assert get(vcpu, "SPSR_EL1") == 0x10_03C0 | mode


def test_il_set_by_userspace_counts() -> None:
    """KVM_SET_ONE_REG of PSTATE with IL."""
    vcpu = vcpu_with(NOP)
    put(vcpu, "PSTATE", 0x10_03C5)
    assert not step(vcpu)
    assert (took(vcpu), get(vcpu, "ELR_EL1")) == (ILLEGAL_STATE, BASE)


@pytest.mark.parametrize("spsr", [0x10, 0x1D0, 0x10_0010, 0x30], ids=hex)
def test_a_return_to_aarch32_is_named(spsr: int) -> None:
    """Where EL0 has AArch32 code the model says that it has none, at ERET and with nothing changed."""
    vcpu = returning(spsr)
    for _ in range(2):
        assert "AArch32 code at EL0" in step(vcpu, 100)
        assert (get(vcpu, "PC"), get(vcpu, "PSTATE")) == (BASE + 8, MASKED_EL1H)


def test_a_return_to_aarch32_is_illegal_where_there_is_none() -> None:
    """A64FX has no AArch32 at EL0."""
    vcpu = returning(0x10, host="a64fx")
    assert not step(vcpu, 2)
    assert took(vcpu) == ILLEGAL_STATE


@pytest.mark.parametrize("off", [1, 2, 3])
@pytest.mark.parametrize("branch", [BR_X2, BLR_X2, RET_X2, ERET], ids=["BR", "BLR", "RET", "ERET"])
def test_a_misaligned_pc_is_refused(branch: int, off: int) -> None:
    """Whatever stands there, at any time: nothing of it is executed."""
    vcpu = vcpu_with(branch, *[0x9100_0400, 0x0091_0004] * 8)  # ADD X0, X0, #1, aligned and not
    put(vcpu, "X2", BASE + 0x10 + off)
    put(vcpu, "ELR_EL1", BASE + 0x10 + off)
    put(vcpu, "SPSR_EL1", MASKED_EL1H)
    for budget in (2, 2, 1):
        put(vcpu, "PC", BASE)
        assert not step(vcpu, budget)
    assert get(vcpu, "PC") == BASE + 0x10 + off
    assert not step(vcpu)
    assert (took(vcpu), get(vcpu, "FAR_EL1")) == (PC_ALIGNMENT, BASE + 0x10 + off)
    assert get(vcpu, "X0") == 0
