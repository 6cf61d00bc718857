"""A call is tried in every state of PSTATE.SM and PSTATE.ZA, wherever SVCR can be set."""

from __future__ import annotations

import pytest

from armkvm.catalog import parse
from armkvm.cli.places import open_place
from armkvm.errors import errno_name
from armkvm.report.explaining import listed_by
from armkvm.traces.trials import GET_ONE_REG, Trial, listings, try_call

SME, BOTH = "vCPU with SME", "vCPU with SVE and SME"
CONFIGURED, READY = "before KVM_ARM_VCPU_FINALIZE", "ready"


def tried(place: str, register: str) -> list[Trial]:
    with open_place(place) as system:
        return [trial for trial in try_call(system, GET_ONE_REG, parse(register)) if not trial.way]


def answers(trials: list[Trial], kind: str, moment: str) -> list[str | None]:
    """What came in each state of SVCR, 0 to 3."""
    found = {t.svcr: t.errno for t in trials if (t.kind, t.moment) == (kind, moment)}
    return [None if (errno := found[svcr]) is None else errno_name(errno) for svcr in range(4)]


def test_z_of_a_vcpu_with_sme_alone_waits_for_finalization_only_in_streaming_mode() -> None:
    """As recorded: ENOENT at SM=0, EPERM at SM=1 before finalize."""
    trials = tried("model:streaming-512", "Z0")
    assert answers(trials, SME, CONFIGURED) == ["ENOENT", "EPERM", "ENOENT", "EPERM"]
    assert answers(trials, SME, READY) == ["ENOENT", None, "ENOENT", None]


@pytest.mark.parametrize("kind", [SME, BOTH])
def test_zt0_needs_za_and_not_streaming_mode(kind: str) -> None:
    trials = tried("model:sme2-max", "ZT0")
    assert answers(trials, kind, CONFIGURED) == ["EBUSY", "EBUSY", "EPERM", "EPERM"]
    assert answers(trials, kind, READY) == ["EBUSY", "EBUSY", None, None]


@pytest.mark.parametrize(
    ("register", "expected"),
    [
        ("ZT0", [f"{SME} with PSTATE.ZA set", f"{BOTH} with PSTATE.ZA set"]),
        ("Z0", ["vCPU with SVE", f"{SME} with PSTATE.SM set", BOTH]),
    ],
)
def test_a_register_is_listed_in_the_modes_that_it_needs(register: str, expected: list[str]) -> None:
    with open_place("model:sme2-max") as system:
        assert listed_by(listings(system, parse(register))) == expected


def test_vcpus_without_sme_have_no_mode() -> None:
    assert {trial.svcr for trial in tried("model:max", "Z0")} == {None}
