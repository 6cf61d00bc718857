"""The register frames of distributor and redistributor: KVM_DEV_ARM_VGIC_GRP_DIST_REGS, REDIST_REGS.

Userspace accesses aligned 32-bit words. Words without a register, and those of interrupts that the
GIC does not have, read as zero and ignore writes; KVM_HAS_DEVICE_ATTR tells them apart.

Source: Linux arch/arm64/kvm/vgic/vgic-mmio-v3.c, vgic-mmio.c; userspace's view of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from armkvm.model import device_rules
from armkvm.model.device_behaviours import DIST_ID_BEFORE_INIT, IIDR_REVISION_IGNORED
from armkvm.model.outcome import Refused
from armkvm.model.vcpu import Vcpu
from armkvm.model.vgic import addresses
from armkvm.model.vgic.record import PRIVATE, Irq, part

Read = Callable[[Vcpu, int], int]
Write = Callable[[Vcpu, int, int], Refused | None]

GICD_IIDR, GICD_TYPER2 = 0x8, 0xC
_KVM, _ARM = 0x4B << 24, 0x43B
_WORD = 0xFFFF_FFFF
_ID_BITS, _ID_BITS_WITH_ITS = 10, 16


class Frame(NamedTuple):
    """Registers at `offset` up to `offset + length`; `width` bits for each interrupt, or 0."""

    offset: int
    length: int
    read: Read
    write: Write
    width: int = 0


def _zero(vcpu: Vcpu, offset: int) -> int:
    return 0


def _ignored(vcpu: Vcpu, offset: int, value: int) -> Refused | None:
    return None


# -- distributor -------------------------------------------------------------------------------


def _read_gicd_ctlr(vcpu: Vcpu, offset: int) -> int:
    """One security state, affinity routing, and group 1 on or off."""
    return 1 << 6 | 1 << 4 | vcpu.vm.in_kernel_gic.enabled << 1


def _write_gicd_ctlr(vcpu: Vcpu, offset: int, value: int) -> Refused | None:
    vcpu.vm.in_kernel_gic.enabled = bool(value & 2)
    return None


def _read_gicd_typer(vcpu: Vcpu, offset: int) -> int:
    lines = (vcpu.vm.in_kernel_gic.nr_irqs >> 5) - 1
    if vcpu.vm.has_its:
        return lines | (_ID_BITS_WITH_ITS - 1) << 19 | 1 << 17
    return lines | (_ID_BITS - 1) << 19


def _read_gicd_iidr(vcpu: Vcpu, offset: int) -> int:
    return _KVM | vcpu.vm.in_kernel_gic.revision << 12 | _ARM


def _write_gicd_iidr(vcpu: Vcpu, offset: int, value: int) -> Refused | None:
    """Revision 2 brought configurable groups, 3 LPIs that can be disabled."""
    gic, current = vcpu.vm.in_kernel_gic, _read_gicd_iidr(vcpu, offset)
    if (value ^ current) & ~(0xF << 12):
        return Refused(device_rules.IIDR_INVALID, f"GICD_IIDR: asked for {value:#x}, it is {current:#x}")
    if IIDR_REVISION_IGNORED in vcpu.vm.profile:
        return None
    revision = value >> 12 & 0xF
    if revision not in (2, 3):
        return Refused(device_rules.IIDR_INVALID, f"GICD_IIDR.Revision is {revision}, allowed are 2 and 3")
    gic.revision = revision
    return None


def _write_gicd_typer2(vcpu: Vcpu, offset: int, value: int) -> Refused | None:
    """No modelled host can inject SGIs directly, so the register is 0."""
    if not value:
        return None
    if DIST_ID_BEFORE_INIT in vcpu.vm.profile and vcpu.vm.in_kernel_gic.initialised:
        return Refused(device_rules.TYPER2_FIXED, f"GICD_TYPER2: asked for {value:#x}, it is 0")
    return Refused(device_rules.TYPER2_INVALID, f"GICD_TYPER2: asked for {value:#x}, it is 0")


def _all_ones(vcpu: Vcpu, offset: int) -> int:
    return _WORD


def _read_pidr2(vcpu: Vcpu, offset: int) -> int:
    return 0x3B if offset & 0xFFFF == 0xFFE8 else 0


# -- registers with bits for each interrupt ----------------------------------------------------


def _first(offset: int, width: int) -> int:
    """The first interrupt of a word; each of these registers covers 1024."""
    return (offset & width * 1024 // 8 - 1) * 8 // width


def _irqs(vcpu: Vcpu, offset: int, width: int) -> Iterator[tuple[int, Irq]]:
    """(number, interrupt) for those that share a word."""
    gic, first = vcpu.vm.in_kernel_gic, _first(offset, width)
    for intid in range(first, min(first + max(32 // width, 1), gic.nr_irqs)):
        yield intid, gic.irq(vcpu, intid)


def _per_irq(name: str, width: int) -> Read:
    """Gather one property of the interrupts that share a word."""

    def read(vcpu: Vcpu, offset: int) -> int:
        first = _first(offset, width)
        return sum(
            int(getattr(irq, name)) << (intid - first) * width for intid, irq in _irqs(vcpu, offset, width)
        )

    return read


def _assign(name: str) -> Write:
    """Give every interrupt of the word its bit."""

    def write(vcpu: Vcpu, offset: int, value: int) -> Refused | None:
        first = _first(offset, 1)
        for intid, irq in _irqs(vcpu, offset, 1):
            setattr(irq, name, bool(value >> intid - first & 1))
        return None

    return write


def _where_set(name: str, to: bool) -> Write:
    """Set or clear a property of the interrupts whose bit is 1."""

    def write(vcpu: Vcpu, offset: int, value: int) -> Refused | None:
        first = _first(offset, 1)
        for intid, irq in _irqs(vcpu, offset, 1):
            if value >> intid - first & 1:
                setattr(irq, name, to)
        return None

    return write


def _write_priority(vcpu: Vcpu, offset: int, value: int) -> Refused | None:
    """Five bits of priority."""
    first = _first(offset, 8)
    for intid, irq in _irqs(vcpu, offset, 8):
        irq.priority = value >> (intid - first) * 8 & 0xF8
    return None


def _read_config(vcpu: Vcpu, offset: int) -> int:
    first = _first(offset, 2)
    return sum(irq.edge << (intid - first) * 2 + 1 for intid, irq in _irqs(vcpu, offset, 2))


def _write_config(vcpu: Vcpu, offset: int, value: int) -> Refused | None:
    """SPIs only: KVM's own devices rely on what the private ones are."""
    first = _first(offset, 2)
    for intid, irq in _irqs(vcpu, offset, 2):
        if intid >= PRIVATE:
            irq.edge = bool(value >> (intid - first) * 2 + 1 & 1)
    return None


