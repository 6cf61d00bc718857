"""The same move on each stop of the road to SVE: what its rules of sequence allow and refuse."""

from __future__ import annotations

from itertools import product

import pytest

from armkvm import connect
from armkvm.abi import vls
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.base import SveVlsCalls, Vcpu
from armkvm.errors import KvmError, UnlistedState
from armkvm.migration import lengths
from armkvm.migration.advice import Code
from armkvm.migration.capture import capture_vcpu
from armkvm.migration.check import Config, Verdict, check
from armkvm.migration.move import MigrationReport, Wanted, migrate
from armkvm.migration.plan import LENGTHS
from armkvm.migration.provision import provision
from armkvm.migration.rehearsal import Order
from armkvm.migration.restore import restore
from armkvm.migration.snapshot import Origin, Snapshot, VmConfig
from armkvm.state import GuestCpu
from armkvm.testing.place import attempts

ROADS = ("sve-ioctl-2017", "sve-v5", "sve-v7")
FEATURES = (F.PSCI_0_2, F.SVE)
SVE_VLS = RegId.sve_vls()


def place(road: str, host: str = "max") -> str:
    return f"model:{host}?kernel={road}"


def initialised(road: str, host: str = "max", *features: F) -> Vcpu:
    vcpu = connect(place(road, host)).create_vm().create_vcpu(0)
    vcpu.init(features or FEATURES)
    return vcpu


def move(road: str, onto: str, host: str = "max", sve: VectorLengths | None = None) -> MigrationReport:
    wanted = Wanted(features=FEATURES, vls=sve)
    return migrate(connect(place(road)), connect(place(onto, host)), wanted, seed=1)


@pytest.mark.parametrize(("road", "onto"), [*product(ROADS, ROADS)])
def test_lengths_and_vectors_arrive_from_each_stop_on_each(road: str, onto: str) -> None:
    """A chosen set fits the smaller host, and both it and what it gives its size to are there."""
    chosen = VectorLengths((1, 2))
    moved = move(road, onto, "max-vq4", chosen)
    assert moved.moved
    assert moved.findings == ()
    assert moved.prepared.snapshot is not None
    registers = moved.prepared.snapshot.vcpus[0].registers
    assert registers[SVE_VLS] == vls.encode(chosen)
    assert all(registers[RegId.z(n)][:32].strip(b"\0") for n in range(32))
    assert all(not registers[RegId.z(n)][32:].strip(b"\0") for n in range(32))


@pytest.mark.parametrize(("road", "onto"), [*product(ROADS, ROADS)])
def test_a_host_that_lacks_the_lengths_refuses_them(road: str, onto: str) -> None:
    """Whether they are a register or a call, at either end; the finding names what writes them there."""
    moved = move(road, onto, "max-vq4")
    assert not moved.moved
    (finding,) = (found for found in moved.findings if found.blocking)
    assert finding.code is Code.VECTOR_LENGTHS
    assert (finding.asked, finding.there, finding.acceptable) == ("1-16", "1-4", "1-4")
    called = onto == "sve-ioctl-2017"
    assert finding.operation == ("KVM_ARM_VCPU_SET_SVE_VLS" if called else "KVM_SET_ONE_REG")


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("order", Order)
def test_a_check_tells_hosts_of_unlike_lengths_apart(road: str, order: Order) -> None:
    large, small = connect(place(road)), connect(place(road, "max-vq4"))
    assert check(large, large, Config.SVE, order).verdict is Verdict.IDENTICAL
    answer = check(large, small, Config.SVE, order)
    assert answer.verdict is Verdict.SUBSET
    (finding,) = (found for found in answer.forth.findings if found.blocking)
    assert finding.code is Code.VECTOR_LENGTHS


@pytest.mark.parametrize("road", ROADS)
def test_a_set_beyond_the_hosts_own_is_refused_at_the_source(road: str) -> None:
    moved = move(road, road, sve=VectorLengths((1, 3)))
    assert moved.prepared.snapshot is None
    assert [finding.code for finding in moved.findings] == [Code.VECTOR_LENGTHS]


@pytest.mark.parametrize("road", ROADS)
def test_a_guest_of_a_baseline_is_made_with_its_lengths(road: str) -> None:
    guest = GuestCpu(features=frozenset(FEATURES), sve=VectorLengths((1, 2)))
    _, state = provision(connect(place(road)), guest)
    assert state.sve_lengths == guest.sve


