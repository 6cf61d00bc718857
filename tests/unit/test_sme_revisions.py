"""Numbers, features, lengths and system registers: what each revision of the SME series says.

Sections are those of the fact sheets that docs/sme.md maps; what revision 4 and revision 12 do
differently stands side by side.
"""

from __future__ import annotations

import pytest
from tests.differential.sme_lab import errno_of
from tests.sme_vcpus import (
    BOTH,
    FPMR,
    FPSR,
    ONES,
    REVISIONS,
    SM,
    SVCR,
    ZA,
    get_field,
    listed,
    number,
    place,
    put,
    put_field,
    ready,
)

from armkvm.abi import vls
from armkvm.abi.caps import SME_CAPS, Cap
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.idfields import field
from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import parse
from armkvm.model.profile import PROFILES

# -- numbers, features, lengths (sections 1 and 2) ---------------------------------------------------


def test_numbers_belong_to_the_revision() -> None:
    """Feature bit, capability and finalize's argument, and what the same numbers mean in mainline."""
    assert PROFILES["sme-v4"].bit_of(F.SME) == 8
    assert PROFILES["sme-v12"].bit_of(F.SME) == 9
    assert PROFILES["7.2"].bit_of(F.HAS_EL2_E2H0) == 8
    assert PROFILES["7.3"].bit_of(F.PMU_V3_STRICT) == 9
    assert SME_CAPS == {"sme-v4": 239, "sme-v12": 250}
    for revision in REVISIONS:
        assert PROFILES[revision].bit_of(F.VEC) == PROFILES[revision].bit_of(F.SVE) == 4
        assert place(revision).check_extension(SME_CAPS[revision]) == 1
        assert place(revision, sme="").check_extension(SME_CAPS[revision]) == 0


@pytest.mark.parametrize("revision", REVISIONS)
def test_unknown_and_unsupported_feature_bits(revision: str) -> None:
    """A bit of the header that the host lacks is EINVAL, a bit beyond the header ENOENT."""
    bit, count = PROFILES[revision].feature_bits[F.SME], PROFILES[revision].feature_count
    without = place(revision, sme="").create_vm().create_vcpu(0)
    assert errno_of(lambda: without.init([bit])) == "EINVAL"
    assert errno_of(without.reg_list) == "ENOEXEC"
    with_sme = place(revision).create_vm().create_vcpu(0)
    assert errno_of(lambda: with_sme.init([count])) == "ENOENT"
    assert errno_of(lambda: with_sme.init([bit])) is None


def test_capability_239_is_not_the_mainline_one_in_v4() -> None:
    """KVM_CAP_ARM_WRITABLE_IMP_ID_REGS took the number later, so v4 cannot enable it."""
    assert SME_CAPS["sme-v4"] == Cap.ARM_WRITABLE_IMP_ID_REGS
    vm = place("sme-v4").create_vm()
    assert errno_of(lambda: vm.enable_cap(239)) == "EINVAL"
    assert errno_of(lambda: vm.enable_cap(SME_CAPS["sme-v12"])) == "EINVAL"


@pytest.mark.parametrize("revision", REVISIONS)
def test_sme_vls_alias(revision: str) -> None:
    """Revision 4 knows the set of lengths by two ids, which are one register."""
    vcpu = place(revision, sme="1,2,4").create_vm().create_vcpu(0)
    vcpu.init([F.SME])
    posted = RegId(RegId.sme_vls() | 1)
    chosen = vls.encode(VectorLengths([1, 2]))
    if revision == "sme-v12":
        assert errno_of(lambda: vcpu.set_one_reg(posted, chosen)) == "EINVAL"
        return
    vcpu.set_one_reg(posted, chosen)
    assert vcpu.get_one_reg(RegId.sme_vls()) == vcpu.get_one_reg(posted) == chosen


@pytest.mark.parametrize("revision", REVISIONS)
def test_gaps_must_be_reproduced_and_no_length_is_mandatory(revision: str) -> None:
    """Of a host's 2,8 exactly 2 and 2,8 can be chosen; a refused set changes nothing."""
    for asked, errno in (("2", None), ("2,8", None), ("1,2", "EINVAL"), ("8", "EINVAL"), ("2-8", "EINVAL")):
        vcpu = place(revision, sme="2,8").create_vm().create_vcpu(0)
        vcpu.init([F.SME])
        data = vls.encode(VectorLengths.parse(asked))
        assert errno_of(lambda: vcpu.set_one_reg(RegId.sme_vls(), data)) == errno, asked  # noqa: B023
        held = vls.decode(vcpu.get_one_reg(RegId.sme_vls()))
        assert str(held) == ("2,8" if errno else asked)


