"""The agent as one file: it runs on bare Python, holds all it needs and nothing more."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from armkvm.backends.remote import open_place
from armkvm.backends.remote.zipapp import sources, write_zipapp, zipapp
from armkvm.errors import PlaceError

IMPORT_ALL = """\
import importlib, sys
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    importlib.import_module(name)
foreign = {m.partition(".")[0] for m in sys.modules} - set(sys.stdlib_module_names) - {"armkvm", "__main__"}
print(sorted(foreign))
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("zipapp") / "agent.pyz"
    write_zipapp(str(path))
    return path


def test_every_module_in_it_imports_with_the_standard_library_alone(file: Path) -> None:
    names = [
        "armkvm." + name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in sources()
        if name not in {"__init__.py", "backends/__init__.py"}
    ]
    assert "armkvm.backends.devkvm.system" in names
    command = [sys.executable, "-I", "-S", "-c", IMPORT_ALL, str(file), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd="/")
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_same_sources_give_the_same_file(file: Path) -> None:
    assert file.read_bytes() == zipapp()
    assert file.stat().st_mode & 0o777 == 0o755
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert {name for name in archive.namelist() if not name.startswith("armkvm/")} == {"__main__.py"}


@pytest.mark.skipif(platform.machine() == "aarch64", reason="needs a machine without KVM/arm64")
def test_where_there_is_no_kvm_it_says_what_to_use_instead(file: Path) -> None:
    command = shlex.join([sys.executable, "-I", "-S", str(file)])
    with pytest.raises(PlaceError, match=r"needs an arm64 machine, and this one is \w+; use model:HOST"):
        open_place(command, {})


def test_wrong_arguments_are_answered_with_the_usage(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", str(file), "--listen"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith("usage: [--socket PATH]")
