"""The mutable record of one VM."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from armkvm.abi.caps import DEFAULT_IPA_BITS, Cap
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.errors import ModelBug
from armkvm.model import rules
from armkvm.model.host import Platform
from armkvm.model.memory import Memory
from armkvm.model.outcome import Refused
from armkvm.model.profile import KernelProfile
from armkvm.model.vcpu import TIMER_PPIS, Vcpu
from armkvm.model.vcpu_behaviours import VM_WIDE_FEATURES

if TYPE_CHECKING:
    from armkvm.model.execution import SharedMemory
    from armkvm.model.vgic.record import Vgic

_DEFAULT_SLOTS = 32767


class Vm:
    """Everything KVM keeps for a VM that userspace can see.

    `features` is None until the first successful KVM_ARM_VCPU_INIT, `is_32bit` (where features
    belong to each vCPU) until the first one that got as far as a reset. `id_regs` holds the feature
    ID registers of the VM and `id_limits` what each was initialised to, which is the most it may be
    set to. `has_settled` says that the work of a first run was done, `has_run` that it also
    succeeded. `counter` is the host's physical counter, which advances when it is looked at.
    """

    def __init__(self, platform: Platform, machine_type: int) -> None:
        self.platform = platform
        self.profile: KernelProfile = platform.profile
        self.ipa_bits = machine_type & 0xFF or DEFAULT_IPA_BITS
        self.vcpus: dict[int, Vcpu] = {}
        self.caps: dict[int, tuple[int, ...]] = {}
        self.features: frozenset[F] | None = None
        self.is_32bit: bool | None = None
        self.id_regs: dict[int, int] = {}
        self.id_limits: dict[int, int] = {}
        self._shared: dict[int, int] = {}
        self.psci_version = 0
        self.bitmaps: dict[int, int] = {}
        self.has_run = False
        self.has_settled = False
        self.dead = False
        self.counter = 1_000_000
        self.offsets: dict[str, int] = {}
        self.offset_is_fixed = False
        self.pmu_counters = platform.pmu_counters
        self.pmu_chosen = False
        self.pmu_filtered = False
        self.memory = Memory(platform.facts.caps.get(Cap.NR_MEMSLOTS, _DEFAULT_SLOTS), self.ipa_bits)
        self.shared_memory: SharedMemory | None = None
        self.gic: Vgic | None = None
        self.has_its = False
        self.has_vfio = False
        self.timer_irqs = list(TIMER_PPIS)
        self.timer_irqs_fixed = False
        self.smccc_filter: list[tuple[int, int, int]] = []

    @property
    def in_kernel_gic(self) -> Vgic:
        """The interrupt controller where there is one."""
        if self.gic is None:
            raise ModelBug("the VM has no interrupt controller")
        return self.gic

    def die(self) -> None:
        """End the VM: from now on every call on it, its vCPUs and its devices is refused."""
        self.dead = True
        for vcpu in self.vcpus.values():
            vcpu.die()

    @property
    def has_mte(self) -> bool:
        """Whether the VM was given memory tags, which is done by capability."""
        return Cap.ARM_MTE in self.caps

    def adopt(self, vcpu: Vcpu) -> None:
        """Fix the VM's features at its first initialised vCPU, and give the vCPU its ID registers."""
        limits = self.platform.limits(vcpu.features, self.has_mte)
        if VM_WIDE_FEATURES not in self.profile:
            vcpu.id_limits = limits
            vcpu.id_regs = {reg: self._shared.get(reg, value) for reg, value in limits.items()}
            return
        if self.features is None:
            self.features = vcpu.features
            for other in self.vcpus.values():
                other.features = vcpu.features
            self.id_limits = limits
            self.id_regs = dict(limits)
            if F.PMU_V3_STRICT in vcpu.features and not self.pmu_chosen:
                self.pmu_counters = 0  # no PMU until userspace chooses one
        vcpu.id_limits, vcpu.id_regs = self.id_limits, self.id_regs

    def write_id(self, reg: int, value: int) -> None:
        """Change an ID register for the whole VM: in its own mapping, or in every vCPU's copy."""
        if self.id_regs:
            self.id_regs[reg] = value
            return
        self._shared[reg] = value
        for vcpu in self.vcpus.values():
            if reg in vcpu.id_regs:
                vcpu.id_regs[reg] = value


_P = ParamSpec("_P")
_R = TypeVar("_R")


def living(call: Callable[Concatenate[Vm, _P], _R]) -> Callable[Concatenate[Vm, _P], _R | Refused]:
    """A call on a VM descriptor, which a dead VM refuses before anything else is looked at."""

    @wraps(call)
    def checked(vm: Vm, /, *args: _P.args, **kwargs: _P.kwargs) -> _R | Refused:
        return Refused(rules.VM_DEAD) if vm.dead else call(vm, *args, **kwargs)

    return checked