def _read_route(vcpu: Vcpu, offset: int) -> int:
    return 0 if offset & 4 else sum(irq.route for _, irq in _irqs(vcpu, offset, 64))


def _write_route(vcpu: Vcpu, offset: int, value: int) -> Refused | None:
    """Aff2.Aff1.Aff0; KVM knows no Aff3."""
    if not offset & 4:
        for _, irq in _irqs(vcpu, offset, 64):
            irq.route = value & 0xFF_FFFF
    return None


_BITS: tuple[tuple[int, Read, Write], ...] = (
    (0x080, _per_irq("group", 1), _assign("group")),
    (0x100, _per_irq("enabled", 1), _where_set("enabled", True)),
    (0x180, _per_irq("enabled", 1), _where_set("enabled", False)),
    (0x200, _per_irq("pending", 1), _assign("pending")),
    (0x280, _zero, _ignored),  # ICPENDR: ISPENDR assigns
    (0x300, _per_irq("active", 1), _where_set("active", True)),
    (0x380, _per_irq("active", 1), _where_set("active", False)),
)
"""IGROUPR, ISENABLER, ICENABLER, ISPENDR, ICPENDR, ISACTIVER and ICACTIVER."""


def _shared(offset: int, width: int, read: Read, write: Write) -> tuple[Frame, Frame]:
    """The distributor's view: private interrupts are the redistributor's."""
    private = width * PRIVATE // 8
    whole = width * 1024 // 8
    return (
        Frame(offset, private, _zero, _ignored, width),
        Frame(offset + private, whole - private, read, write, width),
    )


