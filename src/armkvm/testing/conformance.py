"""The conformance suite: readable scenarios, each naming the rule it checks and where that is from.

Every place passes it: the model of each kernel, /dev/kvm, an agent, a lab. A scenario asks the place what
it offers (never for a version) and is skipped with a reason where it does not apply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from armkvm.backends.base import System
from armkvm.errors import KvmError, PlaceError
from armkvm.testing.place import Broken, Place, Skipped

Check = Callable[[Place], None]


class Status(Enum):
    """How a scenario went."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One rule, and the calls that check it. `source` names where the rule is stated."""

    name: str
    rule: str
    source: str
    check: Check


@dataclass(frozen=True, slots=True)
class Result:
    """How one scenario went in one place; `reason` says what was wrong, or why it was skipped."""

    scenario: Scenario
    status: Status
    reason: str = ""

    def as_json(self) -> dict[str, str]:
        """Plain values for a report."""
        return {
            "scenario": self.scenario.name,
            "status": self.status.value,
            "rule": self.scenario.rule,
            "source": self.scenario.source,
            "reason": self.reason,
        }


def scenario(source: str) -> Callable[[Check], Check]:
    """Register a check. Its name is the scenario's, its docstring the rule in one sentence."""

    def register(check: Check) -> Check:
        name = check.__name__.replace("_", "-")
        rule = " ".join((check.__doc__ or "").split())
        if not rule or name in _REGISTERED:
            raise ValueError(f"scenario {name}: no rule is stated, or the name is taken")
        _REGISTERED[name] = Scenario(name, rule, source, check)
        return check

    return register


_REGISTERED: dict[str, Scenario] = {}


def scenarios() -> tuple[Scenario, ...]:
    """Every scenario, in the order of their subjects."""
    from armkvm.testing.scenarios import load

    load()
    return tuple(_REGISTERED.values())


def run_one(system: System, which: Scenario) -> Result:
    """Try one scenario; a refusal nobody expected is a failure, a dead place is not our answer."""
    try:
        with Place(system) as place:
            which.check(place)
    except Skipped as skipped:
        return Result(which, Status.SKIPPED, str(skipped))
    except Broken as broken:
        return Result(which, Status.FAILED, str(broken))
    except PlaceError:
        raise
    except KvmError as refused:
        return Result(which, Status.FAILED, f"unexpected refusal: {refused}")
    return Result(which, Status.PASSED)


def run(system: System, names: Iterable[str] = ()) -> list[Result]:
    """Run the suite, or the scenarios of these names, on one place.

    Raises:
        ValueError: a name is no scenario.
        PlaceError: the place died.

    """
    every = {one.name: one for one in scenarios()}
    unknown = [name for name in names if name not in every]
    if unknown:
        raise ValueError(f"no scenario is called {', '.join(unknown)}")
    chosen = [every[name] for name in names] or list(every.values())
    return [run_one(system, one) for one in chosen]
