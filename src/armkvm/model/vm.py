"""The mutable record of one VM."""

from __future__ import annotations

from armkvm.abi.caps import Cap
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.model import firmware
from armkvm.model.host import Platform
from armkvm.model.profile import VM_WIDE_FEATURES, KernelProfile
from armkvm.model.vcpu import Vcpu

DEFAULT_IPA_BITS = 40


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
        self.bitmaps: dict[int, int] = firmware.initial_bitmaps(platform.profile)
        self.has_run = False
        self.has_settled = False
        self.dead = False
        self.counter = 1_000_000
        self.offsets: dict[str, int] = {}
        self.offset_is_fixed = False
        self.pmu_counters = platform.pmu_counters

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
            self.id_limits = limits
            self.id_regs = dict(limits)
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
