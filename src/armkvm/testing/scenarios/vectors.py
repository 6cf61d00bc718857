"""SVE: the set of vector lengths, and what Z, P and FFR hold."""

from __future__ import annotations

from armkvm.abi import vls
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.base import Vcpu
from armkvm.testing.conformance import scenario
from armkvm.testing.place import Place, attempts, equal, get_field, id_field, read, refuses, reg, write

_GUEST = "arch/arm64/kvm/guest.c"
_VLS = RegId.sve_vls()


def lengths(vcpu: Vcpu) -> VectorLengths:
    """The vCPU's SVE vector lengths."""
    return vls.decode(vcpu.get_one_reg(_VLS))


def _host(place: Place) -> VectorLengths:
    """The largest set a vCPU can have, which is what it starts with."""
    place.need_feature(F.SVE)
    vcpu = place.vcpu(F.SVE, ready=False)
    if not place.finalizes:
        place.need(not attempts(vcpu.get_one_reg, _VLS), "no register holds the vector lengths here")
    return lengths(vcpu)


def _prefixes(host: VectorLengths) -> list[VectorLengths]:
    return [host.up_to(vq) for vq in host]


@scenario("Documentation/virt/kvm/api.rst (KVM_ARM_VCPU_SVE)")
def vector_lengths_start_as_the_hosts(place: Place) -> None:
    """After KVM_ARM_VCPU_INIT the set holds at least 128 bits, is the same on every vCPU, and finalizing
    leaves it.
    """
    place.need_finalize()
    host = _host(place)
    equal(1 in host, True, "whether 128 bits are among the host's lengths")
    vcpu = place.vcpu(F.SVE, ready=False)
    equal(lengths(vcpu), host, "the set of another vCPU")
    vcpu.finalize(F.SVE)
    equal(lengths(vcpu), host, "the set after finalizing")


@scenario(f"{_GUEST} (set_sve_vls)")
def prefixes_of_the_hosts_lengths_are_accepted(place: Place) -> None:
    """Every set that cuts the host's at one of its own lengths is accepted, and reads back."""
    place.need_finalize()
    for wanted in _prefixes(_host(place)):
        vcpu = place.vcpu(F.SVE, ready=False)
        vcpu.set_one_reg(_VLS, vls.encode(wanted))
        equal(lengths(vcpu), wanted, f"the set after writing {wanted}")
        vcpu.finalize(F.SVE)
        equal(lengths(vcpu), wanted, f"the set {wanted} after finalizing")


@scenario(f"{_GUEST} (set_sve_vls)")
def other_sets_are_einval_and_change_nothing(place: Place) -> None:
    """The empty set, one with a length left out or added, and one beyond the host's are EINVAL."""
    host = _host(place)
    vcpu = place.vcpu(F.SVE, ready=False)
    wrong = {VectorLengths(), *(VectorLengths((*host, vq)) for vq in range(1, 65) if vq not in host)}
    for good in _prefixes(host):
        wrong |= {VectorLengths(vq for vq in good if vq != left_out) for left_out in good}
    for bad in wrong - set(_prefixes(host)):
        refuses("EINVAL", vcpu.set_one_reg, _VLS, vls.encode(bad))
    refuses("EINVAL", vcpu.set_one_reg, _VLS, b"\xff" * 64)
    equal(lengths(vcpu), host, "the set after refused writes")


@scenario("Documentation/virt/kvm/api.rst (KVM_REG_ARM64_SVE_VLS)")
def vector_lengths_are_immutable_once_final(place: Place) -> None:
    """After KVM_ARM_VCPU_FINALIZE writing the set is EPERM, even with its own value or a NULL pointer."""
    place.need_finalize()
    _host(place)
    vcpu = place.vcpu(F.SVE)
    refuses("EPERM", vcpu.set_one_reg, _VLS, vcpu.get_one_reg(_VLS))
    refuses("EPERM", vcpu.set_one_reg_null, _VLS)


