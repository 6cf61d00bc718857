"""One call, tried in every circumstance a vCPU can be in, on a place.

What the kernel answers depends on the vCPU's features, on where it is in its life, and on what is
passed. Trying it all is how `armkvm explain` knows when a call is refused, and by which rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EINTR

from armkvm.abi.regid import RegId
from armkvm.abi.structs import VCPU_EVENTS, MpState
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.backends.base import System, Vcpu
from armkvm.catalog import parse
from armkvm.errors import KvmError, Rule

GET_ONE_REG, SET_ONE_REG = "KVM_GET_ONE_REG", "KVM_SET_ONE_REG"

# The kinds of vCPU that differ in what they answer.
_KINDS: dict[str, frozenset[F]] = {
    "plain vCPU": frozenset(),
    "vCPU with SVE": frozenset((F.SVE,)),
    "vCPU with SME": frozenset((F.SME,)),
    "vCPU with SVE and SME": frozenset((F.SVE, F.SME)),
    "vCPU with a PMU": frozenset((F.PMU_V3,)),
    "vCPU with pointer authentication": frozenset((F.PTRAUTH_ADDRESS, F.PTRAUTH_GENERIC)),
    "vCPU with EL2": frozenset((F.HAS_EL2,)),
    "32-bit vCPU": frozenset((F.EL1_32BIT,)),
}
_VECTORS = frozenset((F.SVE, F.SME))


@dataclass(frozen=True, slots=True)
class Trial:
    """One try: with what, on which kind of vCPU, where in its life, and what came of it.

    `svcr` is PSTATE.SM and PSTATE.ZA at that moment, None on a vCPU without them. `errno` None means
    success; `rule` is the place's own reason if it gives one.
    """

    way: str
    kind: str
    moment: str
    svcr: int | None
    errno: int | None
    rule: Rule | None = None


Way = tuple[str, Callable[[Vcpu], object]]


def try_call(system: System, operation: str, reg: RegId | None = None) -> Iterator[Trial]:
    """Every way of making a call, in every circumstance; ValueError for a call that is not known."""
    for at in _circumstances(system):
        with _vcpu_at(system, at) as vcpu:
            count = len(_ways(operation, reg, vcpu))
        for number in range(count):
            with _vcpu_at(system, at) as vcpu:
                way, call = _ways(operation, reg, vcpu)[number]
                refused = _refusal(call, vcpu)
            errno, rule = (None, None) if refused is None else (refused.errno, refused.rule)
            yield Trial(way, at.kind, at.moment, at.svcr, errno, rule)


_NEW, _CONFIGURED, _READY, _AFTER_RUN = (
    "before KVM_ARM_VCPU_INIT",
    "before KVM_ARM_VCPU_FINALIZE",
    "ready",
    "after the VM has run",
)
_SVCR = parse("SVCR")


@dataclass(frozen=True, slots=True)
class Circumstance:
    """A kind of vCPU, a moment of its life and what SVCR was set to on the way; None without SME."""

    kind: str
    moment: str
    svcr: int | None

    @property
    def features(self) -> frozenset[F]:
        """What KVM_ARM_VCPU_INIT is asked for."""
        return _KINDS[self.kind] | {F.PSCI_0_2}


def _circumstances(system: System) -> Iterator[Circumstance]:
    """All that vCPUs there can come to; nothing of kinds that are not offered."""
    for kind, features in _KINDS.items():
        if not _offers(system, features):
            continue
        yield Circumstance(kind, _NEW, None)
        moments = [*([_CONFIGURED] if features & _VECTORS else []), _READY]
        with _vcpu_at(system, Circumstance(kind, _READY, None)) as vcpu:
            moments += [_AFTER_RUN] if _runs(vcpu) else []
        for moment in moments:
            for svcr in range(4) if F.SME in features else (None,):
                yield Circumstance(kind, moment, svcr)


def _runs(vcpu: Vcpu) -> bool:
    """Run as far as the first entry; a PMU that nobody has set up refuses earlier."""
    refused = _refusal(lambda vcpu: vcpu.run(immediate_exit=True), vcpu)
    return refused is None or refused.errno == EINTR


def _refusal(call: Callable[[Vcpu], object], vcpu: Vcpu) -> KvmError | None:
    try:
        call(vcpu)
    except KvmError as refused:
        return refused
    return None


def _offers(system: System, features: frozenset[F]) -> bool:
    with system.create_vm() as vm:
        return _refusal(_initialising(features | {F.PSCI_0_2}), vm.create_vcpu(0)) is None


@contextmanager
def _vcpu_at(system: System, at: Circumstance) -> Iterator[Vcpu]:
    """A fresh vCPU brought to a moment of its life, and closed with its VM."""
    with system.create_vm() as vm:
        vcpu = vm.create_vcpu(0)
        if at.moment != _NEW:
            vcpu.init(at.features)
        if at.moment not in {_NEW, _CONFIGURED} and at.features & _VECTORS:
            vcpu.finalize(F.SVE)
        if at.svcr:
            vcpu.set_one_reg(_SVCR, at.svcr.to_bytes(8, "little"))
        if at.moment == _AFTER_RUN:
            _runs(vcpu)
        yield vcpu


def _ways(operation: str, reg: RegId | None, vcpu: Vcpu) -> list[Way]:
    if operation == GET_ONE_REG and reg is not None:
        return [
            ("", lambda vcpu: vcpu.get_one_reg(reg)),
            ("with a NULL pointer", lambda vcpu: vcpu.get_one_reg_null(reg)),
        ]
    if operation == SET_ONE_REG and reg is not None:
        return _writes(reg, vcpu)
    if operation in _WITHOUT_REGISTER:
        return _WITHOUT_REGISTER[operation]
    known = ", ".join((GET_ONE_REG, SET_ONE_REG, *_WITHOUT_REGISTER))
    raise ValueError(f"{operation} cannot be tried; calls are {known}, the first two of a register")


def _writes(reg: RegId, vcpu: Vcpu) -> list[Way]:
    values = {"all zeros": bytes(reg.size), "all ones": b"\xff" * reg.size}
    with suppress(KvmError):
        now = vcpu.get_one_reg(reg)
        more = (int.from_bytes(now, "little") + 1) % (1 << 8 * reg.size)
        values = {
            "the value it has": now,
            "one more than it has": more.to_bytes(reg.size, "little"),
            **values,
        }
    writes: list[Way] = [(f"writing {says}", _writing(reg, data)) for says, data in values.items()]
    return [*writes, ("with a NULL pointer", lambda vcpu: vcpu.set_one_reg_null(reg))]


def _writing(reg: RegId, data: bytes) -> Callable[[Vcpu], object]:
    return lambda vcpu: vcpu.set_one_reg(reg, data)


def _initialising(features: Iterable[F | int], target: int | None = None) -> Callable[[Vcpu], object]:
    return lambda vcpu: vcpu.init(features, target)


def _finalizing(feature: F | int) -> Callable[[Vcpu], object]:
    return lambda vcpu: vcpu.finalize(feature)


def _moving(state: int) -> Callable[[Vcpu], object]:
    return lambda vcpu: vcpu.set_mp_state(state)


_WITHOUT_REGISTER: dict[str, list[Way]] = {
    "KVM_ARM_VCPU_INIT": [
        ("with PSCI_0_2 alone", _initialising({F.PSCI_0_2})),
        *(
            (f"with {feature}", _initialising({F.PSCI_0_2, feature}))
            for feature in F
            if feature not in {F.PSCI_0_2, F.VEC}
        ),
        ("with bit 31", _initialising({31})),
        ("with target 77", _initialising(set(), 77)),
    ],
    "KVM_ARM_VCPU_FINALIZE": [
        ("of SVE", _finalizing(F.SVE)),
        ("of feature 0", _finalizing(0)),
        ("of feature -1", _finalizing(-1)),
    ],
    "KVM_GET_REG_LIST": [
        ("with room for all", lambda vcpu: vcpu.reg_list()),
        ("with room for one", lambda vcpu: vcpu.reg_list(1)),
    ],
    "KVM_RUN": [("with immediate_exit", lambda vcpu: vcpu.run(immediate_exit=True))],
    "KVM_SET_GUEST_DEBUG": [
        ("off", lambda vcpu: vcpu.set_guest_debug(0)),
        ("to an unknown control", lambda vcpu: vcpu.set_guest_debug(1 << 31)),
    ],
    "KVM_GET_MP_STATE": [("", lambda vcpu: vcpu.get_mp_state())],
    "KVM_SET_MP_STATE": [
        ("to RUNNABLE", _moving(MpState.RUNNABLE)),
        ("to STOPPED", _moving(MpState.STOPPED)),
        ("to SUSPENDED", _moving(MpState.SUSPENDED)),
        ("to 1", _moving(1)),
    ],
    "KVM_GET_VCPU_EVENTS": [("", lambda vcpu: vcpu.get_vcpu_events())],
    "KVM_SET_VCPU_EVENTS": [
        ("with zeros", lambda vcpu: vcpu.set_vcpu_events(bytes(VCPU_EVENTS.size))),
        ("with ones", lambda vcpu: vcpu.set_vcpu_events(b"\xff" * VCPU_EVENTS.size)),
    ],
}
CALLS = (GET_ONE_REG, SET_ONE_REG, *_WITHOUT_REGISTER)


def listings(system: System, reg: RegId) -> list[tuple[Circumstance, bool]]:
    """The vCPUs that are ready, in every mode, and whether the KVM_GET_REG_LIST of each names a register."""
    found = []
    for at in _circumstances(system):
        if at.moment == _READY:
            with _vcpu_at(system, at) as vcpu:
                found.append((at, reg in vcpu.reg_list()))
    return found
