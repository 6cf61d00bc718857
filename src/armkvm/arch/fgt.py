"""Fine-grained traps: the bits of H*FG*_EL2, and which bit a register or instruction belongs to."""

from __future__ import annotations

from dataclasses import dataclass

from armkvm.arch.accesses import find_access
from armkvm.arch.encoding import SysReg
from armkvm.arch.features import Condition, feature
from armkvm.arch.tables.fgt import GROUPS, FgtRow


@dataclass(frozen=True, slots=True)
class FgtBit:
    """One trap bit. `sides` is "rw", "r", "w" (register accesses) or "x" (instructions).

    `covers` holds names; those with a known encoding are in `BIT_OF`. `never_undef` bits may trap,
    yet KVM does not make the access UNDEFINED for lack of the feature.
    """

    group: str
    bit: int
    name: str
    sides: str
    feature: str
    never_undef: bool
    covers: tuple[str, ...]

    @property
    def mask(self) -> int:
        return 1 << self.bit

    @property
    def traps_when(self) -> int:
        """The bit's value that traps: 0 for negative polarity."""
        return 0 if self.name[0] == "n" else 1

    @property
    def condition(self) -> Condition:
        """The feature without which the access does not exist."""
        return feature(self.feature)

    @property
    def registers(self) -> dict[str, str]:
        """The control registers that have the bit, by side."""
        pair = {"r": self.group, "w": self.group.replace("RTR", "WTR"), "x": self.group}
        return {side: f"{pair[side]}_EL2" for side in self.sides}

    def control(self, is_write: bool) -> str:
        """The bit that traps such an access. A register that has but one side has but one bit."""
        side = "w" if is_write else "r"
        registers = self.registers
        return f"{registers.get(side) or next(iter(registers.values()))}.{self.name}"

    def has_side(self, is_write: bool) -> bool:
        """False for a write of a read-only register, and for a read of a write-only one."""
        return self.sides == "x" or ("w" if is_write else "r") in self.sides

    def __str__(self) -> str:
        return f"{self.group}_EL2.{self.name}"


def _bit(group: str, row: FgtRow) -> FgtBit:
    bit, name, sides, feature_name, covers = row
    own_name = name[1:] if name[0] == "n" else name
    return FgtBit(
        *(group, bit, name, sides, feature_name.rstrip("*"), feature_name.endswith("*")),
        covers=tuple(covers.split()) or (own_name,),
    )


BITS: tuple[FgtBit, ...] = tuple(_bit(group, row) for group, rows in GROUPS for row in rows)


def _index() -> tuple[dict[SysReg, FgtBit], dict[tuple[int, int, int], FgtBit]]:
    """Bits by encoding; and those that cover a whole (op0, op1, CRn) but for what has its own bit."""
    exact: dict[SysReg, FgtBit] = {}
    spans: dict[tuple[int, int, int], FgtBit] = {}
    for bit in BITS:
        for name in bit.covers:
            reg = find_access(name)
            if name.startswith("S2_"):
                op0, op1, crn = name.removeprefix("S").replace("C", "").split("_")
                spans[int(op0), int(op1), int(crn)] = bit
            elif reg is not None:
                exact[reg] = bit
    return exact, spans


BIT_OF, _SPANS = _index()


def bit_of(reg: SysReg) -> FgtBit | None:
    """The trap bit that a register or SYS instruction belongs to, if it has one."""
    return BIT_OF.get(reg) or _SPANS.get((reg.op0, reg.op1, reg.crn))
