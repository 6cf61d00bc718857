"""What an instruction can end in other than its own result: guest exceptions and stops.

Exception classes and syndromes: Arm ARM, ESR_ELx.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

IL_32BIT = 1 << 25


class ExceptionClass(IntEnum):
    """ESR_ELx.EC, those that this PE delivers."""

    UNKNOWN = 0x00
    WFX = 0x01
    FP_ACCESS = 0x07
    ILLEGAL_STATE = 0x0E
    SVC = 0x15
    HVC = 0x16
    SMC = 0x17
    SYSREG = 0x18
    SVE_ACCESS = 0x19
    SME_ACCESS = 0x1D
    INSTRUCTION_ABORT_LOWER = 0x20
    INSTRUCTION_ABORT_SAME = 0x21
    PC_ALIGNMENT = 0x22
    DATA_ABORT_LOWER = 0x24
    DATA_ABORT_SAME = 0x25
    SERROR = 0x2F
    SOFTWARE_STEP_LOWER = 0x32
    BRK = 0x3C


class Smtc(IntEnum):
    """ESR_ELx.ISS.SMTC of an SME access trap: why the instruction is refused."""

    DISABLED = 0
    ILLEGAL_IN_STREAMING = 1
    NOT_STREAMING = 2
    ZA_INACTIVE = 3
    ZT0_DISABLED = 4


class GuestException(Exception):
    """A synchronous exception, taken to `to_el`."""

    def __init__(self, ec: int, iss: int = 0, *, far: int | None = None, to_el: int = 1) -> None:
        super().__init__(ec, iss)
        self.ec = ec
        self.iss = iss
        self.far = far
        self.to_el = to_el

    @property
    def esr(self) -> int:
        return self.ec << 26 | IL_32BIT | self.iss & 0x1FFFFFF


class Undefined(GuestException):
    """The encoding is UNDEFINED here."""

    def __init__(self, to_el: int = 1) -> None:
        super().__init__(ExceptionClass.UNKNOWN, to_el=to_el)


class SmeTrap(GuestException):
    """An SME access trap with its SMTC code."""

    def __init__(self, smtc: Smtc, to_el: int = 1) -> None:
        super().__init__(ExceptionClass.SME_ACCESS, smtc, to_el=to_el)


class SveTrap(GuestException):
    """An SVE access trap."""

    def __init__(self, to_el: int = 1) -> None:
        super().__init__(ExceptionClass.SVE_ACCESS, to_el=to_el)


class FpTrap(GuestException):
    """An FP/AdvSIMD access trap; CV=1, COND=0b1110 as for every A64 instruction."""

    def __init__(self, to_el: int = 1) -> None:
        super().__init__(ExceptionClass.FP_ACCESS, 0x1E00000, to_el=to_el)


@dataclass(frozen=True, slots=True)
class Access:
    """One data access: virtual and intermediate physical address, size in bytes, direction."""

    va: int
    ipa: int
    size: int
    is_write: bool


class OutsideMemory(Exception):
    """An access that no memory slot serves."""

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self.access = access


class Unmodelled(Exception):
    """Something a real machine would do here, and whoever provides this PE's surroundings does not."""
