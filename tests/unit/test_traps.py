"""From ID registers to what a guest's accesses come to."""

from __future__ import annotations

from collections import defaultdict

import pytest
from tests.hosts import made_up, recorded, vcpu_on

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.accesses import GUEST_ONLY, access_name, find_access
from armkvm.arch.encoding import SysReg
from armkvm.arch.features import FEATURES
from armkvm.arch.fgt import BITS, bit_of
from armkvm.arch.idfields import field
from armkvm.arch.sysregs import NAMES, sysreg
from armkvm.backends.model import ModelVcpu
from armkvm.catalog import id_of
from armkvm.model import traps
from armkvm.model.profile import PROFILES
from armkvm.model.sysregs import catalogue
from armkvm.model.traps import GuestAccess, Outcome, guest_access


def named(name: str) -> SysReg:
    found = find_access(name)
    assert found is not None, name
    return found


def access(vcpu: ModelVcpu, name: str, write: bool = False) -> GuestAccess:
    return guest_access(vcpu.vcpu, named(name), write)


def lower(vcpu: ModelVcpu, register: str, name: str, value: int = 0) -> None:
    part = field(f"ID_AA64{register}_EL1", name)
    reg = id_of(part.register)
    now = int.from_bytes(vcpu.get_one_reg(reg), "little")
    vcpu.set_one_reg(reg, part.insert(now, value).to_bytes(8, "little"))


# -- tables --------------------------------------------------------------------------------------


def test_trap_bits_are_each_used_once() -> None:
    """No two rows of one control register claim the same bit, or the same name."""
    assert len({(bit.group, bit.bit) for bit in BITS}) == len(BITS)
    assert len({(bit.group, bit.name) for bit in BITS}) == len(BITS)


@pytest.mark.parametrize(
    ("group", "reserved"),
    [
        ("HFGRTR", 1 << 51),
        ("HFGITR", 1 << 61),
        ("HDFGRTR", 3 << 38),
        ("HAFGRTR", ~((1 << 50) - 1) & (1 << 64) - 1 | 0x1FFE0),
        ("HFGRTR2", ~0x7FFF & (1 << 64) - 1),
        ("HFGITR2", ~3 & (1 << 64) - 1),
    ],
)
def test_groups_are_complete(group: str, reserved: int) -> None:
    """With the RES0 bits of the pair, the rows of a group fill all 64 bits."""
    assert sum(bit.mask for bit in BITS if bit.group == group) == ~reserved & (1 << 64) - 1


def test_negative_polarity_is_in_the_name() -> None:
    assert {bit.name[0] == "n" for bit in BITS if bit.traps_when == 0} == {True}
    assert bit_of(named("TPIDR2_EL0")) is not None


def test_every_instruction_name_is_unambiguous() -> None:
    """Names without a KVM id decode to themselves and clash with no register that has one."""
    assert not set(GUEST_ONLY) & set(NAMES)
    for reg in GUEST_ONLY:
        assert find_access(access_name(reg)) == reg


@pytest.mark.parametrize(
    ("name", "group", "bit"),
    [
        ("TCR_EL1", "HFGRTR", 32),
        ("TCR2_EL1", "HFGRTR", 32),
        ("TPIDR2_EL0", "HFGRTR", 55),
        ("SMPRI_EL1", "HFGRTR", 54),
        ("TLBI VMALLE1OS", "HFGITR", 18),
        ("TLBI VMALLE1OSnXS", "HFGITR", 18),
        ("TLBI RVAE1", "HFGITR", 38),
        ("AT S1E1A", "HFGITR", 62),
        ("DC CVADP", "HFGITR", 9),
        ("DC CIGDSW", "HFGITR", 6),
        ("CFP RCTX", "HFGITR", 48),
        ("PMEVTYPER30_EL0", "HDFGRTR", 13),
        ("TRCIDR13", "HDFGRTR", 40),
        ("AMEVCNTR115_EL0", "HAFGRTR", 48),
    ],
)
def test_bits_by_example(name: str, group: str, bit: int) -> None:
    found = bit_of(named(name))
    assert found is not None
    assert (found.group, found.bit) == (group, bit)


