"""The agent as one file that ``python3 FILE`` runs on a host with nothing but Python 3.11."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import armkvm

# What the agent is made of: packages whole, or single modules. All of it needs only the
# standard library; the test of the single file runs it where nothing else is installed.
PARTS = (
    "__init__.py",
    "errors.py",
    "state.py",
    "value.py",
    "catalog.py",
    "arch",
    "abi",
    "backends/__init__.py",
    "backends/base.py",
    "backends/register_layout.py",
    "backends/run_calls.py",
    "backends/devkvm",
    "backends/remote",
)
_MAIN = """\
import sys

if sys.version_info < (3, 11):
    sys.exit("armkvm's agent needs Python 3.11 or newer")
from armkvm.backends.remote.agent import main

sys.exit(main(sys.argv[1:]))
"""
_DATE = (1980, 1, 1, 0, 0, 0)  # the same sources give the same file


def sources() -> list[str]:
    """The agent's source files, relative to the package, sorted."""
    package = Path(armkvm.__file__).parent
    found: set[Path] = set()
    for part in PARTS:
        path = package / part
        found.update(path.rglob("*.py") if path.is_dir() else [path])
    return sorted(str(path.relative_to(package)) for path in found)


def zipapp() -> bytes:
    """The file's contents."""
    package = Path(armkvm.__file__).parent
    out = io.BytesIO()
    out.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, "__main__.py", _MAIN.encode())
        for name in sources():
            _add(archive, f"armkvm/{name}", (package / name).read_bytes())
    return out.getvalue()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    member = zipfile.ZipInfo(name, _DATE)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o644 << 16
    archive.writestr(member, data)


def write_zipapp(path: str) -> int:
    """Write the file, executable; its size in bytes."""
    data = zipapp()
    target = Path(path)
    target.write_bytes(data)
    target.chmod(0o755)
    return len(data)
