"""What a guest of KVM cannot execute it takes an exception for: classes and syndromes as a real KVM gave.

The syndromes were seen under Linux 7.3's KVM on QEMU's max, the same words between the same handlers.
"""

from __future__ import annotations

import random

import pytest
from tests.guest_vcpus import BASE, NOP, VECTORS, get, put, vcpu_with

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
