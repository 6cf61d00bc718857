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
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def members(package: Path) -> Iterator[Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]]:
    """The files of a package, in the archive's order; paths without a leading ``./``."""
    process = subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout and process.stderr
    try:
        with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
            yield _renamed(tar)
    except tarfile.TarError as error:
        raise PlaceError(f"{package.name} cannot be unpacked: {error}") from None
    finally:
        process.stdout.close()
        process.stderr.close()
        process.kill()
        process.wait()


def _renamed(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    for member in tar:
        member.name = member.name.removeprefix("./")
        yield member, tar


def contents(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    if file is None:
        raise PlaceError(f"{member.name} is no file")
    return file.read()
