"""SME guests: streaming mode, ZA and ZT0, and the second set of vector lengths.

The rules are those of the series' later revisions (from v11 on); a place that speaks an earlier one is left
out, with that reason.
"""

from __future__ import annotations

from armkvm.abi import vls
from armkvm.abi.regid import RegClass, RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.base import Feature, Vcpu
from armkvm.testing.conformance import scenario
from armkvm.testing.place import (
    Place,
    attempts,
    equal,
    get_field,
    holds,
    id_field,
    read,
    refuses,
    reg,
    run_once,
    set_field,
    write,
)

_DOC = "SME series, Documentation/virt/kvm/api.rst"
_COVER = "SME series v4, cover letter (patch 0/27)"
_VLS = RegId.sme_vls()
_OFF, _SM, _ZA = 0, 1, 2


def _vcpu(place: Place, *features: Feature, ready: bool = True) -> Vcpu:
    """A vCPU with SME and these features, on a place that speaks a late revision."""
    place.need(place.offers(F.SME), "no vCPU here can have SME")
    place.need(place.offers(F.SME, *features), f"no vCPU here can have SME with {features}")
    listed = place.vcpu(F.SME).reg_list()
    place.need(_VLS in listed, "an early revision of the SME series: SME_VLS is not listed")
    return place.vcpu(F.SME, *features, ready=ready)


def _lengths(vcpu: Vcpu, which: RegId = _VLS) -> VectorLengths:
    return vls.decode(vcpu.get_one_reg(which))


def _live(vcpu: Vcpu, which: RegId) -> int:
    """How many bytes of a register are kept."""
    vcpu.set_one_reg(which, b"\xff" * which.size)
    return vcpu.get_one_reg(which).count(0xFF)


@scenario(_DOC)
def streaming_lengths_are_discovered_and_narrowed(place: Place) -> None:
    """SME_VLS starts as the host's set; any prefix of it is accepted before finalizing, anything else EINVAL,
    and after finalizing all writes are EPERM.
    """
    vcpu = _vcpu(place, ready=False)
    host = _lengths(vcpu)
    holds(len(host) > 0, "the set of streaming lengths is empty")
    for bad in (VectorLengths(), VectorLengths((*host, host.max * 2)), VectorLengths((*host, 64))):
        refuses("EINVAL", vcpu.set_one_reg, _VLS, vls.encode(bad))
    for vq in host:
        vcpu.set_one_reg(_VLS, vls.encode(host.up_to(vq)))
        equal(_lengths(vcpu), host.up_to(vq), "the set of streaming lengths")
        if len(host.up_to(vq)) > 1:
            hole = VectorLengths(v for v in host.up_to(vq) if v != min(host))
            refuses("EINVAL", vcpu.set_one_reg, _VLS, vls.encode(hole))
    vcpu.finalize(F.SVE)
    refuses("EPERM", vcpu.set_one_reg, _VLS, vcpu.get_one_reg(_VLS))
    refuses("ENOENT", place.vcpu().get_one_reg, _VLS)


@scenario(_COVER)
def one_finalization_for_both(place: Place) -> None:
    """SVE and SME are finalized together, once, by SVE's number, which serves an SME-only vCPU as well."""
    for features in ((), (F.SVE,)):
        if not place.offers(F.SME, *features):
            continue
        vcpu = _vcpu(place, *features, ready=False)
        refuses("EPERM", vcpu.run, True)
        refuses("EPERM", vcpu.reg_list, 0)
        vcpu.finalize(F.SVE)
        refuses("EPERM", vcpu.finalize, F.SVE)
        vcpu.reg_list()
        run_once(vcpu)


@scenario(_COVER)
def the_two_sets_of_lengths_are_independent(place: Place) -> None:
    """Narrowing one leaves the other; they need not overlap."""
    vcpu = _vcpu(place, F.SVE, ready=False)
    sve, sme = _lengths(vcpu, RegId.sve_vls()), _lengths(vcpu)
    vcpu.set_one_reg(RegId.sve_vls(), vls.encode(sve.up_to(min(sve))))
    equal(_lengths(vcpu), sme, "SME_VLS after narrowing SVE_VLS")
    vcpu.set_one_reg(_VLS, vls.encode(sme.up_to(min(sme))))
    equal(_lengths(vcpu, RegId.sve_vls()), sve.up_to(min(sve)), "SVE_VLS after narrowing SME_VLS")


