"""Contents and lists in each mode: what SVCR shows, changes and hides, in both revisions.

Sections are those of the fact sheets that docs/sme.md maps.
"""

from __future__ import annotations

import doctest

import pytest
from tests.differential.sme_lab import errno_of
from tests.recordings import REPOSITORY
from tests.sme_vcpus import (
    BOTH,
    FPCR,
    FPMR,
    FPSR,
    ONES,
    REVISIONS,
    SM,
    SVCR,
    ZA,
    listed,
    number,
    place,
    put,
    ready,
)

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.base import Vcpu
from armkvm.catalog import parse

# -- contents by mode (section 3) ---------------------------------------------------------------------


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize(("sve", "sme"), [("1,2,4", "1,2"), ("1", "2,4,8"), ("1,2", "1,2")])
def test_z_and_p_have_the_length_of_the_mode(revision: str, sve: str, sme: str) -> None:
    """Payloads are always 256 and 32 bytes; what lies beyond the length reads 0 and is ignored."""
    for svcr, lengths in ((0, sve), (SM, sme)):
        vcpu = ready(place(revision, sve, sme), *BOTH, svcr=svcr)
        vq = VectorLengths.parse(lengths).max
        for reg, kept in ((RegId.z(0), 16 * vq), (RegId.p(0), 2 * vq), (RegId.ffr(), 2 * vq)):
            vcpu.set_one_reg(reg, b"\xff" * reg.size)
            assert vcpu.get_one_reg(reg) == (b"\xff" * kept).ljust(reg.size, b"\0")
        assert not any(vcpu.get_one_reg(RegId.z(1)))


@pytest.mark.parametrize("revision", REVISIONS)
def test_za_rows_have_their_own_number_and_length(revision: str) -> None:
    """As many rows as a row has bytes; neighbours are untouched, and row 48 is not ZT0."""
    vcpu = ready(place(revision, sme="4"), F.SME, svcr=ZA)
    for row in (0, 48, 63):
        vcpu.set_one_reg(RegId.za(row), bytes([row + 1]) * 256)
    vcpu.set_one_reg(RegId.zt0(), b"\xa5" * 64)
    assert RegId.za(48) & 0xFFFF == RegId.zt0() & 0xFFFF
    for row in (0, 48, 63):
        assert vcpu.get_one_reg(RegId.za(row)) == (bytes([row + 1]) * 64).ljust(256, b"\0")
    assert not any(vcpu.get_one_reg(RegId.za(1)))
    assert vcpu.get_one_reg(RegId.zt0()) == b"\xa5" * 64
    assert errno_of(lambda: vcpu.get_one_reg(RegId.za(64))) == "EINVAL"


def _filled(revision: str, svcr: int) -> Vcpu:
    vcpu = ready(place(revision), *BOTH, svcr=svcr)
    for reg in (RegId.z(0), RegId.p(0), RegId.ffr()):
        vcpu.set_one_reg(reg, b"\xff" * reg.size)
    for reg, value in ((FPSR, 0x1F), (FPCR, 0x3C0_0000), (FPMR, 0x12)):
        assert put(vcpu, reg, value) is None
    if svcr & ZA:
        vcpu.set_one_reg(RegId.za(0), ONES)
        vcpu.set_one_reg(RegId.zt0(), ONES[:64])
    return vcpu


@pytest.mark.parametrize(("old", "new"), [(0, 1), (1, 0), (2, 3), (3, 2), (0, 3), (3, 0), (1, 2), (2, 1)])
def test_v12_change_of_mode_clears(old: int, new: int) -> None:
    """Either way: Z, P, FFR and FPMR are 0, FPSR is 0x0800009f, FPCR stays; ZA and ZT0 if ZA stays."""
    vcpu = _filled("sme-v12", old)
    assert put(vcpu, SVCR, new) is None
    assert not any(any(vcpu.get_one_reg(reg)) for reg in (RegId.z(0), RegId.p(0), RegId.ffr(), FPMR))
    assert number(vcpu, FPSR) == 0x0800_009F
    assert number(vcpu, FPCR) == 0x3C0_0000
    if new & ZA:
        assert any(vcpu.get_one_reg(RegId.za(0))) is any(vcpu.get_one_reg(RegId.zt0())) is bool(old & ZA)


