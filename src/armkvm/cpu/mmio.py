"""Which loads and stores a hypervisor can finish on the guest's behalf.

The architecture describes a data abort with a valid instruction syndrome (ESR_EL2.ISS.ISV) only for
loads and stores of one general register without write-back, not exclusive and not paired; only
those can be completed as MMIO.
"""

from __future__ import annotations

from dataclasses import dataclass

from armkvm.cpu.decode import parse_pattern


@dataclass(frozen=True, slots=True)
class Transfer:
    """A one-register load or store: register number, bytes, and how a load extends."""

    register: int
    size: int
    is_write: bool
    sign_extend: bool = False
    sixty_four: bool = False

    def value_of(self, data: bytes) -> int:
        """What the register holds after a load of `data`."""
        value = int.from_bytes(data, "little", signed=self.sign_extend)
        return value & (1 << (64 if self.sixty_four else 32)) - 1


_UNSIGNED_OFFSET = "size:2 111 0 01 opc:2 imm:12 Rn:5 Rt:5"
_UNSCALED = "size:2 111 0 00 opc:2 0 imm:9 00 Rn:5 Rt:5"
_UNPRIVILEGED = "size:2 111 0 00 opc:2 0 imm:9 10 Rn:5 Rt:5"
_REGISTER_OFFSET = "size:2 111 0 00 opc:2 1 Rm:5 option:3 s:1 10 Rn:5 Rt:5"
_FORMS = tuple(parse_pattern(p)[:2] for p in (_UNSIGNED_OFFSET, _UNSCALED, _UNPRIVILEGED, _REGISTER_OFFSET))
_LITERAL = parse_pattern("0 opc:1 011 0 00 imm:19 Rt:5")[:2]
_LITERAL_SIGNED = parse_pattern("10 011 0 00 imm:19 Rt:5")[:2]
_ORDERED = parse_pattern("size:2 001000 1 l:1 0 11111 o0:1 11111 Rn:5 Rt:5")[:2]  # LDAR, STLR, LDLAR, STLLR
_ORDERED_UNSCALED = parse_pattern("size:2 011001 opc:2 0 imm:9 00 Rn:5 Rt:5")[:2]  # LDAPUR, STLUR
_ACQUIRE_PC = parse_pattern("size:2 111000 101 11111 1100 00 Rn:5 Rt:5")[:2]  # LDAPR


def transfer_of(word: int) -> Transfer | None:
    """The transfer an instruction makes, or None if its data abort has no valid syndrome."""
    rt, size, opc = word & 31, word >> 30, word >> 22 & 3

    def matches(pattern: tuple[int, int]) -> bool:
        return word & pattern[0] == pattern[1]

    if any(map(matches, _FORMS)) or matches(_ORDERED_UNSCALED):
        if opc >= 2 and (size == 3 or (size == 2 and opc == 3)):
            return None  # a prefetch, or unallocated
        return Transfer(rt, 1 << size, opc == 0, opc >= 2, size == 3 or opc == 2)
    if matches(_ORDERED):
        return Transfer(rt, 1 << size, not word >> 22 & 1, False, size == 3)
    if matches(_ACQUIRE_PC):
        return Transfer(rt, 1 << size, False, False, size == 3)
    if matches(_LITERAL):
        wide = bool(word >> 30 & 1)
        return Transfer(rt, 8 if wide else 4, False, False, wide)
    if matches(_LITERAL_SIGNED):
        return Transfer(rt, 4, False, True, True)
    return None
