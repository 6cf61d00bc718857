"""The rule book is complete and says what a person needs."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

from armkvm import model
from armkvm.errors import Rule
from armkvm.model.rulebook import PARTS, RULES


def test_the_book_has_every_part_and_every_rule_once() -> None:
    rooms = Path(model.__path__[0]).glob("*rules.py")
    assert {part.__name__ for part in PARTS} == {f"{model.__name__}.{room.stem}" for room in rooms}
    found = [value for part in PARTS for value in vars(part).values() if isinstance(value, Rule)]
    assert len(found) == len(RULES)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_has_a_name_an_errno_a_sentence_and_a_remedy(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", rule.name)
    assert rule.errno in errno.errorcode
    assert rule.sentence.endswith(".")
    assert rule.remedy.endswith(".")
