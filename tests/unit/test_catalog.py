"""Ids, encodings and names, joined with every wart of the ABI."""

from __future__ import annotations

import pytest

from armkvm import catalog
from armkvm.abi.regid import RegClass, RegId
from armkvm.arch.encoding import SysReg
from armkvm.arch.sysregs import NAMES, sysreg


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("PC", 0x6030_0000_0010_0040),
        ("SP", 0x6030_0000_0010_003E),
        ("SPSR_FIQ", 0x6030_0000_0010_0050),
        ("FPCR", 0x6020_0000_0010_00D5),
        ("ID_AA64PFR0_EL1", 0x6030_0000_0013_C020),
        ("CCSIDR_EL1(2)", 0x6020_0000_0011_0002),
        ("KVM_REG_ARM_PSCI_VERSION", 0x6030_0000_0014_0000),
        ("KVM_REG_ARM_VENDOR_HYP_BMAP_2", 0x6030_0000_0016_0003),
        ("Z31", 0x6080_0000_0015_03E0),
        ("Z0/1", 0x6080_0000_0015_0001),
        ("P15/31", 0x6050_0000_0015_05FF),
        ("FFR", 0x6050_0000_0015_0600),
        ("KVM_REG_ARM64_SVE_VLS", 0x6060_0000_0015_FFFF),
        ("ZA[17]", 0x6080_0000_0017_0220),
        ("ZA[255]/31", 0x6080_0000_0017_1FFF),
        ("ZT0", 0x6060_0000_0017_0600),
    ],
)
def test_names_and_ids_are_one_to_one(name: str, number: int) -> None:
    assert catalog.parse(name) == number
    assert catalog.parse(name.lower()) == number
    assert catalog.parse(f" {hex(number)} ") == number
    assert catalog.name_of(RegId(number)) == name


@pytest.mark.parametrize(
    ("constant", "number", "accesses"),
    [
        ("KVM_REG_ARM_TIMER_CTL", 0x6030_0000_0013_DF19, "CNTV_CTL_EL0"),
        ("KVM_REG_ARM_TIMER_CVAL", 0x6030_0000_0013_DF02, "CNTV_CVAL_EL0"),
        ("KVM_REG_ARM_TIMER_CNT", 0x6030_0000_0013_DF1A, "CNTVCT_EL0"),
        ("KVM_REG_ARM_PTIMER_CTL", 0x6030_0000_0013_DF11, "CNTP_CTL_EL0"),
        ("KVM_REG_ARM_PTIMER_CVAL", 0x6030_0000_0013_DF12, "CNTP_CVAL_EL0"),
        ("KVM_REG_ARM_PTIMER_CNT", 0x6030_0000_0013_DF01, "CNTPCT_EL0"),
    ],
)
def test_the_virtual_timers_ids_carry_each_others_encodings(
    constant: str, number: int, accesses: str
) -> None:
    reg = catalog.parse(constant)
    assert reg == number
    assert catalog.accessed_register(reg) == sysreg(accesses)
    assert catalog.id_of(sysreg(accesses)) == catalog.parse(accesses) == reg
    assert catalog.name_of(reg) == constant


def test_a_system_register_that_is_a_core_register_too_keeps_apart_from_it() -> None:
    """The name means what KVM offers; the encoding, which KVM refuses, is written generically."""
    shared = {name for name in NAMES.values() if catalog.parse(name).reg_class == RegClass.CORE}
    assert shared == {"SP_EL1", "ELR_EL1", "SPSR_EL1", "FPCR", "FPSR"}
    for name in shared:
        as_system_register = RegId.sysreg(sysreg(name))
        assert catalog.name_of(as_system_register) == sysreg(name).generic_name
        assert catalog.parse(catalog.name_of(as_system_register)) == as_system_register


def test_no_two_registers_share_a_name() -> None:
    named = [RegId(number) for number in catalog._NAMES] + [catalog.id_of(reg) for reg in NAMES]
    names = {catalog.name_of(reg) for reg in named}
    assert len(names) == len(set(named))


@pytest.mark.parametrize(
    "number",
    [
        0,
        0x4030_0000_0010_0000,  # another architecture
        0x6020_0000_0010_0000,  # X0 as 32 bits
        0x6030_0000_0010_0001,  # inside X0
        0x6030_0000_0010_0052,  # padding
        0x6020_0000_0013_C020,  # a system register as 32 bits
        0x6030_0000_1013_C020,  # a stray bit
        0x6080_0000_0015_0400,  # P0 as a Z
        0x6050_0000_0015_0620,  # beyond FFR
        0x6060_0000_0015_FFFE,
        0x6080_0000_0017_2000,  # beyond ZA
        0x6030_0000_0018_0000,  # an unknown class
    ],
)
def test_an_id_that_means_nothing_has_no_name(number: int) -> None:
    assert catalog.name_of(RegId(number)) == ""


@pytest.mark.parametrize(
    "text",
    [
        *("", "0x", "0xg", "0x1ffffffffffffffff", "X31", "X0/1", "Z32", "Z0/32", "Z0/0", "Z0/-1", "Z0/x"),
        *("ZA[256]", "ZA[0]/32", "ZA[-1]", "ZA[]", "KVM_REG_ARM64_SVE_VLS/1", "S3_0_C0_C16_0", "NO_SUCH_EL1"),
    ],
)
def test_what_names_no_register_is_refused_in_the_users_words(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"^(no register is called|.* is not a 64-bit register id)"
    ) as refused:
        catalog.parse(text)
    assert repr(text) in str(refused.value)


def test_generic_spelling_and_kernel_constants_are_understood() -> None:
    assert catalog.parse("S3_0_C0_C4_0") == catalog.parse("ID_AA64PFR0_EL1")
    assert catalog.parse("kvm_reg_arm64_sve_vls") == RegId.sve_vls()
    assert catalog.parse("SME_VLS") == RegId.sme_vls()
    assert catalog.parse("psci_version") == RegId.firmware(0)


def test_only_system_register_ids_access_one() -> None:
    assert catalog.accessed_register(RegId.x(0)) is None
    assert catalog.accessed_register(catalog.parse("SCTLR_EL1")) == SysReg.of(3, 0, 1, 0, 0)


def test_classes_are_named_and_unknown_ones_numbered() -> None:
    assert catalog.class_name(RegId.z(0)) == "SVE"
    assert catalog.class_name(RegId.firmware(0)) == "firmware"
    assert catalog.class_name(RegId(0x6030_0000_0018_0000)) == "unknown class 0x018"
