"""docs/context-switch.md says what the rules say: its tables are the rows."""

from __future__ import annotations

import pytest
from tests.recordings import REPOSITORY
from tests.unit.test_context_rules import REVIEWED

from armkvm.model.context.rules import ORDER, ROWS, RULES

PAGE = (REPOSITORY / "docs" / "context-switch.md").read_text()

RULE_LINES = [f"| `{row.name}` | {row.says} | {row.why} | {row.source} |" for row in ROWS]
STEP_LINES = [f"{n}. {step.value}" for n, step in enumerate(RULES.load_steps, 1)]
ORDER_LINES = [f"| {one.first.value} | {one.then.value} | {one.why} |" for one in ORDER]
DEFECT_LINES = [f"| {mutant.name} | `{mutant.rule}` |" for mutant in REVIEWED]


@pytest.mark.parametrize("lines", [RULE_LINES, STEP_LINES, ORDER_LINES, DEFECT_LINES])
def test_the_page_has_every_row_in_order(lines: list[str]) -> None:
    """On failure: what stands here is what the page needs."""
    assert "\n".join(lines) + "\n" in PAGE
