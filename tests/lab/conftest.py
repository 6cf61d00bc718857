"""Labs for the tests: opened once, shared, and ended; or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from armkvm.backends.lab.place import LabOptions, LabSystem, open_lab
from armkvm.backends.lab.qemu import find
from armkvm.backends.lab.shelf import SETUP_HINT, Shelf
from armkvm.errors import PlaceError

OpenLab = Callable[..., LabSystem]
MOST_AT_ONCE = 3


def why_not(cpu: str, kernel: str) -> str:
    """What the lab lacks for this machine, and how to get it; "" if nothing."""
    shelf = Shelf()
    try:
        qemu = find(shelf)
        shelf.kernel(kernel)
    except PlaceError as error:
        return str(error)
    if not shelf.runtime.exists():
        return f"the lab has no runtime for arm64; {SETUP_HINT}"
    model = cpu.split(",", maxsplit=1)[0]
    if model not in qemu.cpus():
        return f"{qemu.version} has no CPU {model}; {SETUP_HINT}"
    return ""


@pytest.fixture(scope="session")
def lab() -> Iterator[OpenLab]:
    """Open a lab (again: the same one). The least recently used is ended when there are too many."""
    opened: dict[tuple[str, str, tuple[tuple[str, str], ...]], LabSystem] = {}

    def open_one(cpu: str, kernel: str, **options: str) -> LabSystem:
        key = (cpu, kernel, tuple(sorted(options.items())))
        system = opened.pop(key, None)
        if system is None or not system.is_open:
            if reason := why_not(cpu, kernel):
                pytest.skip(reason)
            while len(opened) >= MOST_AT_ONCE:
                opened.pop(next(iter(opened))).close()
            system = open_lab(LabOptions.parse(cpu, {"kernel": kernel, "boot_timeout": "300", **options}))
        opened[key] = system
        return system

    yield open_one
    for system in opened.values():
        system.close()
