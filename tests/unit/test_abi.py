"""Numbers and layouts of the ABI, against those a compiler gets from the kernel's headers."""

from __future__ import annotations

from struct import Struct

import pytest

from armkvm.abi import structs, vcpu_features, vls
from armkvm.abi.caps import SME_CAPS, Cap
from armkvm.abi.ioctls import ISSUED_ON, Ioctl, On
from armkvm.abi.vcpu_features import FEATURE_BITS_MAX, VcpuFeature
from armkvm.arch.vectors import VectorLengths

REQUESTS = {
    "KVM_GET_API_VERSION": (0x0000AE00, "system"),
    "KVM_CREATE_VM": (0x0000AE01, "system"),
    "KVM_CHECK_EXTENSION": (0x0000AE03, "system"),
    "KVM_GET_VCPU_MMAP_SIZE": (0x0000AE04, "system"),
    "KVM_CREATE_VCPU": (0x0000AE41, "vm"),
    "KVM_SET_USER_MEMORY_REGION": (0x4020AE46, "vm"),
    "KVM_SET_USER_MEMORY_REGION2": (0x40A0AE49, "vm"),
    "KVM_CREATE_IRQCHIP": (0x0000AE60, "vm"),
    "KVM_IRQ_LINE": (0x4008AE61, "vm"),
    "KVM_RUN": (0x0000AE80, "vcpu"),
    "KVM_GET_MP_STATE": (0x8004AE98, "vcpu"),
    "KVM_SET_MP_STATE": (0x4004AE99, "vcpu"),
    "KVM_SET_GUEST_DEBUG": (0x4208AE9B, "vcpu"),
    "KVM_GET_VCPU_EVENTS": (0x8040AE9F, "vcpu"),
    "KVM_SET_VCPU_EVENTS": (0x4040AEA0, "vcpu"),
    "KVM_ENABLE_CAP": (0x4068AEA3, "vm"),
    "KVM_GET_ONE_REG": (0x4010AEAB, "vcpu"),
    "KVM_SET_ONE_REG": (0x4010AEAC, "vcpu"),
    "KVM_SET_SIGNAL_MASK": (0x4004AE8B, "vcpu"),
    "KVM_ARM_VCPU_INIT": (0x4020AEAE, "vcpu"),
    "KVM_ARM_PREFERRED_TARGET": (0x8020AEAF, "vm"),
    "KVM_GET_REG_LIST": (0xC008AEB0, "vcpu"),
    "KVM_ARM_MTE_COPY_TAGS": (0x8030AEB4, "vm"),
    "KVM_ARM_SET_COUNTER_OFFSET": (0x4010AEB5, "vm"),
    "KVM_ARM_GET_REG_WRITABLE_MASKS": (0x8040AEB6, "vm"),
    "KVM_ARM_VCPU_FINALIZE": (0x4004AEC2, "vcpu"),
    "KVM_CREATE_DEVICE": (0xC00CAEE0, "vm"),
    "KVM_SET_DEVICE_ATTR": (0x4018AEE1, "device"),
    "KVM_GET_DEVICE_ATTR": (0x4018AEE2, "device"),
    "KVM_HAS_DEVICE_ATTR": (0x4018AEE3, "device"),
}


def test_every_request_has_the_number_headers_give_it_and_its_descriptor() -> None:
    assert {call.name: (int(call), ISSUED_ON[call].value) for call in Ioctl} == REQUESTS


def test_every_kind_of_descriptor_has_a_request() -> None:
    assert set(ISSUED_ON.values()) == set(On)


@pytest.mark.parametrize(
    ("layout", "size"),
    [
        (structs.ONE_REG, 16),
        (structs.VCPU_INIT, 32),
        (structs.REG_LIST_HEAD, 8),
        (structs.MP_STATE, 4),
        (structs.MEMORY_REGION, 32),
        (structs.ENABLE_CAP, 104),
        (structs.DEVICE_ATTR, 24),
        (structs.CREATE_DEVICE, 12),
        (structs.REG_MASK_RANGE, 64),
        (structs.COUNTER_OFFSET, 16),
        (structs.VCPU_EVENTS, 64),
    ],
)
def test_structures_have_the_kernels_size(layout: Struct, size: int) -> None:
    assert layout.size == size


