"""Which words, among those nothing here executes, are instructions of the architecture.

A word that is not must be UNDEFINED to the guest; one that is must not be, so the PE stops instead
of misleading the guest. Only encodings known to be unallocated count as such: within the SVE and SME
encoding spaces everything else is taken for an instruction.
"""

from __future__ import annotations

from armkvm.cpu.decode import parse_pattern
from armkvm.cpu.features import PeFeatures

# Extensions younger than the engine, outside SVE and SME. System instructions are none of them: the PE
# knows all that a guest of KVM may have, and 128-bit ones it may not.
_LATER_BASE: tuple[tuple[str, str], ...] = (
    ("MOPS", "x:2 011 v:1 01 y:2 0 r:5 z:4 01 n:10"),
    ("MTE (STGP)", "0110100 x:2 0 r:22"),
    ("THE (RCWCLR, RCWSET, RCWSWP)", "0 s:1 111000 a:1 r:1 1 m:5 1 o:3 00 n:10"),
    ("THE (pairs and compare)", "0 s:1 011001 a:1 r:1 1 m:5 o:4 t:2 n:10"),
    ("RCPC3 (SIMD&FP)", "x:2 011101 o:2 0 i:9 10 n:10"),
    ("CPA (MADDPT, MSUBPT)", "10011011 011 m:5 o:1 a:5 n:10"),
    ("HBC (BC.cond)", "01010100 i:19 1 c:4"),
    ("FP8 (by element, widening)", "0 q:1 1 01111 s:2 i:6 1000 h:1 0 n:10"),
    ("FP8 (by element)", "0 q:1 0 01111 s:2 i:6 0000 h:1 0 n:10"),
    ("LUT (AdvSIMD)", "01001110 s:2 0 m:5 0 i:3 00 n:10"),
    ("CSSC (register)", "x:1 0 011010110 m:5 0110 o:2 n:10"),
    ("CSSC (immediate)", "x:1 0 0 1000111 o:4 i:8 n:10"),
    ("CSSC (one source)", "x:1 1 0 11010110 00000 000110 n:10"),
    ("CSSC (CNT)", "x:1 1 0 11010110 00000 000111 n:10"),
    ("CSSC (ABS)", "x:1 1 0 11010110 00000 001000 n:10"),
    ("MTE (tags)", "11011001 o:2 1 i:9 p:2 n:10"),
    ("MTE (ADDG, SUBG)", "1 s:1 01000110 i:6 o:2 t:4 n:10"),
    ("MTE (IRG, GMI)", "10011010110 m:5 000 1 0 o:1 n:10"),
    ("MTE (SUBP)", "1 0 s:1 11010110 m:5 000000 n:10"),
    ("LS64", "11111000001 11111 1 o:3 00 n:10"),
    ("LS64 (status)", "11111000001 m:5 1 o:3 00 n:10"),
    ("LSE128", "00011001 o:2 1 m:5 p:1 q:3 00 n:10"),
    ("RCPC3", "1 x:1 011001 o:2 0 i:5 p:4 10 n:10"),
    ("WFET, WFIT", "11010101 00000011 0001 0000 000 o:1 t:4"),
    ("BF16 and I8MM (three registers)", "0 q:1 u:1 01110 s:2 0 m:5 1 o:4 1 n:10"),
    ("I8MM (by element)", "0 q:1 u:1 01111 s:2 i:6 1111 h:1 0 n:10"),
    ("BFCVT", "00011110 01 1 00011 010000 n:10"),
    ("BFCVTN", "0 q:1 0 01110 10 1 00001 011010 n:10"),
    ("FRINT32, FRINT64", "00011110 0 s:1 1 0100 o:2 10000 n:10"),
    ("FPRCVT", "x:1 0 0 11110 t:2 1 r:2 o:3 000000 n:10"),
    ("compare and branch (CMPBR)", "x:1 111010 y:1 r:24"),
    ("CPA", "x:1 0 0 11010000 m:5 001 i:3 n:10"),
)
_BASE = tuple(parse_pattern(pattern)[:2] for _name, pattern in _LATER_BASE)

# Holes of the SVE encoding space: numbers of the predicated binary group that name no operation.
_SVE_UNALLOCATED = tuple(
    parse_pattern(f"00000100 s:2 0 {number} 000 r:13")[:2]
    for number in ("00010", "00110", "00111", "01110", "01111", "10001", "11100", "11101", "11110", "11111")
)


def is_sve(word: int) -> bool:
    """Whether the word lies in the SVE encoding space."""
    return word >> 25 & 15 == 0b0010


def is_sme(word: int) -> bool:
    """Whether the word lies in the SME encoding space."""
    return word >> 25 & 15 == 0 and bool(word >> 31)


def is_allocated(word: int, features: PeFeatures) -> bool:
    """Whether some instruction of the architecture has this encoding and the guest may have it."""
    if is_sve(word):
        if not features.any_vectors:
            return False
        return not any(word & mask == value for mask, value in _SVE_UNALLOCATED)
    if is_sme(word):
        return bool(features.sme)
    return any(word & mask == value for mask, value in _BASE)
