"""The order of a field's values: one algebra for KVM's write checks and for a fleet's baseline."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import assume, given, strategies as st

from armkvm.arch.fields import (
    EXACT,
    HIGHER,
    HIGHER_OR_ZERO,
    LOWER,
    SIGNED_LOWER,
    Field,
    Kind,
    Rule,
    accepted_values,
    accepts,
    exact,
    meet,
)
from armkvm.arch.idfields import FIELDS
from armkvm.arch.sysregs import sysreg

RULES = {
    "lower": LOWER,
    "signed lower": SIGNED_LOWER,
    "higher": HIGHER,
    "higher or zero": HIGHER_OR_ZERO,
    "exact, safe 0": exact(0),
    "exact, safe 1": exact(1),
    "exact": EXACT,
}
each_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
NIBBLE = range(16)
REG = sysreg("ID_AA64PFR0_EL1")

fields = st.sampled_from([field for tiles in FIELDS.values() for field in tiles])
registers = st.integers(0, 2**64 - 1)


def of_rule(rule: Rule) -> Field:
    return Field(REG, "X", 3, 0, rule.direction, rule.signed, rule.safe)


def fold(field: Field, a: int | None, b: int | None) -> int | None:
    """`meet` with "no value exists" absorbing everything."""
    return None if a is None or b is None else meet(field, a, b)


@each_rule
def test_meet_is_a_semilattice(rule: Rule) -> None:
    """Commutative, associative, idempotent; exhaustively, for every direction."""
    field = of_rule(rule)
    for a, b in itertools.product(NIBBLE, repeat=2):
        assert meet(field, a, b) == meet(field, b, a)
        assert meet(field, a, a) == a
    for a, b, c in itertools.product(NIBBLE, repeat=3):
        assert fold(field, fold(field, a, b), c) == fold(field, a, fold(field, b, c))


@each_rule
def test_meet_is_the_greatest_value_both_accept(rule: Rule) -> None:
    """It adds nothing that either limit lacks, and gives up nothing that both have."""
    field = of_rule(rule)
    for a, b in itertools.product(NIBBLE, repeat=2):
        common = {value for value in NIBBLE if accepts(field, a, value) and accepts(field, b, value)}
        best = meet(field, a, b)
        if best is None:
            assert not common
        else:
            assert common == {value for value in NIBBLE if accepts(field, best, value)}


@each_rule
def test_acceptance_is_a_partial_order(rule: Rule) -> None:
    """A value passes against itself, limits chain, and two values accepting each other are one."""
    field = of_rule(rule)
    for a, b in itertools.product(NIBBLE, repeat=2):
        assert accepts(field, a, a)
        assert not (accepts(field, a, b) and accepts(field, b, a)) or a == b
        assert accepted_values(field, a) == tuple(v for v in NIBBLE if accepts(field, a, v))
        assert all(accepts(field, a, v) for v in accepted_values(field, b) if accepts(field, a, b))


@pytest.mark.parametrize(
    ("rule", "limit", "accepted"),
    [
        (LOWER, 2, (0, 1, 2)),
        (SIGNED_LOWER, 0, (0, *range(8, 16))),  # 0xf is -1, "not implemented"
        (SIGNED_LOWER, 0xF, tuple(range(8, 16))),
        (HIGHER, 14, (14, 15)),
        (HIGHER_OR_ZERO, 14, (0, 14, 15)),
        (HIGHER_OR_ZERO, 0, (0,)),  # zero says nothing, so nothing more precise may be claimed
        (exact(1), 2, (1, 2)),
        (EXACT, 2, (2,)),
    ],
)
def test_the_kernel_rule_by_example(rule: Rule, limit: int, accepted: tuple[int, ...]) -> None:
    assert accepted_values(of_rule(rule), limit) == accepted


def test_exact_without_a_safe_value_has_no_meet() -> None:
    assert meet(of_rule(EXACT), 1, 2) is None
    assert meet(of_rule(exact(0)), 1, 2) == 0


@given(fields, registers, registers)
def test_every_field_of_the_tables_meets_safely(field: Field, a: int, b: int) -> None:
    """Whatever the width: the meet of two hosts' values is accepted by both hosts."""
    limits = field.extract(a), field.extract(b)
    best = meet(field, *limits)
    assume(best is not None)
    assert best is not None
    assert all(accepts(field, limit, best) for limit in limits)
    assert best == meet(field, *reversed(limits))


@given(fields, registers, registers)
def test_insert_and_extract_are_inverse(field: Field, register: int, other: int) -> None:
    """insert changes the field's bits and no other; extract gives back what was inserted."""
    value = field.extract(other)
    changed = field.insert(register, value)
    assert field.extract(changed) == value
    assert (changed ^ register) & ~field.mask == 0
    assert field.insert(changed, field.extract(register)) == register


@given(fields)
def test_values_that_do_not_fit_are_refused(field: Field) -> None:
    too_wide = 1 << field.width
    for bad in (too_wide, -1):
        with pytest.raises(ValueError, match="does not fit"):
            field.insert(0, bad)
        with pytest.raises(ValueError, match="does not fit"):
            accepts(field, 0, bad)
        with pytest.raises(ValueError, match="does not fit"):
            meet(field, bad, 0)


def test_a_signed_field_counts_in_twos_complement() -> None:
    field = of_rule(SIGNED_LOWER)
    assert [field.number(value) for value in (0, 7, 8, 15)] == [0, 7, -8, -1]
    assert of_rule(LOWER).number(15) == 15


@pytest.mark.parametrize(("msb", "lsb"), [(3, 4), (64, 60), (0, -1)])
def test_a_field_lies_within_its_register(msb: int, lsb: int) -> None:
    with pytest.raises(ValueError, match="not within 63:0"):
        Field(REG, "X", msb, lsb, LOWER.direction)


def test_a_safe_value_must_fit() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Field(REG, "X", 0, 0, EXACT.direction, safe=2)


def test_reserved_bits_accept_only_what_they_hold() -> None:
    """Every bit without a name must equal the limit, as in KVM."""
    for field in (field for tiles in FIELDS.values() for field in tiles if field.kind is not Kind.NAMED):
        assert accepted_values(field, 0) == (0,)
