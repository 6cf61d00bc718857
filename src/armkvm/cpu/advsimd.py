"""Base FP and AdvSIMD instructions: which V registers one writes, and whether streaming mode allows it.

The engine executes these. The PE only has to know that writing Vn zeroes the rest of Zn, that
CPACR_EL1.FPEN traps them, and that most AdvSIMD is illegal in streaming mode without FA64.
Source: Arm ARM, A64 encodings of loads/stores with V=1 and of Data Processing, Scalar FP and
Advanced SIMD; FEAT_SME_FA64's list of instructions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from armkvm.cpu.decode import parse_pattern


@dataclass(frozen=True, slots=True)
class VectorUse:
    """V registers written, and legality at PSTATE.SM=1 without FA64."""

    written: tuple[int, ...]
    streaming: bool


def is_fp_word(word: int) -> bool:
    """Whether the word is in the encoding groups of FP, AdvSIMD or their loads and stores."""
    return word >> 26 & 3 == 3


_Pattern = tuple[int, int]


def _patterns(*texts: str) -> tuple[_Pattern, ...]:
    return tuple(parse_pattern(text)[:2] for text in texts)


def _matches(word: int, patterns: tuple[_Pattern, ...]) -> bool:
    return any(word & mask == value for mask, value in patterns)


_STRUCTURES = _patterns("0 q:1 001100 x:24", "0 q:1 001101 x:24")  # LD1 ... ST4
_PAIRS = _patterns("x:2 101 1 0 a:2 l:1 r:22")  # LDP, STP, LDNP, STNP
_LITERALS = _patterns("x:2 011 1 00 r:24")  # LDR (literal)
_SINGLES = _patterns("x:2 111 1 0 r:25")  # LDR, STR and their kin

# Results that go to general registers, to the flags or nowhere.
_NO_V_RESULT = _patterns(
    "x:1 0 0 11110 t:2 1 r:2 000 000000 n:10",  # FCVTNS ... FCVTZS to a general register
    "x:1 0 0 11110 t:2 1 r:2 001 000000 n:10",
    "x:1 0 0 11110 t:2 1 r:2 100 000000 n:10",  # FCVTAS, FCVTAU
    "x:1 0 0 11110 t:2 1 r:2 101 000000 n:10",
    "x:1 0 0 11110 t:2 1 r:2 110 000000 n:10",  # FMOV to general, FJCVTZS
    "x:1 0 0 11110 t:2 0 r:2 000 s:16",  # fixed-point FCVTZS, FCVTZU
    "x:1 0 0 11110 t:2 0 r:2 001 s:16",
    "x:1 0 0 11110 t:2 1 m:5 o:2 1000 n:10",  # FCMP, FCMPE
    "x:1 0 0 11110 t:2 1 m:5 c:4 01 n:10",  # FCCMP, FCCMPE
    "0 q:1 0 01110000 i:5 0 0101 1 n:10",  # SMOV
    "0 q:1 0 01110000 i:5 0 0111 1 n:10",  # UMOV
)

# Of the data-processing groups, what streaming mode allows without FA64.
_STREAMING_SCALAR = _patterns("x:1 0 s:1 11110 r:24", "x:1 0 s:1 11111 r:24")
_STREAMING_VECTOR = _patterns(
    "0 q:1 0 01110000 00001 001011 n:10",  # SMOV from element 0, by size
    "0 q:1 0 01110000 00010 001011 n:10",
    "0 1 0 01110000 00100 001011 n:10",
    "0 0 0 01110000 00001 001111 n:10",  # UMOV from element 0, by size
    "0 0 0 01110000 00010 001111 n:10",
    "0 0 0 01110000 00100 001111 n:10",
    "0 1 0 01110000 01000 001111 n:10",
    "01 0 11110 s:2 1 m:5 110111 n:10",  # FMULX
    "01 0 11110 s:2 1 m:5 111111 n:10",  # FRECPS, FRSQRTS
    "01 0 11110 a:1 10 m:5 000111 n:10",  # and their half-precision forms
    "01 0 11110 a:1 10 m:5 001111 n:10",
    "01 u:1 11110 1 s:1 100001 110110 n:10",  # FRECPE, FRSQRTE
    "01 u:1 11110 1 1 111001 110110 n:10",
    "01 0 11110 1 s:1 100001 111110 n:10",  # FRECPX
    "01 0 11110 1 1 111001 111110 n:10",
)
_JCVT = _patterns("00011110 01 1 11110 000000 n:10")  # FJCVTZS

_REGISTERS_BY_OPCODE = {0: 4, 2: 4, 4: 3, 6: 3, 7: 1, 8: 2, 10: 2}


@lru_cache(maxsize=4096)
def vector_use(word: int) -> VectorUse | None:
    """How a base instruction uses the vector registers; None if it is none of them."""
    if not is_fp_word(word):
        return None
    first = word & 31
    if not word >> 25 & 1:
        return _of_load_or_store(word, first)
    scalar = _matches(word, _STREAMING_SCALAR) and not _matches(word, _JCVT)
    streaming = scalar or _matches(word, _STREAMING_VECTOR)
    return VectorUse(() if _matches(word, _NO_V_RESULT) else (first,), streaming)


def _of_load_or_store(word: int, first: int) -> VectorUse | None:
    load = bool(word >> 22 & 1)
    if _matches(word, _STRUCTURES):
        if word >> 24 & 1:
            count = ((word >> 13 & 1) << 1 | word >> 21 & 1) + 1
        else:
            count = _REGISTERS_BY_OPCODE.get(word >> 12 & 15, 0)
        return VectorUse(tuple((first + i) % 32 for i in range(count)) if load else (), False)
    if _matches(word, _PAIRS):
        return VectorUse((first, word >> 10 & 31) if load else (), True)
    if _matches(word, _LITERALS):
        return VectorUse((first,), True)
    if _matches(word, _SINGLES):
        return VectorUse((first,) if load else (), True)
    return None
