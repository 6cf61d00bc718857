"""The plan follows from what is to be restored, whatever order it was listed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, strategies as st
from tests.snapshots import regs

from armkvm.migration import ordering
from armkvm.migration.ordering import Stage, rule_of
from armkvm.migration.plan import plan
from armkvm.migration.snapshot import VcpuState
from armkvm.state import RegisterSet

if TYPE_CHECKING:
    from random import Random

    from armkvm.abi.regid import RegId


def state(listed: list[RegId]) -> VcpuState:
    return VcpuState(id=0, features=(), registers=RegisterSet((reg, bytes(reg.size)) for reg in listed))


@given(st.lists(regs, unique=True, max_size=40), st.randoms(), st.booleans())
def test_a_permuted_list_gives_the_same_plan(listed: list[RegId], random: Random, first: bool) -> None:
    shuffled = list(listed)
    random.shuffle(shuffled)
    ordering.rule_of.cache_clear()
    one = plan(state(listed), first=first)
    assert plan(state(shuffled), first=first) == one
    assert ordering.arrange(listed) == ordering.arrange(shuffled)


@given(st.lists(regs, unique=True, max_size=40), st.booleans())
def test_a_plan_loses_no_register_and_writes_none_twice(listed: list[RegId], first: bool) -> None:
    made = plan(state(listed), first=first)
    assert sorted(made.written + made.left) == sorted(listed)


@given(st.lists(regs, unique=True, max_size=40))
def test_stages_never_run_backwards(listed: list[RegId]) -> None:
    order = list(Stage)
    made = plan(state(listed))
    positions = [order.index(rule_of(reg).stage) for reg in made.written]
    assert positions == sorted(positions)
    finalize = order.index(Stage.FINALIZE)
    assert all(order.index(rule_of(reg).stage) < finalize for reg in made.configuring)
    assert all(order.index(rule_of(reg).stage) > finalize for reg in made.filling)
