"""Why a PE stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from armkvm.cpu.exceptions import Access, GuestException
from armkvm.cpu.mmio import Transfer


class Reason(Enum):
    """What the caller of `PE.run` has to deal with."""

    BUDGET = "the budget is used up"
    STOPPED = "stop() was called"
    MMIO = "an access outside memory that the caller can complete"
    NO_SYNDROME = "an access outside memory by an instruction that cannot be completed as MMIO"
    HVC = "HVC"
    SMC = "SMC"
    BRK = "BRK, and the caller takes breakpoints"
    WFI = "the guest waits for an interrupt"
    HYPERVISOR = "an instruction that the guest's own hypervisor may not execute itself"
    TO_EL2 = "an exception that the guest's own hypervisor takes"
    UNIMPLEMENTED = "an instruction this emulator lacks"
    UNMODELLED = "an access whose effects are not modelled"


@dataclass(frozen=True, slots=True)
class Stop:
    """The reason and its particulars; `pc` is where the guest continues.

    HVC, SMC and WFI: `pc` is past the instruction, `immediate` its operand; BRK: `pc` is on it. MMIO
    and NO_SYNDROME: `pc` is the instruction, `access` what it does, `data` what it writes; MMIO
    continues when the caller has done what `transfer` says and gone to the next instruction.
    HYPERVISOR: `word` at `pc`.
    TO_EL2: `exception`, `pc` being its preferred return address. UNIMPLEMENTED and UNMODELLED: `word`
    at `pc`, `detail` says more. `executed` counts instructions if the run had an instruction budget,
    else it is None.
    """

    reason: Reason
    pc: int
    executed: int | None = None
    immediate: int = 0
    access: Access | None = None
    transfer: Transfer | None = None
    data: bytes = field(default=b"", repr=False)
    word: int = 0
    detail: str = ""
    exception: GuestException | None = None


Ending = Stop | GuestException
"""What an instruction comes to that does not just go on: the caller deals with it, or the guest."""


def unimplemented(word: int, pc: int) -> Stop:
    """The architecture defines this instruction, this PE does not execute it."""
    detail = f"the instruction {word:#010x} at {pc:#x} exists in the architecture but not in this emulator"
    return Stop(Reason.UNIMPLEMENTED, pc, word=word, detail=detail)
