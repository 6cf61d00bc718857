"""Model places built from recordings, and vCPUs made the way the recorders made them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.backends.base import System, Vcpu
from armkvm.backends.locate import connect
from armkvm.errors import KvmError, errno_name


@lru_cache(maxsize=4)
def recorded(path: Path) -> dict[str, Any]:
    """A recording; tests of one file run one after the other."""
    tree: dict[str, Any] = json.loads(path.read_text())
    return tree


@lru_cache(maxsize=4)
def model_of(path: Path) -> System:
    """The model of the host a recording was made on."""
    return connect(f"model:{path}")


@contextmanager
def fresh_vcpu(system: System, features: Iterable[str], *, finalize: bool = True) -> Iterator[Vcpu]:
    """A vCPU of its own VM, initialised, and finalized if that is called for."""
    wanted = [F(name) for name in features]
    with system.create_vm() as vm:
        vcpu = vm.create_vcpu(0)
        vcpu.init(wanted)
        if finalize and {F.SVE, F.SME} & set(wanted):
            vcpu.finalize(F.SVE)
        yield vcpu


def errno_of(call: Callable[..., object], *args: object) -> str | None:
    """The errno of one call by name as recordings write it, None for success."""
    try:
        call(*args)
    except KvmError as refused:
        return errno_name(refused.errno or 0)
    return None
