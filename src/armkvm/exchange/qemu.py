"""QEMU: command lines for a vCPU, and what query-cpu-model-expansion answers.

QEMU turns features and vector lengths on and off by CPU properties; each length that is named is
decided, each that is not follows from the others by rules that differ between KVM and TCG, so all
are named. ID register fields have properties (`Newer.ID_FIELDS`) in a series under review only.

Source: QEMU docs/system/arm/cpu-features.rst (10.0); the series "customizable aarch64 KVM host
model" v10 for SYSREG_*; "add kvm-psci-version vcpu property" (September 2025).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field as attribute
from enum import StrEnum
from functools import cache
from typing import TypeGuard

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.fields import Field, Kind
from armkvm.arch.idfields import FIELDS, named_fields
from armkvm.arch.sysregs import name_of as sysreg_name
from armkvm.arch.vectors import ARCH_VQ_MAX, VectorLengths, Vq
from armkvm.catalog import name_of
from armkvm.documents import Limits, parse_json, short, step
from armkvm.errors import Fault, InputError
from armkvm.exchange.written import Initial, Written, changes, identity_changes
from armkvm.state import GuestCpu

LIMITS = Limits(size=1 << 20, depth=8, items=20_000)
MOST_FAULTS = 200
SVE_LENGTHS = tuple(Vq(vq) for vq in range(1, ARCH_VQ_MAX + 1))
SME_LENGTHS = tuple(Vq(1 << n) for n in range(5))

_PTRAUTH = frozenset((F.PTRAUTH_ADDRESS, F.PTRAUTH_GENERIC))
_KNOWN = _PTRAUTH | {F.SVE, F.PMU_V3, F.HAS_EL2, F.EL1_32BIT, F.PSCI_0_2, F.POWER_OFF}
_SYSREG = "SYSREG_"


class Newer(StrEnum):
    """Properties that not every QEMU has, to be written where wanted."""

    PSCI_VERSION = "kvm-psci-version"
    ID_FIELDS = "SYSREG_*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Properties:
    """What to tell QEMU: properties of the CPU and of the machine, in order, with the fine print."""

    cpu: tuple[tuple[str, str], ...]
    machine: tuple[tuple[str, str], ...] = ()
    lost: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


# -- writing ---------------------------------------------------------------------------------------


def write_command_line(
    guest: GuestCpu,
    hosts: Sequence[Initial] = (),
    *,
    model: str = "host",
    offered: frozenset[F] | None = None,
    newer: Collection[Newer] = (),
) -> Written:
    """Arguments for qemu-system-aarch64, separated by spaces (none holds one): ``-cpu host,sve=on,...``.

    `hosts` are the initial values of the hosts it is for: only ID fields in which some host differs
    are set. `offered` are the features they all offer, None if that is not known.
    """
    told = properties(guest, hosts, offered=offered, newer=newer)
    words = ["-cpu", ",".join((model, *(f"{name}={value}" for name, value in told.cpu)))]
    if told.machine:
        words += ["-machine", ",".join(f"{name}={value}" for name, value in told.machine)]
    return Written(text=" ".join(words), lost=told.lost, needs=told.needs)


def properties(
    guest: GuestCpu,
    hosts: Sequence[Initial] = (),
    *,
    offered: frozenset[F] | None = None,
    newer: Collection[Newer] = (),
) -> Properties:
    """The properties of `write_command_line` before they are spelled.

    ValueError if the vCPU contradicts itself or has vector lengths that QEMU has no words for.
    """
    has = guest.features
    if len(has & _PTRAUTH) == 1:
        raise ValueError("KVM gives a vCPU both pointer authentication features or none")
    cpu = [*_sve_properties(guest), ("pauth", _switch(has >= _PTRAUTH))]
    if offered is None or F.PMU_V3 in offered:  # a host without a PMU has no such property
        cpu.append(("pmu", _switch(F.PMU_V3 in has)))
    if F.EL1_32BIT in has:
        cpu.append(("aarch64", "off"))
    lost = [*_lost_features(guest), *_lost_registers(guest, hosts)]
    needs: list[str] = []
    for which, told, otherwise in (
        (Newer.PSCI_VERSION, _psci_version(guest), "PSCI version: each host gives its newest"),
        (Newer.ID_FIELDS, _id_fields(guest, hosts), "ID register fields: each host gives its own"),
    ):
        if which in newer and told:
            cpu += told
            needs.append(_NEEDS[which])
        elif told:
            lost.append(f"{otherwise}; {_some([name for name, _ in told])} would set it")
    machine = (("virtualization", "on"),) if F.HAS_EL2 in has else ()
    return Properties(cpu=tuple(cpu), machine=machine, lost=tuple(lost), needs=tuple(needs))


_NEEDS = {
    Newer.PSCI_VERSION: f"a QEMU that has {Newer.PSCI_VERSION}",
    Newer.ID_FIELDS: f"a QEMU with the {Newer.ID_FIELDS} series, which is not merged",
}


def _psci_version(guest: GuestCpu) -> list[tuple[str, str]]:
    if guest.psci_version is None:
        return []
    return [(Newer.PSCI_VERSION.value, f"{guest.psci_version >> 16}.{guest.psci_version & 0xFFFF}")]


def _id_fields(guest: GuestCpu, hosts: Sequence[Initial]) -> list[tuple[str, str]]:
    return [
        (property_name(field), hex(value))
        for field, value in changes(guest, hosts)
        if field.kind is Kind.NAMED
    ]


def _sve_properties(guest: GuestCpu) -> Iterator[tuple[str, str]]:
    """SVE and all its lengths, so that nothing is left to be derived from the host's."""
    if (F.SVE in guest.features) != bool(guest.sve):
        raise ValueError(f"a vCPU has SVE exactly if it has SVE vector lengths, not {guest.sve}")
    if guest.sve.max > ARCH_VQ_MAX:
        raise ValueError(f"QEMU knows SVE vector lengths up to {Vq(ARCH_VQ_MAX).bits} bits, not {guest.sve}")
    yield "sve", _switch(F.SVE in guest.features)
    if guest.sve:
        for vq in SVE_LENGTHS:
            yield f"sve{vq.bits}", _switch(vq in guest.sve)


