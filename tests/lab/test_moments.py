"""Whoever dies, and whenever: no process, file or socket stays of a lab.

An owner opens labs, uses and closes them, over and over. It, QEMU or the supervisor between them is
killed at moments spread over that, and everything must be gone soon after.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from tests.lab.conftest import why_not
from tests.lab.test_life import CPU, KERNEL, SOURCE
from tests.lab.watching import processes, within

from armkvm.backends.lab import open_place
from armkvm.backends.lab.commands import run
from armkvm.backends.lab.place import LabOptions
from armkvm.backends.lab.shelf import Shelf
from armkvm.errors import PlaceError

pytestmark = pytest.mark.lab
MOMENTS = 6
OWNER = f"""\
import sys
sys.path.insert(0, {str(SOURCE)!r})
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.backends.lab import open_place
from armkvm.errors import PlaceError
print("starting", flush=True)
try:
    while True:
        with open_place({CPU!r}, dict(word.split("=", 1) for word in sys.argv[1:])) as system:
            for _ in range(3):
                with system.create_vm() as vm, vm.create_vcpu(0) as vcpu:
                    vcpu.init([VcpuFeature.PSCI_0_2])
                    vcpu.get_regs(vcpu.reg_list())
        print("once", flush=True)
except PlaceError as error:
    print("told", error, flush=True)
"""


class Scene:
    """A shelf of its own with a saved machine, whose command line has a word that no other has."""

    def __init__(self, folder: Path) -> None:
        self.marker = f"armkvm.moment={os.getpid()}"
        self.shelf = folder / "shelf"
        self.temporary = folder / "temporary"
        self.options = [
            f"kernel={KERNEL}",
            f"append={self.marker}",
            f"cache={self.shelf}",
            "boot_timeout=600",
        ]
        self.shelf.mkdir()
        self.temporary.mkdir()
        there = Shelf()
        for path in (there.path / "kernels", there.runtime, there.qemu):
            if path.exists():
                (self.shelf / path.name).symlink_to(path)
        with open_place(CPU, dict(word.split("=", 1) for word in self.options)):
            pass
        start = time.monotonic()
        with self.owner() as owner:
            assert owner.stdout
            assert owner.stdout.readline() == "once\n"
            self.seconds = time.monotonic() - start
        assert within(30, lambda: not self.left())
        self.files = self.all_files()

    @contextlib.contextmanager
    def owner(self) -> Iterator[subprocess.Popen[str]]:
        environment = {**os.environ, "TMPDIR": str(self.temporary)}
        process = subprocess.Popen(
            [sys.executable, "-c", OWNER, *self.options],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        try:
            assert process.stdout
            with process.stdout:
                assert process.stdout.readline() == "starting\n"
                yield process
        finally:
            process.kill()
            process.wait()

    def left(self) -> list[int]:
        """Processes of the owner's lab: QEMU, and the supervisor, whose command line has QEMU's."""
        return [pid for pid in processes(self.marker) if not _is_owner(pid)]

    def all_files(self) -> set[Path]:
        return {*self.shelf.rglob("*"), *self.temporary.rglob("*")}


def _is_owner(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"\0-c\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    if reason := why_not(CPU, KERNEL):
        pytest.skip(reason)
    return Scene(tmp_path_factory.mktemp("moments"))


@pytest.mark.parametrize("number", range(MOMENTS))
@pytest.mark.parametrize("victim", ["client", "QEMU", "supervisor"])
def test_nothing_stays_whoever_dies_and_whenever(scene: Scene, victim: str, number: int) -> None:
    random = Random(f"{victim} {number}")
    with scene.owner() as owner:
        time.sleep(scene.seconds * (number + random.random()) / MOMENTS * 1.5)
        if victim == "client":
            owner.kill()
        else:
            mine = [pid for pid in scene.left() if _kind(pid) == victim]
            for pid in mine:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if mine:
                assert owner.stdout
                assert told_or_lived_on(owner.stdout), "one clear error, or another machine instead"
    assert within(30, lambda: not scene.left()), [_words(pid) for pid in scene.left()]
    assert scene.all_files() == scene.files
    assert str(scene.shelf.parent) not in Path("/proc/net/unix").read_text()


def told_or_lived_on(words: Iterator[str]) -> bool:
    """Whether the owner said what happened; or went on, as it may when a machine dies while it is resumed.

    It then boots another. Up to three lines may be from before the killing.
    """
    rounds = 0
    for line in words:
        rounds += line == "once\n"
        if line.startswith("told") or rounds > 3:
            return True
    return False


def _kind(pid: int) -> str:
    return "supervisor" if "supervisor.py" in _words(pid) else "QEMU"


def _words(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def test_a_machine_that_ends_with_its_agent_is_told_and_leaves_nothing(scene: Scene) -> None:
    """The agent is the machine's first process, which nobody inside can kill: one ends with the other."""
    options = LabOptions.parse(CPU, dict(word.split("=", 1) for word in scene.options))
    words = ["sh", "-c", "kill -9 1; poweroff -f; sleep 600"]
    with pytest.raises(PlaceError, match="the lab ended"):
        run(options, words, out=lambda _: None, err=lambda _: None, limit=300)
    assert within(30, lambda: not scene.left())
