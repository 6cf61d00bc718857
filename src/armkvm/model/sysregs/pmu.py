"""Rows of the PMU: on vCPUs with PMU_V3.

Event counters are 32 bits wide until PMUv3p5; enable, interrupt and overflow sets hold a bit per
counter the VM has and bit 31 for the cycle counter.

Source: Linux arch/arm64/kvm/sys_regs.c, pmu-emul.c.
"""

from __future__ import annotations

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.idfields import field
from armkvm.arch.sysregs import sysreg
from armkvm.catalog import id_of
from armkvm.model import rules
from armkvm.model.outcome import Refused
from armkvm.model.profile import PMMIR, PMU_BY_ID_REGISTERS
from armkvm.model.sysregs.table import POISON, Row, all_of, ignored, rows, store, to, under, with_feature, zero
from armkvm.model.vcpu import Vcpu

_PMU = with_feature(F.PMU_V3)
_CYCLES = 1 << 31

_PFR0 = int(id_of(sysreg("ID_AA64PFR0_EL1")))
_DFR0 = int(id_of(sysreg("ID_AA64DFR0_EL1")))
_EL2, _EL3 = field("ID_AA64PFR0_EL1", "EL2"), field("ID_AA64PFR0_EL1", "EL3")
_PMUVER = field("ID_AA64DFR0_EL1", "PMUVer")

_PMCR_N_SHIFT, _PMCR_N = 11, 0x1F << 11
_PMCR_LC = 1 << 6


def counter_mask(vcpu: Vcpu) -> int:
    """A bit for each event counter of the VM, and the cycle counter's."""
    return (1 << vcpu.vm.pmu_counters) - 1 | _CYCLES


def _reset_set(vcpu: Vcpu, row: Row) -> int:
    return POISON & counter_mask(vcpu)


def _reset_evcntr(vcpu: Vcpu, row: Row) -> int:
    return POISON & 0xFFFF_FFFF


def _reset_evtyper(vcpu: Vcpu, row: Row) -> int:
    return POISON & _evtyper_mask(vcpu)


def _evtyper_mask(vcpu: Vcpu) -> int:
    """Event number and the exception-level filters that the vCPU's levels give a meaning."""
    if PMU_BY_ID_REGISTERS not in vcpu.vm.profile:
        return 0xC800_FFFF
    pfr0, dfr0 = vcpu.id_regs[_PFR0], vcpu.id_regs[_DFR0]
    mask = 0xC000_0000 | (0x3FF if _PMUVER.extract(dfr0) == 1 else 0xFFFF)
    if _EL2.extract(pfr0):
        mask |= 1 << 27
    if _EL3.extract(pfr0):
        mask |= 1 << 29 | 1 << 28 | 1 << 26
    return mask


def _write_set(vcpu: Vcpu, row: Row, value: int) -> Refused | None:
    return store(vcpu, row, value & counter_mask(vcpu))


ROWS: list[Row] = [
    *rows(*(f"PMEVCNTR{n}_EL0" for n in range(31)), visible=_PMU, reset=_reset_evcntr),
    *rows(*(f"PMEVTYPER{n}_EL0" for n in range(31)), visible=_PMU, reset=_reset_evtyper),
    *rows("PMCCNTR_EL0", visible=_PMU),
    *rows("PMCCFILTR_EL0", "PMUSERENR_EL0", visible=_PMU, reset=to(0)),
    *rows("PMSELR_EL0", visible=_PMU, reset=to(POISON & 0x1F)),
    *rows("PMSWINC_EL0", visible=_PMU, reset=None, read=zero, write=ignored),
]