def _lost_features(guest: GuestCpu) -> Iterator[str]:
    for feature in F:
        if feature in guest.features - _KNOWN:
            yield f"{feature}: QEMU cannot ask KVM for it"
    if F.PSCI_0_2 not in guest.features:
        yield "a vCPU without PSCI_0_2: QEMU always asks for it"


def _lost_registers(guest: GuestCpu, hosts: Sequence[Initial]) -> Iterator[str]:
    for reg, value in guest.bitmaps.items():
        yield f"{name_of(reg)} {value:#x}: QEMU leaves it as the host has it"
    for reg, value in identity_changes(guest, hosts).items():
        yield f"{name_of(reg)} {value:#x}: QEMU leaves it as the host has it"


def _switch(on: bool) -> str:
    return "on" if on else "off"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def property_name(field: Field) -> str:
    """How the SYSREG_* series calls an ID field: ``SYSREG_ID_AA64ISAR0_EL1_DP``."""
    return f"{_SYSREG}{sysreg_name(field.register)}_{field.name}"


# -- reading ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """A CPU model as QEMU expands it on one host.

    `lengths` are None where QEMU did not say. `features` are those that it would ask KVM for;
    `fields` are ID fields by the SYSREG_* properties; `others` is everything else.
    """

    model: str
    features: frozenset[F]
    sve: VectorLengths | None
    sme: VectorLengths | None
    fields: Mapping[Field, int] = attribute(default_factory=dict)
    others: Mapping[str, str | int | bool] = attribute(default_factory=dict)


def read_expansion(data: bytes, source: str) -> Expansion:
    """A reply to query-cpu-model-expansion, with or without its envelope; InputError with every fault."""
    tree, faults = parse_json(data, source, LIMITS)
    name, props, path = _model(tree, faults)
    switches: dict[str, bool] = {}
    fields: dict[Field, int] = {}
    others: dict[str, str | int | bool] = {}
    for key, value in props.items():
        try:
            if key in _SWITCHES:
                switches[key] = _boolean(value)
            elif key.startswith(_SYSREG):
                field = _field(key)
                fields[field] = field.checked(_number(value))
            else:
                others[_label(key)] = _scalar(value)
        except ValueError as bad:
            faults.append(Fault(step(path, key), str(bad)))
    sve = _lengths("sve", SVE_LENGTHS, switches, path, faults)
    sme = _lengths("sme", SME_LENGTHS, switches, path, faults)
    if faults:
        more = [Fault("$", f"and {len(faults) - MOST_FAULTS:,} more faults")] if faults[MOST_FAULTS:] else []
        raise InputError(source, [*faults[:MOST_FAULTS], *more])
    features = {F.PSCI_0_2, *(f for f, vls in ((F.SVE, sve), (F.SME, sme)) if vls)}
    features |= {F.PMU_V3} if switches.get("pmu") else set()
    features |= _PTRAUTH if switches.get("pauth") else set()
    features |= {F.EL1_32BIT} if switches.get("aarch64") is False else set()
    return Expansion(model=name, features=frozenset(features), sve=sve, sme=sme, fields=fields, others=others)


_SWITCHES = frozenset(
    (
        *("sve", "sme", "pauth", "pmu", "aarch64"),
        *(f"sve{vq.bits}" for vq in SVE_LENGTHS),
        *(f"sme{vq.bits}" for vq in SME_LENGTHS),
    )
)


def _model(tree: object, faults: list[Fault]) -> tuple[str, Mapping[str, object], str]:
    """Name, properties and where they are, out of {"return": {"model": {"name": ..., "props": ...}}}."""
    path = "$"
    if isinstance(tree, dict) and isinstance(tree.get("error"), dict):
        faults.append(
            Fault("$.error", f"expected an expansion, QEMU said {short(tree['error'].get('desc'))}")
        )
        return "", {}, path
    for envelope in ("return", "model"):
        if isinstance(tree, dict) and envelope in tree:
            tree, path = tree[envelope], step(path, envelope)
    name = tree.get("name") if isinstance(tree, dict) else None
    props = tree.get("props", {}) if isinstance(tree, dict) else None
    if not isinstance(props, dict) or not _is_label(name):
        faults.append(Fault(path, f"expected a CPU model with its name and props, got {short(tree)}"))
        return "", {}, path
    return name, props, step(path, "props")


def _lengths(
    kind: str, known: Sequence[Vq], switches: Mapping[str, bool], path: str, faults: list[Fault]
) -> VectorLengths | None:
    on = VectorLengths(vq for vq in known if switches.get(f"{kind}{vq.bits}"))
    whole = switches.get(kind)
    if whole is None:
        if on:
            faults.append(Fault(path, f"expected {kind} beside {kind}{Vq(on.max).bits}, got none"))
        return None
    if whole != bool(on):
        got = f"lengths {on}" if on else "no length"
        faults.append(
            Fault(step(path, kind), f"expected {kind} to agree with its lengths, got {got} that is on")
        )
    return on


_NUMBER = re.compile("0x[0-9a-fA-F]{1,16}|0|[1-9][0-9]{0,19}", re.ASCII)


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {short(value)}")  # noqa: TRY004  (faults are ValueErrors)
    return value


def _number(value: object) -> int:
    """A number, or one in a string: the series prints both."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value, 0)
    if type(value) is not int or value < 0:
        raise ValueError(f"expected a field's value, got {short(value)}")
    return value


def _scalar(value: object) -> str | int | bool:
    if isinstance(value, int) or _is_label(value):
        return value
    raise ValueError(f"expected a text, a whole number, true or false, got {short(value)}")


def _label(name: str) -> str:
    if not _is_label(name):
        raise ValueError("expected the name of a property")
    return name


def _is_label(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) <= 200 and value.isprintable()


def _field(name: str) -> Field:
    field = _fields_by_property().get(name.upper())
    if field is None:
        raise ValueError(f"expected {_SYSREG}<REG>_<FIELD> of a feature ID register, got {short(name)}")
    return field


@cache
def _fields_by_property() -> dict[str, Field]:
    return {property_name(field).upper(): field for reg in FIELDS for field in named_fields(reg)}
