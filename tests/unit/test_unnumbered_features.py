"""Features that a kernel has no number for are refused as numbers it does not know, whatever names them."""

from __future__ import annotations

from errno import EINVAL, ENOENT, ENOEXEC

import pytest

import armkvm
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.catalog import parse
from armkvm.errors import KvmError

KERNELS = ["6.1", "6.12", "7.3"]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("features", [{F.SME}, {F.SVE, F.SME}])
def test_init_with_one_is_enoent(kernel: str, features: set[F]) -> None:
    with armkvm.connect(f"model:max?kernel={kernel}") as system, system.create_vm() as vm:
        with pytest.raises(KvmError, match="SME has no number in kernel") as refused:
            vm.create_vcpu(0).init(features)
        assert refused.value.errno == ENOENT


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("feature", [F.SME, F.VEC])
def test_finalizing_one_is_einval_and_enoexec_before_init(kernel: str, feature: F) -> None:
    with armkvm.connect(f"model:max?kernel={kernel}") as system, system.create_vm() as vm:
        vcpu = vm.create_vcpu(0)
        for expected in (ENOEXEC, EINVAL):
            with pytest.raises(KvmError) as refused:
                vcpu.finalize(feature)
            assert refused.value.errno == expected
            if expected == ENOEXEC:
                vcpu.init({F.PSCI_0_2})


def test_what_is_no_feature_is_the_callers_mistake() -> None:
    with armkvm.connect("model:max?kernel=7.3") as system, system.create_vm() as vm:
        vcpu = vm.create_vcpu(0)
        with pytest.raises(TypeError, match=r"armkvm\.VcpuFeature"):
            vcpu.init({"SVE"})  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="an int of 32 bits"):
            vcpu.finalize(1 << 40)


@pytest.mark.parametrize("svcr", range(4))
def test_a_refusal_tells_the_modes_of_a_vcpu_with_sme(svcr: int) -> None:
    """Which registers there are follows from PSTATE.SM and PSTATE.ZA, so the state names both."""
    with armkvm.connect("model:sme-max") as system, system.create_vm() as vm:
        vcpu = vm.create_vcpu(0)
        vcpu.init({F.SVE, F.SME})
        vcpu.finalize(F.VEC)
        vcpu.set_one_reg(parse("SVCR"), svcr.to_bytes(8, "little"))
        with pytest.raises(KvmError) as refused:
            vcpu.set_one_reg(RegId.sme_vls(), bytes(64))
        assert refused.value.state == f"ready, SM={svcr & 1} ZA={svcr >> 1}"
