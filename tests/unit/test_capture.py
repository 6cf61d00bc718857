"""Capture reads what the register list names, and drops nothing."""

from __future__ import annotations

import errno

import pytest
from tests.fakes import Host

from armkvm.abi import vls
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import parse
from armkvm.errors import KvmError, UnlistedState
from armkvm.migration.capture import capture, capture_vcpu
from armkvm.migration.snapshot import VmConfig

SVE = (VcpuFeature.SVE, VcpuFeature.PSCI_0_2)
UNHEARD_OF = RegId(0x6030_0000_0019_0042)


def test_every_listed_register_is_captured_in_the_lists_order_known_or_not() -> None:
    host = Host(more={UNHEARD_OF: b"\7" * 8})
    vcpu = host.vcpu(*SVE)
    state = capture_vcpu(vcpu, SVE)
    assert list(state.registers) == vcpu.reg_list()
    assert state.registers[UNHEARD_OF] == b"\7" * 8
    assert state.sve_lengths == host.lengths


@pytest.mark.parametrize("named", [True, False])
def test_a_register_that_is_listed_and_refused_is_recorded_with_its_errno(named: bool) -> None:
    """Whether or not the place says which register of the many it refused."""
    z0, x1 = RegId.z(0), RegId.x(1)
    host = Host(refuse_get={z0: errno.EBUSY, x1: errno.ENOENT}, names_culprit=named)
    vcpu = host.vcpu(*SVE)
    state = capture_vcpu(vcpu, SVE)
    assert dict(state.refused) == {z0: errno.EBUSY, x1: errno.ENOENT}
    assert list(state.registers) == [reg for reg in vcpu.reg_list() if reg not in {z0, x1}]


@pytest.mark.parametrize("features", [(VcpuFeature.SME,), (9,)])
def test_svcr_is_read_before_the_list_that_depends_on_it(features: tuple[VcpuFeature | int, ...]) -> None:
    """sme-oracle 30: save SVCR first, then ask for the list; a bare number may well mean SME."""
    svcr = parse("SVCR")
    host = Host(more={svcr: b"\2" + bytes(7), RegId.sme_vls(): bytes(64)})
    vcpu = host.vcpu()
    host.on_list = lambda: host.log.append(("KVM_GET_REG_LIST", None))
    host.log.clear()
    state = capture_vcpu(vcpu, features)
    calls = [call for call in host.log if call[0] == "KVM_GET_REG_LIST" or call[1] == svcr]
    assert calls == [("KVM_GET_ONE_REG", svcr), ("KVM_GET_REG_LIST", None)]
    assert list(state.registers) == vcpu.reg_list()


def test_a_vcpu_without_svcr_is_captured_though_it_was_looked_for() -> None:
    vcpu = Host().vcpu()
    state = capture_vcpu(vcpu, (9,))
    assert list(state.registers) == vcpu.reg_list()
    assert not state.refused


@pytest.mark.parametrize(
    ("feature", "left_out"),
    [
        (VcpuFeature.SVE, "the set of SVE vector lengths"),
        (VcpuFeature.SME, "KVM_REG_ARM64_SME_VLS, ZA and ZT0"),
    ],
)
def test_vectors_that_no_list_names_are_not_lost_silently(feature: VcpuFeature, left_out: str) -> None:
    with pytest.raises(UnlistedState, match=f"has {feature}, but KVM_GET_REG_LIST leaves out {left_out}"):
        capture_vcpu(Host().vcpu(), (feature,))


def test_a_snapshot_says_where_it_was_taken_and_what_the_vm_was_made_with() -> None:
    host = Host()
    config = VmConfig(0x28)
    snapshot = capture(host.system(), config, [(host.vcpu(*SVE), SVE)], host="rack 7")
    assert (snapshot.origin.uri, snapshot.origin.kernel, snapshot.origin.host) == ("fake:", "0", "rack 7")
    assert snapshot.vm == config
    assert snapshot.vcpus[0].features == (VcpuFeature.PSCI_0_2, VcpuFeature.SVE)


def test_a_vcpu_without_a_list_cannot_be_captured() -> None:
    host = Host()
    vcpu = host.vcpu()

    def refuse() -> None:
        raise KvmError(errno.EPERM, "KVM_GET_REG_LIST")

    host.on_list = refuse
    with pytest.raises(KvmError, match="KVM_GET_REG_LIST: EPERM"):
        capture_vcpu(vcpu, ())


def test_vector_lengths_of_a_state_are_decoded_from_the_register() -> None:
    host = Host(lengths=VectorLengths([1, 2, 4]))
    state = capture_vcpu(host.vcpu(*SVE), SVE)
    assert vls.encode(VectorLengths([1, 2, 4])) == state.registers[RegId.sve_vls()]
