"""The 64-bit register id, class by class."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from armkvm.abi import core
from armkvm.abi.regid import CORE_WORDS, RegClass, RegId
from armkvm.arch.encoding import SysReg
from armkvm.arch.sysregs import sysreg

# (built, the kernel's number, class, bytes), as KVM's headers define them.
KNOWN = [
    (RegId.x(0), 0x6030_0000_0010_0000, RegClass.CORE, 8),
    (RegId.x(30), 0x6030_0000_0010_003C, RegClass.CORE, 8),
    (RegId.core(64), 0x6030_0000_0010_0040, RegClass.CORE, 8),
    (RegId.v(31), 0x6040_0000_0010_00D0, RegClass.CORE, 16),
    (RegId.core(212, 4), 0x6020_0000_0010_00D4, RegClass.CORE, 4),
    (RegId.ccsidr(13), 0x6020_0000_0011_000D, RegClass.DEMUX, 4),
    (RegId.sysreg(sysreg("MIDR_EL1")), 0x6030_0000_0013_C000, RegClass.SYSREG, 8),
    (RegId.sysreg(sysreg("ID_AA64PFR0_EL1")), 0x6030_0000_0013_C020, RegClass.SYSREG, 8),
    (RegId.firmware(1), 0x6030_0000_0014_0001, RegClass.FW, 8),
    (RegId.bitmap(3), 0x6030_0000_0016_0003, RegClass.FW_FEAT_BMAP, 8),
    (RegId.z(0), 0x6080_0000_0015_0000, RegClass.SVE, 256),
    (RegId.z(31, 31), 0x6080_0000_0015_03FF, RegClass.SVE, 256),
    (RegId.p(0), 0x6050_0000_0015_0400, RegClass.SVE, 32),
    (RegId.p(15), 0x6050_0000_0015_05E0, RegClass.SVE, 32),
    (RegId.ffr(), 0x6050_0000_0015_0600, RegClass.SVE, 32),
    (RegId.sve_vls(), 0x6060_0000_0015_FFFF, RegClass.SVE, 64),
    (RegId.za(0), 0x6080_0000_0017_0000, RegClass.SME, 256),
    (RegId.za(255), 0x6080_0000_0017_1FE0, RegClass.SME, 256),
    (RegId.zt0(), 0x6060_0000_0017_0600, RegClass.SME, 64),
    (RegId.sme_vls(), 0x6060_0000_0017_FFFE, RegClass.SME, 64),
]


@pytest.mark.parametrize(("built", "number", "reg_class", "size"), KNOWN)
def test_ids_are_the_kernels_numbers(built: RegId, number: int, reg_class: int, size: int) -> None:
    assert built == number
    assert (built.is_arm64, built.reg_class, built.size) == (True, reg_class, size)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: RegId.x(31), r"X number is 0\.\.30"),
        (lambda: RegId.v(32), r"V number is 0\.\.31"),
        (lambda: RegId.z(32), r"Z number is 0\.\.31"),
        (lambda: RegId.p(16), r"P number is 0\.\.15"),
        (lambda: RegId.za(256), r"ZA row number is 0\.\.255"),
        (lambda: RegId.ccsidr(256), r"CSSELR number is 0\.\.255"),
        (lambda: RegId.z(0, 32), r"slice number is 0\.\.31"),
        (lambda: RegId.p(0, 32), r"slice number is 0\.\.31"),
        (lambda: RegId.ffr(32), r"slice number is 0\.\.31"),
        (lambda: RegId.za(0, -1), r"slice number is 0\.\.31"),
        (lambda: RegId.core(1 << 16), "16 bits"),
        (lambda: RegId.firmware(-1), "16 bits"),
        (lambda: RegId.bitmap(1 << 16), "16 bits"),
        (lambda: RegId(1 << 64), "64 bits"),
        (lambda: RegId(-1), "64 bits"),
    ],
)
def test_a_number_out_of_range_never_spills_into_another_part(build: Callable[[], RegId], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        build()


@pytest.mark.parametrize(
    "number", [0, 0x4030_0000_0010_0000, 0x6030_0001_0010_0000, 0x6038_0000_0010_0000 | 1 << 51]
)
def test_other_architectures_and_stray_bits_are_not_arm64(number: int) -> None:
    assert not RegId(number).is_arm64


def test_only_a_well_formed_id_spells_a_system_register() -> None:
    midr = RegId(0x6030_0000_0013_C000)
    assert midr.encoding == SysReg.of(3, 0, 0, 0, 0)
    assert RegId(midr - (1 << 52)).encoding is None, "a 32-bit size"
    assert RegId(midr | 1 << 28).encoding is None, "a bit outside every mask"
    assert RegId.x(0).encoding is None


def test_an_id_is_written_in_one_way() -> None:
    assert RegId(0x10).hex == "0x0000000000000010"
    assert repr(RegId.x(0)) == "RegId(0x6030000000100000)"


def test_core_registers_tile_struct_kvm_regs_but_for_its_padding() -> None:
    covered = [word + n for word, size in core.REGISTERS.values() for n in range(size // 4)]
    assert covered == sorted(set(covered))
    assert set(range(CORE_WORDS)) - set(covered) == {82, 83, 214, 215}


def test_v_registers_are_told_from_their_neighbours() -> None:
    v = [word for word in range(CORE_WORDS) if core.is_v(word)]
    assert v == list(range(84, 212))
