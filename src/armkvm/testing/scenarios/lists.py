"""KVM_GET_REG_LIST: what it names, in which order, and that what it names works."""

from __future__ import annotations

from collections.abc import Iterator

from armkvm.abi.regid import RegClass, RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.fields import Field
from armkvm.backends.base import Vcpu
from armkvm.catalog import id_of, name_of
from armkvm.testing.conformance import scenario
from armkvm.testing.place import (
    Place,
    attempts,
    equal,
    get_field,
    holds,
    id_field,
    refuses,
    reg,
    set_field,
)

_ARM = "arch/arm64/kvm/arm.c (KVM_GET_REG_LIST)"
_SELFTEST = "tools/testing/selftests/kvm/get-reg-list.c"
_COMBINATIONS: tuple[tuple[F, ...], ...] = (
    (),
    (F.SVE,),
    (F.PMU_V3,),
    (F.PTRAUTH_ADDRESS, F.PTRAUTH_GENERIC),
    (F.SVE, F.PMU_V3, F.PTRAUTH_ADDRESS, F.PTRAUTH_GENERIC),
    (F.HAS_EL2,),
)


def _vcpus(place: Place) -> Iterator[tuple[str, Vcpu]]:
    for features in _COMBINATIONS:
        if place.offers(*features):
            yield "+".join(features) or "no features", place.vcpu(*features)


@scenario(_ARM)
def a_short_list_is_e2big_with_the_count(place: Place) -> None:
    """A count too small is E2BIG, and the number needed is handed back."""
    vcpu = place.vcpu()
    needed = len(vcpu.reg_list())
    for offered in (0, 1, needed - 1):
        equal(refuses("E2BIG", vcpu.reg_list, offered).count, needed, "the count handed back")
    equal(len(vcpu.reg_list(needed)), needed, "the list's length with the exact count")
    equal(len(vcpu.reg_list(needed + 10)), needed, "the list's length with room to spare")


@scenario(_ARM)
def lists_are_stable_and_without_repeats(place: Place) -> None:
    """Two calls give the same ids in the same order, each once."""
    for what, vcpu in _vcpus(place):
        first = vcpu.reg_list()
        equal(vcpu.reg_list(), first, f"the second list with {what}")
        equal(len(set(first)), len(first), f"the number of different ids with {what}")


@scenario("arch/arm64/kvm/guest.c (kvm_arm_copy_reg_indices)")
def lists_come_in_blocks(place: Place) -> None:
    """Core registers first, then SVE with the vector lengths leading, firmware, system registers, and last
    the cache geometry.
    """
    ranks = {RegClass.CORE: 0, RegClass.SVE: 1, RegClass.SME: 2, RegClass.FW: 3, RegClass.FW_FEAT_BMAP: 4}
    for what, vcpu in _vcpus(place):
        listed = vcpu.reg_list()
        order = [ranks.get(r.reg_class, 6 if r.reg_class == RegClass.DEMUX else 5) for r in listed]
        equal(order, sorted(order), f"the order of classes with {what}")
        if RegId.sve_vls() in listed:
            first = next(r for r in listed if r.reg_class == RegClass.SVE)
            equal(first, RegId.sve_vls(), f"the first SVE register with {what}")


@scenario(_SELFTEST)
def what_is_listed_can_be_read_and_written_back(place: Place) -> None:
    """Every listed register can be read and accepts its own value; only vector lengths, once final, are
    EPERM.
    """
    final = {RegId.sve_vls(), RegId.sme_vls()}
    for what, vcpu in _vcpus(place):
        for which in vcpu.reg_list():
            value = vcpu.get_one_reg(which)
            found = attempts(vcpu.set_one_reg, which, value)
            expected = "EPERM" if which in final else ""
            equal(found, expected, f"writing back {name_of(which) or which.hex} with {what}")


# Registers that exist while an ID field says so.
GATES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("MMFR3", "TCRX", ("TCR2_EL1", "TCR2_EL2")),
    ("MMFR3", "S1PIE", ("PIR_EL1", "PIRE0_EL1", "PIR_EL2", "PIRE0_EL2")),
    ("MMFR3", "S1POE", ("POR_EL0", "POR_EL1", "POR_EL2")),
    ("MMFR3", "SCTLRX", ("SCTLR2_EL1", "SCTLR2_EL2")),
    ("PFR2", "FPMR", ("FPMR",)),
    ("MMFR1", "HCX", ("HCRX_EL2",)),
    (
        "MMFR0",
        "FGT",
        (
            *("HFGRTR_EL2", "HFGWTR_EL2", "HFGITR_EL2", "HDFGRTR_EL2", "HDFGWTR_EL2", "HAFGRTR_EL2"),
            *("HFGRTR2_EL2", "HFGWTR2_EL2", "HFGITR2_EL2", "HDFGRTR2_EL2", "HDFGWTR2_EL2"),
        ),
    ),
)
# The first kernels with these list them whatever the field says (6.8 to 6.12).
UNGATED_AT_FIRST = ("TCRX", "S1PIE")


@scenario("arch/arm64/kvm/sys_regs.c (visibility callbacks)")
def visibility_follows_the_id_fields(place: Place) -> None:
    """Lowering a field takes exactly its registers out of the list and makes their ids ENOENT; raising it
    brings them back.
    """
    place.need(place.has_writable_ids, "ID registers cannot be written here")
    tried = [
        _gates(vcpu, what, id_field(register, name), {reg(one) for one in gated})
        for what, vcpu in _vcpus(place)
        for register, name, gated in GATES
    ]
    place.need(any(tried), "no register here depends on an ID field that can be lowered")


def _gates(vcpu: Vcpu, what: str, part: Field, gated: set[RegId]) -> bool:
    """Lower a field and raise it again; False if there is nothing to see."""
    before, shown = vcpu.reg_list(), get_field(vcpu, part)
    theirs = gated & set(before)
    if not shown or not theirs or attempts(set_field, vcpu, part, 0):
        return False
    gone = set(before) - set(vcpu.reg_list())
    if gone or part.name not in UNGATED_AT_FIRST:
        equal(gone, theirs, f"what went with {part} and {what}")
        for which in theirs:
            refuses("ENOENT", vcpu.get_one_reg, which)
            refuses("ENOENT", vcpu.set_one_reg, which, bytes(8))
    set_field(vcpu, part, shown)
    equal(vcpu.reg_list(), before, f"the list after raising {part} again")
    return bool(gone)


@scenario("arch/arm64/kvm/sys_regs.c (walk_sys_regs)")
def feature_id_registers_are_always_listed(place: Place) -> None:
    """All 56 registers of the feature ID space with CRm 1 to 7 are listed, whatever the features."""
    for what, vcpu in _vcpus(place):
        space = [r for r in vcpu.reg_list() if _in_id_space(r)]
        equal(len(space), 56, f"the number of feature ID registers with {what}")
    holds(id_of(id_field("PFR0", "EL0").register) in place.vcpu().reg_list(), "ID_AA64PFR0_EL1 is not listed")


def _in_id_space(which: RegId) -> bool:
    parts = which.encoding
    return parts is not None and parts.parts[:3] == (3, 0, 0) and 1 <= parts.crm <= 7
