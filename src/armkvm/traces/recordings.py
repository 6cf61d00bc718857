"""The sequences of a recording or trace, with what is known to be wrong in recordings put right.

An erratum is a row: which step of which sequence says something that its recorder did not do,
and how that is known. It applies only where the step is exactly as described.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armkvm.documents import parse_json, read_bounded
from armkvm.errors import InputError
from armkvm.hosts.library import LIMITS
from armkvm.traces import lines
from armkvm.traces.schema import faults_of


@dataclass(frozen=True, slots=True)
class Erratum:
    """One step attributed to the wrong vCPU."""

    sequence: str
    step: int
    ioctl: str
    said: int
    was: int
    because: str


ERRATA = (
    Erratum(
        sequence="two_vcpus_different_vls",
        step=3,
        ioctl="KVM_SET_ONE_REG",
        said=1,
        was=0,
        because="The recorder issued this write on vCPU 0, and the answers that follow show it: vCPU 0 "
        "reads back the set that was written, vCPU 1 its default.",
    ),
)


def read(path: Path) -> list[dict[str, Any]]:
    """The sequences of a file that nobody has looked at yet; InputError with all its faults."""
    data = read_bounded(path, LIMITS.size)
    if lines.is_trace(data):
        return [lines.parse(data, str(path), path.stem)]
    tree, faults = parse_json(data, str(path), LIMITS)
    faults += faults_of(tree)
    if faults or not isinstance(tree, dict):
        raise InputError(str(path), faults)
    return sequences(tree)


def sequences(recording: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The named call sequences of a recording or trace, errata applied."""
    return [_corrected(sequence) for sequence in recording["probes"]]


def _corrected(sequence: Mapping[str, Any]) -> dict[str, Any]:
    steps: Sequence[Mapping[str, Any]] = sequence["steps"]
    for erratum in ERRATA:
        if sequence["name"] == erratum.sequence and len(steps) > erratum.step:
            step = steps[erratum.step]
            if step["ioctl"] == erratum.ioctl and step.get("vcpu", 0) == erratum.said:
                fixed = {**step, "vcpu": erratum.was}
                steps = [*steps[: erratum.step], fixed, *steps[erratum.step + 1 :]]
    return {**sequence, "steps": steps}
