"""The lab as a place: a machine booted or resumed, and the agent inside it."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from armkvm.backends.lab import initramfs
from armkvm.backends.lab.guest import AGENT_PORT, COMMAND_PORT
from armkvm.backends.lab.qemu import Boot, Monitor, Process, find, owned_pair
from armkvm.backends.lab.shelf import SETUP_HINT, Kernel, Shelf
from armkvm.backends.remote.client import CALL_TIMEOUT, ConnectionFailed, RemoteSystem
from armkvm.backends.remote.stream import Stream
from armkvm.errors import PlaceError, UnknownPlace

BOOT_TIMEOUT = 120.0
RESUME_TIMEOUT = 30.0
UNTIL_IDLE = 0.3  # seconds; a kernel that ticks when it is saved may never tick again, see `lab.guest`
TRIES = 2  # to save, and to resume
LATER = 0.05
MEMORY = 512
MODES = ("nested", "nvhe", "protected", "vhe")
# A third of the time to the first program goes to these, which nothing in the lab uses.
_FASTER = (
    "cryptomgr.notests",
    "initcall_blacklist=jent_mod_init,crypto_kdf108_init,load_system_certificate_list",
)
# These wake an idle kernel, which is best left alone while it is saved.
_QUIETER = ("damon_stat.enabled=N", "nowatchdog")
OPTIONS = {
    "kernel": "the kernel's version, as 6.12; the newest on the shelf otherwise",
    "mode": f"the kernel's kvm-arm.mode: {', '.join(MODES)}",
    "mte": "on: the board has tag memory (FEAT_MTE)",
    "image": "a kernel image of your own instead (virtio console and PCI built in)",
    "qemu": "the QEMU to run",
    "memory": f"the machine's memory in MiB ({MEMORY})",
    "append": "more words for the kernel's command line",
    "fresh": "1: boot, even if a saved machine could be resumed; save none",
    "timeout": f"seconds that one call may take ({CALL_TIMEOUT:g})",
    "boot_timeout": f"seconds that booting may take ({BOOT_TIMEOUT:g})",
    "cache": "the folder with kernels and saved machines",
}


@dataclass(frozen=True, slots=True)
class LabOptions:
    """A lab's URI, understood."""

    uri: str
    cpu: str
    kernel: str = ""
    mode: str = ""
    mte: bool = False
    image: str = ""
    qemu: str = ""
    memory: int = MEMORY
    append: str = ""
    fresh: bool = False
    timeout: float = CALL_TIMEOUT
    boot_timeout: float = BOOT_TIMEOUT
    cache: str = ""

    @classmethod
    def parse(cls, cpu: str, options: dict[str, str]) -> LabOptions:
        """From ``lab:CPU`` and its options; UnknownPlace names what is wrong."""
        unknown = sorted(options.keys() - OPTIONS.keys())
        if unknown:
            raise UnknownPlace(f"lab: has no option {', '.join(unknown)}; it has {', '.join(OPTIONS)}")
        if not cpu or any(c.isspace() for c in cpu) or cpu.startswith("-"):
            raise UnknownPlace("lab: needs a CPU as QEMU's -cpu spells it, as in lab:max,sve-max-vq=4")
        mode = options.get("mode", "")
        if mode and mode not in MODES:
            raise UnknownPlace(f"mode={mode}: there are {', '.join(MODES)}")
        for flag, values in (("mte", ("on", "off")), ("fresh", ("0", "1"))):
            if options.get(flag, values[0]) not in values:
                raise UnknownPlace(f"{flag}={options[flag]}: write {' or '.join(values)}")
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return cls(
            uri=f"lab:{cpu}" + (f"?{query}" if query else ""),
            cpu=cpu,
            kernel=options.get("kernel", ""),
            mode="" if mode == "vhe" else mode,
            mte=options.get("mte") == "on",
            image=options.get("image", ""),
            qemu=options.get("qemu", ""),
            memory=int(_number(options, "memory", MEMORY, 128, 1 << 16)),
            append=options.get("append", ""),
            fresh=options.get("fresh") == "1",
            timeout=_number(options, "timeout", CALL_TIMEOUT, 0.1, 86400),
            boot_timeout=_number(options, "boot_timeout", BOOT_TIMEOUT, 0.1, 86400),
            cache=options.get("cache", ""),
        )

    @property
    def shelf(self) -> Shelf:
        return Shelf(Path(self.cache) if self.cache else None)

    def boot(self, shelf: Shelf, *, interactive: bool = False) -> Boot:
        """What to boot."""
        if self.image:
            if not Path(self.image).is_file():
                raise PlaceError(f"image={self.image}: no such file")
            kernel = Kernel(Path(self.image).name, Path(self.image).absolute())
        else:
            kernel = shelf.kernel(self.kernel)
        words = ["console=ttyAMA0", "quiet", "panic=-1", *_FASTER, *_QUIETER]
        if self.mode:
            words.append(f"kvm-arm.mode={self.mode}")
        if interactive:
            words.append("armkvm.shell")
        if self.append:
            words.append(self.append)
        return Boot(
            qemu=find(shelf, self.qemu),
            kernel=kernel,
            cpu=qemu_cpu(self.cpu),
            machine="virt,virtualization=on,gic-version=3" + (",mte=on" if self.mte else ""),
            memory=self.memory,
            append=" ".join(words),
        )


