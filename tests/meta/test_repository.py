"""What the repository holds is nobody's machine in particular."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from itertools import chain

import pytest
from tests.recordings import REPOSITORY

FORBIDDEN = re.compile(
    r"(?<![\w.])/(?:root|work|tmp|home/\w+|Users/\w+)(?:/|\b)|pypi\.org|pythonhosted\.org|npmjs\."
)


@pytest.mark.parametrize(
    "text", ["/{}root/x", "cd /{}work/main", "'/{}home/me/x'", "https://{}pypi{}.org/simple"]
)
def test_the_pattern_finds_what_it_is_for(text: str) -> None:
    """The examples have holes, so that this file passes its own test."""
    assert FORBIDDEN.search(text.replace("{}", ""))


@pytest.mark.parametrize(
    "text", ["tests/network/x", "../shared/data", "the root/leaf", "../work/x", "/working"]
)
def test_the_pattern_leaves_ordinary_paths_alone(text: str) -> None:
    assert not FORBIDDEN.search(text)


@pytest.mark.skipif(
    shutil.which("git") is None or not (REPOSITORY / ".git").exists(),
    reason="looks at what git holds; this is no clone",
)
def test_no_file_names_a_developers_machine_or_a_registry() -> None:
    held = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True, text=True
    ).stdout
    found = []
    for name in filter(None, held.split("\0")):
        path = REPOSITORY / name
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [f"{name}: {match.group()}" for match in FORBIDDEN.finditer(text)]
    assert not found


def test_every_dependency_is_pinned_exactly_and_none_twice() -> None:
    """An environment made today and one made in a year hold the same packages."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wanted = [
        *project["project"]["dependencies"],
        *chain.from_iterable(project["dependency-groups"].values()),
    ]
    lists = [path.read_text().splitlines() for path in sorted((REPOSITORY / "requirements").glob("*.txt"))]
    pins = [line for lines in lists for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    names = [pin.partition("==")[0].lower() for pin in pins]
    assert len(set(names)) == len(names)
    assert {re.split(r"[<>=~!]", name)[0].lower() for name in wanted} <= set(names)
