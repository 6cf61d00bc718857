"""A new VM's vCPU, made as a baseline says."""

from __future__ import annotations

from armkvm.abi import vls
from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.backends.base import System, Vcpu
from armkvm.catalog import parse
from armkvm.migration.build import make_vm
from armkvm.migration.bulk import write_all
from armkvm.migration.capture import capture_vcpu
from armkvm.migration.lengths import finalize
from armkvm.migration.plan import LENGTHS, finalizing
from armkvm.migration.snapshot import EnabledCap, VcpuState, VmConfig, sorted_features
from armkvm.state import GuestCpu

PSCI_VERSION = parse("KVM_REG_ARM_PSCI_VERSION")
_IDENTITY = frozenset(map(parse, ("MIDR_EL1", "REVIDR_EL1", "AIDR_EL1")))
_WRITABLE_IDENTITY = VmConfig(caps=(EnabledCap(Cap.ARM_WRITABLE_IMP_ID_REGS),))


def provision(place: System, guest: GuestCpu) -> tuple[VmConfig, VcpuState]:
    """What a vCPU holds that a place made for `guest`, and how its VM was made.

    KvmError where the place refuses a part of it. The VM is closed again.
    """
    config = _WRITABLE_IDENTITY if guest.id_registers.keys() & _IDENTITY else VmConfig()
    features = sorted_features(guest.features)
    with make_vm(place, config) as vm, vm.create_vcpu(0) as vcpu:
        vcpu.init(features)
        configure(vcpu, guest)
        return config, capture_vcpu(vcpu, features)


def configure(vcpu: Vcpu, guest: GuestCpu) -> None:
    """Give an initialised vCPU all that `guest` has beyond features, and finalize it.

    KvmError where the place refuses a part of it.
    """
    for reg, lengths in zip(LENGTHS, (guest.sve, guest.sme), strict=True):
        if lengths:
            for refused in write_all(vcpu, [(reg, vls.encode(lengths))]).values():
                raise refused
    for reg, value in registers(guest).items():
        vcpu.set_one_reg(reg, value.to_bytes(reg.size, "little"))
    what = finalizing({reg for reg, has in zip(LENGTHS, (guest.sve, guest.sme), strict=True) if has})
    if what is not None:
        finalize(vcpu, what)


def registers(guest: GuestCpu) -> dict[RegId, int]:
    """Every register that is written for `guest`, in order."""
    version = {} if guest.psci_version is None else {PSCI_VERSION: guest.psci_version}
    return {**guest.id_registers, **guest.bitmaps, **version}
