"""``make test-lab``: what cannot be had is said and is no failure; what differs is one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARMKVM = """\
#!/bin/sh
echo "armkvm $*" >>"$CALLS"
case "$*" in
    lab*) for kernel in $VANISHED; do
            case "$* " in *"--kernel $kernel "*) echo "no kernel $kernel" >&2; exit $SETUP ;; esac
        done ;;
    $DIFFERS*) echo 'one difference'; exit 1 ;;
esac
"""
PYTHON = """\
#!/bin/sh
echo "python $*" >>"$CALLS"
"""


class Trial:
    """tools/try-lab, with programs of this test's own instead of armkvm and Python."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "bin").mkdir()
        for name, text in (("armkvm", ARMKVM), ("python", PYTHON)):
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o700)

    def run(self, *, vanished: str = "", setup: int = 4, differs: str = "nothing") -> tuple[int, str, str]:
        """(exit code, what was said, the calls made)."""
        calls = self._folder / "calls"
        environment = {
            "PATH": "/usr/bin:/bin",
            "VENV": str(self._folder),
            "LAB_RESULTS": str(self._folder / "results"),
            "CALLS": str(calls),
            "VANISHED": vanished,
            "SETUP": str(setup),
            "DIFFERS": differs,
        }
        done = subprocess.run(
            [ROOT / "tools/try-lab"], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stderr, calls.read_text()


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def test_each_kernel_is_held_against_everything(trial: Trial) -> None:
    status, said, calls = trial.run()
    assert status == 0, said
    assert "NOT TRIED" not in said
    for kernel in ("6.1", "6.12", "7.3"):
        assert f"armkvm conform lab:max?kernel={kernel}&" in calls
        assert f"--against lab:max?kernel={kernel}&" in calls
    assert calls.count("--sequences 2000") == 3
    assert "python -m pytest -q -m lab" in calls


def test_without_an_archive_nothing_is_tried_which_is_said_and_no_failure(trial: Trial) -> None:
    status, said, calls = trial.run(vanished="6.1 6.12 7.3 7.2")
    assert status == 0
    assert "NOT TRIED: real kernels" in said
    assert "no kernel 7.2" in said, "the reason"
    assert "make test-lab" in said, "how to get it"
    assert "conform" not in calls


def test_a_kernel_that_the_archive_no_longer_has_is_replaced_and_named(trial: Trial) -> None:
    status, said, calls = trial.run(vanished="7.3")
    assert status == 0
    assert "NOT TRIED: kernel 7.3" in said
    assert "kernel=7.2&" in calls
    assert "kernel=7.3&" not in calls


def test_a_set_up_that_breaks_for_another_reason_is_a_failure(trial: Trial) -> None:
    status, said, _ = trial.run(vanished="6.12", setup=70)
    assert status == 1
    assert "NOT TRIED" not in said


@pytest.mark.parametrize("verb", ["conform", "fuzz"])
def test_a_difference_is_a_failure_and_shown(trial: Trial, verb: str) -> None:
    status, said, _ = trial.run(differs=verb)
    assert status == 1
    assert "one difference" in said