DISTRIBUTOR: tuple[Frame, ...] = (
    Frame(0x0, 4, _read_gicd_ctlr, _write_gicd_ctlr),
    Frame(0x4, 4, _read_gicd_typer, _ignored),
    Frame(GICD_IIDR, 4, _read_gicd_iidr, _write_gicd_iidr),
    Frame(GICD_TYPER2, 4, _zero, _write_gicd_typer2),
    Frame(0x10, 4, _all_ones, _ignored),
    *(frame for offset, read, write in _BITS for frame in _shared(offset, 1, read, write)),
    *_shared(0x400, 8, _per_irq("priority", 8), _write_priority),
    *_shared(0x800, 8, _zero, _ignored),
    *_shared(0xC00, 2, _read_config, _write_config),
    *_shared(0xD00, 1, _zero, _ignored),
    *_shared(0x6000, 64, _read_route, _write_route),
    Frame(0xFFD0, 48, _read_pidr2, _ignored),
)


# -- redistributor -----------------------------------------------------------------------------


def _read_gicr_ctlr(vcpu: Vcpu, offset: int) -> int:
    """Since revision 3 the guest is told that LPIs can be disabled and invalidated by register."""
    return part(vcpu).lpis_enabled | (0b110 if vcpu.vm.in_kernel_gic.revision >= 3 else 0)


def _write_gicr_ctlr(vcpu: Vcpu, offset: int, value: int) -> Refused | None:
    if vcpu.vm.has_its:
        part(vcpu).lpis_enabled = bool(value & 1)
    return None


def _read_gicr_iidr(vcpu: Vcpu, offset: int) -> int:
    return _KVM | _ARM


def _read_gicr_typer(vcpu: Vcpu, offset: int) -> int:
    value = (vcpu.affinity & 0xFF_FFFF) << 32 | (vcpu.id & 0xFFFF) << 8 | vcpu.vm.has_its
    value |= addresses.is_last(vcpu.vm.in_kernel_gic, vcpu) << 4
    return value >> (offset & 4) * 8 & _WORD


_SHARE, _INNER, _OUTER = 0x3 << 10, 0x7 << 7, 0x7 << 56
_INNER_SHAREABLE, _OUTER_SHAREABLE, _READ_ALLOCATE = 1 << 10, 2 << 10, 3 << 7
_PROPBASER_RES0 = 0x1F << 59 | 0xF << 52 | 0x3 << 5
_PENDBASER_RES0 = 1 << 63 | 0x7 << 59 | 0xF << 52 | 0xF << 12 | 0x7F
_PENDING_TABLE_ZERO = 1 << 62


def _tamed(value: int, reserved: int) -> int:
    """A table's address with memory attributes that KVM honours."""
    if value & _SHARE == _OUTER_SHAREABLE:
        value = value & ~_SHARE | _INNER_SHAREABLE
    if value & _INNER <= 1 << 7:  # not cacheable
        value = value & ~_INNER | _READ_ALLOCATE
    if value & _OUTER > 1 << 56:  # neither "as inner" nor "not cacheable"
        value &= ~_OUTER
    return value & ~reserved


def _half(old: int, offset: int, value: int) -> int:
    shift = (offset & 4) * 8
    return old & ~(_WORD << shift) | value << shift


def _read_propbaser(vcpu: Vcpu, offset: int) -> int:
    return vcpu.vm.in_kernel_gic.propbaser >> (offset & 4) * 8 & _WORD


