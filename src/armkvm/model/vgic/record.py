"""The mutable records of a GICv3: the VM's part, each vCPU's, and one interrupt. Little logic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from armkvm.abi.attributes import ADDR_UNDEF
from armkvm.errors import ModelBug
from armkvm.model.vgic.hardware import HostGic

if TYPE_CHECKING:
    from armkvm.model.vcpu import Vcpu

SGIS, PRIVATE = 16, 32
"""Interrupts 0 to 15 are SGIs, 16 to 31 PPIs; both belong to a vCPU. SPIs follow."""

DEFAULT_IRQS = 256
LATEST_REVISION = 3
DIST_SIZE = 64 << 10
REDIST_SIZE = 128 << 10
INITIAL_TABLE = 0x580
"""A table at address 0 in inner shareable, read-allocating write-back memory."""


class Irq:
    """One interrupt. `pending` is the latch that userspace sees, `owner` the device wired to it."""

    __slots__ = ("active", "edge", "enabled", "group", "level", "owner", "pending", "priority", "route")

    def __init__(self, *, enabled: bool = False, edge: bool = True) -> None:
        self.enabled = enabled
        self.edge = edge
        self.group = 1
        self.pending = False
        self.active = False
        self.level = False
        self.priority = 0
        self.route = 0
        self.owner: object = None


class Region:
    """A run of redistributors. `count` 0 is the single region that grows with the VM's vCPUs."""

    __slots__ = ("base", "count", "index", "used")

    def __init__(self, index: int, base: int, count: int) -> None:
        self.index = index
        self.base = base
        self.count = count
        self.used = 0

    def size(self, vcpus: int) -> int:
        """Bytes, with so many vCPUs."""
        return (self.count or vcpus) * REDIST_SIZE

    @property
    def is_full(self) -> bool:
        return bool(self.count) and self.used >= self.count


class VcpuGic:
    """A vCPU's redistributor and CPU interface.

    `pri_bits`, `pre_bits`, `id_bits`, `seis` and `a3v` are raw field values, from initialisation on;
    the rest of the interface is what ICH_VMCR_EL2 and the active-priority registers hold.
    """

    __slots__ = (
        "a3v",
        "active_priorities",
        "bpr0",
        "bpr1",
        "cbpr",
        "eoimode",
        "id_bits",
        "igrpen0",
        "igrpen1",
        "irqs",
        "lpis_enabled",
        "pendbaser",
        "pmr",
        "pre_bits",
        "pri_bits",
        "redist_base",
        "region",
        "region_slot",
        "seis",
    )

    def __init__(self, gic: HostGic) -> None:
        self.irqs = [Irq(enabled=n < SGIS, edge=n < SGIS) for n in range(PRIVATE)]
        self.redist_base = ADDR_UNDEF
        self.region: Region | None = None
        self.region_slot = 0
        self.lpis_enabled = False
        self.active_priorities = {0: [0] * 4, 1: [0] * 4}
        self.initialise(gic)

    def initialise(self, gic: HostGic) -> None:
        """Start the CPU interface with all that the host's has."""
        self.pendbaser = INITIAL_TABLE
        self.pri_bits, self.pre_bits, self.id_bits = gic.pri_bits, gic.pre_bits, gic.id_bits
        self.seis, self.a3v = gic.seis, gic.a3v
        self.pmr = self.bpr0 = self.bpr1 = self.cbpr = self.eoimode = self.igrpen0 = self.igrpen1 = 0


class Vgic:
    """The distributor. `ready` means that a vCPU has run with it; `spis` exist from initialisation on."""

    def __init__(self, has_its: bool) -> None:
        self.nr_spis = 0
        self.initialised = False
        self.ready = False
        self.dist_base = ADDR_UNDEF
        self.regions: list[Region] = []
        self.revision = LATEST_REVISION
        self.enabled = False
        self.propbaser = INITIAL_TABLE if has_its else 0
        self.maintenance_irq = 0
        self.spis: list[Irq] = []

    @property
    def nr_irqs(self) -> int:
        """All interrupts of a vCPU's view: private ones and SPIs."""
        return self.nr_spis + PRIVATE

    def irq(self, vcpu: Vcpu, intid: int) -> Irq:
        """An interrupt as a vCPU knows it, below `nr_irqs`."""
        if intid < PRIVATE:
            return part(vcpu).irqs[intid]
        return self.spis[intid - PRIVATE]


def part(vcpu: Vcpu) -> VcpuGic:
    """The vCPU's part of its VM's GIC; it has one as soon as the VM does."""
    if vcpu.gic is None:
        raise ModelBug(f"vCPU {vcpu.id} has no part in a GIC")
    return vcpu.gic