def test_ranges_cover_what_has_no_bit_of_its_own() -> None:
    """BRBINF0_EL1 and TRCACVR0 are named by no row, their CRn is."""
    assert str(bit_of(SysReg.of(2, 1, 8, 0, 0))) == "HDFGRTR_EL2.nBRBDATA"
    assert str(bit_of(SysReg.of(2, 1, 2, 0, 0))) == "HDFGRTR_EL2.TRC"


# -- masks ---------------------------------------------------------------------------------------


def test_6_12_makes_a_handful_of_features_undefined_by_hand() -> None:
    """6.12 on a CPU that has everything: what KVM never shows, and nothing of RAS, LOR or the PMU."""
    vcpu = vcpu_on(made_up("6.12")).vcpu
    assert {group: hex(mask) for group, mask in traps.fgu(vcpu).items()} == {
        "HFGRTR": hex(7 << 61 | 3 << 54 | 1 << 50),
        "HAFGRTR": hex(0x3FFFF_FFFE_001F),
    }


def test_6_12_follows_the_fields_it_looks_at() -> None:
    vcpu = vcpu_on(made_up("6.12"))
    before = traps.fgu(vcpu.vcpu).get("HFGITR", 0)
    lower(vcpu, "ISAR0", "TLB", 1)
    assert traps.fgu(vcpu.vcpu)["HFGITR"] & ~before == 0xF << 38 | 0xF << 34 | 0xF << 24
    lower(vcpu, "ISAR0", "TLB", 0)
    assert traps.fgu(vcpu.vcpu)["HFGITR"] & ~before == 0xF << 38 | 0xF << 34 | 0xF << 24 | 0x3F << 18


def test_by_feature_every_lowered_field_counts() -> None:
    """From 6.16 on RAS, LOR and the second control registers take part as well."""
    vcpu = vcpu_on(made_up("7.3"))
    before = traps.fgu(vcpu.vcpu)
    assert before["HFGRTR2"] == 0x7FFF
    lower(vcpu, "PFR0", "RAS")
    lower(vcpu, "MMFR1", "LO")
    after = traps.fgu(vcpu.vcpu)
    assert after["HFGRTR"] & ~before["HFGRTR"] == 0x3FF << 40 | 0x1F << 19


def test_6_1_has_no_fine_grained_undef() -> None:
    assert traps.fgu(vcpu_on(made_up("6.1")).vcpu) == {}
    assert traps.hcrx(vcpu_on(made_up("6.1")).vcpu) == 0


def test_hcrx_gives_what_is_shown() -> None:
    """MOPS, TCR2, SCTLR2 and FPMR each open their bits; a CPU without HCRX_EL2 has none."""
    vcpu = vcpu_on(made_up("7.3"))
    assert traps.hcrx(vcpu.vcpu) == 1 << 23 | 1 << 15 | 1 << 14 | 3 << 10 | 1 << 5
    for register, name in (("PFR2", "FPMR"), ("MMFR3", "SCTLRX"), ("MMFR3", "TCRX"), ("ISAR2", "MOPS")):
        lower(vcpu, register, name)
    assert traps.hcrx(vcpu.vcpu) == 1 << 5
    assert traps.hcrx(vcpu_on(made_up("7.3", MMFR1_HCX=0)).vcpu) == 0


def test_hcr_traps_the_cache_registers_when_they_are_not_the_hosts() -> None:
    """TID4 suffices while CTR_EL0 is the host's own; TID2 otherwise, or without FEAT_EVT."""
    tid4, tid2 = 1 << 49, 1 << 17
    vcpu = vcpu_on(made_up("7.3"))
    assert traps.hcr(vcpu.vcpu) & (tid4 | tid2) == tid4
    vcpu.set_one_reg(id_of(sysreg("CTR_EL0")), (0x9444_C003).to_bytes(8, "little"))
    assert traps.hcr(vcpu.vcpu) & (tid4 | tid2) == tid2
    assert traps.hcr(vcpu_on(made_up("7.3", MMFR2_EVT=0)).vcpu) & (tid4 | tid2) == tid2


