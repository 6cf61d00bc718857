"""What kernels differ in, as rows for a person: behaviours, numbers, writable ID register bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from armkvm.abi.caps import SME_CAPS
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.arch.encoding import SysReg
from armkvm.arch.idfields import named_fields
from armkvm.arch.sysregs import name_of
from armkvm.model.behaviour import BEHAVIOURS
from armkvm.model.profile import KernelProfile
from armkvm.model.tables.writable import reported_masks

Value = bool | int | None


@dataclass(frozen=True, slots=True)
class Row:
    """One thing in which kernels can differ: its name, what it is, and what each kernel has.

    A value is yes or no for a behaviour, else a number; None where the kernel has no such thing.
    """

    name: str
    meaning: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Differences:
    """The rows in which kernels differ; of a single kernel, all that it has."""

    behaviours: list[Row]
    numbers: list[Row]
    masks: list[Row]


def differences(kernels: Sequence[KernelProfile]) -> Differences:
    """Everything that tells some kernels apart."""
    return Differences(
        *(list(filter(_tells, rows)) for rows in (_behaviours(kernels), numbers(kernels), _masks(kernels)))
    )


def numbers(kernels: Sequence[KernelProfile]) -> Iterator[Row]:
    """The numbers that belong to a kernel's header rather than to a name, whether they differ or not."""
    for feature in VcpuFeature:
        use = "argument of KVM_ARM_VCPU_FINALIZE" if feature is VcpuFeature.VEC else "vCPU feature bit"
        yield Row(f"KVM_ARM_VCPU_{feature}", use, tuple(kernel.bit_of(feature) for kernel in kernels))
    yield Row(
        "feature-count",
        "vCPU feature bits from this one on are unknown (ENOENT)",
        tuple(kernel.feature_count for kernel in kernels),
    )
    yield Row(
        "KVM_CAP_ARM_SME",
        "capability that announces SME guests",
        tuple(SME_CAPS.get(kernel.release) for kernel in kernels),
    )


def _behaviours(kernels: Sequence[KernelProfile]) -> Iterator[Row]:
    for name, behaviour in sorted(BEHAVIOURS.items()):  # their own order is that of imports
        yield Row(name, behaviour.sentence, tuple(name in kernel for kernel in kernels))


def _masks(kernels: Sequence[KernelProfile]) -> Iterator[Row]:
    """What KVM_ARM_GET_REG_WRITABLE_MASKS reports, and the fields that not every kernel reports alike."""
    tables = [reported_masks(kernel.id_table, aarch32_el0=True) for kernel in kernels]
    for reg in sorted(set().union(*tables)):
        bits = tuple(table.get(reg) for table in tables)
        yield Row(name_of(reg), " ".join(_fields_apart(reg, [mask or 0 for mask in bits])), bits)


def _fields_apart(reg: SysReg, masks: Sequence[int]) -> Iterator[str]:
    for field in named_fields(reg):
        has = {mask & field.mask for mask in masks}
        if len(has) > 1 or (len(masks) == 1 and has != {0}):
            yield field.name


def _tells(row: Row) -> bool:
    first, *others = row.values
    return any(value != first for value in others) if others else first is not None and first is not False
