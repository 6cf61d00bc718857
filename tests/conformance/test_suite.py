"""Every place passes the conformance suite; here the model, as every kernel and every recorded host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.hosts import made_up, recorded, system
from tests.recordings import SHARED_DATA, recordings

from armkvm.errors import PlaceError, Rule
from armkvm.model import rules
from armkvm.model.profile import PROFILES
from armkvm.testing import conformance
from armkvm.testing.conformance import Result, Scenario, Status
from armkvm.testing.place import Place

SCENARIOS = conformance.scenarios()
# Proposals on the way to SVE whose rules of sequence are not those that were merged.
OTHER_ROADS = ("sve-ioctl-2017", "sve-v5")
KERNELS = [name for name in PROFILES if name not in OTHER_ROADS]


def failures(results: list[Result]) -> dict[str, str]:
    return {one.scenario.name: one.reason for one in results if one.status is Status.FAILED}


@pytest.mark.parametrize("profile", KERNELS)
@pytest.mark.parametrize("one", SCENARIOS, ids=lambda one: one.name)
def test_every_kernel_keeps_the_rule(profile: str, one: Scenario) -> None:
    """The scenario holds on a made-up host under each kernel's profile."""
    result = conformance.run_one(system(made_up(profile)), one)
    assert result.status is not Status.FAILED, result.reason


HOSTS = ("*/max", "*/cortex-a57", "*/neoverse-v1", "7.3/*nested", "7.3/max-qemu11", "6.12/max-mte", "*/nosve")


@pytest.mark.parametrize("path", [p for name in HOSTS for p in recordings(f"captures/{name}.json")])
def test_every_recorded_host_keeps_every_rule(path: object) -> None:
    """The suite passes on the model of each recorded host: what real KVM answered is what is expected."""
    host = recorded(str(path).removeprefix(f"{SHARED_DATA}/"))
    assert failures(conformance.run(system(host))) == {}


@pytest.mark.parametrize("profile", OTHER_ROADS)
def test_a_proposal_with_other_rules_fails(profile: str) -> None:
    """The suite tells what was merged from what was once proposed."""
    found = failures(conformance.run(system(made_up(profile))))
    assert "an-sve-vcpu-must-be-finalized" in found


def test_scenarios_say_what_they_check() -> None:
    """A name, a rule in a sentence, a source; enough of them to matter."""
    assert len(SCENARIOS) >= 70
    for one in SCENARIOS:
        assert one.name
        assert one.rule[0].isupper()
        assert one.rule.endswith(".")
        assert len(one.source) > 10


def test_every_scenario_applies_somewhere() -> None:
    """None is skipped on every made-up host, but for features those lack."""
    waiting = dict.fromkeys(SCENARIOS)
    for profile in ("7.3", "6.1", "sme-v12", "6.12"):
        host = system(made_up(profile))
        for one in list(waiting):
            if conformance.run_one(host, one).status is not Status.SKIPPED:
                del waiting[one]
    assert {one.name for one in waiting} <= {"pointer-authentication-comes-whole", "el2-modes"}


# -- a suite that cannot fail is worth nothing -----------------------------------------------------


@contextmanager
def answering(rule: Rule, errno: int) -> Iterator[None]:
    """The model with one errno wrong."""
    right = rule.errno
    rule.errno = errno
    try:
        yield
    finally:
        rule.errno = right


# Rules of hosts or devices that a made-up host does not have, or of calls the protocol does not carry.
UNSEEN = {
    "vm-dead", "ptrauth-half", "aarch32-conflict", "pmu-strict-alone", "width-differs", "ccsidr-invalid",
    "ccsidr-fixed", "matrix-id-malformed", "za-off-v4", "smprimap-zero", "counter-offset-reserved",
    "no-such-attribute", "no-such-device", "pmmir-invalid", "pmmir-frozen",
    # of proposals for SVE that were not merged
    "vector-id-unknown", "vls-after-run", "no-length-to-finalize", "no-length-to-read", "no-sve-for-call",
    "vls-final-by-use", "no-finalize", "no-lengths-call", "no-lengths-register",
}  # fmt: skip


RULES = {one.name: one for one in vars(rules).values() if isinstance(one, Rule)}


@pytest.mark.parametrize("name", sorted(set(RULES) - UNSEEN))
def test_a_wrong_errno_is_noticed(name: str) -> None:
    """Whichever rule answers with another errno, some scenario fails on some kernel."""
    with answering(RULES[name], 95):
        assert any(
            conformance.run_one(host, one).status is Status.FAILED
            for host in (system(made_up("7.3")), system(made_up("6.1")), system(made_up("sme-v12")))
            for one in SCENARIOS
        )


def test_an_unexpected_refusal_is_a_failure_and_a_dead_place_is_not() -> None:
    def refused(place: Place) -> None:
        place.vcpu().get_one_reg(0)

    def dead(_: Place) -> None:
        raise PlaceError("the line is cut")

    host = system(made_up("7.3"))
    result = conformance.run_one(host, Scenario("x", "X.", "-", refused))
    assert result.status is Status.FAILED
    assert "unexpected refusal" in result.reason
    with pytest.raises(PlaceError):
        conformance.run_one(host, Scenario("x", "X.", "-", dead))


def test_scenarios_are_chosen_by_name() -> None:
    host = system(made_up("7.3"))
    [result] = conformance.run(host, ["psci-versions"])
    assert (result.scenario.name, result.status) == ("psci-versions", Status.PASSED)
    assert result.as_json()["status"] == "passed"
    with pytest.raises(ValueError, match="no scenario is called nonsense"):
        conformance.run(host, ["nonsense"])
