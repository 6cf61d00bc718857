"""Many registers at once, going on where a register is refused.

The protocol's `get_regs` and `set_regs` stop at the first refusal; a move wants every refusal.
While nothing is refused this is one call, which on another machine is one message. The set of SVE vector
lengths is read and written by its own calls where it is no register.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from armkvm.abi.regid import RegId
from armkvm.backends.base import Vcpu
from armkvm.errors import KvmError
from armkvm.migration.lengths import SVE_VLS, by_call, choose_by_call

Refused = dict[RegId, KvmError]


def read_all(vcpu: Vcpu, regs: Sequence[RegId]) -> tuple[dict[RegId, bytes], Refused]:
    """The values of all registers that can be read, and the refusals of the others."""
    values: dict[RegId, bytes] = {}
    refused: Refused = {}
    rest = regs
    while rest:
        try:
            values.update(zip(rest, vcpu.get_regs(rest), strict=True))
            break
        except KvmError as refusal:
            stopped = _position(refusal, rest)
            if stopped is None:
                _read_singly(vcpu, rest, values, refused)
                break
            refused[rest[stopped]] = refusal
        if stopped:
            values.update(zip(rest[:stopped], vcpu.get_regs(rest[:stopped]), strict=True))
        rest = rest[stopped + 1 :]
    if SVE_VLS in refused and (told := by_call(vcpu)) is not None:
        values[SVE_VLS] = told
        del refused[SVE_VLS]
    return values, refused


def write_all(vcpu: Vcpu, pairs: Iterable[tuple[RegId, bytes]]) -> Refused:
    """Write all registers in order, and return the refusals; the others are written."""
    refused: Refused = {}
    rest = list(pairs)
    while rest:
        try:
            vcpu.set_regs(rest)
            break
        except KvmError as refusal:
            stopped = _position(refusal, [reg for reg, _ in rest])
            if stopped is None:
                _write_singly(vcpu, rest, refused)
                break
            _note(vcpu, *rest[stopped], refusal, refused)
        rest = rest[stopped + 1 :]
    return refused


def _position(refusal: KvmError, regs: Sequence[RegId]) -> int | None:
    """Where a bulk call stopped, or None if the place does not say."""
    reg = refusal.reg
    return regs.index(reg) if reg is not None and reg in regs else None


def _read_singly(vcpu: Vcpu, regs: Iterable[RegId], values: dict[RegId, bytes], refused: Refused) -> None:
    for reg in regs:
        try:
            values[reg] = vcpu.get_one_reg(reg)
        except KvmError as refusal:
            refused[reg] = refusal


def _write_singly(vcpu: Vcpu, pairs: Iterable[tuple[RegId, bytes]], refused: Refused) -> None:
    for reg, data in pairs:
        try:
            vcpu.set_one_reg(reg, data)
        except KvmError as refusal:
            _note(vcpu, reg, data, refusal, refused)


def _note(vcpu: Vcpu, reg: RegId, data: bytes, refusal: KvmError, refused: Refused) -> None:
    """A write that was refused, unless a call takes what the register does not."""
    last = choose_by_call(vcpu, data, refusal) if reg == SVE_VLS else refusal
    if last is not None:
        refused[reg] = last
