"""A URI names a place, or says what it should have been."""

from __future__ import annotations

from pathlib import Path

import pytest

import armkvm
from armkvm.backends.base import System
from armkvm.errors import InputError, MissingFacts, UnknownPlace
from armkvm.hosts import hostfile, library


def test_connect_gives_a_system_that_knows_its_uri() -> None:
    system = armkvm.connect("model:neoverse-v1?kernel=6.12")
    assert isinstance(system, System)
    assert system.uri == "model:neoverse-v1?kernel=6.12"
    assert system.kernel.startswith("6.12")


def test_a_kernel_can_be_given_one_behaviour_more() -> None:
    """As the proposal of a range for non-ID registers: its effect can be tried on any host."""
    plain = armkvm.connect("model:neoverse-n1?kernel=7.2")
    tried = armkvm.connect("model:neoverse-n1?kernel=7.2+non-id-masks")
    assert tried.kernel == plain.kernel
    assert tried.uri == "model:neoverse-n1?kernel=7.2+non-id-masks"
    ranges = armkvm.Cap.ARM_SUPPORTED_REG_MASK_RANGES
    assert (plain.check_extension(ranges), tried.check_extension(ranges)) == (0b01, 0b11)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("neoverse-v1", "places are model:HOST"),
        ("qemu:max", "names no place"),
        ("model:neoverse-v2", "did you mean neoverse-"),
        ("model:xyzzy", "armkvm hosts"),
        ("model:max?kernel=2.6", "known are 6.1"),
        ("model:max?kernel=7.3+wishes", "no behaviour is called 'wishes'"),
        ("model:max?kernel=6.1+non-id-masks", "which kernel 6.1 does not have"),
        ("model:max?cpu=1", "has the options kernel and run_limit, not cpu"),
        ("model:max?kernel", "key=value"),
        ("model:max?kernel=7.3&kernel=7.2", "each once"),
    ],
)
def test_a_uri_that_names_nothing_says_what_there_is(uri: str, says: str) -> None:
    with pytest.raises(UnknownPlace, match=says.replace("[", r"\[").replace("?", r"\?")):
        armkvm.connect(uri)


def test_a_host_file_is_anything_with_a_slash_or_json(tmp_path: Path) -> None:
    path = tmp_path / "host"
    path.write_bytes(hostfile.encode(library.builtin("a64fx")))
    assert armkvm.connect(f"model:{path}").kernel == library.builtin("a64fx").kernel
    with pytest.raises(InputError, match="cannot be read"):
        armkvm.connect("model:absent.json")


def test_a_path_may_hold_a_question_mark(tmp_path: Path) -> None:
    path = tmp_path / "what?.json"
    path.write_bytes(hostfile.encode(library.builtin("a64fx")))
    assert armkvm.connect(f"model:{path}?kernel=7.2").kernel == "7.2"


def test_an_unknown_kernel_takes_the_nearest_older_profile_and_says_so(tmp_path: Path) -> None:
    text = hostfile.encode(library.builtin("max", "6.12")).decode()
    path = tmp_path / "host.json"
    path.write_text(text.replace('"profile": "6.12"', '"profile": "6.16"'))
    facts, profile = library.find(str(path))
    assert profile.name == "6.12"
    assert facts.notes == (
        "no profile of kernel 6.16 is known; the nearest older one, 6.12, stands in for it",
    )
    path.write_text(text.replace('"profile": "6.12"', '"profile": "5.10"'))
    with pytest.raises(MissingFacts, match=r"how kernel 5\.10 behaves"):
        library.find(str(path))


def test_a_built_in_host_recorded_under_the_asked_kernel_is_used_as_recorded() -> None:
    facts, profile = library.find("max", "6.12")
    assert (facts, profile.name) == (library.builtin("max", "6.12"), "6.12")
    assert facts.origin.startswith("recorded under 6.12")
