"""A guest that is moved finishes as one that is not, wherever it was stopped, in every state of SVCR."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache
from typing import NamedTuple

import pytest
from tests.recordings import REPOSITORY

from armkvm.arch.vectors import VectorLengths
from armkvm.backends.base import System
from armkvm.backends.locate import connect
from armkvm.migration.board import End, Outcome, StopAt
from armkvm.migration.guest_move import Halfway, finish, run_halfway, run_unmoved
from armkvm.migration.move import Wanted, usual_features
from armkvm.migration.program import Program, parse

MEMORY = 1 << 20


class Road(NamedTuple):
    """Two unlike hosts, and the lengths that both give: SVE and SME, as the command line has them."""

    source: str
    destination: str
    vls: str
    sme_vls: str = ""


ROADS = [
    Road("sme-max", "sme-nested", "1-4", "1,2,4"),
    Road("sme-nested", "sme-max", "1-4", "1,2,4"),
    Road("sme-max", "sme2-max", "1,2", "1,2,4,8,16"),
    Road("sme2-max", "sme-nested", "1,2", "1,2"),
    Road("sme-max", "sme-sve-1-2-4_sme-1-4", "1,2", "1"),
    Road("sme-sme-1", "sme-max", "1-4", "1"),
]
SVE_ROADS = [
    Road("max", "max-vq4", "1-4"),
    Road("max-vq4", "max-sve-1-2-4-8-16?kernel=7.2", "1,2"),
    Road("max-vq1", "max", "1"),
]
# markers of sme-modes.S: one in each state of SVCR, in this order, three times over
MARKERS, STATES = 12, (0, 2, 3, 1)
MOST_AFTER_A_MARKER = 40


@cache
def place(host: str) -> System:
    return connect(f"model:{host}")


@cache
def program(name: str) -> Program:
    path = REPOSITORY / "examples" / name
    return parse(path.read_bytes(), name, MEMORY)


def wanted(road: Road) -> Wanted:
    sme = VectorLengths.parse(road.sme_vls) if road.sme_vls else None
    return Wanted(features=usual_features(place(road.source)), vls=VectorLengths.parse(road.vls), sme_vls=sme)


@cache
def unmoved(road: Road, name: str) -> Outcome:
    outcome = run_unmoved(place(road.source), wanted(road), program(name))
    assert outcome is not None
    assert outcome.ending.end is End.SYSTEM
    return outcome


def stopped(road: Road, name: str, stop: StopAt) -> Halfway:
    halfway = run_halfway(place(road.source), wanted(road), program(name), stop)
    assert halfway is not None
    return halfway


def check_finish(road: Road, name: str, halfway: Halfway) -> None:
    report, moved = finish(place(road.destination), program(name), halfway)
    assert moved is not None, report.findings
    assert moved == unmoved(road, name), (road, halfway.ending, unmoved(road, name).differences(moved))


def check_modes(road: Road, rng: random.Random, marker: int) -> int:
    """Move the guest that goes round through the states of SVCR, some way after a marker; SVCR there."""
    stop = StopAt(marker, rng.randrange(1, MOST_AFTER_A_MARKER))
    halfway = stopped(road, "sme-modes.elf", stop)
    check_finish(road, "sme-modes.elf", halfway)
    return halfway.svcr


@pytest.mark.parametrize("road", ROADS, ids=lambda road: f"{road.source}-to-{road.destination}")
def test_a_guest_moved_in_any_state_of_svcr_finishes_alike(road: Road) -> None:
    rng = random.Random(road.destination)
    for marker in rng.sample(range(1, MARKERS + 1), 4):
        check_modes(road, rng, marker)


@pytest.mark.parametrize("marker", range(1, 5))
def test_the_markers_stand_for_the_four_states(marker: int) -> None:
    halfway = stopped(ROADS[0], "sme-modes.elf", StopAt(marker))
    assert halfway.svcr == STATES[marker - 1]


@pytest.mark.parametrize("road", ROADS[:3], ids=lambda road: f"{road.source}-to-{road.destination}")
def test_a_product_in_za_moved_at_random_finishes_alike(road: Road) -> None:
    rng = random.Random(road.source)
    for _ in range(2):
        halfway = stopped(road, "sme-matmul.elf", StopAt(1, rng.randrange(1, 200)))
        check_finish(road, "sme-matmul.elf", halfway)


@pytest.mark.parametrize("road", SVE_ROADS, ids=lambda road: f"{road.source}-to-{road.destination}")
def test_a_product_in_plain_sve_moved_at_random_finishes_alike(road: Road) -> None:
    rng = random.Random(road.source)
    for _ in range(2):
        halfway = stopped(road, "sve-matmul.elf", StopAt(None, rng.randrange(1, 25_000)))
        check_finish(road, "sve-matmul.elf", halfway)


@pytest.mark.long
def test_a_guest_moved_at_a_thousand_points_finishes_alike() -> None:
    rng = random.Random(1000)
    svcr = Counter(
        check_modes(ROADS[n % len(ROADS)], rng, n // len(ROADS) % MARKERS + 1) for n in range(1000)
    )
    assert sorted(svcr) == [0, 1, 2, 3]
    assert min(svcr.values()) > 100
