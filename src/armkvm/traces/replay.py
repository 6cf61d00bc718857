"""Replay named call sequences on a place and compare every answer.

A sequence starts with a fresh VM (unless ``vm0`` is false), and with vCPU 0 created if it says so. A
step names a call, its arguments and what was answered: an errno (None for success) and data. Steps
marked volatile are carried out and not compared. `traces.schema` says what sequences must look like,
`traces.stage` carries them out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from armkvm.abi.regid import RegId
from armkvm.backends.base import System
from armkvm.catalog import name_of
from armkvm.traces.stage import Answer, LostError, Stage, Step


@dataclass(frozen=True, slots=True)
class Difference:
    """One answer that was not the recorded one."""

    sequence: str
    step: int
    call: str
    what: str
    recorded: object
    here: object
    because: str = ""

    def __str__(self) -> str:
        why = f"  ({self.because})" if self.because else ""
        where = f"{self.sequence}[{self.step}] {self.call}"
        return f"{where}: {self.what} recorded {_short(self.recorded)}, here {_short(self.here)}{why}"


def replay(sequences: Iterable[Mapping[str, Any]], system: System) -> Iterator[Difference]:
    """Every difference between what was recorded and what `system` answers, sequence by sequence."""
    for sequence in sequences:
        yield from replay_one(sequence, system)


def replay_one(sequence: Mapping[str, Any], system: System) -> Iterator[Difference]:
    """The differences of one sequence."""
    with Stage(system, vm0=sequence.get("vm0", True), vcpu0=sequence.get("vcpu0", False)) as stage:
        for number, step in enumerate(sequence["steps"]):
            try:
                answer, because = stage.carry_out(step)
            except LostError as lost:
                yield Difference(
                    sequence["name"], number, describe(step), "carried out", True, False, str(lost)
                )
                return
            if not step.get("volatile"):
                for what, recorded, here in differences(step, answer):
                    yield Difference(sequence["name"], number, describe(step), what, recorded, here, because)


def differences(step: Step, answer: Answer) -> Iterator[tuple[str, object, object]]:
    """What of an answer is not as recorded: its name, then and now. What was not recorded is not compared."""
    for what in _COMPARED:
        if what in step and (what in answer or what == "errno") and _is_answer(step, what):
            recorded, here = step[what], answer.get(what)
            if recorded != here:
                yield what, recorded, here
    if "values" in step and "values" in answer:
        then, now = step["values"], answer["values"]
        for reg in [*then, *(reg for reg in now if reg not in then)]:
            if then.get(reg) != now.get(reg):
                yield name_of(RegId(int(reg, 16))) or reg, then.get(reg), now.get(reg)


def _short(value: object) -> str:
    """An answer in a line of text: long contents by their beginning."""
    text = str(value)
    return text if len(text) <= 80 else f"{text[:64]}... ({len(text) // 2} bytes)"


_COMPARED = (
    "errno", "value", "result", "n_out", "list", "masks", "target_out", "features_out",
    "exit_reason", "mmio", "system_event_type",
)  # fmt: skip
_WRITES = frozenset(
    (
        "KVM_SET_ONE_REG",
        "KVM_SET_DEVICE_ATTR",
        "KVM_SET_MP_STATE",
        "KVM_SET_VCPU_EVENTS",
        "WRITE_MEMORY",
    )
)


def _is_answer(step: Step, what: str) -> bool:
    return what != "value" or step["ioctl"] not in _WRITES


def describe(step: Step) -> str:
    """A step as a person would write the call."""
    words = [step["ioctl"]]
    if step["ioctl"] in ("KVM_GET_ONE_REG", "KVM_SET_ONE_REG"):
        words.append(name_of(RegId(int(step["id"], 16))) or step["id"])
        if step["ioctl"] == "KVM_SET_ONE_REG":
            words.append(f"= {step['value'][:32]}")
    else:
        skip = {"ioctl", "vm", "vcpu", "values", "because", *_COMPARED}
        words += [f"{key}={value}" for key, value in step.items() if key not in skip]
    if step.get("vcpu"):
        words.append(f"on vCPU {step['vcpu']}")
    if step.get("vm"):
        words.append(f"of VM {step['vm']}")
    return " ".join(words)
