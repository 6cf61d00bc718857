"""Unallocated words that the engine must never translate: they end its process by an assertion.

Found by translating random words; all lie in two half-precision AdvSIMD groups, whose unallocated
operations the engine (Unicorn 2.1, after QEMU 5.0) takes for impossible. The PE runs up to such a
word and makes it UNDEFINED, as the architecture has it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from armkvm.cpu.decode import parse_pattern

# "0 q U 01110 a 10 m 00 opcode 1 n d": the unallocated U:a:opcode.
_THREE_SAME = parse_pattern("0 q:1 u:1 01110 a:1 10 m:5 00 opcode:3 1 n:10")
_THREE_SAME_UNALLOCATED = (0x05, 0x0B, 0x0C, 0x0D, 0x11, 0x19, 0x1B, 0x1F)

# "x q U 1111x a 111100 opcode 10 n d", vector and scalar: the allocated U:a:opcode.
_TWO_MISC = (
    parse_pattern("0 q:1 u:1 01110 a:1 111100 opcode:5 10 n:10"),
    parse_pattern("01 u:1 11110 a:1 111100 opcode:5 10 n:10"),
)
_TWO_MISC_ALLOCATED = tuple(
    u << 6 | a << 5 | opcode
    for u, a, opcodes in (
        (0, 0, (0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1D)),
        (0, 1, (0x0C, 0x0D, 0x0E, 0x0F, 0x18, 0x19, 0x1A, 0x1B, 0x1D, 0x1F)),
        (1, 0, (0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1D)),
        (1, 1, (0x0C, 0x0D, 0x0F, 0x19, 0x1A, 0x1B, 0x1D, 0x1F)),
    )
    for opcode in opcodes
)


def poisonous(words: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Which of the instruction words the engine must not see."""

    def bits(low: int, width: int) -> NDArray[np.uint32]:
        return words >> np.uint32(low) & np.uint32((1 << width) - 1)

    def matching(pattern: tuple[int, int, object]) -> NDArray[np.bool_]:
        flags: NDArray[np.bool_] = words & np.uint32(pattern[0]) == pattern[1]
        return flags

    three = bits(29, 1) << np.uint32(4) | bits(23, 1) << np.uint32(3) | bits(11, 3)
    two = bits(29, 1) << np.uint32(6) | bits(23, 1) << np.uint32(5) | bits(12, 5)
    found: NDArray[np.bool_] = matching(_THREE_SAME) & np.isin(three, _THREE_SAME_UNALLOCATED)
    for pattern in _TWO_MISC:
        found = found | matching(pattern) & ~np.isin(two, _TWO_MISC_ALLOCATED)
    return found
