"""What separates two kernels, as rows."""

from __future__ import annotations

import itertools

import pytest

from armkvm.model.behaviour import BEHAVIOURS
from armkvm.model.differences import Value, differences, numbers
from armkvm.model.profile import PROFILES


def rows(*kernels: str) -> dict[str, tuple[Value, ...]]:
    found = differences([PROFILES[name] for name in kernels])
    return {row.name: row.values for row in (*found.behaviours, *found.numbers, *found.masks)}


def test_a_vmm_author_sees_what_a_revision_changes() -> None:
    """The numbers, the errno of ZA, the list: what a program written for v4 runs into on v12."""
    found = rows("sme-v4", "sme-v12")
    assert found["KVM_ARM_VCPU_SME"] == (8, 9)
    assert found["KVM_ARM_VCPU_HAS_EL2_E2H0"] == (None, 8)
    assert found["KVM_CAP_ARM_SME"] == (239, 250)
    assert found["za-off-is-einval"] == (True, False)
    assert found["lists-sme-state"] == (False, True)
    assert found["ID_AA64SMFR0_EL1"] == (0x9FF1_FFFF_7000_0000, 0xBFF1_FFFF_7381_0001)
    assert found["SMIDR_EL1"] == (None, 0x0FFF_FFFF_FFFF_6FFF)
    assert "sme-guests" not in found  # both have it


def test_what_was_merged_is_what_6_1_has() -> None:
    assert rows("sve-v7", "6.1") == {}


def test_a_road_differs_from_what_was_merged_in_how_lengths_become_final() -> None:
    assert rows("sve-v5", "sve-v7") == {
        "implicit-finalization": (True, False),
        "vector-ids-enoent": (True, False),
    }
    assert rows("sve-ioctl-2017", "sve-v7") == {"sve-vls-calls": (True, False)}


@pytest.mark.parametrize(("a", "b"), list(itertools.product(PROFILES, repeat=2)))
def test_rows_turn_with_the_kernels(a: str, b: str) -> None:
    """B against A is A against B with the columns exchanged; a kernel does not differ from itself."""
    there, back = rows(a, b), rows(b, a)
    assert back == {name: values[::-1] for name, values in there.items()}
    assert bool(there) is (a != b and {a, b} != {"sve-v7", "6.1"})
    assert all(in_a != in_b for in_a, in_b in there.values())


def test_every_behaviour_of_a_kernel_is_told_by_some_pair() -> None:
    """What all kernels have, or none, would be no difference."""
    held = set().union(*(profile.behaviours for profile in PROFILES.values()))
    assert held <= BEHAVIOURS.keys()
    told = {name for a, b in itertools.combinations(PROFILES, 2) for name in rows(a, b)}
    assert held <= told


def test_fields_that_a_mask_gains_are_named() -> None:
    """A mask alone says little; F16MM and EltPerm of ZFR0 became writable between 6.12 and 6.18."""
    found = differences([PROFILES["6.12"], PROFILES["6.18"]])
    fields = {row.name: row.meaning for row in found.masks}
    assert fields["ID_AA64ZFR0_EL1"] == "F16MM EltPerm"
    assert fields["ID_AA64MMFR4_EL1"] == "NV_frac"


def test_a_single_kernel_is_told_with_all_it_has() -> None:
    """Bit 0 is a number like any other; what the kernel lacks is left out."""
    found = rows("6.1")
    assert found["KVM_ARM_VCPU_POWER_OFF"] == (0,)
    assert "KVM_ARM_VCPU_SME" not in found
    assert not any(value is None or value is False for (value,) in found.values())


def test_several_kernels_share_one_table() -> None:
    assert rows("6.1", "6.18", "sme-v12")["KVM_ARM_VCPU_SME"] == (None, None, 9)


def test_numbers_are_told_whether_they_differ_or_not() -> None:
    """KVM_ARM_VCPU_VEC is 4 in both revisions, so it is no difference but a number all the same."""
    told = {row.name: row.values for row in numbers([PROFILES["sme-v4"], PROFILES["sme-v12"]])}
    assert told["KVM_ARM_VCPU_VEC"] == (4, 4)
    assert "KVM_ARM_VCPU_VEC" not in rows("sme-v4", "sme-v12")
