"""The rows of advice speak of registers and fields that exist."""

from __future__ import annotations

import pytest

from armkvm.arch.idfields import field
from armkvm.migration.advice import ANY_FIELD, FIELD_ADVICE, field_advice

NAMES = [name for row in FIELD_ADVICE for name in sorted(row.fields)]


@pytest.mark.parametrize("name", NAMES)
def test_advice_on_a_field_names_it_as_the_field_does(name: str) -> None:
    part = field(*name.split("."))
    assert str(part) == name
    assert field_advice(part) is not ANY_FIELD


def test_no_field_has_advice_twice() -> None:
    assert len(NAMES) == len(set(NAMES))
