"""The mutable record of one vCPU. Little logic: the rules live beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from armkvm.abi.attributes import ADDR_UNDEF
from armkvm.abi.structs import MpState
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.encoding import SysReg
from armkvm.arch.sysregs import sysreg
from armkvm.catalog import id_of
from armkvm.errors import Rule
from armkvm.model.lifecycle import REFUSED_WHEN_DEAD, LifeCycle, life_cycle
from armkvm.state import Phase

if TYPE_CHECKING:
    from armkvm.cpu.mmio import Transfer
    from armkvm.model.execution import Execution
    from armkvm.model.vgic.record import VcpuGic
    from armkvm.model.vm import Vm

TIMER_PPIS = (27, 30, 28, 26)
"""The timers' interrupts unless userspace says otherwise: virtual, physical, and EL2's two."""

_MPIDR = int(id_of(sysreg("MPIDR_EL1")))
_AFFINITY = 0xFF_00FF_FFFF


class Vcpu:
    """Everything KVM keeps for a vCPU that userspace can see.

    `core` and `sysregs` hold numbers by register id; `id_regs` and `id_limits` (what they were
    initialised to) are the VM's own mappings where the kernel keeps ID registers per VM. `z`, `p`
    (with FFR last) and `za` hold whole slices as KVM returns them: tails beyond the vector length
    are zero. `ich` holds the virtual CPU interface of a vCPU with EL2, which no register id reaches;
    `gic` is the vCPU's part of the interrupt controller in the kernel, if there is one. `mmio` is the
    access that the last KVM_RUN left to userspace, `execution` what a guest that has run needs.
    """

    __slots__ = (
        "abort_pending",
        "core",
        "debug",
        "demux",
        "execution",
        "features",
        "gic",
        "has_run",
        "ich",
        "id",
        "id_limits",
        "id_regs",
        "life",
        "mmio",
        "mp_state",
        "p",
        "phase",
        "pmu_irq",
        "pmu_ready",
        "refuses",
        "requested",
        "serror",
        "sme_max_vq",
        "stolen_time",
        "svcr",
        "sve_max_vq",
        "sysregs",
        "timer_irqs",
        "timers_enabled",
        "vm",
        "z",
        "za",
        "zt0",
    )

    def __init__(self, vm: Vm, vcpu_id: int) -> None:
        self.vm = vm
        self.id = vcpu_id
        self.life: LifeCycle = life_cycle(vm.profile)
        self.enter(Phase.CREATED)
        self.features: frozenset[F] = vm.features or frozenset()  # the VM's, where it has some, before INIT
        self.requested: frozenset[F] = frozenset()
        self.mp_state = MpState.RUNNABLE
        self.execution: Execution | None = None
        self.mmio: Transfer | None = None
        self.debug = 0
        self.core: dict[int, int] = {}
        self.sysregs: dict[int, int] = {}
        self.id_regs: dict[int, int] = {}
        self.id_limits: dict[int, int] = {}
        self.demux: dict[int, int] = {}
        self.serror = (0, 0)
        self.abort_pending = False
        self.sve_max_vq = 0
        self.sme_max_vq = 0
        self.svcr = 0
        self.z: list[bytes] = []
        self.p: list[bytes] = []
        self.za: list[bytes] = []
        self.zt0 = bytes(64)
        self.has_run = False
        self.ich: dict[SysReg, int] = {}
        self.gic: VcpuGic | None = None
        self.timer_irqs = list(TIMER_PPIS)
        self.timers_enabled = False
        self.pmu_irq = 0
        self.pmu_ready = False
        self.stolen_time = ADDR_UNDEF

    def enter(self, phase: Phase) -> None:
        """Move to another phase of life; `refuses` is what that phase refuses, by operation."""
        self.phase = phase
        self.refuses: Mapping[str, Rule] = self.life.refused_in[phase]

    def admit(self, operation: str) -> Rule | None:
        """The rule that refuses an operation now; None admits it, which may make the vCPU ready."""
        rule = self.refuses.get(operation)
        if rule is None and self.phase is Phase.CONFIGURED and operation in self.life.finalizing:
            self.enter(Phase.READY)
        return rule

    def die(self) -> None:
        """Refuse everything from now on."""
        self.refuses = REFUSED_WHEN_DEAD

    @property
    def affinity(self) -> int:
        """Aff3, Aff2, Aff1 and Aff0 of MPIDR_EL1, which is 0 before KVM_ARM_VCPU_INIT."""
        return self.sysregs.get(_MPIDR, 0) & _AFFINITY

    @property
    def state_words(self) -> str:
        """The vCPU's state for messages; with SME, PSTATE.SM and PSTATE.ZA as well."""
        words = self.phase.value
        if F.SME in self.features:
            words += f", SM={self.svcr & 1} ZA={self.svcr >> 1 & 1}"
        if self.vm.dead:
            return f"{words}, VM dead"
        if self.vm.has_run:
            words += ", VM has run"
        return words
