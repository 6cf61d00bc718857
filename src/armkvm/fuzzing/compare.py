"""One sequence on two places: the first answer that differs, and the least that shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from armkvm.backends.base import System
from armkvm.fuzzing.explained import Explained
from armkvm.traces.replay import Difference, replay_one
from armkvm.traces.stage import LostError, Stage

Step = dict[str, Any]
_MOST_TRIALS = 400


@dataclass(frozen=True, slots=True)
class Found:
    """An answer that differs: the sequence with the reference's answers up to it, and what was found."""

    steps: tuple[Step, ...]
    difference: Difference
    explained: Explained | None

    @property
    def signature(self) -> str:
        """What makes two findings the same: call, register and how the answers differ, not values."""
        one = self.difference
        subject = " ".join(one.call.split()[:2]) if one.call.startswith(_BY_REGISTER) else one.call.split()[0]
        how = f"{one.recorded} {one.here}" if one.what in {"errno", "carried out"} else ""
        return f"{subject} {one.what} {how}".strip()


_BY_REGISTER = ("KVM_GET_ONE_REG", "KVM_SET_ONE_REG")


def answered(steps: Iterable[Step], reference: System) -> list[Step]:
    """The steps with the reference's answers; those that it cannot carry out are left out."""
    done = []
    with Stage(reference, vm0=False) as stage:
        for step in steps:
            try:
                answer, _ = stage.carry_out(step)
            except LostError:
                continue
            done.append({**step, **answer})
    return done


def compare(
    steps: Iterable[Step], reference: System, tried: System, explained: Sequence[Explained]
) -> Found | None:
    """The first difference, explained or not. What follows one is its consequence, and not looked at."""
    recorded = answered(steps, reference)
    sequence = {"name": "fuzz", "vm0": False, "steps": recorded}
    for difference in replay_one(sequence, tried):
        upto = tuple(recorded[: difference.step + 1])
        why = next((one for one in explained if one.covers(upto, difference, reference.kernel)), None)
        return Found(upto, difference, why)
    return None


def shrunk(found: Found, again: Callable[[Sequence[Step]], Found | None]) -> Found:
    """A sequence of as few and as plain steps as show the same difference."""
    trials = _MOST_TRIALS
    best, changed = found, True
    while changed and trials > 0:
        changed = False
        for candidate in _simpler(list(best.steps)):
            trials -= 1
            if trials < 0:
                break
            got = again([_unanswered(step) for step in candidate])
            if got is not None and got.signature == found.signature and _weight(got) < _weight(best):
                best, changed = got, True
                break
    return best


def _weight(found: Found) -> tuple[int, int]:
    return len(found.steps), sum(len(str(_unanswered(step)).replace("0", "")) for step in found.steps)


def _simpler(steps: list[Step]) -> Iterator[list[Step]]:
    """Ever finer parts left out, then plainer arguments."""
    size = len(steps) // 2
    while size:
        for start in range(0, len(steps), size):
            yield steps[:start] + steps[start + size :]
        size //= 2
    for number, step in enumerate(steps):
        for plainer in _plainer(step):
            yield [*steps[:number], plainer, *steps[number + 1 :]]


def _plainer(step: Step) -> Iterator[Step]:
    if step["ioctl"] == "KVM_SET_ONE_REG" and "value" in step:
        value = step["value"]
        yield {**step, "value": "0" * len(value)}
        for at, digit in enumerate(value if len(value) <= 16 else ""):
            if digit != "0":
                yield {**step, "value": f"{value[:at]}0{value[at + 1 :]}"}
    for feature in step.get("features", ()):
        yield {**step, "features": [other for other in step["features"] if other != feature]}
    for member in ("vm", "vcpu"):
        if step.get(member):
            yield {**step, member: 0}


_ANSWERS = frozenset(("errno", "n_out", "list", "values", "masks", "exit_reason", "because"))
_READS = frozenset(("KVM_GET_ONE_REG", "KVM_GET_MP_STATE", "KVM_GET_VCPU_EVENTS", "KVM_GET_DEVICE_ATTR"))


def _unanswered(step: Step) -> Step:
    """A step's call alone."""
    answers = _ANSWERS | {"value"} if step["ioctl"] in _READS else _ANSWERS
    return {member: value for member, value in step.items() if member not in answers}
