"""The pages of `pools` and `baseline`: a fleet's kinds of hosts, its pools, and every reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import name_of
from armkvm.migration.baseline import Baseline
from armkvm.migration.pairs import Pair
from armkvm.migration.pools import Admission, Kind, Partition, Pool
from armkvm.report import baselines
from armkvm.report.page import matrices, reasons
from armkvm.report.page.parts import Block, Card, Page, Section
from armkvm.report.pooling import Admitted, Takers
from armkvm.state import HostFacts

MOST_POOLS = 24
"""As many pools are told one by one, the largest first; of the rest, how many."""

MOST_KINDS = 400
"""As many kinds of hosts have a row, the largest first."""

MOST_APART = 8
"""Of as many pools it is told what keeps each two apart; of more the matrix tells it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindOfHost:
    """One kind with its facts and the lengths its guests can have."""

    kind: Kind
    facts: HostFacts
    sve: VectorLengths
    sme: VectorLengths


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What both pages show of the hosts themselves.

    `pairs` compares every two kinds; where there are too many of those it is empty, and `admissions`
    has for each kind that is shown, by speaker, what each pool's hosts would have to say to it.
    `arrived` has the kinds whose VMs can move to each, where that was asked for.
    """

    kinds: Sequence[KindOfHost]
    pairs: Sequence[Pair] = ()
    admissions: Mapping[str, Sequence[Admission]] = field(default_factory=dict)
    arrived: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """How many hosts each kind has, by speaker."""
        return {one.kind.speaker: len(one.kind.hosts) for one in self.kinds}


def shown(kinds: Iterable[Kind]) -> list[Kind]:
    """The kinds that a page tells one by one: the largest."""
    return sorted(kinds, key=lambda kind: (-len(kind.hosts), kind.speaker))[:MOST_KINDS]


def pools(
    fleet: Fleet,
    division: Partition,
    before: Partition | None = None,
    admitted: Sequence[Admitted] = (),
    takers: Sequence[Takers] = (),
) -> Page:
    """A fleet divided into pools, with what keeps them apart and the answers to what-if questions."""
    hosts = sum(fleet.sizes.values())
    title = f"{count(hosts, 'host')} in {count(len(division.pools), 'pool')}"
    lines = [_kinds_line(fleet), "Within a pool a VM made to the pool's vCPU can move to every host."]
    if before is not None:
        lines.insert(0, f"As the hosts are now it takes {count(len(before.pools), 'pool')}.")
    told = division.pools[:MOST_POOLS]
    sections = [
        Section(
            key="pools",
            title="Pools",
            lines=_rest(len(division.pools) - len(told), "smaller pool"),
            blocks=_unkept(division, fleet),
            cards=tuple(_pool_card(number, pool, fleet) for number, pool in enumerate(told, start=1)),
        ),
        *_matrix(fleet, division),
        *_apart(division, fleet),
        *_questions(admitted, takers, hosts),
        _hosts(fleet, division),
    ]
    good = len(division.pools) == 1 and not division.unkept
    return Page(verb="pools", title=title, good=good, lines=tuple(lines), sections=tuple(sections))


def baseline(fleet: Fleet, found: Baseline) -> Page:
    """The largest vCPU for a fleet and its costs, or what stands in the way of one."""
    hosts, sizes = sum(fleet.sizes.values()), fleet.sizes
    if found.guest is not None:
        title = f"One vCPU for {count(hosts, 'host')}"
        parts = [_guest_card("The largest vCPU that every host accepts", found, sizes)]
        answer = Section(key="vcpu", title="The vCPU", cards=tuple(parts))
    else:
        title = f"No vCPU suits {count(hosts, 'host')}"
        out = baselines.named(sorted(found.to_leave_out), sizes)
        answer = Section(
            key="vcpu",
            title="What stands in the way",
            lines=(f"Leave out {out}, and the others have one.",),
            blocks=(reasons.obstacles(found.obstacles, sizes, "No value of these suits every host"),),
        )
    sections = [answer, *_matrix(fleet, None), _hosts(fleet, None)]
    return Page(
        verb="baseline",
        title=title,
        good=found.guest is not None,
        lines=(_kinds_line(fleet),),
        sections=tuple(sections),
    )


# -- pools ---------------------------------------------------------------------------------------


def _unkept(division: Partition, fleet: Fleet) -> tuple[Block, ...]:
    if not division.unkept:
        return ()
    return (reasons.costs(division.unkept, fleet.sizes, "Asked for, and kept in no pool"),)


def _pool_card(number: int, pool: Pool, fleet: Fleet) -> Card:
    card = _guest_card(f"Pool {number}", pool.baseline, fleet.sizes)
    speakers = [kind.speaker for kind in pool.kinds]
    who = f"{count(len(pool.hosts), 'host')}: {baselines.named(speakers, fleet.sizes)}"
    return Card(card.title, (who,), card.facts, card.folds)


def _guest_card(title: str, found: Baseline, sizes: Mapping[str, int]) -> Card:
    """A vCPU; what it costs and its registers can be unfolded."""
    if found.guest is None:
        return Card(title, ("no VM can be made",))
    folds = []
    if found.losses:
        folds.append(reasons.costs(found.losses, sizes))
    registers = [*sorted(found.guest.bitmaps.items()), *sorted(found.guest.id_registers.items())]
    if registers:
        rows = tuple((name_of(reg), f"{value:#018x}") for reg, value in registers)
        folds.append(Block(f"Registers to write: {len(rows)}", (), ("Register", "Value"), rows))
    facts = tuple((word, says.replace("+", " + ")) for word, says in baselines.guest_rows(found.guest))
    return Card(title, (), facts, tuple(folds))


def _apart(division: Partition, fleet: Fleet) -> list[Section]:
    blocks = []
    for (one, two), found in division.apart.items():
        if two >= MOST_APART:
            continue
        heading = f"Pools {one + 1} and {two + 1}: {count(len(found), 'obstacle')}"
        if found:
            blocks.append(reasons.obstacles(found, fleet.sizes, heading))
        else:
            kept = "Together they would lose features that are to be kept, or that one of them has."
            blocks.append(Block(f"Pools {one + 1} and {two + 1}", (kept,)))
    if not blocks:
        return []
    lines = ["A field decides where no value of it is accepted by the hosts of both pools."]
    if len(division.pools) > MOST_APART:
        lines.append(f"These are the {MOST_APART} largest pools; of the others the matrix tells it.")
    return [Section(key="apart", title="What keeps pools apart", lines=tuple(lines), folds=tuple(blocks))]


def _questions(admitted: Sequence[Admitted], takers: Sequence[Takers], hosts: int) -> list[Section]:
    blocks = []
    for one in admitted:
        rows = tuple((f"pool {number}", *_admission(found)) for number, found in one.to)
        blocks.append(Block(f"{one.host}, a new host", (), ("To", "", "Costs"), rows))
    if takers:
        able = [
            (one.vm, f"{len(one.hosts):,} of {hosts:,}", baselines.named(one.hosts, {}) or "none")
            for one in takers
        ]
        blocks.append(Block("VMs that exist", (), ("VM", "Can run on", "Which"), tuple(able)))
    return [Section(key="questions", title="What if", blocks=tuple(blocks))] if blocks else []


def _admission(found: Admission) -> tuple[str, str]:
    if not found.possible:
        return "no", ", ".join(obstacle.what for obstacle in found.after.obstacles)
    if found.free:
        return "yes", "nothing: the pool's VMs can use it as they are"
    lost = len(found.after.losses) - len(found.before.losses)
    return "at a cost", f"{count(max(lost, 0), 'thing')} lost; VMs made before cannot use it"


# -- hosts ---------------------------------------------------------------------------------------


def _matrix(fleet: Fleet, division: Partition | None) -> list[Section]:
    order, groups = _by_pool(fleet, division)
    if fleet.pairs:
        drawn = matrices.of_pairs(order, groups, fleet.sizes, fleet.pairs)
    elif fleet.admissions and division is not None:
        drawn = matrices.of_admissions(
            order, groups, fleet.sizes, division.pools[:MOST_POOLS], fleet.admissions
        )
    else:
        return []
    return [Section(key="matrix", title="Who can take whose VMs", matrix=drawn)]


def _by_pool(fleet: Fleet, division: Partition | None) -> tuple[list[str], dict[str, int]]:
    """Speakers that are told, with those of a pool together, and each one's pool (0 where there are none)."""
    groups = {one.kind.speaker: 0 for one in fleet.kinds}
    if division is not None:
        groups = {kind.speaker: n for n, pool in enumerate(division.pools, start=1) for kind in pool.kinds}
    told = [kind.speaker for kind in shown(one.kind for one in fleet.kinds)]
    return sorted(told, key=lambda speaker: (groups[speaker], speaker)), groups


