"""Which of many hosts' VMs can move to one host: what `check` says of each, at a fraction of the cost.

Hosts are unlike in few registers. So each value of an ID register is written once, by itself, and
only VMs whose ID registers all stick are restored whole, which decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import combinations

from armkvm.abi.regid import RegId
from armkvm.abi.structs import is_feature_id
from armkvm.backends.base import Feature, System, Vcpu
from armkvm.errors import KvmError
from armkvm.migration.build import make_vm
from armkvm.migration.bulk import read_all
from armkvm.migration.check import Config, Verdict, features_of, fresh, verdict
from armkvm.migration.deciding import IDENTITY, explain
from armkvm.migration.gic import gic_held, gic_restored
from armkvm.migration.rehearsal import rehearse
from armkvm.migration.snapshot import VcpuState, VmConfig


@dataclass(frozen=True, slots=True)
class Departure:
    """A new VM of a host, with all that it grants: its vCPU, and ICC_CTLR_EL1 where it has a GICv3."""

    state: VcpuState
    gic: bytes | None
    ids: tuple[tuple[RegId, bytes], ...]
    """The ID registers among its registers, by which most moves are decided."""


def departures(places: Mapping[str, System]) -> dict[str, Departure]:
    """What each place would send; places that cannot even make a VM send nothing."""
    found: dict[str, Departure] = {}
    for label, place in places.items():
        features = features_of(place, Config.ALL)
        try:
            state = fresh(place, features)
        except KvmError:
            continue
        found[label] = Departure(state, gic_held(place, features), tuple(_ids(state)))
    return found


def arrivals(place: System, sent: Mapping[str, Departure]) -> frozenset[str]:
    """The labels of those that can move to a place."""
    with ExitStack() as undo:
        gates: dict[tuple[Feature, ...], _Gate | None] = {}
        arrived = set()
        for label, departure in sent.items():
            features = departure.state.features
            if features not in gates:
                gates[features] = _gate(place, features, undo)
            gate = gates[features]
            if gate is not None and gate.admits(departure):
                arrived.add(label)
        return frozenset(arrived)


def _gate(place: System, features: Sequence[Feature], undo: ExitStack) -> _Gate | None:
    """What vCPUs with these features meet at a place; None where there can be none."""
    try:
        vcpu = undo.enter_context(undo.enter_context(make_vm(place, VmConfig())).create_vcpu(0))
        vcpu.init(features)
    except KvmError:
        return None
    return _Gate(place, features, vcpu)


@dataclass(slots=True)
class _Gate:
    """What a place says to vCPUs with some features; each question is asked once."""

    place: System
    features: Sequence[Feature]
    trial: Vcpu
    _initial: dict[RegId, bytes] = field(default_factory=dict)
    _sticks: dict[tuple[RegId, bytes], bool] = field(default_factory=dict)
    _gics: dict[bytes, bool] = field(default_factory=dict)

    def admits(self, departure: Departure) -> bool:
        state = departure.state
        if not all(self._keeps(reg, data) for reg, data in departure.ids):
            return False
        if departure.gic is not None and not self._takes_gic(departure.gic):
            return False
        tried = rehearse(self.place, state)
        if tried.succeeded:
            return True
        return not any(found.blocking for found in explain(self.place, state, VmConfig(), tried))

    def _keeps(self, reg: RegId, data: bytes) -> bool:
        """Whether a value is taken and reads back; the register is as initialised afterwards."""
        key = reg, data
        if key not in self._sticks:
            self._sticks[key] = self._try(reg, data)
        return self._sticks[key]

    def _try(self, reg: RegId, data: bytes) -> bool:
        if reg not in self._initial:
            held, _ = read_all(self.trial, (reg,))
            if reg not in held:
                return False
            self._initial[reg] = held[reg]
        try:
            self.trial.set_one_reg(reg, data)
            kept = self.trial.get_one_reg(reg)
            self.trial.set_one_reg(reg, self._initial[reg])
        except KvmError:
            return False
        return kept == data

    def _takes_gic(self, asked: bytes) -> bool:
        if asked not in self._gics:
            found = gic_restored(self.place, self.features, asked)
            self._gics[asked] = not any(each.blocking for each in found)
        return self._gics[asked]


def _ids(state: VcpuState) -> Iterator[tuple[RegId, bytes]]:
    return ((r, data) for r, data in state.registers.items() if is_feature_id(r) or r in IDENTITY)


def verdicts(
    labels: Iterable[str], arrived: Mapping[str, frozenset[str]]
) -> Iterator[tuple[str, str, Verdict]]:
    """Every two places once, with what the second is to the first; `arrived` as `arrivals` says."""
    for one, two in combinations(sorted(labels), 2):
        yield one, two, verdict(forth=one in arrived[two], back=two in arrived[one])
