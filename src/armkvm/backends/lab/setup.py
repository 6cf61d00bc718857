"""`armkvm lab setup`: first what it will do, then doing it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from armkvm.backends.lab import debian, initramfs
from armkvm.backends.lab.apt import Apt, Package
from armkvm.backends.lab.qemu import PROGRAM, Qemu, find, private_qemu
from armkvm.backends.lab.shelf import Shelf, matches, release_order
from armkvm.errors import PlaceError

DEFAULT_KERNELS = ("6.1", "6.12", "newest", "newest-1")
CPUS = ("max", "a64fx", "neoverse-n1", "neoverse-v1", "neoverse-n2", "cortex-a76", "cortex-a710")
"""The CPUs that the lab is made for; a QEMU that knows them all is suitable."""

_KERNEL_NAME = re.compile(r"linux-(?:image|binary)-(?:unsigned-)?(\d.*-cloud-arm64)(?:-unsigned)?")
_IMAGE = re.compile(r"(boot/vmlinuz-|usr/lib/modules/[^/]+/vmlinuz)")
_SMALLEST_IMAGE = 1 << 20  # a smaller package is one of names only, without the image

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class KernelPlan:
    """A kernel to fetch: its release, and the package with its image."""

    release: str
    package: Package


@dataclass(frozen=True, slots=True)
class SetupPlan:
    """What `apply` would fetch and make. Nothing of it has been done."""

    shelf: Shelf
    apt: Apt
    runtime: tuple[Package, ...]
    kernels: tuple[KernelPlan, ...]
    qemu: tuple[Package, ...]
    notes: tuple[str, ...]

    @property
    def download_bytes(self) -> int:
        packages = (*self.runtime, *self.qemu, *(kernel.package for kernel in self.kernels))
        return sum(package.size for package in packages)

    @property
    def is_empty(self) -> bool:
        return not (self.runtime or self.kernels or self.qemu)

    def describe(self) -> list[str]:
        """The plan, line by line."""
        lines = list(self.notes)
        groups = [
            ("runtime of the machine inside (busybox, Python)", self.runtime),
            ("QEMU for this machine, unpacked but not installed", self.qemu),
        ]
        for title, packages in groups:
            if packages:
                lines.append(f"fetch the {title}:")
                lines += [f"  {p.name} {p.version} ({p.size / 1e6:.1f} MB)" for p in packages]
        if self.kernels:
            lines.append("fetch kernels:")
            lines += [
                f"  {k.release}: {k.package.name} {k.package.version} ({k.package.size / 1e6:.1f} MB)"
                for k in self.kernels
            ]
        if self.is_empty:
            return [*lines, f"nothing to do: everything is in {self.shelf.path}"]
        total = f"{self.download_bytes / 1e6:.0f} MB to fetch; all of it goes to {self.shelf.path}"
        return [*lines, total, "the system's packages and configuration stay as they are"]


def intention(shelf: Shelf, apt: Apt) -> list[str]:
    """What `plan` itself will do: it needs the package lists."""
    lines = [f"fetch package lists (about 20 MB) to {shelf.apt}, from:"]
    return lines + [f"  {line}" for line in apt.sources()]


def plan(shelf: Shelf, apt: Apt, kernels: Sequence[str] = DEFAULT_KERNELS) -> SetupPlan:
    """Compare what the lab needs with what is there.

    `kernels` are versions as ``6.12`` or ``6.12.95``, or ``newest`` and ``newest-1`` for the two
    newest series of the archive. PlaceError names those that the archive does not have.
    """
    notes: list[str] = []
    if _has_all(shelf, kernels):
        return SetupPlan(shelf, apt, (), (), _plan_qemu(shelf, apt, notes), tuple(notes))
    apt.update()
    runtime: tuple[Package, ...] = ()
    if not shelf.runtime.exists():
        found = apt.packages(initramfs.RUNTIME_PACKAGES, "arm64")
        absent = [name for name in initramfs.RUNTIME_PACKAGES if name not in found]
        if absent:
            raise PlaceError(f"the archive has no {', '.join(absent)} for arm64")
        runtime = tuple(found[name] for name in initramfs.RUNTIME_PACKAGES)
    return SetupPlan(
        shelf,
        apt,
        runtime,
        tuple(_plan_kernels(shelf, apt, kernels)),
        _plan_qemu(shelf, apt, notes),
        tuple(notes),
    )


def _has_all(shelf: Shelf, kernels: Sequence[str]) -> bool:
    """Whether no package list is needed: all is there, and nothing is asked for as the newest."""
    there = [kernel.release for kernel in shelf.kernels()]
    named = all(any(matches(release, wanted) for release in there) for wanted in kernels)
    with contextlib.suppress(PlaceError):
        return named and shelf.runtime.exists() and not lacking_cpus(find(shelf))
    return False


def _plan_kernels(shelf: Shelf, apt: Apt, wanted: Sequence[str]) -> list[KernelPlan]:
    available = available_kernels(apt)
    series = sorted({release_order(release)[:2] for release in available})
    there = {kernel.release for kernel in shelf.kernels()}
    plans = []
    for word in wanted:
        version = word
        if match := re.fullmatch(r"newest(?:-(\d+))?", word):
            back = int(match[1] or 0)
            if back >= len(series):
                raise PlaceError(f"--kernel {word}: the archive has {len(series)} series only")
            version = ".".join(map(str, series[-1 - back]))
        fitting = [release for release in available if matches(release, version)]
        if not fitting:
            have = ", ".join(".".join(map(str, numbers)) for numbers in series)
            raise PlaceError(f"the archive has no kernel {word} for the lab; it has {have}")
        release = max(fitting, key=release_order)
        if release not in there:
            there.add(release)
            plans.append(KernelPlan(release, available[release]))
    return plans


def available_kernels(apt: Apt) -> dict[str, Package]:
    """Every kernel of the archive that the lab can boot: release -> the package with its image."""
    names = [
        name for name in apt.names("^linux-(image|binary)-.*-cloud-arm64") if _KERNEL_NAME.fullmatch(name)
    ]
    found: dict[str, Package] = {}
    for name, package in apt.packages(names, "arm64").items():
        match = _KERNEL_NAME.fullmatch(name)
        if match and package.size >= _SMALLEST_IMAGE:
            found.setdefault(match[1], package)
    return found


def _plan_qemu(shelf: Shelf, apt: Apt, notes: list[str]) -> tuple[Package, ...]:
    if private_qemu(shelf.qemu):
        return ()
    try:
        qemu = find(shelf)
    except PlaceError:
        notes.append(f"this machine has no {PROGRAM}")
    else:
        lacking = lacking_cpus(qemu)
        if not lacking:
            notes.append(f"use the system's {qemu.version}")
            return ()
        notes.append(f"the system's {qemu.version} knows no {', '.join(lacking)}")
    suite = f"{apt.release}-backports" if apt.release == "bookworm" else apt.release
    return tuple(apt.missing_for("qemu-system-arm", suite))


def lacking_cpus(qemu: Qemu) -> list[str]:
    """Which of the lab's CPUs a QEMU does not know."""
    known = qemu.cpus()
    return [cpu for cpu in CPUS if cpu not in known]


