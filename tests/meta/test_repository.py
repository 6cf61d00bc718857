"""What the repository holds is nobody's machine in particular."""

from __future__ import annotations

import re
import shutil
import subprocess

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
