"""Rows of EL2 registers: on vCPUs with HAS_EL2 only.

Source: Linux arch/arm64/kvm/sys_regs.c, nested.c (6.16 to 7.3).
"""

from __future__ import annotations

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.vectorfields import named_bits
from armkvm.model.sysregs.table import Row, Visible, all_of, rows, stored_under, while_field, with_feature
from armkvm.model.vcpu import Vcpu
from armkvm.model.vcpu_behaviours import SCTLR_EL2_RES1
from armkvm.model.vector_behaviours import EL2_LENGTHS_MASKED

_ZCR, _SMCR = named_bits("ZCR_EL2"), named_bits("SMCR_EL2")

_EL2 = with_feature(F.HAS_EL2)


def _el2_and(condition: Visible) -> Visible:
    return all_of(_EL2, condition)


def _reset_sctlr(vcpu: Vcpu, row: Row) -> int:
    return 0x30C5_0830 if SCTLR_EL2_RES1 in vcpu.vm.profile else 0


def _reset_mdcr(vcpu: Vcpu, row: Row) -> int:
    """HPMN: as many event counters as the VM has."""
    return vcpu.vm.pmu_counters


ROWS: list[Row] = [
    *rows("VPIDR_EL2", "VMPIDR_EL2", "VSESR_EL2", "VDISR_EL2", "SP_EL2", visible=_EL2),
    *rows("SCTLR_EL2", visible=_EL2, reset=_reset_sctlr),
    *rows("MDCR_EL2", visible=_EL2, reset=_reset_mdcr),
    *rows("CPTR_EL2", visible=_EL2, reset=0x22FF),
    *rows("TCR_EL2", visible=_EL2, reset=0x8080_0000),
    *rows(
        *("ACTLR_EL2", "HCR_EL2", "HSTR_EL2", "HACR_EL2", "TTBR0_EL2", "TTBR1_EL2", "VTTBR_EL2", "VTCR_EL2"),
        *("SPSR_EL2", "ELR_EL2", "AFSR0_EL2", "AFSR1_EL2", "ESR_EL2", "FAR_EL2", "HPFAR_EL2", "MAIR_EL2"),
        *("AMAIR_EL2", "VBAR_EL2", "CONTEXTIDR_EL2", "TPIDR_EL2", "CNTVOFF_EL2", "CNTHCTL_EL2"),
        visible=_EL2,
        reset=0,
    ),
    *rows("HCRX_EL2", visible=_el2_and(while_field("ID_AA64MMFR1_EL1", "HCX")), reset=0),
    *rows(
        *("HFGRTR_EL2", "HFGWTR_EL2", "HFGITR_EL2", "HDFGRTR_EL2", "HDFGWTR_EL2", "HAFGRTR_EL2"),
        visible=_el2_and(while_field("ID_AA64MMFR0_EL1", "FGT")),
        reset=0,
    ),
    *rows(
        *("HFGRTR2_EL2", "HFGWTR2_EL2", "HFGITR2_EL2", "HDFGRTR2_EL2", "HDFGWTR2_EL2"),
        visible=_el2_and(while_field("ID_AA64MMFR0_EL1", "FGT", 2)),
        reset=0,
    ),
    *rows(
        "ZCR_EL2",
        visible=_el2_and(with_feature(F.SVE)),
        reset=0,
        read=stored_under(_ZCR, EL2_LENGTHS_MASKED),
    ),
    *rows(
        "SMCR_EL2",
        visible=_el2_and(with_feature(F.SME)),
        reset=0,
        read=stored_under(_SMCR, EL2_LENGTHS_MASKED),
    ),
    *rows("SCTLR2_EL2", visible=_el2_and(while_field("ID_AA64MMFR3_EL1", "SCTLRX")), reset=0),
    *rows("TCR2_EL2", visible=_el2_and(while_field("ID_AA64MMFR3_EL1", "TCRX")), reset=0),
    *rows("PIRE0_EL2", "PIR_EL2", visible=_el2_and(while_field("ID_AA64MMFR3_EL1", "S1PIE")), reset=0),
    *rows("POR_EL2", visible=_el2_and(while_field("ID_AA64MMFR3_EL1", "S1POE")), reset=0),
    *rows("VNCR_EL2", visible=_el2_and(while_field("ID_AA64MMFR4_EL1", "NV_frac")), reset=0),
    *rows("CNTHP_CTL_EL2", "CNTHP_CVAL_EL2", visible=_EL2, reset=0),
    *rows(
        "CNTHV_CTL_EL2",
        "CNTHV_CVAL_EL2",
        visible=_el2_and(while_field("ID_AA64MMFR1_EL1", "VH")),
        reset=0,
    ),
]