def apply(plan: SetupPlan, progress: Progress = lambda _line: None) -> None:
    """Do what the plan says. Interrupted at any point, it can simply be started again."""
    shelf, apt = plan.shelf, plan.apt
    if plan.runtime:
        progress("fetching the runtime")
        files = apt.download(plan.runtime)
        progress("building the initramfs")
        draft = shelf.runtime.with_name(f".runtime.{os.getpid()}")
        try:
            draft.write_bytes(initramfs.runtime(files))
            draft.rename(shelf.runtime)
        finally:
            draft.unlink(missing_ok=True)
    if plan.qemu:
        progress("fetching QEMU")
        files = apt.download(plan.qemu)
        with shelf.building(shelf.qemu) as folder:
            for file in files:
                debian.unpack(file, folder)
        qemu = find(shelf)
        progress(f"unpacked {qemu.version}")
    for kernel in plan.kernels:
        progress(f"fetching kernel {kernel.release}")
        (file,) = apt.download([kernel.package])
        _unpack_kernel(shelf, kernel, file)
    for file in apt.downloads.glob("*.deb"):
        file.unlink()


def _unpack_kernel(shelf: Shelf, kernel: KernelPlan, package: Path) -> None:
    image = b""
    with debian.members(package) as files:
        for member, tar in files:
            if _IMAGE.match(member.name) and member.isfile():
                image = debian.contents(tar, member)
                break
    if not image:
        raise PlaceError(f"{kernel.package.name} holds no kernel image")
    origin = {"package": kernel.package.wanted, "sha256": kernel.package.sha256}
    shelf.put_kernel(kernel.release, image, dict(initramfs.pick_modules(package)), origin)
