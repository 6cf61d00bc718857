"""What separates two kernels, as rows."""

from __future__ import annotations

import itertools

import pytest

from armkvm.model.behaviour import BEHAVIOURS
from armkvm.model.differences import differences
from armkvm.model.profile import PROFILES


def rows(a: str, b: str) -> dict[str, tuple[str, str]]:
    return {row.name: (row.in_a, row.in_b) for row in differences(PROFILES[a], PROFILES[b])}


def test_a_vmm_author_sees_what_a_revision_changes() -> None:
    """The numbers, the errno of ZA, the list: what a program written for v4 runs into on v12."""
    found = rows("sme-v4", "sme-v12")
    assert found["KVM_ARM_VCPU_SME"] == ("8", "9")
    assert found["KVM_ARM_VCPU_HAS_EL2_E2H0"] == ("-", "8")
    assert found["KVM_CAP_ARM_SME"] == ("239", "250")
    assert found["za-off-is-einval"] == ("yes", "no")
    assert found["lists-sme-state"] == ("no", "yes")
    assert found["writable ID_AA64SMFR0_EL1"] == ("0x9ff1ffff70000000", "0xbff1ffff73810001")
    assert found["writable SMIDR_EL1"] == ("-", "0x0fffffffffff6fff")
    assert "sme-guests" not in found  # both have it


def test_what_was_merged_is_what_6_1_has() -> None:
    assert rows("sve-v7", "6.1") == {}


def test_a_road_differs_from_what_was_merged_in_how_lengths_become_final() -> None:
    assert rows("sve-v5", "sve-v7") == {
        "implicit-finalization": ("yes", "no"),
        "vector-ids-enoent": ("yes", "no"),
    }
    assert rows("sve-ioctl-2017", "sve-v7") == {"sve-vls-calls": ("yes", "no")}


@pytest.mark.parametrize(("a", "b"), list(itertools.product(PROFILES, repeat=2)))
def test_rows_turn_with_the_kernels(a: str, b: str) -> None:
    """B against A is A against B with the columns exchanged; a kernel does not differ from itself."""
    there, back = rows(a, b), rows(b, a)
    assert back == {name: (in_b, in_a) for name, (in_a, in_b) in there.items()}
    assert bool(there) is (a != b and {a, b} != {"sve-v7", "6.1"})
    assert all(in_a != in_b for in_a, in_b in there.values())


def test_every_behaviour_of_a_kernel_is_told_by_some_pair() -> None:
    """What all kernels have, or none, would be no difference."""
    held = set().union(*(profile.behaviours for profile in PROFILES.values()))
    assert held <= BEHAVIOURS.keys()
    told = {name for a, b in itertools.combinations(PROFILES, 2) for name in rows(a, b)}
    assert held <= told
