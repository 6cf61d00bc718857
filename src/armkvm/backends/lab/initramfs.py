"""The file system the lab's machine starts from: busybox, Python, and armkvm's agent.

Three archives one after the other, as the kernel allows: the runtime (the same for every
kernel, made once), a kernel's modules (only where virtio is not built in), and armkvm itself
(small, made anew for every boot, so that the lab always runs the sources at hand).
"""

from __future__ import annotations

import hashlib
import importlib.util
import lzma
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import armkvm
from armkvm.backends.lab import cpio, debian
from armkvm.backends.lab.cpio import Entry
from armkvm.backends.remote.zipapp import sources
from armkvm.errors import PlaceError

GUEST_PYTHON = (3, 11)
"""Debian bookworm's; the runtime packages below are of that release."""
RUNTIME_PACKAGES = (
    "busybox-static",
    "python3.11-minimal",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libc6",
    "zlib1g",
    "libexpat1",
    "libffi8",
)
GUEST_SOURCES = ("backends/lab/__init__.py", "backends/lab/command.py", "backends/lab/guest.py")
_STDLIB = "usr/lib/python3.11"

# Standard library that no program in the lab needs; leaving it out makes booting faster.
_UNUSED = re.compile(
    _STDLIB
    + r"/(test|idlelib|lib2to3|distutils|ensurepip|tkinter|turtledemo|pydoc_data|unittest/test|__phello__"
    r"|config-.*|venv|wsgiref|xmlrpc|curses|dbm|sqlite3|turtle\.py|lib-dynload/_(codecs|test|sqlite|curses|tkinter|dbm)"
    r"|lib-dynload/(xxlimited|audioop|ossaudiodev))"
)
_LIBRARIES = re.compile(
    r"(usr/)?lib/(aarch64-linux-gnu/)?(ld-linux-aarch64|ld-[\d.]+|libc|libm|libdl|libpthread|librt|libutil|libz"
    r"|libexpat|libffi|libresolv)[-.][^/]*so[^/]*|(usr/)?lib/ld-linux-aarch64\.so\.1"
)
_WANTED = re.compile(rf"bin/busybox$|usr/bin/(busybox|python3\.11)$|{_STDLIB}/|{_LIBRARIES.pattern}")

_INIT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
export PATH=/bin:/usr/bin HOME=/run TERM=${TERM:-linux}
ip link set lo up
for module in /modules/*; do [ -e "$module" ] && insmod "$module"; done
grep -q armkvm.shell /proc/cmdline || exec python3 -IS -m armkvm.backends.lab.guest
cd /run
setsid cttyhack sh
poweroff -f
"""

# In the order they need each other; each is skipped where the kernel has it built in.
MODULES = (
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_console",
)


def runtime(packages: Iterable[Path]) -> bytes:
    """The archive of busybox and Python, from arm64 packages that were not installed."""
    entries: dict[str, Entry] = {}
    for package in packages:
        with debian.members(package) as files:
            for member, tar in files:
                name = member.name
                if not _WANTED.match(name) or _UNUSED.match(name):
                    continue
                if member.issym():
                    entries[name] = cpio.link(member.linkname)
                elif member.isfile():
                    entries[name] = cpio.file(debian.contents(tar, member), bool(member.mode & 0o111))
    for required in ("bin/busybox", "usr/bin/python3.11", f"{_STDLIB}/ctypes/__init__.py"):
        if required not in entries and f"usr/{required}" not in entries:
            raise PlaceError(f"the packages for the lab hold no {required}")
    entries["bin/python3"] = cpio.link("/usr/bin/python3.11")
    return cpio.archive(compiled(entries))


def _code_files() -> dict[str, bytes]:
    package = Path(armkvm.__file__).parent
    return {name: (package / name).read_bytes() for name in (*sources(), *GUEST_SOURCES)}


def code() -> bytes:
    """The archive of all that is armkvm's own: the first program, the agent, the lab's service.

    Nothing of it is in `runtime`, which stays on the shelf when armkvm is updated.
    """
    entries: dict[str, Entry] = dict.fromkeys(("dev", "proc", "sys", "run", "modules"), cpio.DIRECTORY)
    entries["init"] = cpio.file(_INIT.encode(), executable=True)
    for name, data in _code_files().items():
        entries[f"{_STDLIB}/armkvm/{name}"] = cpio.file(data)
    return cpio.archive(compiled(entries))


def code_identity() -> bytes:
    """Changes whenever `code` would: a saved machine has the code inside."""
    digest = hashlib.sha256(_INIT.encode())
    for name, data in _code_files().items():
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.digest()


def modules(files: Iterable[Path]) -> bytes:
    """The archive of a kernel's modules, numbered in the order they are loaded; b"" without any."""
    entries = {f"modules/{path.name}": cpio.file(path.read_bytes()) for path in files}
    return cpio.archive(entries) if entries else b""


def pick_modules(package: Path) -> Iterator[tuple[str, bytes]]:
    """(numbered file name, contents) of the virtio modules that a kernel package holds."""
    with debian.members(package) as files:
        for member, tar in files:
            name, _, compression = Path(member.name).name.partition(".ko")
            if "/kernel/" in member.name and name in MODULES and member.isfile():
                data = debian.contents(tar, member)
                if compression == ".xz":
                    data = lzma.decompress(data)
                yield f"{MODULES.index(name)}-{name}.ko", data


def compiled(entries: dict[str, Entry]) -> dict[str, Entry]:
    """`entries` with every Python source replaced by its compiled form, if a matching Python is here.

    Otherwise the sources stay: the machine inside then compiles them itself, which is slower.
    """
    if sys.version_info[:2] != GUEST_PYTHON:
        return entries
    result: dict[str, Entry] = {}
    for path, entry in entries.items():
        if not path.endswith(".py"):
            result[path] = entry
            continue
        try:
            result[f"{path}c"] = cpio.file(_compile(path, entry.data))
        except (SyntaxError, ValueError):
            result[path] = entry
    return result


def _compile(path: str, source: bytes) -> bytes:
    """A pyc that is never compared with its source (PEP 552, unchecked hash)."""
    from marshal import dumps

    header = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source)
    return header + dumps(compile(source, f"/{path}", "exec", dont_inherit=True, optimize=0))
