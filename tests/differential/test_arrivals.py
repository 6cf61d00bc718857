"""Verdicts over many hosts at once are those of `check`, pair by pair."""

from __future__ import annotations

import random

from tests.every_host import every_host

from armkvm.backends.model import ModelSystem
from armkvm.migration.arrivals import arrivals, departures, verdicts
from armkvm.migration.check import check


def test_verdicts_are_those_of_check() -> None:
    """Of some hosts of every kernel, in either order."""
    some = random.Random(7).sample([*every_host()], 14)
    some += ["max?kernel=7.3", "max-vq4?kernel=7.3", "max-nested?kernel=7.3", "neoverse-v1?kernel=6.18"]
    places = {}
    for label in sorted(set(some)):
        host = every_host()[label]
        places[label] = ModelSystem(host.facts, host.profile, label)
    sent = departures(places)
    arrived = {label: arrivals(place, sent) for label, place in places.items()}
    found = {(one, two): verdict for one, two, verdict in verdicts(places, arrived)}
    assert found == {(one, two): check(places[one], places[two]).verdict for one, two in found}
    assert len(set(found.values())) > 2
