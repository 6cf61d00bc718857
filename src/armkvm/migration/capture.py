"""Reading a VM's vCPU state: everything the register lists name, whatever that is."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable
from typing import NamedTuple

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.backends.base import Feature, System, Vcpu
from armkvm.errors import UnlistedState
from armkvm.migration.bulk import read_all
from armkvm.migration.lengths import listed
from armkvm.migration.ordering import READ_FIRST, ReadFirst
from armkvm.migration.snapshot import Origin, Snapshot, VcpuEvents, VcpuState, VmConfig
from armkvm.state import RegisterSet


def capture(
    system: System,
    config: VmConfig,
    vcpus: Iterable[tuple[Vcpu, Collection[Feature]]],
    *,
    host: str = "",
) -> Snapshot:
    """The state of a VM's vCPUs, each given with the features it was initialised with.

    `config` is what the VM was made with; no call tells it. The vCPUs must not be running, and must
    be finalized where there is such a call (before it KVM_GET_REG_LIST is refused with EPERM).
    KvmError where the list, the events or the MP state cannot be read; a register that cannot is
    recorded instead.
    UnlistedState where the list leaves out vector lengths or vectors of a vCPU that has them.
    """
    states = tuple(capture_vcpu(vcpu, features) for vcpu, features in vcpus)
    return Snapshot(Origin(system.uri, system.kernel, host), config, states)


def capture_vcpu(vcpu: Vcpu, features: Collection[Feature]) -> VcpuState:
    """One vCPU's state; see `capture`."""
    early, absent = read_all(vcpu, [row.reg for row in READ_FIRST if _may_exist(row, features)])
    regs = listed(vcpu)
    _check_vectors(vcpu, regs, features)
    if early or absent:
        late, refused = read_all(vcpu, [reg for reg in regs if reg not in early])
        values = {reg: (early if reg in early else late)[reg] for reg in regs if reg not in refused}
    else:
        values, refused = read_all(vcpu, regs)
    return VcpuState(
        id=vcpu.id,
        features=tuple(features),
        registers=RegisterSet(values.items()),
        refused={reg: refusal.errno or 0 for reg, refusal in refused.items()},
        mp_state=vcpu.get_mp_state(),
        events=VcpuEvents.parse(vcpu.get_vcpu_events()),
    )


class _Vectors(NamedTuple):
    """The lengths that are listed with a feature's vectors, and what is lost where they are not."""

    feature: VcpuFeature
    lengths: RegId
    lost: str


_VECTORS = (
    _Vectors(
        VcpuFeature.SVE, RegId.sve_vls(), "the set of SVE vector lengths, which no call tells here either"
    ),
    _Vectors(VcpuFeature.SME, RegId.sme_vls(), "KVM_REG_ARM64_SME_VLS, ZA and ZT0"),
)


def _check_vectors(vcpu: Vcpu, listed: Container[RegId], features: Collection[Feature]) -> None:
    """No kernel was released whose list leaves these out; proposals and revisions were posted."""
    for feature, lengths, lost in _VECTORS:
        if feature in features and lengths not in listed:
            raise UnlistedState(
                f"vCPU {vcpu.id} has {feature}, but KVM_GET_REG_LIST leaves out {lost}: what is not listed "
                f"would be lost. Capture without {feature}, or on a kernel that lists them."
            )


def _may_exist(row: ReadFirst, features: Collection[Feature]) -> bool:
    """Whether a vCPU with these features may have the register; a bare bit number may mean any feature."""
    return row.feature in features or any(not isinstance(feature, VcpuFeature) for feature in features)
