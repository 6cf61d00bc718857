"""Can what runs here move there? A restore tried out in both directions, and every finding explained.

A VM that exists is a snapshot's; for a VM that could be made it is what a fresh vCPU of the source
holds. The answer is the destination's own: `rehearsal` asks it, `deciding` says why.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from enum import StrEnum

from armkvm.abi.caps import Cap
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.backends.base import Feature, System, Vcpu
from armkvm.errors import KvmError
from armkvm.migration import findings
from armkvm.migration.advice import CAP_ADVICE, Code
from armkvm.migration.baseline import GROUPS
from armkvm.migration.build import make_vm
from armkvm.migration.bulk import read_all
from armkvm.migration.capture import capture_vcpu
from armkvm.migration.deciding import explain
from armkvm.migration.findings import Finding
from armkvm.migration.gic import compare_gic
from armkvm.migration.lengths import finalize
from armkvm.migration.plan import LENGTHS, finalizing
from armkvm.migration.rehearsal import Order, Rehearsal, rehearse
from armkvm.migration.snapshot import VcpuState, VmConfig, sorted_features
from armkvm.value import Value


class Config(StrEnum):
    """Which features the vCPU of a check has."""

    BASE = "base"
    SVE = "sve"
    SME = "sme"
    SVE_SME = "sve_sme"
    ALL = "all"
    """Every group of features that the source grants, tried one after the other."""


_FEATURES: dict[Config, frozenset[Feature]] = {
    Config.BASE: frozenset({F.PSCI_0_2}),
    Config.SVE: frozenset({F.PSCI_0_2, F.SVE}),
    Config.SME: frozenset({F.PSCI_0_2, F.SME}),
    Config.SVE_SME: frozenset({F.PSCI_0_2, F.SVE, F.SME}),
}


class Verdict(StrEnum):
    """What the destination is to the source."""

    IDENTICAL = "identical"
    """What runs on either can move to the other."""

    SUPERSET = "superset"
    """What runs on the source can move there, and not all that runs there can move back."""

    SUBSET = "subset"
    """What runs there can move to the source, and not the other way."""

    INCOMPATIBLE = "incompatible"


def verdict(*, forth: bool, back: bool) -> Verdict:
    """In a word, whether moves there and back are possible."""
    if forth:
        return Verdict.IDENTICAL if back else Verdict.SUPERSET
    return Verdict.SUBSET if back else Verdict.INCOMPATIBLE


class Direction(Value):
    """One direction of a check: the vCPUs tried (one for a host), what came of each, and why.

    No `rehearsals` and a finding where the VM cannot even be made where it is to come from.
    """

    rehearsals: tuple[Rehearsal, ...] = ()
    features: tuple[Feature, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def possible(self) -> bool:
        """Whether what runs at the one end can move to the other."""
        return bool(self.rehearsals) and not any(found.blocking for found in self.findings)


class Check(Value):
    """The answer. `back` is None where there is no host to come back to: a snapshot's."""

    forth: Direction
    back: Direction | None

    @property
    def verdict(self) -> Verdict:
        return verdict(forth=self.forth.possible, back=self.back is not None and self.back.possible)

    @property
    def moves(self) -> bool:
        """Whether what runs at the source can move to the destination."""
        return self.forth.possible


def check(
    source: System, destination: System, config: Config = Config.ALL, order: Order = Order.PLANNED
) -> Check:
    """Check two hosts for a VM with those features."""
    return Check(
        forth=_between(source, destination, config, order), back=_between(destination, source, config, order)
    )


def check_states(
    states: Iterable[VcpuState], vm: VmConfig, destination: System, order: Order = Order.PLANNED
) -> Check:
    """Check vCPUs that exist, such as a snapshot's, against a host."""
    return Check(forth=_tried(tuple(states), vm, destination, order), back=None)


def features_of(place: System, config: Config) -> tuple[Feature, ...]:
    """The features a configuration stands for on a place."""
    if config is not Config.ALL:
        return sorted_features(_FEATURES[config])
    granted: frozenset[Feature] = _FEATURES[Config.BASE]
    for group in GROUPS:
        if _grants(place, granted.union(group)):
            granted = granted.union(group)
    return sorted_features(granted)


def _grants(place: System, features: Iterable[Feature]) -> bool:
    try:
        with make_vm(place, VmConfig()) as vm, vm.create_vcpu(0) as vcpu:
            vcpu.init(features)
    except KvmError:
        return False
    return True


def fresh(place: System, features: tuple[Feature, ...]) -> VcpuState:
    """What a new vCPU holds after INIT and FINALIZE; KvmError where the place cannot make it."""
    with make_vm(place, VmConfig()) as vm, vm.create_vcpu(0) as vcpu:
        vcpu.init(features)
        _finalize(vcpu)
        return capture_vcpu(vcpu, features)


def _finalize(vcpu: Vcpu) -> None:
    held, _ = read_all(vcpu, LENGTHS)
    what = finalizing(held)
    if what is not None:
        finalize(vcpu, what)


def _between(source: System, destination: System, config: Config, order: Order) -> Direction:
    features = features_of(source, config)
    try:
        state = fresh(source, features)
    except KvmError as refused:
        asked = ", ".join(map(str, features))
        return Direction(
            features=features, findings=(findings.refusal(Code.SOURCE, refused, vcpu=0, asked=asked),)
        )
    result = _tried((state,), VmConfig(), destination, order)
    beside = (*compare_gic(source, destination, features), *_capabilities(source, destination))
    return Direction(rehearsals=result.rehearsals, features=features, findings=(*result.findings, *beside))


def _tried(states: tuple[VcpuState, ...], vm: VmConfig, place: System, order: Order) -> Direction:
    with ExitStack() as undo:
        try:
            undo.enter_context(make_vm(place, vm))
        except KvmError as refused:
            made = refused.operation == "KVM_CREATE_VM"
            asked = hex(vm.machine_type) if made else ", ".join(cap.name for cap in vm.caps)
            code = Code.MACHINE_TYPE if made else Code.CAPABILITY
            return Direction(findings=(findings.refusal(code, refused, asked=asked),))
    rehearsals = tuple(rehearse(place, state, vm, order) for state in states)
    found = [
        finding
        for state, tried in zip(states, rehearsals, strict=True)
        for finding in (
            *(findings.unread(state.id, reg, number) for reg, number in state.refused.items()),
            *explain(place, state, vm, tried),
        )
    ]
    return Direction(rehearsals=rehearsals, features=states[0].features, findings=tuple(found))


def _capabilities(source: System, destination: System) -> Iterable[Finding]:
    """Capabilities of which the destination has less: in nobody's way unless a VMM uses them."""
    for cap in Cap:
        here, there = (_extension(place, cap) for place in (source, destination))
        if there < here:
            yield Finding(
                code=Code.CAPABILITY,
                blocking=False,
                asked=f"{cap.name} {here}",
                there=str(there),
                why=CAP_ADVICE.get(cap, _LESS),
            )


_LESS = "the destination has less of it, which matters to a VMM that uses it"


def _extension(place: System, cap: Cap) -> int:
    """What KVM_CHECK_EXTENSION answers; 0 where it refuses, as it does for what needs an ITS."""
    try:
        return place.check_extension(cap)
    except KvmError:
        return 0
