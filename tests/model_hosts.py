"""Model hosts built from recordings, and vCPUs' values as real kernels gave them."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from tests.recordings import SHARED_DATA

if TYPE_CHECKING:
    from armkvm.backends.base import System

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.backends.model import ModelSystem
from armkvm.hosts import recording
from armkvm.migration.snapshot import Origin, Snapshot, VcpuState, VmConfig
from armkvm.model.profile import PROFILES
from armkvm.state import RegisterSet


@lru_cache(maxsize=64)
def capture_file(name: str) -> dict[str, Any]:
    """A recording, ``7.3/max``; FileNotFoundError where it is not at hand."""
    tree: dict[str, Any] = json.loads((SHARED_DATA / "captures" / f"{name}.json").read_text())
    return tree


def model(name: str) -> System:
    """The host a recording was made on."""
    facts = recording.facts(capture_file(name), name)
    return cast("System", ModelSystem(facts, PROFILES[facts.profile], f"model:{name}"))


def recorded_snapshot(name: str, config: str) -> Snapshot:
    """What a fresh vCPU of a recorded host held, as the real kernel told it."""
    configs = capture_file(name)["configs"]
    values, order = dict(configs["all"]["values"]), [row[0] for row in configs["all"]["reg_list"]]
    features = configs["all"]["features"]
    if config != "all":
        part = configs[config]
        features = part["features"]
        gone = set(part["vs_all_reg_list_removed"])
        order = [reg for reg in order if reg not in gone] + [row[0] for row in part["vs_all_reg_list_added"]]
        values |= part["vs_all_values_changed"]
    state = VcpuState(
        id=0,
        features=tuple(map(VcpuFeature, features)),
        registers=RegisterSet((RegId(int(reg, 16)), bytes.fromhex(values[reg])) for reg in order),
    )
    return Snapshot(Origin(name), VmConfig(), (state,))