@pytest.mark.parametrize("revision", REVISIONS)
def test_both_sets_are_frozen_by_one_call(revision: str) -> None:
    """KVM_ARM_VCPU_FINALIZE(4), on vCPUs with SVE, SME or both; vCPUs of one VM may differ in lengths."""
    vm = place(revision).create_vm()
    first, second = vm.create_vcpu(0), vm.create_vcpu(1)
    for vcpu in (first, second):
        vcpu.init(BOTH)
    put(first, RegId.sme_vls(), 1)
    first.finalize(4)
    assert put(first, RegId.sve_vls(), 1) == put(first, RegId.sme_vls(), 1) == "EPERM"
    assert put(second, RegId.sve_vls(), 1) is None
    assert errno_of(lambda: first.finalize(4)) == "EPERM"
    assert number(first, RegId.sme_vls()) == 1
    assert number(second, RegId.sme_vls()) == 3


@pytest.mark.parametrize("revision", REVISIONS)
def test_features_are_the_vms(revision: str) -> None:
    """SME is dropped or added by no second KVM_ARM_VCPU_INIT, on this vCPU or another."""
    vm = place(revision).create_vm()
    vcpu, other = vm.create_vcpu(0), vm.create_vcpu(1)
    vcpu.init([F.SME])
    for attempt in ([], [F.SVE], [*BOTH]):
        assert errno_of(lambda: vcpu.init(attempt)) == "EINVAL"  # noqa: B023 - called at once
        assert errno_of(lambda: other.init(attempt)) == "EINVAL"  # noqa: B023
    assert errno_of(lambda: vcpu.init([F.SME, F.POWER_OFF])) is None
    assert number(vcpu, RegId.sme_vls()) == 3


@pytest.mark.parametrize("revision", REVISIONS)
def test_init_again(revision: str) -> None:
    """Open lengths go back to the host's, final ones stay; SVCR, SMCR_EL1 and all contents are cleared,
    FPSR is 0 (not what a mode change leaves), ID registers keep userspace's values.
    """
    system = place(revision)
    vcpu = system.create_vm().create_vcpu(0)
    vcpu.init([F.SME])
    put(vcpu, RegId.sme_vls(), 1)
    vcpu.init([F.SME])
    assert number(vcpu, RegId.sme_vls()) == 3
    assert put_field(vcpu, "ID_AA64PFR1_EL1", "SME", 1) is None
    put(vcpu, RegId.sme_vls(), 1)
    vcpu.finalize(4)
    put(vcpu, SVCR, SM | ZA)
    for reg in (RegId.z(0), RegId.za(0)):
        vcpu.set_one_reg(reg, ONES)
    put(vcpu, parse("SMCR_EL1"), 1)
    put(vcpu, parse("TPIDR2_EL0"), 5)
    vcpu.init([F.SME])
    assert number(vcpu, RegId.sme_vls()) == 1
    assert number(vcpu, SVCR) == number(vcpu, parse("SMCR_EL1")) == number(vcpu, FPSR) == 0
    assert number(vcpu, parse("TPIDR2_EL0")) == 0x1DE7_EC7E_DBAD_C0DE
    assert get_field(vcpu, "ID_AA64PFR1_EL1", "SME") == 1
    put(vcpu, SVCR, SM | ZA)
    assert not any(vcpu.get_one_reg(RegId.z(0)))
    assert not any(vcpu.get_one_reg(RegId.za(0)))
    assert errno_of(lambda: vcpu.finalize(4)) == "EPERM"


# -- system registers (section 5) ---------------------------------------------------------------------


@pytest.mark.parametrize("revision", REVISIONS)
def test_id_registers_of_a_vcpu_without_sme(revision: str) -> None:
    """PFR1.SME and SMFR0 are 0 and refuse anything else."""
    vcpu = ready(place(revision), F.SVE)
    smfr0 = parse("ID_AA64SMFR0_EL1")
    assert get_field(vcpu, "ID_AA64PFR1_EL1", "SME") == number(vcpu, smfr0) == 0
    assert put_field(vcpu, "ID_AA64PFR1_EL1", "SME", 1) == "EINVAL"
    assert put(vcpu, smfr0, 1 << 63) == "EINVAL"
    assert put(vcpu, smfr0, 0) is None


