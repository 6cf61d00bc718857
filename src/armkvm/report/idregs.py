"""Feature ID registers by field: what a host shows, what may be written, and two hosts side by side.

Pure functions of what a host accepts (`state.Acceptance`); rows are values, `words` and `tree` give them
to people and to programs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from armkvm.arch.fields import Field, meet
from armkvm.arch.idfields import describe
from armkvm.catalog import id_of
from armkvm.state import Acceptance

Tree = dict[str, object]


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field on one host: its value, and every value that sticks when written.

    `is_free`: any value sticks once KVM_CAP_ARM_WRITABLE_IMP_ID_REGS is enabled.
    """

    field: Field
    value: int
    accepted: tuple[int, ...]
    is_free: bool = False

    @property
    def is_writable(self) -> bool:
        """Whether anything but the present value is accepted."""
        return self.is_free or len(self.accepted) > 1

    @property
    def limits(self) -> str:
        """What may be written, for people."""
        if self.is_free:
            return "anything, with KVM_CAP_ARM_WRITABLE_IMP_ID_REGS"
        return ranges(self.accepted) if self.is_writable else "fixed"

    @property
    def meaning(self) -> str:
        return self.field.meaning(self.value)

    def words(self) -> tuple[str, str, str, str, str]:
        """(field, bits, value, meaning, what may be written) for a table."""
        return (
            str(self.field),
            self.field.bits,
            f"{self.value:#x}",
            self.meaning,
            self.limits,
        )

    def tree(self) -> Tree:
        """The same for programs."""
        return {
            "register": str(self.field).partition(".")[0],
            "field": self.field.name,
            "bits": self.field.bits,
            "value": self.value,
            "meaning": self.meaning,
            "writable": self.is_writable,
            "accepted": "any" if self.is_free else list(self.accepted),
        }


@dataclass(frozen=True, slots=True)
class PairRow:
    """One field on two hosts. `common` is the most both can show, None if their fixed values differ."""

    one: FieldRow
    two: FieldRow
    common: int | None

    @property
    def differs(self) -> bool:
        return self.one.value != self.two.value

    @property
    def verdict(self) -> str:
        """What a VM that is to run on both can do about this field."""
        if not self.differs:
            return "same"
        if self.common is None:
            return "no common value"
        return f"{'set' if self.one.is_free else 'lower'} to {self.common:#x}"

    def words(self) -> tuple[str, str, str, str, str]:
        """(field, bits, one, two, verdict) for a table."""
        values = (_with_meaning(self.one), _with_meaning(self.two))
        return (str(self.one.field), self.one.field.bits, *values, self.verdict)

    def tree(self) -> Tree:
        """The same for programs."""
        return {
            "register": str(self.one.field).partition(".")[0],
            "field": self.one.field.name,
            "bits": self.one.field.bits,
            "one": {"value": self.one.value, "accepted": list(self.one.accepted)},
            "two": {"value": self.two.value, "accepted": list(self.two.accepted)},
            "common": self.common,
            "verdict": self.verdict,
        }


FIELD_HEADINGS = ("FIELD", "BITS", "VALUE", "MEANING", "MAY BE WRITTEN")
PAIR_HEADINGS = ("FIELD", "BITS", "ONE", "TWO", "ON BOTH")


def by_field(host: Acceptance) -> tuple[FieldRow, ...]:
    """Every named field of every ID register of the VM, registers in order, fields from bit 63 down.

    Reserved bits appear only where they are not what they should be.
    """
    rows: list[FieldRow] = []
    for reg, value in sorted(host.initial.items()):
        register = reg.encoding
        if register is None:
            continue
        try:
            shown = describe(register, value)
        except ValueError:
            continue  # no feature ID register
        is_free = host.identity_is_writable and reg in host.identity
        rows += [
            FieldRow(part.field, part.value, _accepted(host, part.field, part.value), is_free)
            for part in shown
        ]
    return tuple(rows)


def _accepted(host: Acceptance, part: Field, value: int) -> tuple[int, ...]:
    bits = host.fields(id_of(part.register)).get(part, 0)
    return tuple(v for v in range(bits.bit_length()) if bits >> v & 1) or (value,)


def side_by_side(one: Acceptance, two: Acceptance) -> tuple[PairRow, ...]:
    """Every field that both hosts have a value of, in order."""
    others = {row.field: row for row in by_field(two)}
    return tuple(
        PairRow(row, other, _common(row, other)) for row, other in _paired(by_field(one), others, two)
    )


def _paired(
    rows: Iterable[FieldRow], others: dict[Field, FieldRow], two: Acceptance
) -> Iterable[tuple[FieldRow, FieldRow]]:
    for row in rows:
        other = others.get(row.field)
        if other is None and id_of(row.field.register) in two.initial:
            value = row.field.extract(
                two.initial[id_of(row.field.register)]
            )  # reserved bits, as they should be
            other = FieldRow(row.field, value, (value,))
        if other is not None:
            yield row, other


def _common(one: FieldRow, two: FieldRow) -> int | None:
    """The greatest value both accept."""
    if one.value == two.value or (one.is_free and two.is_free):
        return one.value
    shared = set(one.accepted) & set(two.accepted)
    best: int | None = None
    for value in sorted(shared):
        if best is None or meet(one.field, best, value) == best:
            best = value
    return best


def ranges(values: Iterable[int]) -> str:
    """Numbers with neighbours joined: ``0x0-0x2, 0xf``."""
    parts: list[tuple[int, int]] = []
    for value in sorted(values):
        if parts and value == parts[-1][1] + 1:
            parts[-1] = (parts[-1][0], value)
        else:
            parts.append((value, value))
    return ", ".join(f"{low:#x}" if low == high else f"{low:#x}-{high:#x}" for low, high in parts)


def _with_meaning(row: FieldRow) -> str:
    return f"{row.value:#x} ({row.meaning})" if row.meaning else f"{row.value:#x}"
