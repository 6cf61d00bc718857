"""Rows of SME's system registers: on vCPUs with SME, whatever ID_AA64PFR1_EL1.SME shows the guest.

Source: SME series v12 (patches 15 to 20) as a kernel built from it answered; v4 where named.
"""

from __future__ import annotations

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.catalog import parse
from armkvm.model import core_regs, matrix, vector_rules, vectors
from armkvm.model.outcome import Refused
from armkvm.model.sysregs.idregs import read_id, write_implementation
from armkvm.model.sysregs.table import Row, all_of, rows, store, stored, under, with_feature
from armkvm.model.vcpu import Vcpu
from armkvm.model.vector_behaviours import SMIDR_PER_VCPU, SMPRI_STORED, SMPRIMAP_IS_ZERO, SVCR_PLAIN

_SME = with_feature(F.SME)
_FPSR = int(parse("FPSR"))
_FPMR = int(parse("FPMR"))

FPSR_AFTER_MODE_CHANGE = 0x0800_009F


def _read_svcr(vcpu: Vcpu, row: Row) -> int:
    return vcpu.svcr


def _write_svcr(vcpu: Vcpu, row: Row, value: int) -> Refused | None:
    """Change PSTATE.SM and PSTATE.ZA with what the architecture makes of a change."""
    if SVCR_PLAIN in vcpu.vm.profile:
        vectors.reinterpret(vcpu, value)
        return None
    # value
    if value & ~(vectors.SM | vectors.ZA):
        return Refused(vector_rules.SVCR_RESERVED, f"asked for {value:#x}")
    # effect
    changed, vcpu.svcr = vcpu.svcr ^ value, value
    if changed & vectors.SM:
        vectors.clear(vcpu)
        for reg in core_regs.V:
            vcpu.core[reg] = 0
        vcpu.core[_FPSR] = FPSR_AFTER_MODE_CHANGE
        vcpu.sysregs[_FPMR] = 0
    if changed & value & vectors.ZA:
        matrix.clear(vcpu)
    return None


def _read_smidr(vcpu: Vcpu, row: Row) -> int:
    return stored(vcpu, row) if SMIDR_PER_VCPU in vcpu.vm.profile else read_id(vcpu, row)


_SMIDR_SHOWN_PER_VCPU = 0xFFFF_0000  # Implementer, Revision


def _reset_smidr(vcpu: Vcpu, row: Row) -> int:
    return vcpu.id_regs.get(row.id, 0) & _SMIDR_SHOWN_PER_VCPU


def _write_smidr(vcpu: Vcpu, row: Row, value: int) -> Refused | None:
    if SMIDR_PER_VCPU in vcpu.vm.profile:
        return store(vcpu, row, value)
    return write_implementation(vcpu, row, value)


def _write_smprimap(vcpu: Vcpu, row: Row, value: int) -> Refused | None:
    """Priorities are not virtualised: the map is zero."""
    if SMPRIMAP_IS_ZERO not in vcpu.vm.profile:
        return store(vcpu, row, value)
    return Refused(vector_rules.SMPRIMAP_ZERO, f"asked for {value:#x}") if value else None


ROWS: list[Row] = [
    *rows("SVCR", visible=_SME, reset=None, read=_read_svcr, write=_write_svcr),
    *rows("SMCR_EL1", visible=_SME, reset=0),
    *rows("TPIDR2_EL0", visible=_SME),
    *rows("SMIDR_EL1", visible=_SME, reset=_reset_smidr, read=_read_smidr, write=_write_smidr),
    *rows("SMPRI_EL1", visible=all_of(_SME, under(SMPRI_STORED)), reset=0),
    *rows(
        "SMPRIMAP_EL2",
        visible=all_of(_SME, with_feature(F.HAS_EL2)),
        reset=0,
        write=_write_smprimap,
    ),
]
