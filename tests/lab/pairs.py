"""Pairs of labs: whether ``armkvm check`` on two probed host files predicts what a move between them does.

``python -m tests.lab.pairs [URI...]`` tries every pair of these labs in both directions (of `LABS`
without any), prints a table, and ends with 1 if a prediction was wrong. A few pairs are tests as well.

Predictions are made by models of the probed files alone. What happens is what the two labs answer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from armkvm.abi.regid import RegId
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.base import System
from armkvm.backends.lab.place import LabOptions, LabSystem, open_lab
from armkvm.backends.locate import parse
from armkvm.backends.model import ModelSystem
from armkvm.catalog import name_of
from armkvm.errors import PlaceError, errno_name
from armkvm.hosts import hostfile, library
from armkvm.migration.check import Config, Direction, check, features_of
from armkvm.migration.move import MigrationReport, Wanted, migrate, offered_lengths, usual_features
from armkvm.probe import probe

LABS = (
    "lab:max?kernel=6.1",
    "lab:neoverse-v1?kernel=6.1",
    "lab:a64fx?kernel=6.1",
    "lab:max?kernel=6.12",
    "lab:max,sve-max-vq=4?kernel=6.12",
    "lab:neoverse-n1?kernel=6.12",
    "lab:max?kernel=7.2",
    "lab:max,sve512=on?kernel=7.2",
    "lab:neoverse-v1?kernel=7.2",
    "lab:cortex-a76?kernel=7.2",
    "lab:max?kernel=7.3",
    "lab:max,sve-max-vq=2?kernel=7.3",
    "lab:a64fx?kernel=7.3",
    "lab:neoverse-n1?kernel=7.3",
    "lab:neoverse-n2?kernel=7.3",
    "lab:cortex-a710?kernel=7.3",
)
_OPEN_AT_ONCE = 4
_SHOWN = 6

Said = dict[str, object]
"""What one move met, in a form that two places' answers are compared in."""


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab that was probed: its model is made of the file alone."""

    uri: str
    model: System

    @classmethod
    def probed(cls, uri: str, system: System) -> Lab:
        """By way of the host file, as a user would."""
        tree = json.loads(hostfile.encode(probe(system)))
        return cls(uri, ModelSystem(*library.seen_through(hostfile.decode(tree, uri)), uri))


@dataclass(frozen=True, slots=True)
class Row:
    """One direction of a pair: what was predicted, what happened, and what they disagree about."""

    source: str
    destination: str
    what: str
    predicted: str
    happened: str
    disputed: tuple[str, ...]


def compared(one: Lab, other: Lab, open_one: Callable[[str], System]) -> Iterator[Row]:
    """Both directions: the check, a move of all that the source grants, and one with common lengths."""
    here, there = open_one(one.uri), open_one(other.uri)
    foretold, told = check(one.model, other.model), check(here, there)
    assert foretold.back is not None
    assert told.back is not None
    directions = (
        (one, other, here, there, foretold.forth, told.forth),
        (other, one, there, here, foretold.back, told.back),
    )
    for source, destination, source_lab, destination_lab, before, after in directions:
        yield _row(source, destination, "check", _checked(before), _checked(after))
        wanted = Wanted(features=features_of(source.model, Config.ALL))
        moved = migrate(source_lab, destination_lab, wanted)
        yield _row(
            source,
            destination,
            "move",
            _moved(migrate(source.model, destination.model, wanted)),
            _moved(moved),
        )
        if before.possible != moved.moved:
            verdicts: tuple[Said, Said] = {"moves": before.possible}, {"moves": moved.moved}
            yield _row(source, destination, "verdict", *verdicts)
        common = _common_lengths(source.model, destination.model)
        if common:
            wanted = Wanted(features=usual_features(source.model), vls=common)
            predicted = migrate(source.model, destination.model, wanted)
            happened = migrate(source_lab, destination_lab, wanted)
            yield _row(source, destination, f"move {common}", _moved(predicted), _moved(happened))


def _common_lengths(source: System, destination: System) -> VectorLengths:
    """The lengths that both give, if they give SVE, and not the same."""
    offers = [
        offered_lengths(place, Wanted(features=usual_features(place))) for place in (source, destination)
    ]
    sets = [offer.get(RegId.sve_vls(), VectorLengths()) for offer in offers]
    return sets[0].common_prefix(sets[1]) if all(sets) and sets[0] != sets[1] else VectorLengths()


def _row(source: Lab, destination: Lab, what: str, predicted: Said, happened: Said) -> Row:
    disputed = [key for key in {**predicted, **happened} if predicted.get(key) != happened.get(key)]
    told = tuple(f"{key}: {predicted.get(key)} / {happened.get(key)}" for key in disputed)
    return Row(source.uri, destination.uri, what, _brief(predicted), _brief(happened), told)


def _checked(direction: Direction) -> Said:
    said: Said = {"moves": direction.possible, "features": direction.features}
    for tried in direction.rehearsals:
        record = tried.as_record()
        refused = record.pop("refused", {})
        assert isinstance(refused, Mapping)
        said |= {key: value for key, value in record.items() if not isinstance(value, list)}
        said |= {f"{_name(reg)} refused": errno for reg, errno in refused.items()}
        said |= {f"{name_of(reg)} differs": data and data.hex() for reg, data in tried.differs.items()}
        said |= {f"{name_of(reg)} missing": True for reg in tried.missing_here}
        said |= {f"{name_of(reg)} extra": True for reg in tried.extra_here}
    return said


def _moved(report: MigrationReport) -> Said:
    said: Said = {"moves": report.moved}
    said |= {f"{found.code} {found.subject}": found.errno for found in report.findings if found.blocking}
    for outcome in report.restored.vcpus if report.restored else ():
        said |= {f"{name_of(reg)} refused": errno_name(errno) for reg, errno in outcome.refused.items()}
        said |= {f"{name_of(reg)} differs": data.hex() for reg, data in outcome.differs.items()}
        said |= {f"{name_of(reg)} extra": True for reg in outcome.extra}
    return said


def _name(reg: str) -> str:
    return name_of(RegId(int(reg, 16)))


def _brief(said: Said) -> str:
    refused = sum(key.endswith(" refused") for key in said)
    words = "moves" if said.get("moves") else "does not"
    return f"{words}, {refused} refused" if refused else words


# -- the command -----------------------------------------------------------------------------------


class Shelf:
    """Open labs, the least recently used closed when there are too many."""

    def __init__(self) -> None:
        self._open: dict[str, LabSystem] = {}

    def __call__(self, uri: str) -> LabSystem:
        system = self._open.pop(uri, None)
        if system is None or not system.is_open:
            while len(self._open) >= _OPEN_AT_ONCE:
                self._open.pop(next(iter(self._open))).close()
            _, cpu, options = parse(uri)
            system = open_lab(LabOptions.parse(cpu, {"boot_timeout": "600", "timeout": "300", **options}))
        self._open[uri] = system
        return system

    def close(self) -> None:
        for system in self._open.values():
            system.close()


def main(uris: list[str]) -> int:
    """Every pair of these labs; 1 if a prediction was wrong."""
    shelf, rows, wrong = Shelf(), 0, 0
    try:
        labs = []
        for uri in uris:
            try:
                labs.append(Lab.probed(uri, shelf(uri)))
            except PlaceError as absent:
                print(f"skipped {uri}: {absent}")
        for one, other in combinations(labs, 2):
            for row in compared(one, other, shelf):
                rows += 1
                wrong += bool(row.disputed)
                mark = "WRONG" if row.disputed else "ok"
                print(
                    f"{mark:5} {row.source:36} {row.destination:36} {row.what:10} "
                    f"{row.predicted:24} {row.happened}",
                    flush=True,
                )
                for told in row.disputed[:_SHOWN]:
                    print(f"        {told}")
    finally:
        shelf.close()
    print(f"{len(labs)} labs, {rows} predictions, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or [*LABS]))
