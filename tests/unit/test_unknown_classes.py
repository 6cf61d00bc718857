"""Ids of a class that the kernel does not know, as real 6.1, 6.12, 7.2 and 7.3 answered them."""

from __future__ import annotations

from errno import EINVAL, ENOENT

import pytest

import armkvm
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.backends.base import Vcpu
from armkvm.catalog import parse
from armkvm.errors import KvmError

INVARIANT = ("MIDR_EL1", "REVIDR_EL1", "AIDR_EL1")
CACHES = ("CLIDR_EL1", "CTR_EL0")
OTHERS = ("MPIDR_EL1", "ID_AA64PFR0_EL1", "SCTLR_EL1", "KVM_REG_ARM_TIMER_CTL")
CLASSES = (0x00, 0x12, 0x17, 0x18, 0xFFF)


def vcpu_on(kernel: str) -> Vcpu:
    vcpu = armkvm.connect(f"model:max?kernel={kernel}").create_vm().create_vcpu(0)
    vcpu.init({F.PSCI_0_2})
    return vcpu


def in_class(name: str, number: int) -> RegId:
    return RegId(parse(name) & ~(0xFFF << 16) | number << 16)


def errno_of(vcpu: Vcpu, reg: RegId, data: bytes | None = None) -> int:
    try:
        if data is None:
            vcpu.get_one_reg(reg)
        else:
            vcpu.set_one_reg(reg, data)
    except KvmError as refused:
        return refused.errno or 0
    return 0


@pytest.mark.parametrize("number", CLASSES)
@pytest.mark.parametrize(
    ("kernel", "named"), [("6.1", INVARIANT + CACHES), ("6.12", INVARIANT), ("7.2", ()), ("7.3", ())]
)
def test_invariant_registers_answered_in_any_class(kernel: str, named: tuple[str, ...], number: int) -> None:
    """Their own value may be written back, another is EINVAL; everything else is ENOENT."""
    vcpu = vcpu_on(kernel)
    for name in (*INVARIANT, *CACHES, *OTHERS):
        reg, value = in_class(name, number), vcpu.get_one_reg(parse(name))
        other = bytes([value[0] ^ 1]) + value[1:]
        if name in named:
            assert vcpu.get_one_reg(reg) == value
            assert (errno_of(vcpu, reg, value), errno_of(vcpu, reg, other)) == (0, EINVAL)
        else:
            told = errno_of(vcpu, reg), errno_of(vcpu, reg, value), errno_of(vcpu, reg, other)
            assert told == (ENOENT, ENOENT, ENOENT)


def test_a_narrow_id_names_none() -> None:
    """Of 32 bits they are ENOENT on 6.1 too."""
    assert errno_of(vcpu_on("6.1"), RegId(0x6020_0000_0012_C000)) == ENOENT
