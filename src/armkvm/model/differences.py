"""What separates two kernels, as rows for a person: behaviours, numbers, writable ID register bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from armkvm.abi.caps import SME_CAPS
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.arch.sysregs import name_of
from armkvm.model.behaviour import BEHAVIOURS
from armkvm.model.profile import KernelProfile
from armkvm.model.tables.writable import reported_masks

YES, NO, ABSENT = "yes", "no", "-"


@dataclass(frozen=True, slots=True)
class Difference:
    """One row: what differs, what that means, and what either kernel has."""

    name: str
    sentence: str
    in_a: str
    in_b: str


def differences(a: KernelProfile, b: KernelProfile) -> list[Difference]:
    """Everything that differs; behaviours first, then numbers of the header, then masks."""
    return [*_behaviours(a, b), *_numbers(a, b), *_masks(a, b)]


def _behaviours(a: KernelProfile, b: KernelProfile) -> Iterator[Difference]:
    for name, row in BEHAVIOURS.items():
        if (name in a) != (name in b):
            yield Difference(name, row.sentence, *(YES if name in kernel else NO for kernel in (a, b)))


def _numbers(a: KernelProfile, b: KernelProfile) -> Iterator[Difference]:
    for feature in VcpuFeature:
        bits = [_text(kernel.bit_of(feature)) for kernel in (a, b)]
        if bits[0] != bits[1]:
            use = "argument of KVM_ARM_VCPU_FINALIZE" if feature is VcpuFeature.VEC else "vCPU feature bit"
            sentence = f"The number of KVM_ARM_VCPU_{feature}, {use}."
            yield Difference(f"KVM_ARM_VCPU_{feature}", sentence, *bits)
    if a.feature_count != b.feature_count:
        sentence = "vCPU feature bits from this one on are unknown (ENOENT)."
        yield Difference("feature-count", sentence, str(a.feature_count), str(b.feature_count))
    caps = [_text(SME_CAPS.get(kernel.name)) for kernel in (a, b)]
    if caps[0] != caps[1]:
        yield Difference("KVM_CAP_ARM_SME", "The number of the capability that announces SME guests.", *caps)


def _masks(a: KernelProfile, b: KernelProfile) -> Iterator[Difference]:
    masks = [reported_masks(kernel.id_table, aarch32_el0=True) for kernel in (a, b)]
    for reg in sorted(masks[0].keys() | masks[1].keys()):
        bits = [table.get(reg) for table in masks]
        if bits[0] != bits[1]:
            name = name_of(reg)
            sentence = f"The bits of {name} that KVM_ARM_GET_REG_WRITABLE_MASKS reports."
            yield Difference(f"writable {name}", sentence, *map(_hex, bits))


def _text(number: int | None) -> str:
    return ABSENT if number is None else str(number)


def _hex(mask: int | None) -> str:
    return ABSENT if mask is None else f"{mask:#018x}"
