"""Filling a vCPU with state worth moving: from a seed, the same every time, legal for each register.

Which registers there are, the vCPU's own list says. `ROWS` says what may go into them: the first
row that speaks of a register decides; one that no row speaks of takes any 64 bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from armkvm import catalog
from armkvm.abi import vls
from armkvm.abi.core import is_v
from armkvm.abi.regid import RegClass, RegId
from armkvm.abi.structs import is_feature_id
from armkvm.arch.pstate import DAIF, NZCV
from armkvm.arch.vectors import Vq
from armkvm.backends.base import Vcpu
from armkvm.errors import errno_name
from armkvm.migration.bulk import read_all, write_all
from armkvm.migration.lengths import listed
from armkvm.migration.ordering import CLEARED_BEFORE, arrange


@dataclass(frozen=True, slots=True)
class Row:
    """What may be filled into some registers: `bits` of them, or nothing, and why."""

    matches: Callable[[RegId], bool]
    bits: int
    because: str


def _one_of(*names: str) -> Callable[[RegId], bool]:
    return frozenset(map(catalog.parse, names)).__contains__


def _of_class(*classes: int) -> Callable[[RegId], bool]:
    return lambda reg: reg.reg_class in classes


def _family(*prefixes: str) -> Callable[[RegId], bool]:
    return lambda reg: catalog.name_of(reg).startswith(prefixes)


_VLS = _one_of("KVM_REG_ARM64_SVE_VLS", "KVM_REG_ARM64_SME_VLS")

ROWS: tuple[Row, ...] = (
    Row(is_feature_id, 0, "what the guest runs on was settled when the VM was configured"),
    Row(_of_class(RegClass.FW, RegClass.FW_FEAT_BMAP), 0, "what the firmware offers was settled likewise"),
    Row(_of_class(RegClass.DEMUX), 0, "describes the caches"),
    Row(_VLS, 0, "vector lengths are settled before FINALIZE"),
    Row(_one_of("SVCR"), 0, "the mode is the caller's choice"),
    Row(_one_of("PC", "ELR_EL1", "ELR_EL2"), ~3, "instructions are 4 bytes"),
    Row(_one_of("SP", "SP_EL1"), ~15, "a stack pointer is aligned to 16 bytes"),
    Row(_one_of("PSTATE"), NZCV | DAIF, "condition flags and interrupt masks; the mode stays"),
    Row(_one_of("FPSR"), 0x0800_009F, "QC and the cumulative exception bits"),
    Row(_one_of("FPCR"), 0x07C0_0000, "AHP, DN, FZ and RMode, which every CPU has"),
    Row(_one_of("FPMR"), 0xFF7F_C000, "overflow and scale fields, in which every value is legal"),
    Row(_one_of("SMPRIMAP_EL2"), 0, "streaming mode priorities are not offered"),
    Row(_one_of("KVM_REG_ARM_TIMER_CNT", "KVM_REG_ARM_PTIMER_CNT"), 0, "the clock keeps its time"),
    Row(_family("KVM_REG_ARM_TIMER_CTL", "KVM_REG_ARM_PTIMER_CTL"), 0b11, "ENABLE and IMASK"),
    Row(_one_of("CNTHP_CTL_EL2", "CNTHV_CTL_EL2"), 0b11, "ENABLE and IMASK"),
    Row(_one_of("OSLSR_EL1"), 0b10, "OSLK is the only bit that is state"),
    Row(_one_of("MDSCR_EL1"), 0x6C00_0000, "the debug channel's bits; nothing that would step or stop"),
    Row(_family("DBGBCR", "DBGWCR"), 0xFFFF_FFFE, "everything but the enable bit"),
    Row(_one_of("PMCR_EL0"), 0, "its number of counters was settled when the VM was configured"),
    Row(CLEARED_BEFORE.__contains__, 0, "another name of the register that sets the same bits"),
    Row(_one_of("PMSWINC_EL0", "PMMIR_EL1"), 0, "no state behind it"),
    Row(_one_of("PMSELR_EL0"), 0b11111, "the number of a counter"),
    Row(_one_of("PMUSERENR_EL0"), 0b1111, "its four enable bits"),
    Row(_family("PMEVTYPER", "PMCCFILTR"), 0xF800_FFFF, "event number and filters"),
    Row(_family("PM"), 0xFFFF_FFFF, "32 bits wide"),
)


@dataclass(frozen=True, slots=True)
class Filled:
    """What a fill did: registers written, those left as they were with the reason, and bytes written."""

    written: tuple[RegId, ...]
    left: dict[RegId, str] = field(default_factory=dict)
    bytes_written: int = 0


def fill(vcpu: Vcpu, seed: int) -> Filled:
    """Fill a finalized vCPU's state from `seed` and its id.

    Equal seeds give equal contents for a register of a given length, on any host and in any order.
    A write that the place refuses leaves that register as it was and is reported.
    """
    present, unread = read_all(vcpu, listed(vcpu))
    lengths = _vector_bytes(present)
    left = {reg: f"cannot be read: {errno_name(error.errno or 0)}" for reg, error in unread.items()}
    pairs = []
    for reg in arrange(present):
        row = next((row for row in ROWS if row.matches(reg)), None)
        if row is not None and not row.bits:
            left[reg] = row.because
            continue
        pairs.append(
            (reg, _contents(reg, row.bits if row else -1, present[reg], lengths, f"{seed}/{vcpu.id}"))
        )
    refused = write_all(vcpu, pairs)
    left |= {reg: f"refused: {errno_name(error.errno or 0)}" for reg, error in refused.items()}
    written = [(reg, data) for reg, data in pairs if reg not in refused]
    return Filled(tuple(reg for reg, _ in written), left, sum(len(data) for _, data in written))


def _contents(reg: RegId, bits: int, before: bytes, lengths: dict[int, int], seed: str) -> bytes:
    """New contents: `bits` from the seed and the rest as before; vectors filled to their length."""
    drawn = hashlib.shake_128(f"{seed}/{int(reg):x}".encode()).digest(reg.size)
    if reg == RegId.ffr():
        return _first_faults(drawn, lengths.get(reg.reg_class, 0) // 8, reg.size)
    if reg.reg_class == RegClass.SVE:
        live = lengths[RegClass.SVE] // (1 if reg.size == RegId.z(0).size else 8)
        return drawn[:live].ljust(reg.size, b"\0")
    if reg.reg_class == RegClass.SME:
        return drawn if reg == RegId.zt0() else drawn[: lengths[RegClass.SME]].ljust(reg.size, b"\0")
    if reg.reg_class == RegClass.CORE and is_v(reg.low):
        return drawn
    mask = bits & ((1 << 8 * reg.size) - 1)
    number = int.from_bytes(before, "little") & ~mask | int.from_bytes(drawn, "little") & mask
    return number.to_bytes(reg.size, "little")


def _first_faults(drawn: bytes, live: int, size: int) -> bytes:
    """FFR is ones up to the first fault and zeros after it: any number of ones, none to all."""
    ones = int.from_bytes(drawn[:4], "little") % (8 * live + 1)
    return ((1 << ones) - 1).to_bytes(size, "little")


def _vector_bytes(present: dict[RegId, bytes]) -> dict[int, int]:
    """Length in bytes of a Z register and of a ZA row, now.

    In streaming mode Z registers have SME's length, and a vCPU without SVE has them only then.
    """
    longest = {
        reg: vls.decode(present[reg]).max for reg in (RegId.sve_vls(), RegId.sme_vls()) if reg in present
    }
    sve, sme = longest.get(RegId.sve_vls(), 0), longest.get(RegId.sme_vls(), 0)
    streaming = bool(present.get(catalog.parse("SVCR"), b"\0")[0] & 1)
    z = sme if streaming else sve
    return {RegClass.SVE: Vq(z).vl if z else 0, RegClass.SME: Vq(sme).vl if sme else 0}