def test_fields_lie_where_the_kernel_reads_them() -> None:
    events = structs.VCPU_EVENTS.pack(1, 2, 3, 0x1122334455667788, *([0] * 12))
    assert events[:3] == b"\1\2\3"
    assert events[8:16] == bytes.fromhex("8877665544332211")
    cap = structs.ENABLE_CAP.pack(177, 0, 1, 2, 3, 4)
    assert cap[8] == 1
    assert cap[40:] == bytes(64)
    masks = structs.REG_MASK_RANGE.pack(7, 9, *range(13))
    assert (masks[0], masks[8], masks[16]) == (7, 9, 1)


def test_writable_mask_slots_and_registers_are_one_to_one() -> None:
    registers = [structs.mask_register(index) for index in range(structs.FEATURE_ID_MASKS)]
    assert len(set(registers)) == structs.FEATURE_ID_MASKS
    assert [structs.mask_index(op1, crm, op2) for _, op1, _, crm, op2 in registers] == list(range(192))
    assert structs.mask_register(structs.mask_index(0, 4, 0)) == (3, 0, 0, 4, 0), "ID_AA64PFR0_EL1"
    assert structs.mask_register(structs.mask_index(3, 0, 1)) == (3, 3, 0, 0, 1), "CTR_EL0"


def test_capabilities_have_one_number_each_below_the_recorded_range() -> None:
    assert len({int(cap) for cap in Cap}) == len(Cap.__members__)
    assert max(Cap) < 300


def test_numbers_of_a_series_under_review_stay_out_of_mainlines_table() -> None:
    assert "ARM_SME" not in Cap.__members__
    assert set(SME_CAPS) == {"sme-v4", "sme-v12"}


@pytest.mark.parametrize("name", [name for name in vars(vcpu_features) if name.startswith("BITS_")])
def test_feature_bits_fit_and_only_vec_shares_one(name: str) -> None:
    bits: dict[VcpuFeature, int] = getattr(vcpu_features, name)
    numbers = [number for feature, number in bits.items() if feature is not VcpuFeature.VEC]
    assert len(set(numbers)) == len(numbers)
    assert all(0 <= number < FEATURE_BITS_MAX for number in numbers)
    assert bits.get(VcpuFeature.VEC, bits[VcpuFeature.SVE]) == bits[VcpuFeature.SVE]


def test_bit_8_moved_between_the_series_and_mainline() -> None:
    assert vcpu_features.BITS_SME_V4[VcpuFeature.SME] == 8
    assert vcpu_features.BITS_7_3[VcpuFeature.HAS_EL2_E2H0] == 8
    assert (
        vcpu_features.BITS_7_3[VcpuFeature.PMU_V3_STRICT] == vcpu_features.BITS_SME_V12[VcpuFeature.SME] == 9
    )


def test_features_are_spelled_as_the_kernel_does_without_prefix() -> None:
    assert all(feature == feature.name == str(feature) for feature in VcpuFeature)


@pytest.mark.parametrize(
    ("vqs", "words"),
    [([1, 2, 4], [0b1011]), ([64, 65], [1 << 63, 1]), ([512], [0, 0, 0, 0, 0, 0, 0, 1 << 63]), ([], [])],
)
def test_a_vector_length_set_is_eight_little_endian_words(vqs: list[int], words: list[int]) -> None:
    data = Struct("<8Q").pack(*words, *([0] * (8 - len(words))))
    assert vls.encode(VectorLengths(vqs)) == data
    assert vls.decode(data) == VectorLengths(vqs)


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a_vector_length_set_is_64_bytes(size: int) -> None:
    with pytest.raises(ValueError, match=f"64 bytes, not {size}"):
        vls.decode(bytes(size))
