"""KVM_{HAS,GET,SET}_DEVICE_ATTR on a vCPU descriptor.

Source: Linux arch/arm64/kvm/guest.c (kvm_arm_vcpu_arch_has_attr), pmu-emul.c, arch_timer.c.
"""

from __future__ import annotations

from armkvm.abi.structs import VcpuAttr
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.model import rules
from armkvm.model.outcome import Refused
from armkvm.model.profile import FOUR_TIMERS, PMU_NR_COUNTERS
from armkvm.model.vcpu import Vcpu


def _known(vcpu: Vcpu) -> dict[int, int]:
    """Group -> how many attributes it has on this vCPU."""
    profile = vcpu.vm.profile
    groups = {VcpuAttr.TIMER: 4 if FOUR_TIMERS in profile else 2, VcpuAttr.PVTIME: 1}
    if F.PMU_V3 in vcpu.features:
        groups[VcpuAttr.PMU_V3] = 5 if PMU_NR_COUNTERS in profile else 4
    return groups


def has_attr(vcpu: Vcpu, group: int, attr: int) -> Refused | None:
    """KVM_HAS_DEVICE_ATTR on a vCPU, in any phase."""
    if not 0 <= attr < _known(vcpu).get(group, 0):
        return Refused(rules.NO_SUCH_ATTR, f"group {group}, attribute {attr:#x}")
    return None