def test_hcr_gives_pointer_authentication_and_traps_outer_tlbi() -> None:
    vcpu = vcpu_on(made_up("7.3"))
    assert not traps.hcr(vcpu.vcpu) >> 55 & 1
    lower(vcpu, "ISAR0", "TLB")
    assert traps.hcr(vcpu.vcpu) >> 55 & 1
    assert not traps.hcr(vcpu.vcpu) >> 40 & 3


# -- accesses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "register", "part", "control"),
    [
        ("TCR2_EL1", "MMFR3", "TCRX", "HCRX_EL2.TCR2En"),
        ("SCTLR2_EL1", "MMFR3", "SCTLRX", "HCRX_EL2.SCTLR2En"),
        ("FPMR", "PFR2", "FPMR", "HCRX_EL2.EnFPM"),
        ("PIR_EL1", "MMFR3", "S1PIE", "HFGRTR_EL2.nPIR_EL1"),
        ("PIRE0_EL1", "MMFR3", "S1PIE", "HFGRTR_EL2.nPIRE0_EL1"),
        ("POR_EL0", "MMFR3", "S1POE", "HFGRTR_EL2.nPOR_EL0"),
        ("ERRIDR_EL1", "PFR0", "RAS", "HFGRTR_EL2.ERRIDR_EL1"),
        ("LORC_EL1", "MMFR1", "LO", "HFGRTR_EL2.LORC_EL1"),
        ("SCXTNUM_EL0", "PFR0", "CSV2", "HFGRTR_EL2.SCXTNUM_EL0"),
        ("DC CVADP", "ISAR1", "DPB", "HFGITR_EL2.DCCVADP"),
        ("AT S1E1A", "ISAR2", "ATS1A", "HFGITR_EL2.ATS1E1A"),
        ("TLBI VAE1OS", "ISAR0", "TLB", "HFGITR_EL2.TLBIVAE1OS"),
    ],
)
def test_lowering_a_field_makes_its_accesses_undefined(
    name: str, register: str, part: str, control: str
) -> None:
    """On 7.3 with FEAT_FGT2; the field that decided is named."""
    vcpu = vcpu_on(made_up("7.3"))
    assert access(vcpu, name).outcome is not Outcome.UNDEFINED or name == "SCXTNUM_EL0"
    lower(vcpu, register, part)
    found = access(vcpu, name)
    assert found.outcome is Outcome.UNDEFINED
    assert found.exception_class == traps.EC_UNKNOWN
    assert found.control == control
    assert f"ID_AA64{register}_EL1.{part}" in {str(value.field) for value in found.because}


def test_the_reason_reads_as_a_sentence() -> None:
    vcpu = vcpu_on(made_up("7.3"))
    lower(vcpu, "MMFR3", "TCRX")
    assert str(access(vcpu, "TCR2_EL1")) == (
        "this guest's read of TCR2_EL1 is UNDEF because ID_AA64MMFR3_EL1.TCRX is 0 (HCRX_EL2.TCR2En)"
    )


def test_a_vm_that_has_not_run_is_seen_as_it_will_settle() -> None:
    """Lowering TCRX takes PIR_EL1 with it on 7.3, already before the first run."""
    vcpu = vcpu_on(made_up("7.3"))
    lower(vcpu, "MMFR3", "TCRX")
    assert str(access(vcpu, "PIR_EL1")).startswith(
        "this guest's read of PIR_EL1 is UNDEF because ID_AA64MMFR3_EL1.S1PIE is 0"
    )
    assert "S1PIE" not in str(access(vcpu_on(made_up("7.3")), "PIR_EL1"))