def _hosts(fleet: Fleet, division: Partition | None) -> Section:
    order, groups = _by_pool(fleet, division)
    known = {one.kind.speaker: one for one in fleet.kinds}
    columns: dict[str, Callable[[KindOfHost], str]] = {
        "Kind": lambda one: one.kind.speaker,
        "Hosts": lambda one: f"{len(one.kind.hosts):,}",
        "Pool": lambda one: str(groups[one.kind.speaker] or ""),
        "CPU": lambda one: one.facts.cpu,
        "Kernel": lambda one: f"{one.facts.profile} ({one.facts.kernel})",
        "SVE": lambda one: str(one.sve),
        "SME": lambda one: str(one.sme),
        "Takes VMs of": lambda one: _taken(one.kind.speaker, fleet),
    }
    rows = [tuple(told(known[speaker]) for told in columns.values()) for speaker in order]
    lines = ["Hosts of a kind are alike in everything KVM shows, and bear the name of one of them."]
    if len(order) < len(known):
        lines.append(f"These are the {len(order)} largest of {count(len(known), 'kind')}.")
    return Section(
        key="hosts",
        title="Kinds of hosts",
        lines=tuple(lines),
        blocks=(reasons.table("", (), tuple(columns), rows, most=MOST_KINDS),),
        folds=tuple(_assumed(fleet, [known[speaker] for speaker in order])),
    )