@pytest.mark.parametrize("revision", REVISIONS)
def test_pfr1_sme_may_be_lowered_and_only_zt0_goes(revision: str) -> None:
    """Lower is safe; the registers follow the vCPU's feature, ZT0 alone the field, its bytes kept."""
    vcpu = ready(place(revision), F.SME, svcr=ZA)
    vcpu.set_one_reg(RegId.zt0(), ONES[:64])
    for value, zt0 in ((1, "ENOENT"), (0, "ENOENT"), (2, None)):
        assert put_field(vcpu, "ID_AA64PFR1_EL1", "SME", value) is None
        assert errno_of(lambda: vcpu.get_one_reg(RegId.zt0())) == zt0
        for reg in (RegId.za(0), RegId.sme_vls(), SVCR, parse("SMCR_EL1"), parse("TPIDR2_EL0")):
            assert errno_of(lambda: vcpu.get_one_reg(reg)) is None  # noqa: B023 - called at once
    assert vcpu.get_one_reg(RegId.zt0()) == ONES[:64]
    assert put_field(vcpu, "ID_AA64PFR1_EL1", "SME", 3) == "EINVAL"
    assert put_field(ready(place(revision, sme2=False), F.SME), "ID_AA64PFR1_EL1", "SME", 2) == "EINVAL"


@pytest.mark.parametrize(
    ("name", "accepted"),
    [("FA64", {0, 1}), ("SMEver", {0, 2}), ("I16I64", {0, 15}), ("I8I32", {0, 15}), ("I16I32", {0, 5})],
)
def test_v12_smfr0_fields_are_the_hosts_value_or_0(name: str, accepted: set[int]) -> None:
    """Not "lower is safe": a value in between is refused."""
    part = field("ID_AA64SMFR0_EL1", name)
    for value in range(1 << part.width):
        vcpu = ready(place("sme-v12"), F.SME)
        refused = put_field(vcpu, "ID_AA64SMFR0_EL1", name, value)
        assert refused == (None if value in accepted else "EINVAL"), value


def test_v12_ffr_goes_and_comes_with_fa64() -> None:
    """Until the first run, also after finalization, and from the list as well."""
    vcpu = ready(place("sme-v12"), *BOTH, svcr=SM)
    for fa64 in (0, 1):
        assert put_field(vcpu, "ID_AA64SMFR0_EL1", "FA64", fa64) is None
        assert errno_of(lambda: vcpu.get_one_reg(RegId.ffr())) == (None if fa64 else "ENOENT")
        assert listed(vcpu, RegId.ffr()) == [bool(fa64)]


@pytest.mark.parametrize("revision", REVISIONS)
def test_zfr0_of_a_vcpu_with_sme_but_not_sve(revision: str) -> None:
    """The host's value from v11, 0 before; PFR0.SVE is 0 in both and cannot be raised."""
    zfr0 = parse("ID_AA64ZFR0_EL1")
    vcpu = ready(place(revision), F.SME)
    assert bool(number(vcpu, zfr0)) is (revision == "sme-v12")
    assert get_field(vcpu, "ID_AA64PFR0_EL1", "SVE") == 0
    assert put_field(vcpu, "ID_AA64PFR0_EL1", "SVE", 1) == "EINVAL"
    assert number(ready(place(revision)), zfr0) == 0
    assert number(ready(place(revision), F.SVE), zfr0) != 0


@pytest.mark.parametrize("revision", REVISIONS)
def test_id_registers_freeze_at_the_first_run(revision: str) -> None:
    """EBUSY from then on, unless the value is the one that is there."""
    vcpu = ready(place(revision), F.SME)
    assert errno_of(lambda: vcpu.run(immediate_exit=True)) == "EINTR"
    assert put_field(vcpu, "ID_AA64PFR1_EL1", "SME", 1) == "EBUSY"
    assert put_field(vcpu, "ID_AA64PFR1_EL1", "SME", 2) is None


@pytest.mark.parametrize("revision", REVISIONS)
def test_smidr(revision: str) -> None:
    """v4: each vCPU's own, any value. v12: the VM's, the host's value unless the capability is enabled."""
    smidr = parse("SMIDR_EL1")
    vm = place(revision).create_vm()
    first, second = vm.create_vcpu(0), vm.create_vcpu(1)
    for vcpu in (first, second):
        vcpu.init([F.SME])
    refused = put(first, smidr, 0x4100_0000)
    if revision == "sme-v4":
        assert refused is None
        assert (number(first, smidr), number(second, smidr)) == (0x4100_0000, 0)
        return
    assert refused == "EINVAL"
    assert put(first, smidr, 0) is None