def test_without_fgt_hiding_is_not_preventing() -> None:
    """A CPU with S1PIE but without fine-grained traps: the guest reaches the register all the same."""
    vcpu = vcpu_on(made_up("7.2", MMFR0_FGT=0))
    lower(vcpu, "MMFR3", "S1PIE")
    found = access(vcpu, "PIR_EL1")
    assert found.outcome is Outcome.HARDWARE
    assert "KVM sets no trap" in str(found)
    assert "although ID_AA64MMFR3_EL1.S1PIE is 0" in str(found)


def test_no_kernel_has_a_trap_for_random_numbers() -> None:
    vcpu = vcpu_on(made_up("7.3"))
    assert str(access(vcpu, "RNDR")) == "this guest's read of RNDR is left to the CPU"
    lower(vcpu, "ISAR0", "RNDR")
    assert "although ID_AA64ISAR0_EL1.RNDR is 0: KVM sets no trap here" in str(access(vcpu, "RNDR"))


def test_error_records_before_and_after_they_followed_the_field() -> None:
    """6.12 answers zero whatever RAS says; later kernels look, also without fine-grained traps."""
    assert access(vcpu_on(made_up("6.12", PFR0_RAS=0)), "ERRIDR_EL1").outcome is Outcome.RAZ_WI
    vcpu = vcpu_on(made_up("6.18", MMFR0_FGT=0))
    assert access(vcpu, "ERRSELR_EL1", write=True).outcome is Outcome.RAZ_WI
    lower(vcpu, "PFR0", "RAS")
    assert access(vcpu, "ERRSELR_EL1", write=True).control == "HCR_EL2.TERR"
    assert access(vcpu, "ERRSELR_EL1", write=True).outcome is Outcome.UNDEFINED


def test_id_registers_read_the_vms_value_and_refuse_writes() -> None:
    vcpu = vcpu_on(made_up("7.3"))
    lower(vcpu, "MMFR3", "S1POE")
    read = access(vcpu, "ID_AA64MMFR3_EL1")
    assert (read.outcome, read.value) == (Outcome.VALUE, 0x111)
    assert access(vcpu, "ID_AA64MMFR3_EL1", write=True).outcome is Outcome.UNDEFINED
    assert access(vcpu, "MIDR_EL1").value == 0x410F_D4F0
    assert guest_access(vcpu.vcpu, SysReg.of(3, 0, 0, 7, 7)).value == 0


def test_an_identity_register_the_guest_lacks() -> None:
    """UNDEFINED, and with IDST_EXCEPTIONS and ID_AA64MMFR2_EL1.IDS a trap of class 0x18."""
    new = access(vcpu_on(made_up("7.3")), "SMIDR_EL1")
    assert (new.outcome, new.exception_class) == (Outcome.TRAPPED, 0x18)
    assert access(vcpu_on(made_up("7.3", MMFR2_IDS=0)), "SMIDR_EL1").exception_class == 0
    assert access(vcpu_on(made_up("7.2")), "SMIDR_EL1").exception_class == 0


def test_features_of_the_vcpu_bring_their_registers() -> None:
    """SVE and PMU_V3: without them UNDEFINED by CPTR and MDCR, with them the guest's own or the PMU's."""
    bare = vcpu_on(made_up("6.12"))
    assert access(bare, "ZCR_EL1").control == "CPTR_EL2.TZ"
    assert access(bare, "PMCR_EL0").control == "MDCR_EL2.TPM"
    full = vcpu_on(made_up("6.12"), F.SVE, F.PMU_V3)
    assert access(full, "ZCR_EL1").outcome is Outcome.REGISTER
    assert access(full, "PMCR_EL0").outcome is Outcome.EMULATED
    assert access(full, "PMEVCNTR3_EL0").outcome is Outcome.EMULATED


def test_levels_and_read_only_registers() -> None:
    vcpu = vcpu_on(made_up("7.3"))
    assert "the vCPU lacks" in str(access(vcpu, "HCR_EL2"))
    for name in ("MPIDR_EL1", "CLIDR_EL1", "LORID_EL1", "CTR_EL0"):
        assert access(vcpu, name, write=True).outcome is Outcome.UNDEFINED, name
    assert access(vcpu, "ACTLR_EL1", write=True).outcome is Outcome.IGNORED
    assert access(vcpu, "ACTLR_EL1").outcome is Outcome.REGISTER
    assert guest_access(vcpu.vcpu, SysReg.of(3, 3, 11, 15, 7)).note == "no such register is known"