def _number(options: dict[str, str], name: str, default: float, least: float, most: float) -> float:
    text = options.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise UnknownPlace(f"{name}={text}: give a number from {least:g} to {most:g}")
    return value


def qemu_cpu(cpu: str) -> str:
    """QEMU's `-cpu` for a lab's CPU.

    `max` computes pointer authentication with QARMA5 unless told otherwise, which makes an
    emulated kernel a third slower, so it is told to use the cheap algorithm of its own.
    """
    model, *features = cpu.split(",")
    if model == "max" and not any(feature.startswith("pauth") for feature in features):
        return ",".join([model, "pauth-impdef=on", *features])
    return cpu


@contextlib.contextmanager
def initrd(kernel: Kernel, shelf: Shelf) -> Iterator[BinaryIO]:
    """The file system to boot `kernel` with, as a file without a name."""
    with tempfile.TemporaryFile() as disk:
        disk.write(shelf.runtime.read_bytes())
        disk.write(initramfs.modules(kernel.modules))
        disk.write(initramfs.code())
        disk.flush()
        yield disk


class Machine:
    """A running lab: QEMU, the connection to the agent, and the one for commands. A `Transport`."""

    def __init__(self, options: LabOptions, boot: Boot) -> None:
        self._options = options
        self._boot = boot
        self._monitor: Monitor | None = None
        self.resumed = False

    def _start(self, extra: list[str], descriptors: list[int]) -> None:
        with contextlib.ExitStack() as owned, contextlib.ExitStack() as theirs:
            self._console = owned.enter_context(tempfile.TemporaryFile())
            self._agent, agent_end = owned_pair(owned, theirs)
            self._command, command_end = owned_pair(owned, theirs)
            self._monitor_end, monitor_end = owned_pair(owned, theirs)
            console = self._console.fileno()
            arguments = [
                *("-chardev", f"file,id=console,path=/proc/self/fd/{console}", "-serial", "chardev:console"),
                *("-chardev", f"socket,id=monitor,fd={monitor_end}", "-mon", "chardev=monitor,mode=control"),
            ]
            for number, (name, end) in enumerate(((AGENT_PORT, agent_end), (COMMAND_PORT, command_end)), 1):
                arguments += ["-chardev", f"socket,id=port{number},fd={end}"]
                arguments += ["-device", f"virtserialport,chardev=port{number},name={name},nr={number}"]
            inherited = [console, monitor_end, agent_end, command_end, *descriptors]
            self._process = Process(self._boot, arguments + extra, inherited)
            owned.callback(self._process.close)
            self._owned = owned.pop_all()
        self._agent.setblocking(False)
        self.stream = Stream(self._agent.fileno(), self._agent.fileno())

    @classmethod
    def booted(cls, options: LabOptions, boot: Boot, shelf: Shelf) -> Machine:
        """A machine that has begun to boot."""
        machine = cls(options, boot)
        with initrd(boot.kernel, shelf) as disk:
            machine._start(["-initrd", f"/proc/self/fd/{disk.fileno()}"], [disk.fileno()])
        return machine

    @classmethod
    def from_saved(cls, options: LabOptions, boot: Boot, image: int, alone: float = 0) -> Machine:
        """A machine that goes on where the one in `image` was saved, left alone for some seconds."""
        machine = cls(options, boot)
        machine._start(["-incoming", "defer"], [])
        machine.resumed = True
        with machine._talking_to_qemu("resume"):
            machine._qemu(RESUME_TIMEOUT).resume(image)
            time.sleep(alone)
        return machine

    def save(self, fd: int) -> None:
        """Write this machine, whose agent must be waiting for a greeting, to a file, and go on."""
        with self._talking_to_qemu("save"):
            self._qemu(self._options.boot_timeout).save(fd)

    def _qemu(self, timeout: float) -> Monitor:
        """The monitor, which greets but once, with so much time for what comes."""
        if self._monitor is None:
            self._monitor = Monitor(self._monitor_end, timeout)
        self._monitor.allow(timeout)
        return self._monitor

    @contextlib.contextmanager
    def _talking_to_qemu(self, purpose: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, PlaceError) as error:
            words = self.last_words()
            self.close()
            reason = f"{error}; it said: {words}" if words else str(error)
            raise PlaceError(
                f"{self._options.uri}: QEMU could not {purpose} the machine (fresh=1 does without): {reason}"
            ) from None
        except BaseException:
            self.close()
            raise

    @property
    def qemu_version(self) -> str:
        """What runs it, as ``QEMU emulator version 10.0.2``."""
        return self._boot.qemu.version.partition(" (")[0]

    @property
    def command(self) -> socket.socket:
        """The connection over which commands are run inside."""
        return self._command

    def last_words(self) -> str:
        """What QEMU said, and the end of what the machine wrote to its console."""
        with contextlib.suppress(Exception):
            self._process.wait(0.3)
        text = self._console_text()
        return "\n".join(filter(None, (self._process.words(), text)))

    def _console_text(self) -> str:
        self._console.seek(max(0, self._console.seek(0, os.SEEK_END) - 2000))
        return self._console.read().decode("utf-8", "replace").strip()

    def close(self) -> None:
        self._owned.close()