def test_what_a_vmm_chose_by_the_call_is_kept() -> None:
    """The set is read back on the copy by the same call, and nothing says that it is other than asked."""
    source = initialised("sve-ioctl-2017")
    assert isinstance(source, SveVlsCalls)
    source.set_sve_vls(vls.encode(VectorLengths((1, 2))))
    state = capture_vcpu(source, FEATURES)
    destination = connect(place("sve-ioctl-2017"))
    snapshot = Snapshot(Origin("here", "there", ""), VmConfig(), (state,))
    with restore(destination, snapshot) as restored:
        (copy,) = restored.vcpus
        assert isinstance(copy, SveVlsCalls)
        assert vls.decode(copy.get_sve_vls()) == VectorLengths((1, 2))


def test_the_call_says_why_it_refuses() -> None:
    """After a first run the set stays: the call's own answer is told, not the missing register's."""
    vcpu = initialised("sve-ioctl-2017")
    attempts(vcpu.run, True)
    with pytest.raises(KvmError) as register:
        vcpu.set_one_reg(SVE_VLS, vls.encode(VectorLengths((1,))))
    answer = lengths.choose_by_call(vcpu, vls.encode(VectorLengths((1,))), register.value)
    assert answer is not None
    assert answer.rule is not None
    assert answer.rule.name == "vls-after-run"


def test_without_the_calls_the_register_answers_alone() -> None:
    """A merged kernel refuses the register on a vCPU without SVE, and no call stands in for it."""
    vcpu = initialised("sve-v7", "max", F.PSCI_0_2)
    with pytest.raises(KvmError) as refused:
        vcpu.get_one_reg(SVE_VLS)
    assert lengths.by_call(vcpu) is None
    assert lengths.choose_by_call(vcpu, bytes(64), refused.value) is refused.value
    assert lengths.writing(vcpu, SVE_VLS) == "KVM_SET_ONE_REG"


class Deaf:
    """A vCPU through which the calls of 2017 do not get, as through an agent."""

    def __init__(self, vcpu: Vcpu) -> None:
        for name in ("id", "reg_list", "get_regs", "get_one_reg", "get_mp_state", "get_vcpu_events"):
            setattr(self, name, getattr(vcpu, name))


def test_lengths_that_nothing_tells_are_not_lost_in_silence() -> None:
    """Where neither the list nor a call tells them, the vCPU is not captured, and the reason names it."""
    with pytest.raises(UnlistedState, match="set of SVE vector lengths"):
        capture_vcpu(Deaf(initialised("sve-ioctl-2017")), FEATURES)  # type: ignore[arg-type]


@pytest.mark.parametrize("road", ["sve-ioctl-2017", "sve-v5"])
def test_what_finalizes_itself_needs_no_call(road: str) -> None:
    """FINALIZE is EINVAL there, and the lengths are as final as the kernel makes them."""
    vcpu = initialised(road)
    lengths.finalize(vcpu, F.SVE)
    if road == "sve-v5":
        with pytest.raises(KvmError, match="vls-final"):
            vcpu.set_one_reg(SVE_VLS, vcpu.get_one_reg(SVE_VLS))


def test_other_refusals_to_finalize_stand() -> None:
    """EPERM the second time, EINVAL for what is no feature to finalize or on a vCPU without vectors."""
    vcpu = initialised("sve-v7")
    with pytest.raises(KvmError, match="not-finalizable"):
        lengths.finalize(vcpu, F.PMU_V3)
    lengths.finalize(vcpu, F.SVE)
    with pytest.raises(KvmError, match="already-finalized"):
        lengths.finalize(vcpu, F.SVE)
    for road in ROADS:
        with pytest.raises(KvmError, match="EINVAL"):
            lengths.finalize(initialised(road, "max", F.PSCI_0_2), F.SVE)


def test_both_sets_are_told_apart() -> None:
    """Only SVE's was ever a call."""
    vcpu = initialised("sve-ioctl-2017")
    assert [lengths.writing(vcpu, reg) for reg in LENGTHS] == ["KVM_ARM_VCPU_SET_SVE_VLS", "KVM_SET_ONE_REG"]
