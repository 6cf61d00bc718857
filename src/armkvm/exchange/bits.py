"""Bit patterns in Firecracker's notation: 0, 1, and x for a bit that is kept."""

from __future__ import annotations

from dataclasses import dataclass

from armkvm.documents import short


@dataclass(frozen=True, slots=True)
class Bits:
    """A row of bits of which those in `mask` are set to `value`, and the rest kept."""

    width: int
    mask: int
    value: int

    def __post_init__(self) -> None:
        if self.mask >> self.width or self.value & ~self.mask:
            raise ValueError(f"{self.value:#x} under {self.mask:#x} does not fit {self.width} bits")

    @classmethod
    def parse(cls, text: str, width: int, *, padded: bool = False) -> Bits:
        """From a pattern such as ``0b0001_xxxx``, most significant bit first.

        Bits that the pattern is too short for are kept. `padded` lets it be too long, with zeros.
        ValueError says what is wrong with it.
        """
        digits = text.removeprefix("0b").replace("_", "")
        if not digits or set(digits) - set("01x"):
            raise ValueError(f"expected a bit pattern of 0, 1 and x such as 0b01xx, got {short(text)}")
        if digits[:-width].strip("0" if padded else "x"):
            raise ValueError(f"expected a pattern that sets the low {width} bits, got one of {len(digits)}")
        digits = digits[-width:]
        mask = int(digits.replace("0", "1").replace("x", "0"), 2)
        return cls(width, mask, int(digits.replace("x", "0"), 2))

    def __str__(self) -> str:
        digits = ("x" if not self.mask >> n & 1 else str(self.value >> n & 1) for n in range(self.width))
        return "0b" + "".join(digits)[::-1]

    @property
    def is_whole(self) -> bool:
        """Whether every bit is set and none kept."""
        return self.mask == (1 << self.width) - 1

    def apply(self, before: int) -> int:
        """What becomes of a value."""
        return before & ~self.mask | self.value