@pytest.mark.parametrize(
    ("value", "errno"),
    [(0x4100_0000, None), (0x8000, "EINVAL"), (0x0FFF_FFFF_FFFF_6FFF, None), (1 << 60, "EINVAL")],
)
def test_v12_smidr_of_a_vm_that_may_write_it(value: int, errno: str | None) -> None:
    """Values inside the mask; SMPS never; seen by every vCPU; frozen at the first run."""
    smidr = parse("SMIDR_EL1")
    vm = place("sme-v12").create_vm()
    vm.enable_cap(Cap.ARM_WRITABLE_IMP_ID_REGS)
    first, second = vm.create_vcpu(0), vm.create_vcpu(1)
    for vcpu in (first, second):
        vcpu.init([F.SME])
        vcpu.finalize(4)
    assert put(first, smidr, value) == errno
    assert number(second, smidr) == (0 if errno else value)
    first_run = errno_of(lambda: first.run(immediate_exit=True))
    assert first_run == "EINTR"
    assert put(second, smidr, number(second, smidr)) is None
    assert put(second, smidr, number(second, smidr) ^ 0x100_0000) == "EBUSY"


@pytest.mark.parametrize("revision", REVISIONS)
def test_smpri(revision: str) -> None:
    """v4 stores it, listed; v12 has no id for it that works."""
    vcpu = ready(place(revision), F.SME)
    smpri = parse("SMPRI_EL1")
    stored = revision == "sme-v4"
    assert listed(vcpu, smpri) == [stored]
    assert put(vcpu, smpri, 15) == (None if stored else "ENOENT")
    if stored:
        assert number(vcpu, smpri) == 15


@pytest.mark.parametrize("revision", REVISIONS)
def test_registers_of_a_vcpu_with_el2(revision: str) -> None:
    """SMCR_EL2 raw until the first run, in v12 masked from then on; SMPRIMAP_EL2 0 in v12, stored in v4."""
    system = place(revision, el2=True)
    vcpu = ready(system, F.SME, F.HAS_EL2)
    smcr, smprimap = parse("SMCR_EL2"), parse("SMPRIMAP_EL2")
    assert listed(vcpu, smcr, smprimap) == [True, True]
    assert number(vcpu, smcr) == number(vcpu, smprimap) == 0
    assert put(vcpu, smcr, (1 << 64) - 1) is None
    assert number(vcpu, smcr) == (1 << 64) - 1
    assert put(vcpu, smprimap, 0) is None
    assert put(vcpu, smprimap, 1) == ("EINVAL" if revision == "sme-v12" else None)
    assert errno_of(lambda: vcpu.get_one_reg(parse("SMCR_EL12"))) == "ENOENT"
    errno_of(lambda: vcpu.run(immediate_exit=True))
    assert number(vcpu, smcr) == (0xC000_000F if revision == "sme-v12" else (1 << 64) - 1)


@pytest.mark.parametrize("revision", REVISIONS)
def test_fpmr_belongs_to_pfr2(revision: str) -> None:
    """Not to SME: there on vCPUs without, gone when the field is cleared."""
    vcpu = ready(place(revision))
    assert put(vcpu, FPMR, 0x12) is None
    assert put_field(vcpu, "ID_AA64PFR2_EL1", "FPMR", 0) is None
    assert errno_of(lambda: vcpu.get_one_reg(FPMR)) == "ENOENT"


@pytest.mark.parametrize(
    ("revision", "pfr1", "smfr0", "smidr"),
    [
        ("sme-v4", 0xF << 24, 0x9FF1_FFFF_7000_0000, 0),
        ("sme-v12", 0xF << 24, 0xBFF1_FFFF_7381_0001, 0x0FFF_FFFF_FFFF_6FFF),
    ],
)
def test_writable_masks(revision: str, pfr1: int, smfr0: int, smidr: int) -> None:
    """Of the system, so they show SME to a VM that has none."""
    masks = place(revision).create_vm().writable_masks()
    assert masks[parse("ID_AA64PFR1_EL1")] & 0xF << 24 == pfr1
    assert masks[parse("ID_AA64SMFR0_EL1")] == smfr0
    assert masks.get(parse("SMIDR_EL1"), 0) == smidr
