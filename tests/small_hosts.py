"""Hosts made up for a test: as few facts as its rule needs, under any kernel profile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from errno import errorcode

import pytest

from armkvm.abi.caps import Cap
from armkvm.abi.structs import DeviceType
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.sysregs import sysreg
from armkvm.backends.model import ModelDevice, ModelSystem, ModelVcpu, ModelVm
from armkvm.catalog import id_of
from armkvm.errors import KvmError
from armkvm.model.profile import profile_named
from armkvm.state import CpuVectors, HostFacts

EL2 = frozenset({F.PSCI_0_2, F.HAS_EL2})
PLAIN = frozenset({F.PSCI_0_2})
PMU = frozenset({F.PSCI_0_2, F.PMU_V3})

VALUES = {
    "ID_AA64PFR0_EL1": 0x0100_0012,  # GICv3; AArch32 at EL0
    "ID_PFR1_EL1": 0x1000_0000,
    "ID_AA64DFR0_EL1": 0x0000_0416,  # PMUv3 for Armv8.1
    "ID_AA64MMFR1_EL1": 0x0000_0100,  # VHE
    "PMCR_EL0": 6 << 11,
}
DEVICES = (DeviceType.VFIO, DeviceType.ARM_VGIC_V3, DeviceType.ARM_VGIC_ITS)


def host(
    kernel: str = "7.3",
    *,
    icc_ctlr: int | None = 0x8C00,
    ich_vtr: int | None = None,
    devices: Iterable[int] = DEVICES,
    values: Mapping[str, int] = VALUES,
    caps: Mapping[int, int] | None = None,
) -> ModelSystem:
    """A host with a GICv3, a PMU and, where the kernel can, EL2 for guests."""
    profile = profile_named(kernel)
    features = {F.PSCI_0_2, F.PMU_V3, F.HAS_EL2, F.PMU_V3_STRICT} & profile.feature_bits.keys()
    gic = {"ICC_CTLR_EL1": icc_ctlr, "ICH_VTR_EL2": ich_vtr}
    return ModelSystem(
        HostFacts(
            name="made up",
            cpu="none",
            kernel=profile.release,
            profile=profile.release,
            caps={Cap.NR_MEMSLOTS: 32767, Cap.STEAL_TIME: 1, Cap.ARM_SUPPORTED_REG_MASK_RANGES: 1}
            | dict(caps or {}),
            features=frozenset(features),
            preferred_target=5,
            ipa_bits=40,
            device_types=frozenset(devices),
            cpus=(CpuVectors(),),
            values={"plain": {id_of(sysreg(name)): value for name, value in values.items()}},
            vgic={name: value for name, value in gic.items() if value is not None},
        ),
        profile,
    )


@contextmanager
def refused(errno: int, rule: str, *words: str) -> Iterator[None]:
    """Where the model refuses with an errno, by a rule, and says these words."""
    with pytest.raises(KvmError) as caught:
        yield
    error = caught.value
    assert error.rule is not None
    assert (errorcode[error.errno or 0], error.rule.name) == (errorcode[errno], rule), str(error)
    assert [word for word in words if word not in str(error)] == [], str(error)


def vm_with_vcpus(system: ModelSystem, count: int = 1, features: Iterable[F] = PLAIN) -> ModelVm:
    """A VM with initialised vCPUs."""
    vm = system.create_vm()
    for number in range(count):
        vm.create_vcpu(number).init(features)
    return vm


def vcpus(vm: ModelVm) -> list[ModelVcpu]:
    """Handles to the vCPUs a VM has."""
    return [ModelVcpu(vcpu) for vcpu in vm.vm.vcpus.values()]


def gic_of(vm: ModelVm) -> ModelDevice:
    """A new GICv3 for a VM."""
    gic = vm.create_device(DeviceType.ARM_VGIC_V3)
    assert gic is not None
    return gic


def u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "little")


def number(data: bytes) -> int:
    return int.from_bytes(data, "little")
