"""The verbs that open and serve places."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.test_exit_codes import ENVIRONMENT, PROGRAM

import armkvm
from armkvm.cli.main import run
from armkvm.errors import PlaceError
from armkvm.model import rules
from armkvm.testing.conformance import run as conform

AGENT = f"exec:{sys.executable} -m armkvm agent"


@pytest.fixture(autouse=True)
def _python_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])


def test_an_agent_serves_any_place_on_its_standard_streams() -> None:
    """A remote model passes the suite just as the model does."""
    with armkvm.connect(f"{AGENT} model:neoverse-v1") as far, armkvm.connect("model:neoverse-v1") as near:
        assert far.kernel == near.kernel
        told = [[one.as_json() for one in conform(place)] for place in (far, near)]
        assert told[0] == told[1]


def test_a_place_that_cannot_be_opened_is_told_to_the_client() -> None:
    with pytest.raises(PlaceError, match="no built-in host is called 'nothing'"):
        armkvm.connect(f"{AGENT} model:nothing")


def test_an_agent_on_a_socket_is_its_owners_alone_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "agent"
    words = [*PROGRAM, "agent", "model:neoverse-v1", "--socket", str(path)]
    with subprocess.Popen(words, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as agent:
        try:
            deadline = time.monotonic() + 60
            while not path.exists():
                assert time.monotonic() < deadline
                assert agent.poll() is None
                time.sleep(0.05)
            assert path.stat().st_mode & 0o777 == 0o600
            with armkvm.connect(f"unix:{path}") as system:
                assert system.check_extension(armkvm.Cap.ARM_SVE) == 1
        finally:
            agent.send_signal(signal.SIGINT)
            try:
                agent.wait(60)
            finally:
                agent.kill()
        assert agent.returncode in {0, 130}
    assert not path.exists()


def test_the_agent_as_one_file_is_written_and_executable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "agent.pyz"
    assert run(["agent", "--zipapp", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(file), "bytes": file.stat().st_size}
    assert file.stat().st_mode & 0o111


def test_conform_names_the_rule_and_its_source_where_a_place_breaks_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rules.NOT_INITIALISED, "errno", errno.EINVAL)
    assert run(["conform", "model:neoverse-v1"]) == 1
    out = capsys.readouterr().out
    assert "FAILED " in out
    assert "  rule    " in out
    assert "  source  arch/" in out
    assert "gave EINVAL, not ENOEXEC" in out


def test_an_empty_lab_says_how_to_fill_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "ls", "--cache", str(tmp_path)]) == 0
    assert "none; `armkvm lab setup` fetches some" in capsys.readouterr().out
    assert run(["lab", "ls", "--json", "--cache", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["kernels"] == []
    (tmp_path / "machines").mkdir()
    (tmp_path / "machines" / "x.image").write_bytes(bytes(1_000_000))
    assert run(["lab", "clear", "--cache", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "freed 1 MB\n"


@pytest.mark.lab
def test_a_command_in_the_lab_gives_its_output_and_exit_code(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nuname -m; echo talk >&2; exit 3\n")
    assert run(["lab", "run", "--put", f"{script}=/script", "/script"]) == 3
    told = capfdbinary.readouterr()
    assert (told.out, told.err) == (b"aarch64\n", b"talk\n")
