"""Every place passes the conformance suite; here the model, as every kernel and every recorded host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.hosts import made_up, recorded, system
from tests.recordings import SHARED_DATA, recordings

from armkvm import connect
from armkvm.errors import PlaceError, Rule
from armkvm.model import register_rules, rules, vector_rules
from armkvm.model.profile import PROFILES
from armkvm.testing import conformance
from armkvm.testing.conformance import Result, Scenario, Status
from armkvm.testing.place import Place

SCENARIOS = conformance.scenarios()
# Proposals on the way to SVE without KVM_ARM_VCPU_FINALIZE.
OTHER_ROADS = ("sve-ioctl-2017", "sve-v5")
NO_FINALIZE = "there is no KVM_ARM_VCPU_FINALIZE here"
OF_FINALIZE = {
    "an-sve-vcpu-must-be-finalized", "finalizing-happens-once", "finalizing-needs-a-feature-that-has-it",
    "vector-ids-without-sve", "vector-ids-with-sve", "vector-lengths-start-as-the-hosts",
    "prefixes-of-the-hosts-lengths-are-accepted", "vector-lengths-are-immutable-once-final",
    "a-second-init-before-finalizing-restores-the-lengths", "slices-hold-as-much-as-the-longest-vector",
}  # fmt: skip
NO_REGISTER = "no register holds the vector lengths here"
OF_THE_REGISTER = {"other-sets-are-einval-and-change-nothing", "an-sve-vcpu-lists-50-vector-registers"}


def failures(results: list[Result]) -> dict[str, str]:
    return {one.scenario.name: one.reason for one in results if one.status is Status.FAILED}


@pytest.mark.parametrize("profile", PROFILES)
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


@pytest.mark.parametrize("profile", PROFILES)
def test_only_a_proposal_is_spared_the_rules_of_finalizing(profile: str) -> None:
    """What a kernel has not got is skipped by name; one that has it is held to every rule of it."""
    results = conformance.run(system(made_up(profile)))
    skipped = {reason: {one.scenario.name for one in results if one.reason == reason}
               for reason in (NO_FINALIZE, NO_REGISTER)}  # fmt: skip
    assert skipped == {
        NO_FINALIZE: OF_FINALIZE if profile in OTHER_ROADS else set(),
        NO_REGISTER: OF_THE_REGISTER if profile == "sve-ioctl-2017" else set(),
    }


@pytest.mark.parametrize("profile", OTHER_ROADS)
def test_a_host_without_sve_passes_under_a_proposal(profile: str) -> None:
    """There the call's errno alone says that it is missing."""
    assert failures(conformance.run(connect(f"model:cortex-a57?kernel={profile}"))) == {}


def test_a_missing_check_does_not_pass_for_a_proposal() -> None:
    """FINALIZE refused with EINVAL before INIT is a fault where Z0 must be finalized all the same."""
    with answering(rules.NOT_INITIALISED, 22):
        found = failures(conformance.run(system(made_up("7.3"))))
    assert "nothing-works-before-init" in found


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
    "pmmir-invalid", "pmmir-frozen",
    # of proposals for SVE that were not merged
    "vector-id-unknown", "vls-after-run", "no-length-to-finalize", "no-length-to-read", "no-sve-for-call",
    "vls-final-by-use", "no-finalize", "no-lengths-call", "no-lengths-register",
}  # fmt: skip


RULES = {
    one.name: one
    for part in (rules, register_rules, vector_rules)
    for one in vars(part).values()
    if isinstance(one, Rule)
}


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
