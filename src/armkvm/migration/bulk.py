"""Many registers at once, going on where a register is refused.

The protocol's `get_regs` and `set_regs` stop at the first refusal; a move wants every refusal.
While nothing is refused this is one call, which on another machine is one message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from armkvm.abi.regid import RegId
from armkvm.backends.base import Vcpu
from armkvm.errors import KvmError

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
            refused[rest[stopped][0]] = refusal
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
            refused[reg] = refusal
