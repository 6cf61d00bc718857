"""A lab's life: booted, saved, resumed; and however it or its owner ends, nothing stays."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lab.conftest import OpenLab, why_not
from tests.lab.watching import processes, within

from armkvm.backends.lab import open_place, place
from armkvm.backends.lab.commands import clear, run
from armkvm.backends.lab.place import LabOptions, LabSystem, Machine, open_lab
from armkvm.backends.lab.shelf import Shelf
from armkvm.errors import PlaceError

pytestmark = pytest.mark.lab
CPU, KERNEL = "max", "6.12"
SOURCE = Path(__file__).parents[2] / "src"
OWNER = f"""\
import os, signal, sys, time
sys.path.insert(0, {str(SOURCE)!r})
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
from armkvm.backends.lab import open_place, place
print("starting", flush=True)
system = open_place({CPU!r}, dict(word.split("=", 1) for word in sys.argv[2:]))
if sys.argv[1] == "fork" and os.fork() == 0:
    time.sleep(600)
print("open", flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _available() -> None:
    if reason := why_not(CPU, KERNEL):
        pytest.skip(reason)


@pytest.fixture
def marker() -> str:
    """A word that only this test's machine has on its command line."""
    return f"armkvm.test={uuid.uuid4().hex}"


@pytest.fixture
def own_shelf(tmp_path: Path) -> Shelf:
    """The lab's shelf with no saved machines but this test's own."""
    there, own = Shelf(), Shelf(tmp_path / "lab")
    own.path.mkdir()
    for path in (there.path / "kernels", there.runtime, there.qemu):
        if path.exists():
            (own.path / path.name).symlink_to(path)
    return own


@contextlib.contextmanager
def owner(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A process that opens a lab and keeps it."""
    command = [sys.executable, "-c", OWNER, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout
        with process.stdout:
            assert process.stdout.readline() == "starting\n"
            yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def opened(process: subprocess.Popen[str]) -> None:
    assert process.stdout
    assert process.stdout.readline() == "open\n"


def test_a_second_lab_resumes_what_the_first_one_saved(lab: OpenLab) -> None:
    lab(CPU, KERNEL)
    start = time.monotonic()
    with open_place(CPU, {"kernel": KERNEL}) as system:
        assert system.api_version() == 12
        seconds = time.monotonic() - start
        assert system.machine.resumed
    assert seconds < 10, "a tenth of this where nothing else runs"


@pytest.mark.parametrize("kernel", ["6.1", KERNEL, "7.3"])
def test_time_passes_in_a_resumed_machine(monkeypatch: pytest.MonkeyPatch, lab: OpenLab, kernel: str) -> None:
    """The kernel's timer is set anew, though the moment it was set for passed before anyone called."""
    lab(CPU, kernel)

    def opened_late(options: LabOptions, machine: Machine) -> LabSystem:
        assert machine.resumed
        time.sleep(6)
        return LabSystem(options, machine)

    monkeypatch.setattr(place, "LabSystem", opened_late)
    options = LabOptions.parse(CPU, {"kernel": kernel})
    assert run(options, ["sleep", "0.1"], out=print, err=print, limit=20) == 0


@pytest.mark.parametrize("delay", [0.1, 0.5, 2.0])
def test_an_owner_killed_while_booting_leaves_nothing(marker: str, own_shelf: Shelf, delay: float) -> None:
    before = set(own_shelf.path.rglob("*"))
    with owner("plain", f"kernel={KERNEL}", f"append={marker}", f"cache={own_shelf.path}") as process:
        assert within(20, lambda: bool(processes(marker)))
        time.sleep(delay)
        process.kill()
        process.wait()
        assert within(10, lambda: not processes(marker))
    assert set(own_shelf.path.rglob("*")) == before


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_owner_killed_while_using_it_leaves_nothing(ending: signal.Signals) -> None:
    with owner("plain", f"kernel={KERNEL}") as process:
        opened(process)
        lifeline = f"supervisor.py\0{process.pid}\0"
        assert processes(lifeline)
        process.send_signal(ending)
        process.wait()
        assert within(10, lambda: not processes(lifeline))


def test_a_forked_child_does_not_keep_a_dead_owners_lab() -> None:
    with owner("fork", f"kernel={KERNEL}") as process:
        opened(process)
        lifeline = f"supervisor.py\0{process.pid}\0"
        assert processes(lifeline)
        process.kill()
        process.wait()
        assert within(10, lambda: not processes(lifeline))


def a_lab() -> LabSystem:
    return open_lab(LabOptions.parse(CPU, {"kernel": KERNEL}))


@pytest.mark.parametrize("victim", ["supervisor", "QEMU"])
def test_a_killed_qemu_is_one_clear_error_and_nothing_stays(victim: str) -> None:
    before = set(processes(f"supervisor.py\0{os.getpid()}\0"))
    with a_lab() as system:
        (supervisor,) = set(processes(f"supervisor.py\0{os.getpid()}\0")) - before
        qemu = int(Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()[0])
        vm = system.create_vm()
        os.kill(supervisor if victim == "supervisor" else qemu, signal.SIGKILL)
        start = time.monotonic()
        with pytest.raises(PlaceError, match="the connection failed"):
            any(vm.check_extension(1) < 0 for _ in range(1 << 30))
        assert time.monotonic() - start < 10
        assert within(10, lambda: not Path(f"/proc/{qemu}").exists())


def test_closing_ends_qemu_and_closes_every_descriptor() -> None:
    with a_lab():
        pass
    before = len(list(Path("/proc/self/fd").iterdir()))
    threads = threading.active_count()
    for _ in range(2):
        with a_lab():
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert threading.active_count() == threads


def test_a_spoilt_saved_machine_is_booted_anew(own_shelf: Shelf) -> None:
    options = LabOptions.parse(CPU, {"kernel": KERNEL, "boot_timeout": "300", "cache": str(own_shelf.path)})
    with open_lab(options) as system:
        assert not system.machine.resumed
    ((saved, size),) = own_shelf.saved_machines()
    with saved.open("r+b") as file:
        file.truncate(size // 2)
    with open_lab(options) as system:
        assert not system.machine.resumed
        assert system.api_version() == 12
    with open_lab(options) as system:
        assert system.machine.resumed
    assert clear(own_shelf) > size // 2
    assert own_shelf.saved_machines() == []


@pytest.mark.parametrize(
    ("standing_still", "saved"), [(1, 1), (3, 1), (4, 0)], ids=["once", "until saved anew", "always"]
)
def test_a_resumed_machine_whose_clock_stands_still_is_not_used(
    own_shelf: Shelf, monkeypatch: pytest.MonkeyPatch, standing_still: int, saved: int
) -> None:
    """It is tried again, then saved again; if that does not help, the one that was booted is all there is."""
    left = [standing_still]

    def opened(options: LabOptions, machine: Machine) -> LabSystem:
        if machine.resumed and left[0]:
            left[0] -= 1
            machine.close()
            raise PlaceError("the machine's clock stands still")
        return LabSystem(options, machine)

    monkeypatch.setattr(place, "LabSystem", opened)
    options = LabOptions.parse(CPU, {"kernel": KERNEL, "boot_timeout": "300", "cache": str(own_shelf.path)})
    with open_lab(options) as system:
        assert system.api_version() == 12
    assert len(own_shelf.saved_machines()) == saved


def test_an_image_that_does_not_boot_is_given_up_in_time(tmp_path: Path, marker: str) -> None:
    image = tmp_path / "Image"
    image.write_bytes(b"\0\0\0\x14" * 4096)  # `b .`, for ever
    start = time.monotonic()
    with pytest.raises(PlaceError, match=r"did not boot: .* nothing came for 2 seconds"):
        open_place(CPU, {"image": str(image), "append": marker, "boot_timeout": "2", "fresh": "1"})
    assert time.monotonic() - start < 20
    assert within(5, lambda: not processes(marker))


@pytest.mark.parametrize(
    ("cpu", "options", "message"),
    [
        ("pentium", {}, "pentium"),
        ("max,sve-max-vq=99", {}, "sve-max-vq"),
        (CPU, {"kernel": "2.4"}, r"has no kernel 2\.4 \(there: .*armkvm lab setup"),
        (CPU, {"qemu": "/nonexistent"}, "no such program"),
        (CPU, {"image": "/nonexistent"}, "no such file"),
        (CPU, {"append": "kvm-arm.mode=none", "boot_timeout": "300", "fresh": "1"}, "has no /dev/kvm"),
    ],
)
def test_a_lab_that_cannot_be_is_one_clear_error(cpu: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(PlaceError, match=message):
        open_place(cpu, {"kernel": KERNEL, **options})


def test_two_labs_run_at_once() -> None:
    with (
        open_place(CPU, {"kernel": KERNEL}) as one,
        open_place(CPU, {"kernel": KERNEL}) as two,
        one.create_vm() as vm,
        two.create_vm() as other,
    ):
        assert vm.create_vcpu(0).get_mp_state() == other.create_vcpu(0).get_mp_state() == 0


def test_a_command_runs_inside_with_its_files_input_and_exit_code() -> None:
    out, err = bytearray(), bytearray()
    big = os.urandom(3 << 20)
    code = run(
        LabOptions.parse(CPU, {"kernel": KERNEL}),
        ["sh", "-c", "sha256sum /data/big | cut -c1-64; cat; uname -m; echo oops >&2; exit 7"],
        files={"/data/big": big},
        stdin=b"input\n",
        out=out.extend,
        err=err.extend,
    )
    from hashlib import sha256

    assert code == 7
    assert out.decode().splitlines() == [sha256(big).hexdigest(), "input", "aarch64"]
    assert err == b"oops\n"


def test_a_command_that_is_none_or_never_ends() -> None:
    options = LabOptions.parse(CPU, {"kernel": KERNEL})
    out, err = bytearray(), bytearray()
    assert run(options, ["no-such-program"], out=out.extend, err=err.extend) == 127
    assert b"no-such-program: No such file" in err
    with pytest.raises(PlaceError, match="did not end within 2 seconds"):
        run(options, ["sleep", "600"], out=out.extend, err=err.extend, limit=2)


def test_a_shell_is_on_this_terminal_and_ends_with_it(marker: str) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n"
        "from armkvm.backends.lab.commands import shell\n"
        "from armkvm.backends.lab.place import LabOptions\n"
        f"sys.exit(shell(LabOptions.parse({CPU!r}, {{'kernel': {KERNEL!r}, 'append': {marker!r}}})))"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", script])  # noqa: S606 - a terminal needs a process of its own
    seen = b""

    def wait_for(text: bytes) -> None:
        nonlocal seen
        deadline = time.monotonic() + 300
        while text not in seen and time.monotonic() < deadline:
            if select.select([terminal], [], [], 1)[0]:
                seen += os.read(terminal, 4096)
        assert text in seen, seen[-2000:]
        seen = seen.partition(text)[2]

    try:
        wait_for(b"# ")
        os.write(terminal, b"echo $((6*7))-$(uname -m); ls /dev/kvm\n")
        wait_for(b"42-aarch64")
        wait_for(b"/dev/kvm")
        os.write(terminal, b"exit\n")
        assert within(60, lambda: os.waitpid(pid, os.WNOHANG) != (0, 0))
        assert within(5, lambda: not processes(marker))
    finally:
        os.close(terminal)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