@pytest.mark.parametrize(("old", "new"), [(0, 0), (3, 3), (0, 2), (2, 0), (1, 3), (3, 1)])
def test_v12_without_a_change_of_mode_nothing_but_za_changes(old: int, new: int) -> None:
    """The same value has no effect; ZA is zero when it comes, and lost when it goes."""
    vcpu = _filled("sme-v12", old)
    assert put(vcpu, SVCR, new) is None
    assert all(any(vcpu.get_one_reg(reg)) for reg in (RegId.z(0), RegId.p(0), RegId.ffr(), FPMR))
    assert number(vcpu, FPSR) == 0x1F
    put(vcpu, SVCR, new | ZA)
    assert any(vcpu.get_one_reg(RegId.za(0))) is any(vcpu.get_one_reg(RegId.zt0())) is (old & new & ZA != 0)


def test_v4_write_of_svcr_changes_nothing_else() -> None:
    """Any value is stored; FPSR and FPMR stay, ZA's contents come back with it."""
    vcpu = _filled("sme-v4", SM | ZA)
    for value in (0, ZA, 0xFF, (1 << 64) - 1, SM | ZA):
        assert put(vcpu, SVCR, value) is None
        assert number(vcpu, SVCR) == value
    assert number(vcpu, FPSR) == 0x1F
    assert number(vcpu, FPMR) == 0x12
    assert vcpu.get_one_reg(RegId.za(0)) == ONES[:32].ljust(256, b"\0")
    assert vcpu.get_one_reg(RegId.zt0()) == ONES[:64]


