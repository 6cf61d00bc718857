"""Snapshot values refuse nonsense when built, and keep what they were given."""

from __future__ import annotations

import pytest

from armkvm.abi import vls
from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.arch.vectors import VectorLengths
from armkvm.migration.compare import differences
from armkvm.migration.snapshot import EnabledCap, Origin, Snapshot, VcpuEvents, VcpuState, VmConfig
from armkvm.state import RegisterSet

X0, X1, Z0, CNT = RegId.x(0), RegId.x(1), RegId.z(0), RegId(0x603000000013DF1A)


def state(**changes: object) -> VcpuState:
    known: dict[str, object] = {"id": 0, "features": (), "registers": RegisterSet([(X0, bytes(8))])}
    return VcpuState(**(known | changes))  # type: ignore[arg-type]  # a test hands over nonsense on purpose


def snapshot(*vcpus: VcpuState, vm: VmConfig | None = None) -> Snapshot:
    return Snapshot(Origin("x"), vm or VmConfig(), vcpus or (state(),))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"id": 512}, "0..511"),
        ({"id": -1}, "0..511"),
        ({"mp_state": 1 << 32}, "32 bits"),
        ({"refused": {X0: 22}}, "has a value and was refused"),
        ({"features": (224,)}, "0..223"),
    ],
)
def test_a_vcpu_state_refuses_nonsense(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        state(**changes)


@pytest.mark.parametrize("label", ["x" * 401, "a\nb", "\x1b[31m", "\ud800"])
def test_labels_are_short_and_printable(label: str) -> None:
    """They go to terminals, and come from strangers."""
    with pytest.raises(ValueError, match="printable"):
        Origin(label)


def test_a_snapshot_has_vcpus_and_each_once() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Snapshot(Origin("x"), VmConfig(), ())
    with pytest.raises(ValueError, match="twice"):
        snapshot(state(id=3), state(id=3))


@pytest.mark.parametrize(("cap", "args"), [(1 << 32, ()), (-1, ()), (1, (1,) * 5), (1, (1 << 64,))])
def test_a_capability_fits_its_structure(cap: int, args: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="capability"):
        EnabledCap(cap, args)


def test_features_are_in_the_abis_order_and_once() -> None:
    given = (9, VcpuFeature.SVE, 3, VcpuFeature.PSCI_0_2, VcpuFeature.SVE)
    assert state(features=given).features == (VcpuFeature.PSCI_0_2, VcpuFeature.SVE, 3, 9)


def test_vector_lengths_are_what_their_pseudo_register_holds() -> None:
    lengths = VectorLengths([1, 2, 4])
    with_sve = state(registers=RegisterSet([(RegId.sve_vls(), vls.encode(lengths))]))
    assert (with_sve.sve_lengths, with_sve.sme_lengths) == (lengths, None)


def test_events_keep_their_fields_and_lose_no_bit() -> None:
    events = VcpuEvents(serror_pending=1, serror_has_esr=1, serror_esr=0x1FF_FFFF)
    assert VcpuEvents.parse(events.pack()) == events
    with pytest.raises(ValueError, match="reserved"):
        VcpuEvents.parse(bytes(63) + b"\1")


def test_only_a_pending_serror_is_the_guests() -> None:
    """KVM_GET_VCPU_EVENTS reports has_esr from the host's RAS extension even with nothing pending."""
    assert VcpuEvents(serror_has_esr=1, serror_esr=5).carried == VcpuEvents()
    assert VcpuEvents(serror_pending=1, serror_esr=5).carried == VcpuEvents(serror_pending=1)
    pending = VcpuEvents(serror_pending=1, serror_has_esr=1, serror_esr=5)
    assert pending.carried == pending


def test_equal_snapshots_do_not_differ_wherever_they_were_taken() -> None:
    one = RegisterSet([(X0, bytes(8)), (X1, bytes(8))])
    other = RegisterSet([(X1, bytes(8)), (X0, bytes(8))])
    elsewhere = Snapshot(Origin("y"), VmConfig(), (state(registers=other),))
    assert differences(snapshot(state(registers=one)), elsewhere) == ()


def test_every_difference_is_named() -> None:
    before = snapshot(
        state(registers=RegisterSet([(X0, bytes(8)), (CNT, bytes(8))]), refused={Z0: 1}),
        state(id=1),
    )
    after = snapshot(
        state(
            registers=RegisterSet([(X0, b"\1" + bytes(7)), (X1, bytes(8)), (CNT, b"\7" + bytes(7))]),
            features=(VcpuFeature.SVE,),
            mp_state=5,
            events=VcpuEvents(serror_pending=1),
        ),
        vm=VmConfig(0x28, (EnabledCap(Cap.ARM_MTE),)),
    )
    assert [str(each) for each in differences(before, after)] == [
        "machine type: 0x0 -> 0x28",
        "capabilities: none -> ARM_MTE",
        "vCPU 0: features: none -> SVE",
        "vCPU 0: MP state: 0 -> 5",
        "vCPU 0: events: none -> SError pending",
        "vCPU 0: X0: 0x0000000000000000 -> 0x0000000000000001",
        "vCPU 0: KVM_REG_ARM_TIMER_CNT: 0x0000000000000000 -> 0x0000000000000007 (changes by itself)",
        "vCPU 0: Z0: refused with EPERM -> absent",
        "vCPU 0: X1: absent -> 0x0000000000000000",
        "vCPU 1: vCPU: present -> absent",
    ]