class LabSystem(RemoteSystem):
    """A real Linux KVM under QEMU on this machine. Closing it ends QEMU."""

    def __init__(self, options: LabOptions, machine: Machine) -> None:
        timeout = RESUME_TIMEOUT if machine.resumed else options.boot_timeout
        try:
            super().__init__(options.uri, machine, options.timeout, timeout)
        except ConnectionFailed as error:
            reason = str(error).removeprefix(f"{options.uri}: ")
            done = "was resumed, but" if machine.resumed else "did not boot:"
            raise PlaceError(
                f"{options.uri}: the machine {done} no agent answered in it; {reason}; "
                f"`armkvm lab shell` shows what it does"
            ) from None
        self.machine = machine


def open_lab(options: LabOptions) -> LabSystem:
    """A lab, resumed from a saved machine if there is one, else booted (and then saved)."""
    shelf = options.shelf
    boot = options.boot(shelf)
    if not shelf.runtime.exists():
        raise PlaceError(f"the lab has no runtime for arm64; {SETUP_HINT}")
    if options.fresh:
        return LabSystem(options, Machine.booted(options, boot, shelf))
    runtime = shelf.runtime.stat()
    key = boot.key(f"{runtime.st_size} {runtime.st_mtime_ns}".encode() + initramfs.code_identity())
    resumed = _resumed(options, boot, shelf, key)
    if resumed is not None:
        return resumed
    machine = Machine.booted(options, boot, shelf)
    LabSystem(options, machine).leave()  # a session has proved that the place works; save it before the next
    try:
        _save(machine, options, boot, shelf, key)
    except OSError as error:
        machine.close()
        raise PlaceError(f"{options.uri}: {error}; fresh=1 saves no machine") from None
    except BaseException:
        machine.close()
        raise
    return LabSystem(options, machine)


def _resumed(options: LabOptions, boot: Boot, shelf: Shelf, key: str) -> LabSystem | None:
    """The machine saved under this key; None if there is none that goes on, and then none is kept.

    It can depend on the moment at which it wakes up, so that the second time it is another one.
    """
    for attempt in range(TRIES):
        image = shelf.open_machine(key)
        if image is None:
            return None
        try:
            return LabSystem(options, Machine.from_saved(options, boot, image, attempt * LATER))
        except PlaceError:  # spoilt; what matters shows when it is booted instead
            pass
        finally:
            os.close(image)
    shelf.drop_machine(key)
    return None


def _save(machine: Machine, options: LabOptions, boot: Boot, shelf: Shelf, key: str) -> None:
    """Keep a machine that waits for its next session, if what was saved goes on when it is resumed."""
    for _ in range(TRIES):
        time.sleep(UNTIL_IDLE)
        with shelf.saving_machine(key) as file:
            machine.save(file)
        if resumed := _resumed(options, boot, shelf, key):
            resumed.close()
            return
