"""Kernel profiles: what a behaviour is, and how profiles are composed with one more."""

from __future__ import annotations

import pytest
from tests.recordings import REPOSITORY

from armkvm.model import device_behaviours
from armkvm.model.behaviour import BEHAVIOURS
from armkvm.model.device_behaviours import NON_ID_MASKS
from armkvm.model.profile import PROFILES, profile_named

every_profile = pytest.mark.parametrize("name", PROFILES)


@every_profile
def test_a_profile_is_found_by_its_name(name: str) -> None:
    assert profile_named(name) is PROFILES[name]


@every_profile
def test_every_behaviour_of_a_profile_has_a_row_and_what_it_builds_on(name: str) -> None:
    for behaviour in PROFILES[name].behaviours:
        assert behaviour in BEHAVIOURS
        needs = BEHAVIOURS[behaviour].needs
        assert not needs or needs in PROFILES[name]


def test_rows_are_complete_and_point_at_what_exists() -> None:
    for row in BEHAVIOURS.values():
        assert row.sentence.endswith(".")
        assert row.source
        assert row.since
        assert row.detect
        assert not row.needs or row.needs in BEHAVIOURS


@every_profile
def test_proposals_are_in_no_kernel(name: str) -> None:
    assert NON_ID_MASKS not in PROFILES[name]


def test_one_more_behaviour_is_composed_by_name() -> None:
    composed = profile_named("7.3+non-id-masks")
    plain = PROFILES["7.3"]
    assert composed.name == "7.3+non-id-masks"
    assert composed.release == "7.3"
    assert composed.behaviours == plain.behaviours | {NON_ID_MASKS}
    assert (composed.id_table, composed.feature_bits) == (plain.id_table, plain.feature_bits)
    assert NON_ID_MASKS not in plain


def test_composition_is_idempotent_and_several_can_be_added() -> None:
    once = PROFILES["7.0"].with_behaviour(NON_ID_MASKS)
    assert once.with_behaviour(NON_ID_MASKS) is once
    twice = profile_named("7.0+non-id-masks+gic-field-at-first-run")
    assert twice.behaviours == once.behaviours | {"gic-field-at-first-run"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5.4", "no kernel profile is called '5.4'; known are 6.1, 6.12"),
        ("7.3+wishes", "no behaviour is called 'wishes'; known are .*non-id-masks"),
        ("7.3+", "no behaviour is called ''"),
        ("6.1+non-id-masks", "builds on writable-id-registers, which kernel 6.1 does not have"),
    ],
)
def test_what_cannot_be_composed_says_why(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        profile_named(text)


def test_the_tests_that_behaviours_of_devices_name_exist() -> None:
    """A row's last column is the test that shows it."""
    rows = [BEHAVIOURS[value] for name, value in vars(device_behaviours).items() if name[0].isupper()]
    assert [row.test for row in rows if not (REPOSITORY / row.test.split(" ")[0]).is_file()] == []