def _taken(speaker: str, fleet: Fleet) -> str:
    """How many hosts' VMs can move to a kind, where that was tried."""
    if not fleet.arrived:
        return ""
    return (
        f"{sum(fleet.sizes[one] for one in fleet.arrived[speaker]):,} of {sum(fleet.sizes.values()):,} hosts"
    )


def _assumed(fleet: Fleet, kinds: Iterable[KindOfHost]) -> Iterator[Block]:
    notes: dict[str, list[str]] = {}
    for one in kinds:
        for note in one.facts.notes:
            notes.setdefault(note, []).append(one.kind.speaker)
    if notes:
        told = [(note, baselines.named(speakers, fleet.sizes)) for note, speakers in notes.items()]
        yield reasons.table(f"What was assumed: {len(told)}", (), ("Note", "Of"), told)


def _kinds_line(fleet: Fleet) -> str:
    hosts, kinds = sum(fleet.sizes.values()), len(fleet.kinds)
    if hosts == kinds:
        return "Every host is unlike the others."
    return f"{count(hosts, 'host')} of {count(kinds, 'kind')}."


def _rest(number: int, what: str) -> tuple[str, ...]:
    return (f"And {count(number, what)}, told in the text report and --json.",) if number > 0 else ()


def count(number: int, what: str) -> str:
    """``1 host``, ``2,000 hosts``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
