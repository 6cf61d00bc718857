"""On kernels where each vCPU chooses its features, the first that can be had fixes EL1's width for the VM."""

from __future__ import annotations

import pytest

import armkvm
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.errors import KvmError

WIDE, NARROW = (F.PSCI_0_2,), (F.PSCI_0_2, F.EL1_32BIT)


def test_a_width_the_cpu_lacks_fixes_nothing() -> None:
    """Recorded on 6.1 on a Neoverse V1, which runs AArch32 at EL0 only: EINVAL, and then 64 bits."""
    vcpu = armkvm.connect("model:neoverse-v1?kernel=6.1").create_vm().create_vcpu(0)
    with pytest.raises(KvmError, match="EINVAL"):
        vcpu.init(NARROW)
    vcpu.init(WIDE)


@pytest.mark.parametrize(("first", "second"), [(WIDE, NARROW), (NARROW, WIDE)])
def test_all_vcpus_have_the_first_ones_width(first: tuple[F, ...], second: tuple[F, ...]) -> None:
    """EINVAL for the other width, on a CPU that has both."""
    vm = armkvm.connect("model:max?kernel=6.1").create_vm()
    vm.create_vcpu(0).init(first)
    other = vm.create_vcpu(1)
    with pytest.raises(KvmError, match="width-differs"):
        other.init(second)
    other.init(first)
