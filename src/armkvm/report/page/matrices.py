"""The compatibility matrix: kinds of hosts against one another, or against pools where kinds are many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from armkvm.migration.baseline import Baseline
from armkvm.migration.check import Direction
from armkvm.migration.pairs import Pair
from armkvm.migration.pools import Admission, Pool
from armkvm.report.page import reasons
from armkvm.report.page.parts import Block, Cell, Column, Matrix, Row, State


def of_pairs(
    order: Sequence[str], groups: Mapping[str, int], sizes: Mapping[str, int], pairs: Sequence[Pair]
) -> Matrix:
    """Kinds against kinds: a row's VMs on a column's hosts. Kinds of one pool stand together."""
    cells: dict[tuple[str, str], Cell] = {}
    for pair in pairs:
        shared = reasons.both(pair.both, sizes)
        back = pair.check.back or pair.check.forth
        cells[pair.one, pair.two] = _pair(pair.one, pair.two, pair.check.forth, pair.both, shared)
        cells[pair.two, pair.one] = _pair(pair.two, pair.one, back, pair.both, shared)
    itself = Cell(State.SELF, "the same kind")
    return Matrix(
        caption="Each row's VMs on each column's hosts",
        corner="VMs of",
        columns=tuple(Column(str(n), name, groups[name]) for n, name in enumerate(order, start=1)),
        rows=tuple(
            Row(
                f"{n} {name}",
                _times(sizes[name]),
                groups[name],
                tuple(itself if name == other else cells[name, other] for other in order),
            )
            for n, name in enumerate(order, start=1)
        ),
        meanings=(
            (State.MOVES, "what runs there moves as it is"),
            (
                State.NEW,
                "it cannot, and a new VM can be made for both; the number is what that costs",
            ),
            (State.NEVER, "no vCPU suits both; the number is what stands in the way"),
        ),
    )


def _pair(here: str, there: str, moves: Direction, both: Baseline, shared: tuple[Block, ...]) -> Cell:
    running = tuple(reasons.findings(moves))
    if moves.possible:
        return Cell(State.MOVES, f"What runs on {here} moves to {there} as it is.", 0, (*running, *shared))
    blocked = f"What runs on {here} cannot move to {there}"
    if both.guest is not None:
        says = f"{blocked}; a new VM can be made for both."
        return Cell(State.NEW, says, len(both.losses), (*running, *shared))
    says = f"{blocked}, and no vCPU suits both."
    return Cell(State.NEVER, says, len(both.obstacles), (*shared, *running))


def of_admissions(
    order: Sequence[str],
    groups: Mapping[str, int],
    sizes: Mapping[str, int],
    pools: Sequence[Pool],
    admissions: Mapping[str, Sequence[Admission]],
) -> Matrix:
    """Kinds against pools: what it would take to let a kind into each pool."""
    return Matrix(
        caption="Each kind of host against each pool",
        corner="Kind",
        columns=tuple(
            Column(str(n), f"pool {n}, {len(pool.hosts):,} hosts", n) for n, pool in enumerate(pools, start=1)
        ),
        rows=tuple(
            Row(
                name,
                _times(sizes[name]),
                groups[name],
                tuple(
                    _admission(name, n, found, groups[name] == n, sizes)
                    for n, found in enumerate(admissions[name], start=1)
                ),
            )
            for name in order
        ),
        meanings=(
            (State.HOME, "the kind's own pool"),
            (State.MOVES, "could join, and the pool's VMs can use it as they are"),
            (State.NEW, "could join if the pool gave up as many things as the number says"),
            (State.NEVER, "cannot join; the number is what stands in the way"),
        ),
    )


def _admission(name: str, number: int, found: Admission, at_home: bool, sizes: Mapping[str, int]) -> Cell:
    if at_home:
        return Cell(State.HOME, f"{name} is in pool {number}.")
    if not found.possible:
        says = f"{name} cannot join pool {number}."
        told = reasons.obstacles(found.after.obstacles, sizes, "No value of these suits all")
        return Cell(State.NEVER, says, len(found.after.obstacles), (told,))
    lost = [loss for loss in found.after.losses if loss not in found.before.losses]
    told = reasons.costs(lost, sizes, "What the pool would give up")
    if found.free:
        says = f"{name} could join pool {number}, and its VMs could use it as they are."
        return Cell(State.MOVES, says, 0, (told,) if lost else ())
    return Cell(State.NEW, f"{name} could join pool {number} at a cost.", len(lost), (told,))


def _times(hosts: int) -> str:
    return f"x{hosts:,}" if hosts > 1 else ""