@scenario("arch/arm64/kvm/reset.c (kvm_vcpu_enable_sve)")
def a_second_init_before_finalizing_restores_the_lengths(place: Place) -> None:
    """A set written before KVM_ARM_VCPU_INIT is repeated is lost; once finalized it stays."""
    place.need_finalize()
    host = _host(place)
    place.need(len(host) > 1, "the host has one vector length")
    shortest = _prefixes(host)[0]
    vcpu = place.vcpu(F.SVE, ready=False)
    vcpu.set_one_reg(_VLS, vls.encode(shortest))
    vcpu.init({F.PSCI_0_2, F.SVE})
    equal(lengths(vcpu), host, "the set after a second init")
    vcpu.set_one_reg(_VLS, vls.encode(shortest))
    vcpu.finalize(F.SVE)
    vcpu.init({F.PSCI_0_2, F.SVE})
    equal(lengths(vcpu), shortest, "the final set after a second init")


@scenario(f"{_GUEST} (sve_reg_to_region, set_sve_reg)")
def slices_hold_as_much_as_the_longest_vector(place: Place) -> None:
    """Of the 256 bytes of Z and the 32 of P and FFR those within the vector length are kept, the rest read
    zero and are ignored when written.
    """
    place.need_finalize()
    for wanted in _prefixes(_host(place)):
        vcpu = place.vcpu(F.SVE, ready=False)
        vcpu.set_one_reg(_VLS, vls.encode(wanted))
        vcpu.finalize(F.SVE)
        vl = wanted.max * 16
        for which, live in ((RegId.z(7), vl), (RegId.p(3), vl // 8), (RegId.ffr(), vl // 8)):
            pattern = bytes(1 + n % 251 for n in range(which.size))
            vcpu.set_one_reg(which, pattern)
            equal(
                vcpu.get_one_reg(which), pattern[:live].ljust(which.size, b"\0"), f"{which!r} at {vl} bytes"
            )
        equal(read(vcpu, RegId.z(6)), 0, "a neighbouring register")


@scenario("arch/arm64/kvm/reset.c (kvm_vcpu_reset_sve)")
def a_second_init_zeroes_the_vectors(place: Place) -> None:
    """KVM_ARM_VCPU_INIT of a finalized vCPU clears Z, P and FFR."""
    place.need_feature(F.SVE)
    vcpu = place.vcpu(F.SVE)
    for which in (RegId.z(0), RegId.p(0), RegId.ffr()):
        vcpu.set_one_reg(which, b"\xff" * which.size)
    vcpu.init({F.PSCI_0_2, F.SVE})
    for which in (RegId.z(0), RegId.p(0), RegId.ffr()):
        equal(read(vcpu, which), 0, f"{which!r} after a second init")


@scenario("arch/arm64/kvm/sys_regs.c (sve_visibility)")
def sve_has_a_control_register(place: Place) -> None:
    """ZCR_EL1 exists with SVE alone, is zero at first and holds any value."""
    place.need_feature(F.SVE)
    vcpu = place.vcpu(F.SVE)
    equal(read(vcpu, "ZCR_EL1"), 0, "ZCR_EL1 at first")
    write(vcpu, "ZCR_EL1", 0xFFFF_FFFF_0000_01FF)
    equal(read(vcpu, "ZCR_EL1"), 0xFFFF_FFFF_0000_01FF, "ZCR_EL1")
    refuses("ENOENT", place.vcpu().get_one_reg, reg("ZCR_EL1"))


@scenario("arch/arm64/kvm/sys_regs.c (read_sanitised_id_aa64pfr0_el1)")
def sve_is_shown_with_the_feature_only(place: Place) -> None:
    """ID_AA64PFR0_EL1.SVE is 0 without the feature and not 0 with it."""
    place.need_feature(F.SVE)
    part = id_field("PFR0", "SVE")
    equal(get_field(place.vcpu(), part), 0, f"{part} without SVE")
    equal(get_field(place.vcpu(F.SVE), part) > 0, True, f"whether {part} shows SVE")


@scenario(f"{_GUEST} (copy_sve_reg_indices)")
def an_sve_vcpu_lists_50_vector_registers(place: Place) -> None:
    """VLS, 32 Z, 16 P and FFR; no V registers beside them."""
    _host(place)
    listed = place.vcpu(F.SVE).reg_list()
    expected = [_VLS, *map(RegId.z, range(32)), *map(RegId.p, range(16)), RegId.ffr()]
    equal([r for r in listed if r.reg_class == _VLS.reg_class], expected, "the vector registers listed")
    equal([r for r in listed if r in {RegId.v(n) for n in range(32)}], [], "the V registers listed")