@pytest.mark.parametrize("profile", [name for name in PROFILES if not name.startswith("sve-")])
def test_every_known_access_has_an_outcome_on_every_kernel(profile: str) -> None:
    """No access a guest can name is undecided, and none raises; the kernels without features too."""
    for features in ((), (F.SVE, F.PMU_V3)):
        vcpu = vcpu_on(made_up(profile), *features).vcpu
        for reg in (*NAMES, *GUEST_ONLY):
            for write in (False, True):
                found = guest_access(vcpu, reg, write)
                assert str(found).startswith("this guest's ")
                assert (found.exception_class is None) == (
                    found.outcome not in (Outcome.UNDEFINED, Outcome.TRAPPED)
                )


@pytest.mark.parametrize("profile", ["6.18", "7.0", "7.2", "7.3"])
def test_guest_and_userspace_agree_on_what_exists(profile: str) -> None:
    """With FEAT_FGT2 a register that userspace is not shown is UNDEFINED to the guest, and conversely
    one that is shown is never UNDEFINED for a feature. (6.12 shows TCR2_EL1 and PIR_EL1 regardless.)
    """
    fields = [
        ("MMFR3", "TCRX"), ("MMFR3", "S1PIE"), ("MMFR3", "S1POE"), ("MMFR3", "SCTLRX"), ("PFR2", "FPMR"),
    ]  # fmt: skip
    for lowered in [None, *fields]:
        vcpu = vcpu_on(made_up(profile))
        if lowered:
            lower(vcpu, *lowered)
        later = traps.settled(vcpu.vcpu)
        for row in catalogue.BY_ID.values():
            if row.reg.op1 in (4, 5, 6):
                continue
            found = guest_access(vcpu.vcpu, row.reg)
            if not row.visible(later):
                assert found.outcome in (Outcome.UNDEFINED, Outcome.TRAPPED), found
            elif found.outcome is Outcome.UNDEFINED:
                assert not found.because, found


@pytest.mark.shared
def test_what_recorded_sme_guests_saw() -> None:
    """sme-oracle 26 and 33: PFR1.SME=0 leaves SVCR and SMCR_EL1 but takes TPIDR2_EL0 and SMPRI_EL1;
    SMPRI_EL1 reads 0 and ignores writes; SMIDR_EL1 on an SME-less vCPU is class 0x18.
    """
    host = recorded("captures/sme-v12/max.json")
    vcpu = vcpu_on(host, F.SVE, F.SME)
    assert access(vcpu, "SMPRI_EL1", write=True).outcome is Outcome.RAZ_WI
    assert access(vcpu, "TPIDR2_EL0").outcome is Outcome.REGISTER
    lower(vcpu, "PFR1", "SME")
    for name in ("SVCR", "SMCR_EL1"):
        assert access(vcpu, name).outcome is Outcome.REGISTER
    for name in ("TPIDR2_EL0", "SMPRI_EL1"):
        assert access(vcpu, name).outcome is Outcome.UNDEFINED
    plain = vcpu_on(host)
    assert access(plain, "SMIDR_EL1").exception_class == traps.EC_SYS64
    for name in ("SVCR", "SMCR_EL1", "TPIDR2_EL0", "SMPRI_EL1"):
        assert access(plain, name).exception_class == traps.EC_UNKNOWN


def test_conditions_name_the_field_to_blame() -> None:
    """Every condition fails on a CPU that shows nothing, except DoubleLock, where 0 means yes."""
    nothing: dict[SysReg, int] = defaultdict(int)
    for name, condition in FEATURES.items():
        assert condition.because(nothing.__getitem__)
        assert condition.holds(nothing.__getitem__) == (name == "FEAT_DoubleLock")
