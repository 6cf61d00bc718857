"""How a command went is its exit code, and what went wrong is one short message on stderr."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from armkvm.cli import main, replay
from armkvm.cli.main import VERBS, run
from armkvm.cli.outcome import Outcome
from armkvm.errors import ModelBug, PlaceError

PROGRAM = [sys.executable, "-m", "armkvm"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(main.__file__).parents[2])}


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (PlaceError("the lab has died"), 4, "armkvm: the lab has died\n"),
        (OSError(28, "No space left on device", "x.json"), 4, "armkvm: x.json: No space left on device\n"),
        (KeyError("oops"), 70, "armkvm: KeyError: 'oops'\n"),
        (ModelBug("two truths"), 70, "armkvm: ModelBug: two truths\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_goes_wrong_has_an_exit_code(
    error: BaseException,
    code: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_: object) -> Outcome:
        raise error

    monkeypatch.delenv("ARMKVM_DEBUG", raising=False)
    monkeypatch.setattr(replay, "run", fail)
    assert run(["replay", "x.json", "--on", "model:max"]) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(says)
    assert "Traceback" not in told.err
    assert ("report it" in told.err) == (code == 70)


def test_a_bug_shows_its_traceback_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> Outcome:
        raise KeyError("oops")

    monkeypatch.setenv("ARMKVM_DEBUG", "1")
    monkeypatch.setattr(replay, "run", fail)
    assert run(["replay", "x.json", "--on", "model:max"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = " ".join([*PROGRAM, "regs", "|", "head", "-1"])
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ID")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_json(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run([verb, "--help"])
    assert left.value.code == 0
    told = capsys.readouterr().out
    assert "--json" in told
    assert VERBS[verb][1:] in " ".join(told.split())


@pytest.mark.parametrize(
    "words",
    [
        ["hosts"],
        ["regs", "PC"],
        ["regs", "--decode", "PC"],
        ["explain", "EPERM"],
        ["explain", "Z0"],
        ["explain", "--profile", "7.2", "--profile", "7.3"],
        ["migrate", "model:max", "model:max-vq4"],
        ["migrate", "model:max", "model:max-vq4", "--vls", "1"],
    ],
)
def test_json_is_the_only_thing_on_stdout(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run([*words, "--json"])
    assert json.loads(capsys.readouterr().out)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_tables_that_fit_it(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    assert run(["migrate", "model:max", "model:max-vq4", "--vls", "1"]) == 0
    table = [line for line in out.getvalue().splitlines() if line.lstrip().startswith(("identity", "timer"))]
    assert table
    assert max(map(len, table)) <= 60


def test_a_pipe_never_needs_rich() -> None:
    """Rich is for terminals; what goes into a pipe is plain, and starts as fast as Python does."""
    program = "import sys; from armkvm.cli.main import run; run(['hosts']); print('rich' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"


def imported_by(words: list[str]) -> set[str]:
    program = (
        "import sys, argparse; before = set(sys.modules)\n"
        "from armkvm.cli.main import run\n"
        f"try: run({words!r})\n"
        "except SystemExit: pass\n"
        "print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("words", [["--version"], ["regs", "--decode", "0x603000000013c020"]])
def test_the_fast_path_imports_nothing_slow(words: list[str]) -> None:
    """Start-up has a budget of three bare interpreters; see bench/startup.py."""
    slow = {"dataclasses", "typing", "json", "inspect", "pathlib", "rich", "jsonschema"}
    assert imported_by(words).isdisjoint(slow)


def test_a_check_of_two_files_imports_nothing_that_it_does_not_need() -> None:
    """It takes little longer than these would take to import; `armkvm.value` is there to go without."""
    builtin = Path(main.__file__).parents[1] / "hosts" / "builtin" / "7.3"
    files = [str(builtin / f"{name}.json") for name in ("a64fx", "cortex-a76")]
    slow = {"dataclasses", "inspect", "pathlib", "rich", "jsonschema", "armkvm.hosts.derive"}
    imported = imported_by(["check", *files])
    assert "armkvm.migration.check" in imported
    assert imported.isdisjoint(slow)
