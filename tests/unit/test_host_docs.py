"""docs/hosts.md describes the format that the code reads."""

from __future__ import annotations

import json
import re

from tests.recordings import REPOSITORY

from armkvm.backends.model import ModelSystem
from armkvm.hosts import hostfile, library
from armkvm.migration.check import Config, check

TEXT = (REPOSITORY / "docs" / "hosts.md").read_text()


def test_the_example_is_a_host() -> None:
    (example,) = re.findall(r"^```json\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    host = library.from_tree(json.loads(example), [], "x", "docs/hosts.md")
    assert host.name == "my-host"
    assert len(host.cpus) == 8
    system = ModelSystem(*library.seen_through(host))
    there = ModelSystem(*library.seen_through(library.builtin("neoverse-v1")))
    assert check(system, there, Config.ALL).verdict


def test_every_member_is_described() -> None:
    members = json.loads(hostfile.encode(library.builtin("max-nested", "7.3")))
    described = set(re.findall(r"`([a-z0-9_.]+)`", TEXT))
    assert {f"registers.{name}" for name in members.pop("registers")} - {"registers.el2_e2h0"} <= described
    assert members.keys() - described == set()