def _write_propbaser(vcpu: Vcpu, offset: int, value: int) -> Refused | None:
    gic = vcpu.vm.in_kernel_gic
    if not part(vcpu).lpis_enabled:
        gic.propbaser = _tamed(_half(gic.propbaser, offset, value), _PROPBASER_RES0)
    return None


def _read_pendbaser(vcpu: Vcpu, offset: int) -> int:
    return (part(vcpu).pendbaser & ~_PENDING_TABLE_ZERO) >> (offset & 4) * 8 & _WORD


def _write_pendbaser(vcpu: Vcpu, offset: int, value: int) -> Refused | None:
    own = part(vcpu)
    if not own.lpis_enabled:
        own.pendbaser = _tamed(_half(own.pendbaser, offset, value), _PENDBASER_RES0)
    return None


_SGI = 64 << 10
"""Where the second frame starts, of the private interrupts."""

REDISTRIBUTOR: tuple[Frame, ...] = (
    Frame(0x0, 4, _read_gicr_ctlr, _write_gicr_ctlr),
    Frame(0x4, 4, _read_gicr_iidr, _ignored),
    Frame(0x8, 8, _read_gicr_typer, _ignored),
    Frame(0x10, 4, _zero, _ignored),
    Frame(0x14, 4, _zero, _ignored),
    Frame(0x70, 8, _read_propbaser, _write_propbaser),
    Frame(0x78, 8, _read_pendbaser, _write_pendbaser),
    Frame(0xA0, 8, _zero, _ignored),
    Frame(0xB0, 8, _zero, _ignored),
    Frame(0xC0, 4, _zero, _ignored),
    Frame(0xFFD0, 48, _read_pidr2, _ignored),
    *(Frame(_SGI + offset, 4, read, write) for offset, read, write in _BITS),
    Frame(_SGI + 0x400, 32, _per_irq("priority", 8), _write_priority),
    Frame(_SGI + 0xC00, 8, _read_config, _write_config),
    Frame(_SGI + 0xD00, 4, _zero, _ignored),
    Frame(_SGI + 0xE00, 4, _zero, _ignored),
)


def find(frames: tuple[Frame, ...], vcpu: Vcpu, offset: int) -> Frame | None:
    """The registers at an offset, None where there is nothing to access."""
    if offset & 3:
        return None
    for frame in frames:
        if frame.offset <= offset < frame.offset + frame.length:
            there = not frame.width or _first(offset, frame.width) < vcpu.vm.in_kernel_gic.nr_irqs
            return frame if there else None
    return None


def read(frames: tuple[Frame, ...], vcpu: Vcpu, offset: int) -> int:
    """A word as userspace reads it."""
    frame = find(frames, vcpu, offset)
    return 0 if frame is None else frame.read(vcpu, offset)


def write(frames: tuple[Frame, ...], vcpu: Vcpu, offset: int, value: int) -> Refused | None:
    """Write a word as userspace does."""
    frame = find(frames, vcpu, offset)
    return None if frame is None else frame.write(vcpu, offset, value)


# -- line levels -------------------------------------------------------------------------------


def read_levels(vcpu: Vcpu, first: int) -> int:
    """The lines of 32 level-triggered interrupts."""
    gic = vcpu.vm.in_kernel_gic
    numbers = range(first, min(first + 32, gic.nr_irqs))
    irqs = ((intid, gic.irq(vcpu, intid)) for intid in numbers)
    return sum((irq.level and not irq.edge) << intid - first for intid, irq in irqs)


def write_levels(vcpu: Vcpu, first: int, value: int) -> None:
    """Set the lines of 32 interrupts, however they are triggered now; SGIs have none."""
    gic = vcpu.vm.in_kernel_gic
    for intid in range(max(first, 16), min(first + 32, gic.nr_irqs)):
        gic.irq(vcpu, intid).level = bool(value >> intid - first & 1)
