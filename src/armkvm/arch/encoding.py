"""System-register encodings: (op0, op1, CRn, CRm, op2) as one 16-bit value.

Source: Arm ARM, MRS/MSR (register): op0 is 2 bits, op1 3, CRn 4, CRm 4, op2 3.
"""

from __future__ import annotations

_WIDTHS = (("op0", 2), ("op1", 3), ("CRn", 4), ("CRm", 4), ("op2", 3))


class SysReg(int):
    """The encoding of one AArch64 system register, packed op0:op1:CRn:CRm:op2 (16 bits)."""

    __slots__ = ()

    def __new__(cls, packed: int) -> SysReg:
        if not 0 <= packed <= 0xFFFF:
            raise ValueError(f"a system-register encoding is 16 bits, not {packed:#x}")
        return super().__new__(cls, packed)

    @classmethod
    def of(cls, op0: int, op1: int, crn: int, crm: int, op2: int) -> SysReg:
        """Pack the five numbers of an MRS or MSR instruction."""
        if not (0 <= op0 < 4 and 0 <= op1 < 8 and 0 <= crn < 16 and 0 <= crm < 16 and 0 <= op2 < 8):
            for value, (name, width) in zip((op0, op1, crn, crm, op2), _WIDTHS, strict=True):
                if not 0 <= value < 1 << width:
                    raise ValueError(f"{name} is {width} bits, not {value}")
        return cls(op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2)

    @property
    def op0(self) -> int:
        return self >> 14

    @property
    def op1(self) -> int:
        return self >> 11 & 7

    @property
    def crn(self) -> int:
        return self >> 7 & 15

    @property
    def crm(self) -> int:
        return self >> 3 & 15

    @property
    def op2(self) -> int:
        return self & 7

    @property
    def parts(self) -> tuple[int, int, int, int, int]:
        """(op0, op1, CRn, CRm, op2)."""
        return (self.op0, self.op1, self.crn, self.crm, self.op2)

    @property
    def generic_name(self) -> str:
        """The name an assembler takes for any register: ``S3_0_C0_C4_0``."""
        return f"S{self.op0}_{self.op1}_C{self.crn}_C{self.crm}_{self.op2}"

    def __repr__(self) -> str:
        return "SysReg.of({}, {}, {}, {}, {})".format(*self.parts)
