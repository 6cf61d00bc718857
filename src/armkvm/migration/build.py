"""Making a VM with its vCPUs initialised, and saying what stands in the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack

from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.backends.base import Feature, System, Vcpu, Vm
from armkvm.errors import KvmError
from armkvm.migration import findings
from armkvm.migration.advice import Code
from armkvm.migration.findings import Finding
from armkvm.migration.snapshot import VmConfig

Wish = tuple[int, tuple[Feature, ...]]
"""A vCPU's id and the features to initialise it with."""

_TOGETHER: dict[Feature, frozenset[Feature]] = {
    VcpuFeature.PTRAUTH_ADDRESS: frozenset({VcpuFeature.PTRAUTH_GENERIC}),
    VcpuFeature.PTRAUTH_GENERIC: frozenset({VcpuFeature.PTRAUTH_ADDRESS}),
    VcpuFeature.HAS_EL2_E2H0: frozenset({VcpuFeature.HAS_EL2}),
    VcpuFeature.PMU_V3_STRICT: frozenset({VcpuFeature.PMU_V3}),
}
"""Features that INIT refuses, or ignores, without others."""


def make_vm(system: System, config: VmConfig) -> Vm:
    """A VM as configured, without vCPUs; KvmError as KVM_CREATE_VM and KVM_ENABLE_CAP refuse."""
    vm = system.create_vm(config.machine_type)
    try:
        for enabled in config.caps:
            vm.enable_cap(enabled.cap, *enabled.args)
    except BaseException:
        vm.close()
        raise
    return vm


def build(
    system: System, config: VmConfig, wishes: Sequence[Wish], undo: ExitStack, found: list[Finding]
) -> tuple[Vm, list[Vcpu]] | None:
    """The VM, which `undo` will close, and its vCPUs, initialised; None and a finding if refused."""
    try:
        vm = undo.enter_context(make_vm(system, config))
    except KvmError as error:
        if error.operation == "KVM_CREATE_VM":
            found.append(findings.refusal(Code.MACHINE_TYPE, error, asked=f"{config.machine_type:#x}"))
        else:
            caps = ", ".join(enabled.name for enabled in config.caps)
            found.append(findings.refusal(Code.CAPABILITY, error, asked=caps))
        return None
    vcpus = []
    for vcpu_id, _ in wishes:
        try:
            vcpus.append(vm.create_vcpu(vcpu_id))
        except KvmError as error:
            found.append(findings.refusal(Code.VCPU, error, vcpu=vcpu_id))
            return None
    for vcpu, (vcpu_id, features) in zip(vcpus, wishes, strict=True):
        try:
            vcpu.init(features)
        except KvmError as error:
            asked, taken = _words(features), _words(features_taken(system, config, features))
            found.append(findings.refusal(Code.FEATURES, error, vcpu=vcpu_id, asked=asked, acceptable=taken))
            return None
    return vm, vcpus


def features_taken(system: System, config: VmConfig, features: Iterable[Feature]) -> tuple[Feature, ...]:
    """Which features a place takes one by one, each tried in a VM of its own that is closed again."""
    return tuple(feature for feature in features if _takes(system, config, feature))


def _takes(system: System, config: VmConfig, feature: Feature) -> bool:
    try:
        with make_vm(system, config) as vm:
            vm.create_vcpu(0).init({feature} | _TOGETHER.get(feature, frozenset()))
    except KvmError:
        return False
    return True


def _words(features: Iterable[Feature]) -> str:
    return ", ".join(map(str, features)) or "none"
