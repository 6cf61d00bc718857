"""Rows of the PMU: on vCPUs with PMU_V3.

Event counters are 32 bits wide until PMUv3p5; enable, interrupt and overflow sets hold a bit per
counter the VM has and bit 31 for the cycle counter.

Source: Linux arch/arm64/kvm/sys_regs.c, pmu-emul.c.
"""

from __future__ import annotations

from functools import lru_cache

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.idfields import field
from armkvm.arch.sysregs import sysreg
from armkvm.catalog import id_of
from armkvm.model import register_rules
from armkvm.model.outcome import Refused
from armkvm.model.sysregs.table import (
    POISON,
    Row,
    all_of,
    ignored,
    rows,
    store,
    stored,
    to_host,
    under,
    with_feature,
    zero,
)
from armkvm.model.vcpu import Vcpu
from armkvm.model.vcpu_behaviours import PMMIR, PMU_BY_ID_REGISTERS, PMU_SETS_AND_CLEARS

_PMU = with_feature(F.PMU_V3)
_CYCLES = 1 << 31

_PFR0 = int(id_of(sysreg("ID_AA64PFR0_EL1")))
_DFR0 = int(id_of(sysreg("ID_AA64DFR0_EL1")))
_EL2, _EL3 = field("ID_AA64PFR0_EL1", "EL2"), field("ID_AA64PFR0_EL1", "EL3")
_PMUVER = field("ID_AA64DFR0_EL1", "PMUVer")

_PMCR_N_SHIFT, _PMCR_N = 11, 0x1F << 11
_PMCR_LC = 1 << 6
_PMCR_WRITABLE = 0xFF
_ALL_BITS = (1 << 64) - 1


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
    return _evtyper_bits(vcpu.id_regs[_PFR0], vcpu.id_regs[_DFR0])


@lru_cache(maxsize=256)
def _evtyper_bits(pfr0: int, dfr0: int) -> int:
    mask = 0xC000_0000 | (0x3FF if _PMUVER.extract(dfr0) == 1 else 0xFFFF)
    if _EL2.extract(pfr0):
        mask |= 1 << 27
    if _EL3.extract(pfr0):
        mask |= 1 << 29 | 1 << 28 | 1 << 26
    return mask


def _reset_pmcr(vcpu: Vcpu, row: Row) -> int:
    if PMU_BY_ID_REGISTERS not in vcpu.vm.profile:
        return to_host(vcpu, row)
    return 0 if vcpu.vm.platform.has_aarch32_el0 else _PMCR_LC


def _read_pmcr(vcpu: Vcpu, row: Row) -> int:
    value = stored(vcpu, row)
    if PMU_BY_ID_REGISTERS not in vcpu.vm.profile:
        return value
    return value & ~_PMCR_N | vcpu.vm.pmu_counters << _PMCR_N_SHIFT


def _write_pmcr(vcpu: Vcpu, row: Row, value: int) -> Refused | None:
    """N lowers the VM's number of counters until it runs; too many are silently ignored."""
    vm = vcpu.vm
    if PMU_BY_ID_REGISTERS not in vm.profile:
        return store(vcpu, row, value)
    counters = (value & _PMCR_N) >> _PMCR_N_SHIFT
    fixed = F.PMU_V3_STRICT in vcpu.features or F.HAS_EL2 in vcpu.features
    if not vm.has_run and not fixed and counters <= vm.platform.pmu_counters:
        vm.pmu_counters = counters
    value &= _PMCR_WRITABLE
    return store(vcpu, row, value if vm.platform.has_aarch32_el0 else value | _PMCR_LC)


def _paired(set_name: str, clear_name: str) -> list[Row]:
    """Two views of one set of bits, kept under the SET register's id."""
    home = int(id_of(sysreg(set_name)))

    def read(vcpu: Vcpu, row: Row) -> int:
        return vcpu.sysregs[home] & _seen(vcpu)

    def assign(vcpu: Vcpu, value: int) -> None:
        vcpu.sysregs[home] = value

    def write_set(vcpu: Vcpu, row: Row, value: int) -> Refused | None:
        if PMU_SETS_AND_CLEARS in vcpu.vm.profile:
            value = vcpu.sysregs[home] | value & counter_mask(vcpu)
        assign(vcpu, _kept(vcpu, value))
        return None

    def write_clear(vcpu: Vcpu, row: Row, value: int) -> Refused | None:
        if PMU_SETS_AND_CLEARS in vcpu.vm.profile:
            value = vcpu.sysregs[home] & ~(value & counter_mask(vcpu))
        assign(vcpu, _kept(vcpu, value))
        return None

    return [
        *rows(set_name, visible=_PMU, reset=_reset_set, read=read, write=write_set),
        *rows(clear_name, visible=_PMU, reset=None, read=read, write=write_clear),
    ]


def _kept(vcpu: Vcpu, value: int) -> int:
    return value & counter_mask(vcpu) if PMU_BY_ID_REGISTERS in vcpu.vm.profile else value


def _seen(vcpu: Vcpu) -> int:
    return counter_mask(vcpu) if PMU_BY_ID_REGISTERS in vcpu.vm.profile else _ALL_BITS


_SLOTS = 0xFF


def _write_pmmir(vcpu: Vcpu, row: Row, value: int) -> Refused | None:
    """SLOTS may be hidden before the first run."""
    current = stored(vcpu, row)
    if value & ~_SLOTS:
        return Refused(register_rules.PMMIR_INVALID, f"asked for {value:#x}")
    if vcpu.vm.has_run:
        return (
            None
            if value == current
            else Refused(register_rules.PMMIR_FROZEN, f"asked for {value:#x}, it is {current:#x}")
        )
    if value not in (0, current):
        return Refused(register_rules.PMMIR_INVALID, f"asked for {value:#x}, it is {current:#x}")
    return store(vcpu, row, value)


ROWS: list[Row] = [
    *rows("PMCR_EL0", visible=_PMU, reset=_reset_pmcr, read=_read_pmcr, write=_write_pmcr),
    *_paired("PMCNTENSET_EL0", "PMCNTENCLR_EL0"),
    *_paired("PMINTENSET_EL1", "PMINTENCLR_EL1"),
    *_paired("PMOVSSET_EL0", "PMOVSCLR_EL0"),
    *rows("PMMIR_EL1", visible=all_of(under(PMMIR), _PMU), reset=to_host, write=_write_pmmir),
    *rows(*(f"PMEVCNTR{n}_EL0" for n in range(31)), visible=_PMU, reset=_reset_evcntr),
    *rows(*(f"PMEVTYPER{n}_EL0" for n in range(31)), visible=_PMU, reset=_reset_evtyper),
    *rows("PMCCNTR_EL0", visible=_PMU),
    *rows("PMCCFILTR_EL0", "PMUSERENR_EL0", visible=_PMU, reset=0),
    *rows("PMSELR_EL0", visible=_PMU, reset=POISON & 0x1F),
    *rows("PMSWINC_EL0", visible=_PMU, reset=None, read=zero, write=ignored),
]
