"""Debian packages unpacked without installing them: which of their files the lab uses."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from armkvm.errors import PlaceError


def sha256(path: Path) -> str:
    """The sum of a file, as package lists write it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def members(package: Path) -> Iterator[Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]]:
    """The files of a package, in the archive's order; paths without a leading ``./``."""
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                yield _renamed(tar)
        except tarfile.TarError as error:
            raise PlaceError(f"{package.name} cannot be unpacked: {error}") from None
        finally:
            process.kill()


def unpack(package: Path, folder: Path) -> None:
    """All files of a package, below a folder. Nothing of it is run."""
    command = ["dpkg-deb", "-x", str(package), str(folder)]
    try:
        subprocess.run(command, capture_output=True, check=True, timeout=120)
    except subprocess.SubprocessError as error:
        raise PlaceError(f"{package.name} cannot be unpacked: {error}") from None


def _renamed(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    for member in tar:
        member.name = member.name.removeprefix("./")
        yield member, tar


def contents(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """A file of the package that is being read."""
    file = tar.extractfile(member)
    if file is None:
        raise PlaceError(f"{member.name} is no file")
    return file.read()
