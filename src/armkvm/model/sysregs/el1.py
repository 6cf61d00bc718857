"""Rows of EL1 and EL0 system registers that have no subject of their own.

Source: Linux arch/arm64/kvm/sys_regs.c (sys_reg_descs), 6.1 to 7.3.
"""

from __future__ import annotations

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.model import register_rules
from armkvm.model.outcome import Refused
from armkvm.model.sysregs.table import (
    Row,
    any_of,
    rows,
    store,
    to_host,
    under,
    while_field,
    with_feature,
)
from armkvm.model.vcpu import Vcpu
from armkvm.model.vcpu_behaviours import UNGATED_TCR2_PIR

_OSLSR_RESET = 0x8
_OSLSR_OSLK = 0x2


def _write_oslsr(vcpu: Vcpu, row: Row, value: int) -> Refused | None:
    if (value ^ _OSLSR_RESET) & ~_OSLSR_OSLK:
        return Refused(register_rules.OSLSR_FIXED, f"asked for {value:#x}")
    return store(vcpu, row, value)


def _reset_mpidr(vcpu: Vcpu, row: Row) -> int:
    """Affinity from the vCPU's number: 16 per Aff0, as the GIC's SGIs want it."""
    aff0, aff1, aff2 = vcpu.id & 15, vcpu.id >> 4 & 0xFF, vcpu.id >> 12 & 0xFF
    return 1 << 31 | aff2 << 16 | aff1 << 8 | aff0


def _mte_enabled(vcpu: Vcpu) -> bool:
    return vcpu.vm.has_mte


_DEBUG = [f"DBG{kind}{n}_EL1" for n in range(16) for kind in ("BVR", "BCR", "WVR", "WCR")]
_KEYS = [f"AP{key}Key{half}_EL1" for key in ("IA", "IB", "DA", "DB", "GA") for half in ("Lo", "Hi")]

ROWS: list[Row] = [
    # debug
    *rows(*_DEBUG, "MDCCINT_EL1", "MDSCR_EL1", "DBGVCR32_EL2", reset=0),
    *rows("OSLSR_EL1", reset=_OSLSR_RESET, write=_write_oslsr),
    # control
    *rows("SCTLR_EL1", reset=0x00C5_0078),
    *rows("ACTLR_EL1", "AMAIR_EL1", reset=to_host),
    *rows("CPACR_EL1", "TCR_EL1", "VBAR_EL1", "DISR_EL1", "CONTEXTIDR_EL1", "CNTKCTL_EL1", reset=0),
    *rows("SCTLR2_EL1", visible=while_field("ID_AA64MMFR3_EL1", "SCTLRX"), reset=0),
    *rows(
        "TCR2_EL1",
        visible=any_of(under(UNGATED_TCR2_PIR), while_field("ID_AA64MMFR3_EL1", "TCRX")),
        reset=0,
    ),
    *rows("ZCR_EL1", visible=with_feature(F.SVE), reset=0),
    *rows("FPMR", visible=while_field("ID_AA64PFR2_EL1", "FPMR"), reset=0),
    # identity of the vCPU; a plain register to userspace
    *rows("MPIDR_EL1", reset=_reset_mpidr),
    # memory translation, faults, threads
    *rows("TTBR0_EL1", "TTBR1_EL1", "MAIR_EL1", "PAR_EL1", "AFSR0_EL1", "AFSR1_EL1", "ESR_EL1", "FAR_EL1"),
    *rows("TPIDR_EL1", "TPIDR_EL0", "TPIDRRO_EL0", "CSSELR_EL1"),
    *rows(
        "PIRE0_EL1",
        "PIR_EL1",
        visible=any_of(under(UNGATED_TCR2_PIR), while_field("ID_AA64MMFR3_EL1", "S1PIE")),
    ),
    *rows("POR_EL1", "POR_EL0", visible=while_field("ID_AA64MMFR3_EL1", "S1POE")),
    *rows(*_KEYS, visible=with_feature(F.PTRAUTH_ADDRESS)),
    *rows("RGSR_EL1", "GCR_EL1", "TFSR_EL1", "TFSRE0_EL1", visible=_mte_enabled),
    # 32-bit state kept in EL2 registers
    *rows("DACR32_EL2", "IFSR32_EL2"),
    *rows("FPEXC32_EL2", reset=0x700),
]
