"""A value is made whole, checked, and never changed."""

from __future__ import annotations

import copy
import pickle
from typing import Any
from unittest import mock

import pytest

from armkvm.value import Value, replace


class Span(Value):
    """Two numbers in order, and a label."""

    low: int
    high: int
    label: str = "span"

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"{self.low} is above {self.high}")


class Other(Value):
    """A class of the same parts."""

    low: int
    high: int
    label: str = "span"


class Named(Value, kw_only=True):
    """A default may come first where parts are given by name."""

    label: str = ""
    low: int


def test_parts_are_given_by_place_or_by_name() -> None:
    assert Span(1, 2) == Span(1, high=2) == Span(low=1, high=2, label="span")
    assert Named(low=1).label == ""


def test_a_value_shows_its_parts_in_the_order_they_are_declared() -> None:
    assert repr(Span(high=2, low=1, label="x")) == "Span(low=1, high=2, label='x')"


@pytest.mark.parametrize(
    ("args", "named"),
    [((1,), {}), ((1, 2, "x", 4), {}), ((1, 2), {"low": 1}), ((1, 2), {"wide": 3}), ((1,), {"wide": 3})],
)
def test_what_is_not_made_of_its_parts_is_refused(args: tuple[Any, ...], named: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="Span is made of low, high, label"):
        Span(*args, **named)


def test_parts_by_name_only_are_refused_by_place() -> None:
    with pytest.raises(TypeError, match="Named is made of label, low"):
        Named("x", low=1)  # type: ignore[call-arg]


def test_values_are_equal_by_class_and_parts() -> None:
    assert hash(Span(1, 2)) == hash(Span(1, 2))
    assert Span(1, 2) != Span(1, 3)
    assert Span(1, 2) != Other(1, 2)


def test_a_value_never_changes() -> None:
    span = Span(1, 2)
    with pytest.raises(AttributeError, match="immutable"):
        span.low = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match="immutable"):
        del span.low
    with pytest.raises(AttributeError):
        span.note = "x"
    assert span == Span(1, 2)


def test_a_value_with_other_parts_is_checked_again() -> None:
    assert replace(Span(1, 2, "x"), high=3) == Span(1, 3, "x")
    with pytest.raises(ValueError, match="1 is above 0"):
        replace(Span(1, 2), high=0)
    with pytest.raises(TypeError, match="made of"):
        replace(Span(1, 2), wide=3)


def test_a_part_may_be_called_value() -> None:
    class Told(Value):
        value: int

    assert replace(Told(1), value=2) == Told(2)


def test_a_value_adds_no_parts_to_another() -> None:
    with pytest.raises(TypeError, match="all its own"):

        class Wider(Span):
            wide: int = 0


def test_a_value_can_be_matched_by_its_parts() -> None:
    match Span(1, 2, "x"):
        case Span(low, high, note):
            assert (low, high, note) == (1, 2, "x")


def test_a_value_leaves_it_to_others_whether_they_are_equal() -> None:
    assert Span(1, 2) == mock.ANY
    assert Span(1, 2) != (1, 2, "")


def test_a_value_can_be_copied_and_sent() -> None:
    span = Span(1, 2, "x")
    assert copy.deepcopy(span) == pickle.loads(pickle.dumps(span)) == span  # noqa: S301
