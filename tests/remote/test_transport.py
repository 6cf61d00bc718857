"""Real processes and sockets: how agents are started, reached and left, and that nothing stays."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from armkvm.backends.remote import open_place
from armkvm.backends.remote.transport import command_of_ssh
from armkvm.errors import PlaceError, UnknownPlace

AGENT = Path(__file__).with_name("serve_fake.py")
EXEC = shlex.join([sys.executable, str(AGENT)])


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Whether a condition comes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_exec_starts_an_agent_and_ends_it() -> None:
    system = open_place(EXEC, {})
    pid = system._connection._transport._process.pid  # type: ignore[attr-defined]
    with system:
        assert system.kernel == "0.0-fake"
        assert system.create_vm().check_extension(1) == 2
    assert not alive(pid)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("/nonexistent/agent", "cannot start /nonexistent/agent: No such file"),
        (f"{sys.executable} -c 'raise SystemExit(\"no luck today\")'", "it said: no luck today"),
        (f"{sys.executable} -c 'print(\"hello, world\")'", "no armkvm is at the other end"),
        ("true", r"closed the connection; it said: \(nothing; exit code 0\)"),
    ],
)
def test_exec_of_what_is_no_agent_is_one_clear_error(command: str, message: str) -> None:
    with pytest.raises(PlaceError, match=message):
        open_place(command, {})


def test_exec_of_a_command_that_never_ends_is_ended() -> None:
    start = time.monotonic()
    seconds = 600 + os.getpid()  # which no other run's has
    script = f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep({seconds})"
    command = shlex.join([sys.executable, "-c", script])
    with pytest.raises(PlaceError, match="nothing came for 1 seconds"):
        open_place(command, {"timeout": "1"})
    assert time.monotonic() - start < 20
    found = subprocess.run(["pgrep", "-f", f"time.sleep.{seconds}"], capture_output=True, check=False).stdout
    assert not found


def test_a_killed_agent_is_one_clear_error() -> None:
    with open_place(EXEC, {}) as system:
        vm = system.create_vm()
        os.kill(system._connection._transport._process.pid, signal.SIGKILL)  # type: ignore[attr-defined]
        with pytest.raises(PlaceError, match="the connection failed"):
            vm.check_extension(1)
        with pytest.raises(PlaceError, match="the connection failed"):
            vm.check_extension(1)


CLIENT = f"""\
import sys, time
sys.path[:0] = {[str(AGENT.parents[2] / "src")]!r}
from armkvm.backends.remote import open_place
system = open_place(sys.argv[1], {{}}, sys.argv[2])
vm = system.create_vm()
transport = system._connection._transport
print(getattr(getattr(transport, "_process", None), "pid", 0), flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def client(where: str, scheme: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A client process that holds a session open, and the agent's process id (0 if not its child)."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENT, where, scheme], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        with process.stdout:
            yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_client_leaves_no_agent(ending: signal.Signals) -> None:
    with client(EXEC, "exec") as (process, agent):
        assert alive(agent)
        process.send_signal(ending)
        assert within(10, lambda: not alive(agent))


def listens(path: Path) -> bool:
    """Whether someone accepts connections there."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@contextlib.contextmanager
def socket_agent(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An agent on a Unix socket."""
    process = subprocess.Popen([sys.executable, str(AGENT), "--socket", str(path)])
    try:
        assert within(20, lambda: listens(path))
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_unix_socket_is_the_callers_alone_and_serves_several(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket_agent(path):
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.stat().st_uid == os.getuid()
        with open_place(str(path), {}, "unix") as one, open_place(str(path), {}, "unix") as two:
            assert one.create_vm().check_extension(1) == two.create_vm().check_extension(1) == 2
        with client(str(path), "unix") as (process, _):
            process.kill()
        with open_place(str(path), {}, "unix") as after:
            assert after.api_version() == 12


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_agent_leaves_no_socket(tmp_path: Path, ending: signal.Signals) -> None:
    path = tmp_path / "agent.sock"
    with socket_agent(path) as process:
        process.send_signal(ending)
        assert within(10, lambda: not path.exists())
    with pytest.raises(
        PlaceError, match=f"unix:{path}: No such file.*start an agent there with `armkvm agent"
    ):
        open_place(str(path), {}, "unix")


def test_a_socket_in_use_or_another_file_is_not_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket_agent(path):
        second = subprocess.run(
            [sys.executable, str(AGENT), "--socket", str(path)], capture_output=True, check=False, timeout=30
        )
        assert b"another agent serves it" in second.stderr
        assert path.exists()
    plain = tmp_path / "notes.txt"
    plain.write_text("keep me")
    second = subprocess.run(
        [sys.executable, str(AGENT), "--socket", str(plain)], capture_output=True, check=False, timeout=30
    )
    assert b"it exists and is no socket" in second.stderr
    assert plain.read_text() == "keep me"


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    process = subprocess.Popen([sys.executable, str(AGENT), "--socket", str(path)])
    try:
        assert within(20, lambda: listens(path))
        with open_place(str(path), {}, "unix") as system:
            assert system.api_version() == 12
    finally:
        process.kill()
        process.wait()


def test_ssh_that_gets_nowhere_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\necho Host key verification failed. >&2\nexit 255\n")
    ssh.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(PlaceError, match=r"verification failed\.; ssh may ask nothing here"):
        open_place("//host", {}, "ssh")


def test_ssh_never_asks_and_takes_no_options_from_a_host_name() -> None:
    command = command_of_ssh("//me@host.example:2222", None)
    assert command[:2] == ["ssh", "-T"]
    assert "BatchMode=yes" in command
    assert command[command.index("-p") + 1] == "2222"
    assert command[command.index("--") + 1] == "me@host.example"
    assert "armkvm-agent.pyz" in command[-1]
    assert command_of_ssh("//[::1]", "python3 x.pyz")[-2:] == ["::1", "python3 x.pyz"]
    for bad in ("//-oProxyCommand=x", "//", "//host:port", "//-l@host", "//@host", "//host/path"):
        with pytest.raises(UnknownPlace, match="ssh:"):
            command_of_ssh(bad, None)


@pytest.mark.parametrize(
    ("scheme", "rest", "options", "message"),
    [
        ("exec", "", {}, "needs a command"),
        ("exec", "'", {}, "quotation"),
        ("exec", "true", {"agent": "x"}, "has no option agent; it has timeout"),
        ("exec", "true", {"timeout": "soon"}, "give seconds"),
        ("tcp", "host", {}, "no way to an agent"),
    ],
)
def test_a_uri_that_means_nothing_is_refused(
    scheme: str, rest: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(UnknownPlace, match=message):
        open_place(rest, options, scheme)
