"""Memory slots: KVM's rules in KVM's order, and the bytes behind them."""

from __future__ import annotations

from errno import EEXIST, EFAULT, EINVAL
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st
from tests.small_hosts import host, refused

from armkvm.backends.model import ModelVm
from armkvm.errors import PlaceError
from armkvm.model.memory import LIMIT, LOG_DIRTY_PAGES, READONLY, Memory

RAM, PAGE = 0x4000_0000, 4096


def vm_with_slot() -> ModelVm:
    vm = host().create_vm()
    vm.set_memory(3, RAM, 4 * PAGE)
    return vm


def test_a_slot_is_zeroed_memory_until_it_is_deleted() -> None:
    vm = vm_with_slot()
    assert vm.read_memory(RAM, 4 * PAGE) == bytes(4 * PAGE)
    vm.write_memory(RAM + 5, b"hello")
    assert vm.read_memory(RAM + 4, 7) == b"\0hello\0"
    vm.set_memory(3, 0, 0)
    with pytest.raises(ValueError, match="no memory at 0x40000005"):
        vm.read_memory(RAM + 5, 1)
    vm.set_memory(3, RAM, PAGE)
    assert vm.read_memory(RAM + 5, 5) == bytes(5)


@pytest.mark.parametrize(
    ("asked", "errno", "rule"),
    [
        ((0, RAM, PAGE, 4), EINVAL, "memory-flags-unknown"),
        ((0, RAM + 1, PAGE, 0), EINVAL, "memory-misaligned"),
        ((0, RAM, PAGE + 1, 0), EINVAL, "memory-misaligned"),
        ((32767, 0, PAGE, 0), EINVAL, "memory-slot-number"),
        ((1 << 16, 0, PAGE, 0), EINVAL, "memory-slot-number"),
        ((0, (1 << 64) - PAGE, 2 * PAGE, 0), EINVAL, "memory-too-large"),
        ((0, 0, 1 << 43, 0), EINVAL, "memory-too-large"),
        ((0, RAM, 0, 0), EINVAL, "no-such-slot"),
        ((3, RAM, 4 * PAGE, 0), EINVAL, "memory-slot-taken"),
        ((3, 0, 4 * PAGE, 0), EINVAL, "memory-slot-taken"),
        ((0, RAM + 3 * PAGE, PAGE, 0), EEXIST, "memory-overlap"),
        ((0, RAM - PAGE, 2 * PAGE, 0), EEXIST, "memory-overlap"),
        ((0, RAM - PAGE, 6 * PAGE, 0), EEXIST, "memory-overlap"),
        ((0, 1 << 40, PAGE, 0), EFAULT, "memory-beyond-ipa"),
        ((0, (1 << 40) - PAGE, 2 * PAGE, 0), EFAULT, "memory-beyond-ipa"),
    ],
)
def test_what_is_refused(asked: tuple[int, int, int, int], errno: int, rule: str) -> None:
    vm = vm_with_slot()
    with refused(errno, rule, "KVM_SET_USER_MEMORY_REGION"):
        vm.set_memory(*asked)
    assert list(vm.vm.memory.slots) == [3]


@pytest.mark.parametrize(
    ("slot", "base", "size", "flags"),
    [
        (0, RAM + 4 * PAGE, PAGE, 0),
        (0, RAM - PAGE, PAGE, 0),
        (32766, 0, PAGE, READONLY | LOG_DIRTY_PAGES),
        (0, (1 << 40) - PAGE, PAGE, 0),
    ],
)
def test_what_is_allowed(slot: int, base: int, size: int, flags: int) -> None:
    vm = vm_with_slot()
    before = vm.vm.memory.generation
    vm.set_memory(slot, base, size, flags)
    assert vm.read_memory(base, size) == bytes(size)
    assert vm.vm.memory.generation == before + 1


@pytest.mark.parametrize(
    ("slot", "base", "size", "flags", "rule"),
    [
        (1 << 16, RAM + 1, PAGE, 4, "memory-flags-unknown"),
        (1 << 16, RAM + 1, PAGE, 0, "memory-misaligned"),
        (1 << 16, (1 << 64) - PAGE, 2 * PAGE, 0, "memory-slot-number"),
        (3, (1 << 64) - PAGE, 2 * PAGE, 0, "memory-too-large"),
    ],
)
def test_the_first_fault_in_the_kernels_order_decides(
    slot: int, base: int, size: int, flags: int, rule: str
) -> None:
    with refused(EINVAL, rule):
        vm_with_slot().set_memory(slot, base, size, flags)


def test_slots_that_adjoin_are_read_and_written_as_one() -> None:
    vm = vm_with_slot()
    vm.set_memory(4, RAM + 4 * PAGE, PAGE, READONLY)
    seam = RAM + 4 * PAGE - 2
    vm.write_memory(seam, b"abcd")
    assert vm.read_memory(seam - 1, 6) == b"\0abcd\0"


def test_a_write_that_leaves_memory_writes_nothing() -> None:
    vm = vm_with_slot()
    with pytest.raises(ValueError, match=f"no memory at {RAM + 4 * PAGE:#x}"):
        vm.write_memory(RAM + 4 * PAGE - 2, b"abcd")
    assert vm.read_memory(RAM + 4 * PAGE - 2, 2) == bytes(2)
    with pytest.raises(ValueError, match="-1 bytes"):
        vm.read_memory(RAM, -1)


def test_a_vm_has_a_bounded_amount_of_memory() -> None:
    vm = vm_with_slot()
    with pytest.raises(PlaceError, match="at most 4 GiB"):
        vm.set_memory(0, 1 << 36, LIMIT)
    vm.set_memory(0, 1 << 36, LIMIT - 4 * PAGE)
    assert vm.read_memory((1 << 36) + LIMIT - 5 * PAGE, 8) == bytes(8)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 7), st.integers(0, 4), st.sampled_from((0, READONLY))),
        max_size=12,
    )
)
def test_slots_never_overlap_whatever_is_asked(
    requests: list[tuple[int, int, int, int]],
) -> None:
    """Any sequence of creations and deletions leaves disjoint slots that are found by address."""
    memory = Memory(slots=4, ipa_bits=32)
    for slot, page, pages, flags in requests:
        memory.set_slot(slot, page * PAGE, pages * PAGE, flags)
    slots = sorted(memory.slots.values(), key=lambda slot: slot.base)
    assert all(a.end <= b.base for a, b in pairwise(slots))
    for page in range(12):
        holding = [slot for slot in slots if slot.base <= page * PAGE < slot.end]
        assert memory.slot_at(page * PAGE) == (holding[0] if holding else None)
