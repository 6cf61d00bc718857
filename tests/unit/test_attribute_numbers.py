"""Device attributes are packed as the kernel's header says."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from armkvm.abi import attributes as abi
from armkvm.arch.encoding import SysReg
from armkvm.arch.sysregs import sysreg

affinities = st.integers(0, 0xFF_FFFF).flatmap(lambda low: st.integers(0, 0xFF).map(lambda h: h << 32 | low))


def test_structures_have_the_kernels_sizes() -> None:
    assert abi.PMU_EVENT_FILTER.size == 8
    assert abi.SMCCC_FILTER.size == 24


@given(affinities, st.integers(0, 0xFFFF).map(SysReg))
def test_a_cpu_sysreg_names_vcpu_and_register(mpidr: int, reg: SysReg) -> None:
    attr = abi.cpu_sysreg(reg, mpidr)
    assert (abi.affinity(attr), abi.cpu_sysreg_encoding(attr)) == (mpidr, reg)


def test_icc_ctlr_of_the_vcpu_with_aff0_1() -> None:
    """As recorded: KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS, attribute 0x10000c664."""
    assert abi.cpu_sysreg(sysreg("ICC_CTLR_EL1"), 0x8000_0001) == 0x1_0000_C664


@given(st.integers(0, 255), st.integers(0, (1 << 36) - 1).map(lambda n: n << 16), st.integers(1, 4095))
def test_a_redistributor_region_packs_and_unpacks(index: int, base: int, count: int) -> None:
    word = abi.region(index, base, count)
    assert (abi.region_index(word), word & abi.REGION_BASE, abi.region_count(word)) == (index, base, count)
    assert not word & abi.REGION_FLAGS


@pytest.mark.parametrize(
    ("attr", "kind", "first"), [(0x20, 0, 32), (0x400, 1, 0), (0xFFFF_FFFF, 0x3F_FFFF, 1023)]
)
def test_level_information_is_kind_and_first_interrupt(attr: int, kind: int, first: int) -> None:
    assert abi.level_info(attr) == (kind, first)