def test_v4_cuts_the_same_buffer_to_the_other_length() -> None:
    """Z1 of a 64-byte mode begins where Z2 of a 32-byte mode does, and FFR after the last P."""
    vcpu = ready(place("sme-v4"), *BOTH, svcr=0)  # 4 quadwords outside streaming mode, 2 in it
    for n in range(32):
        vcpu.set_one_reg(RegId.z(n), bytes([n + 1]) * 256)
    put(vcpu, SVCR, SM)
    for n in range(32):
        assert vcpu.get_one_reg(RegId.z(n)) == (bytes([n // 2 + 1]) * 32).ljust(256, b"\0")
    # P0 to P15 and FFR of the shorter mode lie where Z16 and Z17 of the longer one were
    assert vcpu.get_one_reg(RegId.p(0)) == bytes([17]) * 4 + bytes(28)
    assert vcpu.get_one_reg(RegId.p(15)) == bytes([17]) * 4 + bytes(28)
    assert vcpu.get_one_reg(RegId.ffr()) == bytes([18]) * 4 + bytes(28)


@pytest.mark.parametrize("revision", REVISIONS)
def test_svcr_before_finalization(revision: str) -> None:
    """It can be written, the mode survives finalization, and only v12 resets FPSR at the change."""
    vcpu = place(revision).create_vm().create_vcpu(0)
    vcpu.init(BOTH)
    assert put(vcpu, SVCR, SM | ZA) is None
    assert number(vcpu, FPSR) == (0x0800_009F if revision == "sme-v12" else 0)
    vcpu.finalize(4)
    assert number(vcpu, SVCR) == SM | ZA
    assert not any(vcpu.get_one_reg(RegId.z(0)))
    assert not any(vcpu.get_one_reg(RegId.za(31)))


def test_a_v_register_outside_streaming_mode_is_lost_in_it() -> None:
    """SME without SVE, v12: V holds state only outside streaming mode, Z only in it."""
    vcpu = ready(place("sme-v12", sve=""), F.SME)
    vcpu.set_one_reg(RegId.v(0), b"\xff" * 16)
    put(vcpu, SVCR, SM)
    assert not any(vcpu.get_one_reg(RegId.z(0)))
    vcpu.set_one_reg(RegId.z(0), ONES)
    put(vcpu, SVCR, 0)
    assert not any(vcpu.get_one_reg(RegId.v(0)))


# -- lists (section 4) --------------------------------------------------------------------------------


WATCHED = (RegId.sme_vls(), RegId.za(0), RegId.zt0(), RegId.z(0), RegId.ffr(), RegId.sve_vls(), RegId.v(0))


@pytest.mark.parametrize("fa64", [True, False])
@pytest.mark.parametrize("svcr", range(4))
def test_v12_lists_what_exists(svcr: int, *, fa64: bool) -> None:
    """SME_VLS always, ZA and ZT0 with ZA, Z and P in streaming mode, FFR there with FA64 only, V else."""
    streaming, za = bool(svcr & SM), bool(svcr & ZA)
    alone = ready(place("sme-v12", fa64=fa64), F.SME, svcr=svcr)
    ffr = streaming and fa64
    assert listed(alone, *WATCHED) == [True, za, za, streaming, ffr, False, not streaming]
    both = ready(place("sme-v12", fa64=fa64), *BOTH, svcr=svcr)
    assert listed(both, *WATCHED) == [True, za, za, True, fa64 or not streaming, True, False]


@pytest.mark.parametrize("sme2", [True, False])
@pytest.mark.parametrize("sme", ["1", "2", "4", "8", "16"])
def test_v12_list_is_as_long_as_the_formula_says(sme: str, *, sme2: bool) -> None:
    """SME block: 1 + (ZA: SVL in bytes + 1 with SME2); SVE block of an SME vCPU: 49 while streaming."""
    svl = 16 * int(sme)
    counts = [
        len(ready(place("sme-v12", sve="", sme=sme, sme2=sme2), F.SME, svcr=s).reg_list()) for s in range(4)
    ]
    base = len(ready(place("sme-v12", sve="", sme=sme, sme2=sme2)).reg_list())
    sysregs, v_registers, za = 4, 32, svl + sme2
    plain = base + 1 + sysregs
    assert counts == [plain, plain - v_registers + 49, plain + za, plain - v_registers + 49 + za]


@pytest.mark.parametrize("svcr", range(4))
def test_v4_lists_nothing_of_sme_but_system_registers(svcr: int) -> None:
    """Z, P and FFR by SVE alone, whatever the mode; V not while streaming."""
    alone = ready(place("sme-v4"), F.SME, svcr=svcr)
    assert listed(alone, *WATCHED) == [False, False, False, False, False, False, not svcr & SM]
    both = ready(place("sme-v4", fa64=False), *BOTH, svcr=svcr)
    assert listed(both, *WATCHED) == [False, False, False, True, True, True, False]
    names = ("SVCR", "SMCR_EL1", "SMIDR_EL1", "SMPRI_EL1", "TPIDR2_EL0")
    assert all(listed(both, *map(parse, names)))


@pytest.mark.parametrize("revision", REVISIONS)
def test_svcr_is_listed_behind_what_depends_on_it(revision: str) -> None:
    """Why a restore in list order fails, or loses state silently."""
    ids = ready(place(revision), *BOTH, svcr=SM | ZA).reg_list()
    assert ids.index(SVCR) > ids.index(RegId.ffr())
    if revision == "sme-v12":
        assert ids.index(RegId.ffr()) < ids.index(RegId.sme_vls()) < ids.index(RegId.za(0))
        assert ids.index(RegId.za(0)) < ids.index(RegId.zt0()) < ids.index(SVCR)


# -- moving state (section 3.4) -----------------------------------------------------------------------


@pytest.mark.parametrize("revision", REVISIONS)
def test_svcr_first_is_exact_in_every_revision(revision: str) -> None:
    """The order that satisfies all: lengths, finalize, SVCR, then what it governs, then FPSR and FPMR."""
    system = place(revision)
    for svcr in range(4):
        source = _filled(revision, svcr)
        target = ready(system, *BOTH, svcr=svcr)
        moved = [RegId.z(0), RegId.p(0), RegId.ffr(), FPSR, FPCR, FPMR]
        moved += [RegId.za(0), RegId.zt0()] if svcr & ZA else []
        for reg in moved:
            target.set_one_reg(reg, source.get_one_reg(reg))
        assert target.get_regs(moved) == source.get_regs(moved)


def test_v12_list_order_loses_streaming_state_without_an_error() -> None:
    """SVE and SME, SM=1: every write succeeds, then SVCR wipes what was written."""
    source = _filled("sme-v12", SM)
    target = ready(place("sme-v12"), *BOTH)
    refused = {
        reg: errno
        for reg in source.reg_list()
        if (errno := errno_of(lambda: target.set_one_reg(reg, source.get_one_reg(reg))))  # noqa: B023
    }
    assert refused == {RegId.sve_vls(): "EPERM", RegId.sme_vls(): "EPERM"}
    assert not any(any(target.get_one_reg(reg)) for reg in (RegId.z(0), RegId.p(0), RegId.ffr()))
    assert number(target, FPSR) == 0x0800_009F


def test_the_page_shows_why_list_order_fails_and_the_plan_does_not() -> None:
    """Each example of docs/sme.md, run."""
    page = REPOSITORY / "docs/sme.md"
    done = doctest.testfile(str(page), module_relative=False, optionflags=doctest.FAIL_FAST)
    assert done.attempted > 15
    assert not done.failed
