"""The lab's shelf: a folder with kernels, the runtime, a private QEMU and saved machines.

::

    apt/                    a package client's private state; the system's is never touched
    kernels/RELEASE/        image, NUMBER-MODULE.ko where needed, origin.json
    runtime.cpio            busybox and Python for arm64
    qemu/                   an unpacked QEMU, if the system has no suitable one
    machines/KEY.image      booted machines, resumed instead of booting again

Every file appears complete or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from armkvm.errors import PlaceError

SETUP_HINT = "`armkvm lab setup` fetches what the lab needs"
MAX_MACHINES = 16
"""Saved machines kept, about 110 MB each; the longest unused go first."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel to boot: its release, where its image and modules are, and where they came from."""

    release: str
    image: Path
    modules: tuple[Path, ...] = ()
    package: str = ""
    sha256: str = ""

    @property
    def order(self) -> tuple[int, ...]:
        """For sorting releases by age: all numbers in the name."""
        return release_order(self.release)


def release_order(release: str) -> tuple[int, ...]:
    """All numbers in a release's name: newer ones compare greater."""
    return tuple(map(int, re.findall(r"\d+", release)))


class Shelf:
    """The folder. Nothing is created before something is put there."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or Path.home() / ".cache" / "armkvm" / "lab"

    @property
    def apt(self) -> Path:
        return self.path / "apt"

    @property
    def runtime(self) -> Path:
        return self.path / "runtime.cpio"

    @property
    def qemu(self) -> Path:
        return self.path / "qemu"

    # -- kernels ---------------------------------------------------------------------------

    def kernels(self) -> list[Kernel]:
        """What is there, oldest release first."""
        found = []
        for origin in (self.path / "kernels").glob("*/origin.json"):
            facts = json.loads(origin.read_text())
            modules = tuple(sorted(origin.parent.glob("*.ko")))
            found.append(
                Kernel(
                    origin.parent.name, origin.parent / "image", modules, facts["package"], facts["sha256"]
                )
            )
        return sorted(found, key=lambda kernel: kernel.order)

    def kernel(self, wanted: str) -> Kernel:
        """The newest kernel whose release begins with `wanted` (``6.12``); the newest of all for ""."""
        kernels = self.kernels()
        fitting = [k for k in kernels if not wanted or matches(k.release, wanted)]
        if not fitting:
            there = ", ".join(k.release for k in kernels) or "none"
            raise PlaceError(f"the lab has no kernel {wanted or 'at all'} (there: {there}); {SETUP_HINT}")
        return fitting[-1]

    def put_kernel(
        self, release: str, image: bytes, modules: dict[str, bytes], origin: dict[str, str]
    ) -> None:
        with self.building(self.path / "kernels" / release) as folder:
            (folder / "image").write_bytes(image)
            for name, data in modules.items():
                (folder / name).write_bytes(data)
            (folder / "origin.json").write_text(json.dumps(origin, indent=1) + "\n")

    @contextlib.contextmanager
    def building(self, target: Path) -> Iterator[Path]:
        """An empty folder that becomes `target` if all goes well, and vanishes otherwise."""
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        try:
            yield draft
            shutil.rmtree(target, ignore_errors=True)
            draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    # -- saved machines --------------------------------------------------------------------

    @property
    def machines(self) -> Path:
        return self.path / "machines"

    def open_machine(self, key: str) -> int | None:
        """A descriptor of the saved machine, marked as used now; None if there is none."""
        path = self.machines / f"{key}.image"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return fd

    def drop_machine(self, key: str) -> None:
        (self.machines / f"{key}.image").unlink(missing_ok=True)

    @contextlib.contextmanager
    def saving_machine(self, key: str) -> Iterator[int]:
        """A descriptor of a file without a name, which gets one if all goes well.

        Killed at any moment, a process therefore leaves no half-written file.
        """
        self.machines.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.machines, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            yield fd
            target = self.machines / f"{key}.image"
            with contextlib.suppress(FileExistsError):  # another process saved the same machine
                # A directory descriptor, of no use for an absolute path, makes Python call linkat,
                # which alone can follow the link to a file without a name.
                os.link(f"/proc/self/fd/{fd}", target, src_dir_fd=fd, follow_symlinks=True)
        finally:
            os.close(fd)
        self._evict()

    def _evict(self) -> None:
        images = sorted(self.machines.glob("*.image"), key=lambda path: path.stat().st_mtime)
        for path in images[:-MAX_MACHINES]:
            path.unlink(missing_ok=True)

    def saved_machines(self) -> list[tuple[Path, int]]:
        """(file, bytes) of each saved machine, the last used last."""
        images = sorted(self.machines.glob("*.image"), key=lambda path: path.stat().st_mtime)
        return [(path, path.stat().st_size) for path in images]


def matches(release: str, wanted: str) -> bool:
    """Whether `wanted` names `release`: the whole of it or its first numbers."""
    return release.startswith(wanted) and not release[len(wanted) : len(wanted) + 1].isdigit()
