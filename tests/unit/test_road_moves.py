"""The same move on each stop of the road to SVE: what its rules of sequence allow and refuse.

The restore is today's: lengths from the register list, KVM_ARM_VCPU_FINALIZE, then the rest.
"""

from __future__ import annotations

import pytest

from armkvm import connect
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.backends.base import SveVlsCalls
from armkvm.errors import KvmError
from armkvm.migration.advice import Code
from armkvm.migration.capture import capture
from armkvm.migration.findings import Finding
from armkvm.migration.restore import restore
from armkvm.migration.snapshot import VmConfig

FEATURES = (F.PSCI_0_2, F.SVE)
CONTENTS = {
    **{RegId.z(n): bytes([n + 1]) * 256 for n in range(32)},
    **{RegId.p(n): bytes([n + 1]) * 32 for n in range(16)},
}


def move(road: str, destination: str) -> list[Finding]:
    """Fill a vCPU of 2048-bit vectors, capture it and restore it on another built-in host."""
    source = connect(f"model:max?kernel={road}")
    with source.create_vm() as vm:
        vcpu = vm.create_vcpu(0)
        vcpu.init(FEATURES)
        if road == "sve-v7":
            vcpu.finalize(F.SVE)
        vcpu.set_regs(CONTENTS.items())
        snapshot = capture(source, VmConfig(), [(vcpu, FEATURES)])
    assert all(snapshot.vcpus[0].registers[reg] == data for reg, data in CONTENTS.items())
    with restore(connect(f"model:{destination}?kernel={road}"), snapshot) as restored:
        return list(restored.report.findings)


@pytest.mark.parametrize("road", ["sve-v7", "sve-ioctl-2017"])
def test_a_move_between_twins_arrives(road: str) -> None:
    """With explicit finalization, and where nothing has to be finalized."""
    assert move(road, "max") == []


def test_with_implicit_finalization_only_the_call_itself_is_refused() -> None:
    """The lengths are written early, and the first Z makes them final: everything arrives."""
    (finding,) = move("sve-v5", "max")
    assert finding.code is Code.FINALIZE


@pytest.mark.parametrize("road", ["sve-v5", "sve-v7"])
def test_a_register_for_the_lengths_refuses_a_host_that_lacks_them(road: str) -> None:
    """What the proposal of 2017 was turned down for: one more register, and a VMM needs to know nothing."""
    assert Code.VECTOR_LENGTHS in {finding.code for finding in move(road, "max-vq4")}


def test_with_calls_of_their_own_no_list_carries_the_lengths() -> None:
    """Nothing is refused; what a shorter vector cannot hold is missed only by reading back."""
    found = move("sve-ioctl-2017", "max-vq4")
    assert {finding.code for finding in found} == {Code.REGISTER_DIFFERS}
    assert {finding.reg for finding in found} == set(CONTENTS)


def test_a_vmm_of_2017_carries_them_itself() -> None:
    """The set as metadata beside the state: the destination refuses what it cannot do."""
    source, destination = (
        connect(f"model:{host}?kernel=sve-ioctl-2017").create_vm().create_vcpu(0)
        for host in ("max", "max-vq4")
    )
    for vcpu in (source, destination):
        vcpu.init(FEATURES)
    assert isinstance(source, SveVlsCalls)
    assert isinstance(destination, SveVlsCalls)
    with pytest.raises(KvmError) as refused:
        destination.set_sve_vls(source.get_sve_vls())
    assert refused.value.rule is not None
    assert refused.value.rule.name == "vls-not-prefix"
