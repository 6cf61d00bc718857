"""Stage 1 translation of the EL1&0 regime: VMSAv8-64 page tables with 4, 16 and 64 KiB granules.

Source: Arm ARM, AArch64 address translation. Not implemented: 52-bit addresses, FEAT_S1PIE,
hardware update of the access flag (a clear flag faults), stage 2 (memory slots are IPA space).
"""

# ruff: noqa: PLR0917 - the walk hands on what it was given

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

SCTLR_M = 1 << 0
SCTLR_WXN = 1 << 19

_GRANULE_BITS_TG0 = {0: 12, 1: 16, 2: 14}
_GRANULE_BITS_TG1 = {1: 14, 2: 12, 3: 16}
_ADDRESS_BITS = 48


class AccessKind(Enum):
    """What an access does with memory."""

    READ = "read"
    WRITE = "write"
    FETCH = "fetch"


class FaultStatus(Enum):
    """DFSC/IFSC of a fault; the level goes into bits 1:0 of the first four."""

    ADDRESS_SIZE = 0b000000
    TRANSLATION = 0b000100
    ACCESS_FLAG = 0b001000
    PERMISSION = 0b001100
    EXTERNAL_ON_WALK = 0b010100
    EXTERNAL = 0b010000
    ALIGNMENT = 0b100001


class TranslationFault(Exception):
    """A stage 1 fault."""

    def __init__(self, status: FaultStatus, level: int = 0) -> None:
        super().__init__(status, level)
        self.status = status
        self.level = level

    @property
    def code(self) -> int:
        return self.status.value | self.level


@dataclass(frozen=True, slots=True)
class Mapping:
    """Where a page goes and what the current exception level may do with it."""

    ipa: int
    read: bool
    write: bool
    execute: bool

    def allows(self, kind: AccessKind) -> bool:
        return {AccessKind.READ: self.read, AccessKind.WRITE: self.write, AccessKind.FETCH: self.execute}[
            kind
        ]


@dataclass(frozen=True, slots=True)
class Regime:
    """The registers that steer translation."""

    sctlr: int = 0
    tcr: int = 0
    ttbr0: int = 0
    ttbr1: int = 0

    @property
    def enabled(self) -> bool:
        return bool(self.sctlr & SCTLR_M)


def translate(
    regime: Regime,
    va: int,
    el: int,
    pan: bool,
    kind: AccessKind,
    read_descriptor: Callable[[int], int | None],
) -> Mapping:
    """The mapping of `va` for an access of `kind` at `el`; TranslationFault if there is none.

    `read_descriptor` reads 8 bytes at an IPA, None where there is no memory.
    """
    if not regime.enabled:
        if va >> _ADDRESS_BITS:
            raise TranslationFault(FaultStatus.ADDRESS_SIZE)
        return Mapping(va, True, True, True)
    upper = bool(va >> 55 & 1)
    tcr = regime.tcr
    size_field = (tcr >> 16 if upper else tcr) & 63
    granules = _GRANULE_BITS_TG1 if upper else _GRANULE_BITS_TG0
    granule = granules.get(tcr >> (30 if upper else 14) & 3)
    ignored_top = bool(tcr >> (38 if upper else 37) & 1)
    input_bits = 64 - min(max(size_field, 16), 39)
    significant = va & (1 << 56) - 1 if ignored_top else va
    top_bits = (56 if ignored_top else 64) - input_bits
    expected = (1 << top_bits) - 1 if upper else 0
    disabled = bool(tcr >> (23 if upper else 7) & 1)
    if granule is None or disabled or significant >> input_bits != expected:
        raise TranslationFault(FaultStatus.TRANSLATION)
    base = (regime.ttbr1 if upper else regime.ttbr0) & (1 << _ADDRESS_BITS) - 2
    return _walk(
        regime, va & (1 << input_bits) - 1, base, granule, input_bits, el, pan, kind, read_descriptor
    )


def _walk(
    regime: Regime,
    offset: int,
    table: int,
    granule: int,
    input_bits: int,
    el: int,
    pan: bool,
    kind: AccessKind,
    read_descriptor: Callable[[int], int | None],
) -> Mapping:
    stride = granule - 3
    level = 4 - -(-(input_bits - granule) // stride)
    ap_table = xn_table = pxn_table = 0
    while True:
        shift = granule + stride * (3 - level)
        index_bits = min(stride, input_bits - shift)
        index = offset >> shift & (1 << index_bits) - 1
        table &= ~((1 << max(index_bits + 3, 6)) - 1)
        descriptor = read_descriptor(table + index * 8)
        if descriptor is None:
            raise TranslationFault(FaultStatus.EXTERNAL_ON_WALK, level)
        is_block_level = level < 3 and not descriptor & 2
        if (
            not descriptor & 1
            or (level == 3 and not descriptor & 2)
            or (is_block_level and not _block_allowed(granule, level))
        ):
            raise TranslationFault(FaultStatus.TRANSLATION, level)
        if level == 3 or is_block_level:
            break
        ap_table |= descriptor >> 61 & 3
        xn_table |= descriptor >> 60 & 1
        pxn_table |= descriptor >> 59 & 1
        table = descriptor & (1 << _ADDRESS_BITS) - (1 << granule)
        level += 1
    mask = (1 << shift) - 1
    ipa = descriptor & (1 << _ADDRESS_BITS) - 1 & ~mask | offset & mask
    if not descriptor & 1 << 10:
        raise TranslationFault(FaultStatus.ACCESS_FLAG, level)
    ap = descriptor >> 6 & 3 | ap_table & 2
    user = bool(ap & 1) and not ap_table & 1
    xn, pxn = descriptor >> 54 & 1 | xn_table, descriptor >> 53 & 1 | pxn_table
    mapping = _permissions(regime, ipa, bool(ap & 2), user, bool(xn), bool(pxn), el, pan)
    if not mapping.allows(kind):
        raise TranslationFault(FaultStatus.PERMISSION, level)
    return mapping


def _block_allowed(granule: int, level: int) -> bool:
    return level == 2 or (level == 1 and granule == 12)


def _permissions(
    regime: Regime, ipa: int, readonly: bool, user: bool, xn: bool, pxn: bool, el: int, pan: bool
) -> Mapping:
    wxn = bool(regime.sctlr & SCTLR_WXN)
    if el == 0:
        write = user and not readonly
        return Mapping(ipa, user, write, not xn and not (wxn and write))
    write = not readonly
    data = not (pan and user)
    execute = not pxn and not (user and write) and not (wxn and write)
    return Mapping(ipa, data, write and data, execute)
