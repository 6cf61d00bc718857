"""What the README shows is what happens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.cli import transcript
from tests.recordings import REPOSITORY

from armkvm.cli.main import VERBS

README = (REPOSITORY / "README.md").read_text()
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TRANSCRIPTS = [text for kind, text in BLOCK.findall(README) if not kind and text.startswith("$ ")]


def test_it_opens_with_the_two_commands() -> None:
    _, text = BLOCK.findall(README)[0]
    assert [line.split("#")[0].strip() for line in text.splitlines()] == ["make demo", "make test"]
    assert README.index("make demo") < 200


def test_the_main_job_is_the_demo() -> None:
    (demo,) = re.findall(r"^DEMO = (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert transcript.commands(TRANSCRIPTS[0]) == [f"armkvm migrate {demo}"]


@pytest.mark.parametrize("text", TRANSCRIPTS, ids=[text.splitlines()[0] for text in TRANSCRIPTS])
def test_what_it_shows_is_what_happens(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert transcript.repeat(text) == text


def test_its_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = (text for kind, text in BLOCK.findall(README) if kind == "python")
    exec(compile(program, "README.md", "exec"), {})  # noqa: S102 - our own text
    assert "KVM_GET_ONE_REG(Z0 0x6080000000150000): EPERM" in capsys.readouterr().out


def test_it_names_every_verb() -> None:
    for verb in VERBS:
        assert re.search(rf"`{verb}\b", README), verb
