"""The rule book is complete and says what a person needs."""

from __future__ import annotations

import errno
import re

import pytest

from armkvm.errors import Rule
from armkvm.model.rulebook import PARTS, RULES


def test_every_rule_of_every_part_is_in_the_book_once() -> None:
    found = [value for part in PARTS for value in vars(part).values() if isinstance(value, Rule)]
    assert {rule.name: rule for rule in found} == RULES
    assert len(found) == len(RULES)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_has_a_name_an_errno_a_sentence_and_a_remedy(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", rule.name)
    assert rule.errno in errno.errorcode
    assert rule.sentence.endswith(".")
    assert rule.remedy.endswith(".")