@scenario(_COVER)
def z_and_p_follow_the_mode(place: Place) -> None:
    """With PSTATE.SM clear Z and P have SVE's length, with it set SME's."""
    vcpu = _vcpu(place, F.SVE)
    for svcr, which in ((_OFF, RegId.sve_vls()), (_SM, _VLS), (_OFF, RegId.sve_vls())):
        write(vcpu, "SVCR", svcr)
        vl = _lengths(vcpu, which).max * 16
        equal(_live(vcpu, RegId.z(5)), vl, f"bytes of Z5 with SVCR {svcr}")
        equal(_live(vcpu, RegId.p(5)), vl // 8, f"bytes of P5 with SVCR {svcr}")


@scenario(_COVER)
def without_sve_vectors_exist_in_streaming_mode_only(place: Place) -> None:
    """On an SME-only vCPU Z and P are ENOENT outside streaming mode, where V registers serve; inside it is
    the other way round.
    """
    vcpu = _vcpu(place)
    refuses("ENOENT", vcpu.get_one_reg, RegId.z(0))
    refuses("ENOENT", vcpu.get_one_reg, RegId.p(0))
    read(vcpu, RegId.v(0))
    write(vcpu, "SVCR", _SM)
    equal(_live(vcpu, RegId.z(0)), _lengths(vcpu).max * 16, "bytes of Z0 in streaming mode")
    refuses("EINVAL", vcpu.get_one_reg, RegId.v(0))


@scenario(_DOC)
def za_and_zt0_need_pstate_za(place: Place) -> None:
    """ZA and ZT0 are EBUSY while PSTATE.ZA is clear, finalized or not; with it set they hold their bytes."""
    early = _vcpu(place, ready=False)
    refuses("EBUSY", early.get_one_reg, RegId.za(0))
    vcpu = _vcpu(place)
    for svcr in (_OFF, _SM):
        write(vcpu, "SVCR", svcr)
        refuses("EBUSY", vcpu.get_one_reg, RegId.za(0))
        refuses("EBUSY", vcpu.set_one_reg, RegId.za(0), bytes(256))
    write(vcpu, "SVCR", _ZA)
    rows = _lengths(vcpu).max * 16
    for row in (0, rows - 1):
        equal(_live(vcpu, RegId.za(row)), rows, f"bytes of ZA row {row}")
    if rows < 256:
        refuses("EINVAL", vcpu.get_one_reg, RegId.za(rows))
    refuses("ENOENT", vcpu.get_one_reg, RegId.za(0, 1))


@scenario(_DOC)
def zt0_needs_sme2(place: Place) -> None:
    """ZT0 exists while ID_AA64PFR1_EL1.SME shows SME2."""
    vcpu = _vcpu(place)
    part = id_field("PFR1", "SME")
    write(vcpu, "SVCR", _ZA)
    if get_field(vcpu, part) >= 2:
        vcpu.set_one_reg(RegId.zt0(), b"\x5a" * 64)
        equal(vcpu.get_one_reg(RegId.zt0()), b"\x5a" * 64, "ZT0")
        place.need(not attempts(set_field, vcpu, part, 1), f"{part} cannot be lowered")
    refuses("ENOENT", vcpu.get_one_reg, RegId.zt0())


@scenario(_DOC)
def ffr_in_streaming_mode_needs_fa64(place: Place) -> None:
    """In streaming mode FFR exists only if ID_AA64SMFR0_EL1.FA64 is shown."""
    vcpu = _vcpu(place)
    part = id_field("SMFR0", "FA64")
    write(vcpu, "SVCR", _SM)
    if get_field(vcpu, part):
        read(vcpu, RegId.ffr())
        place.need(not attempts(set_field, vcpu, part, 0), f"{part} cannot be lowered")
    refuses("ENOENT", vcpu.get_one_reg, RegId.ffr())


@scenario(_DOC)
def changing_mode_clears_what_the_mode_holds(place: Place) -> None:
    """A write of SVCR that changes SM zeroes Z and P, one that changes ZA zeroes ZA; the same value clears
    nothing, and reserved bits are EINVAL.
    """
    vcpu = _vcpu(place)
    for bad in (4, 0x80, 1 << 63):
        refuses("EINVAL", write, vcpu, "SVCR", bad)
    write(vcpu, "SVCR", _SM | _ZA)
    _live(vcpu, RegId.z(1))
    _live(vcpu, RegId.za(1))
    write(vcpu, "SVCR", _SM | _ZA)
    holds(read(vcpu, RegId.z(1)), "Z1 was cleared by writing the same SVCR")
    write(vcpu, "SVCR", _ZA)
    holds(read(vcpu, RegId.za(1)), "ZA was cleared by a change of SM")
    write(vcpu, "SVCR", _SM | _ZA)
    equal(read(vcpu, RegId.z(1)), 0, "Z1 after leaving and entering streaming mode")
    write(vcpu, "SVCR", _SM)
    write(vcpu, "SVCR", _SM | _ZA)
    equal(read(vcpu, RegId.za(1)), 0, "ZA after PSTATE.ZA was cleared and set")


@scenario(_DOC)
def lists_name_what_the_mode_has(place: Place) -> None:
    """SME_VLS is always listed, ZA's rows and ZT0 while PSTATE.ZA is set, Z and P as the mode has them; what
    is listed can be read.
    """
    vcpu = _vcpu(place)
    rows = _lengths(vcpu).max * 16
    for svcr in (_OFF, _SM, _ZA, _SM | _ZA):
        write(vcpu, "SVCR", svcr)
        listed = vcpu.reg_list()
        za = [
            which for which in listed if which.reg_class == RegClass.SME and which not in (_VLS, RegId.zt0())
        ]
        equal(len(za), rows if svcr & _ZA else 0, f"rows of ZA listed with SVCR {svcr}")
        equal(RegId.z(0) in listed, bool(svcr & _SM), f"whether Z0 is listed with SVCR {svcr}")
        equal(RegId.v(0) in listed, not svcr & _SM, f"whether V0 is listed with SVCR {svcr}")
        for which in listed:
            vcpu.get_one_reg(which)


@scenario(_COVER)
def a_restore_writes_svcr_first(place: Place) -> None:
    """State of a vCPU in streaming mode with ZA arrives whole when SVCR goes ahead of it; in list order it
    does not.
    """
    source = _vcpu(place, F.SVE)
    write(source, "SVCR", _SM | _ZA)
    for n, which in enumerate((RegId.z(3), RegId.p(2), RegId.za(1), RegId.zt0())):
        if not attempts(source.get_one_reg, which):
            source.set_one_reg(which, bytes((n + k) % 256 for k in range(which.size)))
    svcr = reg("SVCR")
    state = [(which, source.get_one_reg(which)) for which in source.reg_list()]
    state = [(which, data) for which, data in state if which not in (_VLS, RegId.sve_vls())]
    good, naive = _vcpu(place, F.SVE), _vcpu(place, F.SVE)
    for which, data in sorted(state, key=lambda pair: pair[0] != svcr):
        good.set_one_reg(which, data)
    for which, data in state:
        if which.reg_class in (RegClass.SVE, RegClass.SME) or which == svcr:
            equal(good.get_one_reg(which), data, f"{which!r} after a restore with SVCR first")
    lost = [which for which, data in state if attempts(naive.set_one_reg, which, data)]
    holds(lost or naive.get_one_reg(RegId.z(3)) != dict(state)[RegId.z(3)], "list order restored everything")


@scenario(_COVER)
def without_sme_nothing_changes(place: Place) -> None:
    """A vCPU that was not given SME lists and answers nothing of it."""
    place.need(place.offers(F.SME), "no vCPU here can have SME")
    vcpu = place.vcpu()
    names = {which for which in vcpu.reg_list() if which.reg_class == RegClass.SME}
    equal(names, set(), "SME registers listed without SME")
    for which in (_VLS, RegId.za(0), reg("SVCR"), reg("SMCR_EL1")):
        refuses("ENOENT", vcpu.get_one_reg, which)
    equal(get_field(vcpu, id_field("PFR1", "SME")), 0, "ID_AA64PFR1_EL1.SME without SME")
