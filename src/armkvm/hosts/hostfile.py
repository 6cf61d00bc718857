"""A host's facts as a file a person can review: ``armkvm-host-1``, described in docs/hosts.md.

Everything goes by name: capabilities, features, devices, registers; vector lengths are quadwords as
everywhere (``"1-16"``). `encode` and `decode` are inverse. `decode` reads what strangers wrote and
reports everything that is wrong with it at once.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import Any

from armkvm.abi.caps import DEFAULT_IPA_BITS, Cap
from armkvm.abi.regid import RegId
from armkvm.abi.structs import DEVICE_NAMES
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.idfields import field
from armkvm.arch.sysregs import sysreg
from armkvm.arch.vectors import ARCH_VQ_MAX, VectorLengths
from armkvm.catalog import id_of, name_of, parse
from armkvm.errors import Fault, InputError
from armkvm.hosts import shape
from armkvm.hosts.recording import is_feature_id_register, profile_named_by, tells_hosts_apart
from armkvm.model.behaviour import BEHAVIOURS
from armkvm.model.host import GENERIC_V8, target_of
from armkvm.model.profile import PROFILES
from armkvm.model.vcpu_behaviours import PHYSICAL_TARGET
from armkvm.state import CpuVectors, HostFacts

FORMAT = "armkvm-host-1"
LEAST_IPA_BITS, MOST_IPA_BITS = 32, 52
MOST_CPUS = 4096

_DEVICES = {name.removeprefix("KVM_DEV_TYPE_"): kind for kind, name in DEVICE_NAMES.items()}
_DEVICE_NAMES = {kind: name for name, kind in _DEVICES.items()}
_VARIANTS = ("el2", "el2_e2h0")

# Capabilities that say in the VM's general terms what a feature says in a vCPU's.
CAP_OF: Mapping[F, Cap] = {
    F.SVE: Cap.ARM_SVE,
    F.PMU_V3: Cap.ARM_PMU_V3,
    F.PTRAUTH_ADDRESS: Cap.ARM_PTRAUTH_ADDRESS,
    F.PTRAUTH_GENERIC: Cap.ARM_PTRAUTH_GENERIC,
    F.EL1_32BIT: Cap.ARM_EL1_32BIT,
    F.HAS_EL2: Cap.ARM_EL2,
    F.PMU_V3_STRICT: Cap.ARM_PMU_V3_STRICT,
}
_SVE_FIELD = field("ID_AA64PFR0_EL1", "SVE")
_PFR0, _MIDR = id_of(_SVE_FIELD.register), id_of(sysreg("MIDR_EL1"))
TELLING = frozenset((_PFR0, _MIDR))
"""The registers, of those a plain vCPU has, whose values `contradictions` looks at."""


# -- writing ---------------------------------------------------------------------------------------


def encode(facts: HostFacts) -> bytes:
    """The file of a host: JSON, one fact to a line, registers in the order of their ids."""
    tree: dict[str, Any] = {
        "format": FORMAT,
        "name": facts.name,
        "cpu": facts.cpu,
        "kernel": facts.kernel,
        "profile": facts.profile,
        "origin": facts.origin,
        "notes": list(facts.notes),
        "caps": _caps_tree(facts.caps),
        "vm_caps": _caps_tree(facts.vm_caps),
        "features": [feature.value for feature in F if feature in facts.features],
        "preferred_target": facts.preferred_target,
        "devices": [_DEVICE_NAMES[kind] for kind in sorted(facts.device_types)],
        "cpus": [_cpu_tree(vectors, len(list(same))) for vectors, same in groupby(facts.cpus)],
        "cpu_flags": " ".join(sorted(facts.cpu_flags)),
        "registers": _registers_tree(facts.values),
        "vgic": {name: hex(value) for name, value in facts.vgic.items()},
    }
    if facts.hidden:
        tree["hidden"] = _numbers_tree(facts.hidden)
    if facts.writable_masks is not None:
        tree["writable_masks"] = _numbers_tree(facts.writable_masks)
    if facts.behaviours:
        tree["behaviours"] = {name: facts.behaviours[name] for name in sorted(facts.behaviours)}
    return (json.dumps(tree, indent=1) + "\n").encode()


class Outline:
    """What hosts have in common that differ in no more than register values, name, origin and notes."""

    def __init__(self, facts: HostFacts) -> None:
        others = zip(_OTHERS, _others(facts), strict=True)
        told = (
            (part, fact if isinstance(fact, _HASHABLE) else frozenset(fact.items())) for part, fact in others
        )
        self._registers = {variant: tuple(sorted(own)) for variant, own in sorted(facts.values.items())}
        self._shared = frozenset((*told, *self._registers.items()))

    def fingerprint(self, facts: HostFacts) -> Hashable:
        """The fingerprint of facts that are so."""
        values = facts.values
        return self._shared, *(
            tuple(map(values[variant].__getitem__, registers))
            for variant, registers in self._registers.items()
        )


def fingerprint(facts: HostFacts) -> Hashable:
    """Equal for hosts that are alike in all but name, origin and notes."""
    return Outline(facts).fingerprint(facts)


_HASHABLE = (str, int, tuple, frozenset, type(None))
_APART = ("values", "name", "origin", "notes")
_OTHERS = [part for part in HostFacts.__slots__ if part not in _APART]
_others = attrgetter(*_OTHERS)


def _caps_tree(caps: Mapping[int, int]) -> dict[str, int]:
    names = {int(cap): cap.name for cap in Cap}
    return {names.get(cap, str(cap)): caps[cap] for cap in sorted(caps)}


def _cpu_tree(vectors: CpuVectors, count: int) -> dict[str, Any]:
    lengths = {"sve": vectors.sve, "sme": vectors.sme}
    shown = {name: str(vls) for name, vls in lengths.items() if vls}
    return {**({"count": count} if count > 1 else {}), **shown}


def _registers_tree(values: Mapping[str, Mapping[RegId, int]]) -> dict[str, Any]:
    plain = values["plain"]
    tree: dict[str, Any] = {"plain": _numbers_tree(plain)}
    for variant in _VARIANTS:
        if variant in values:
            own = values[variant]
            tree[variant] = {
                "changed": _numbers_tree({reg: v for reg, v in own.items() if plain.get(reg) != v}),
                "absent": [name_of(reg) for reg in sorted(plain.keys() - own.keys())],
            }
    return tree


def _numbers_tree(values: Mapping[RegId, int]) -> dict[str, str]:
    return {name_of(reg): hex(values[reg]) for reg in sorted(values)}


# -- what a file must look like --------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _is_register(name: str) -> bool:
    try:
        return tells_hosts_apart(parse(name))
    except ValueError:
        return False


def _register(value: object, path: str, faults: list[Fault]) -> None:
    if not isinstance(value, str) or len(value) > 64 or not _is_register(value):
        shape.wrong(value, path, faults, "the name of a register whose value is the host's")


def _feature_id_register(value: object, path: str, faults: list[Fault]) -> None:
    if not isinstance(value, str) or len(value) > 64 or not _is_feature_id_register(value):
        shape.wrong(value, path, faults, "the name of a feature ID register")


@lru_cache(maxsize=1024)
def _is_feature_id_register(name: str) -> bool:
    if not _is_register(name):
        return False
    return is_feature_id_register(parse(name))


@lru_cache(maxsize=1024)
def _number_in(name: str) -> shape.Shape:
    bits = 8 * parse(name).size

    def check(value: object, path: str, faults: list[Fault]) -> None:
        before = len(faults)
        _HEX(value, path, faults)
        if len(faults) == before and int(str(value), 16) >> bits:
            shape.wrong(value, path, faults, f"a value of {bits} bits")

    return check


_vectors = lru_cache(maxsize=256)(VectorLengths.parse)


def _lengths(value: object, path: str, faults: list[Fault]) -> None:
    try:
        lengths = _vectors(value) if isinstance(value, str) and len(value) <= 200 else None
    except ValueError:
        lengths = None
    if not lengths:
        shape.wrong(value, path, faults, 'vector lengths in quadwords such as "1,2,4" or "1-16"')
    elif lengths.max > ARCH_VQ_MAX:
        shape.wrong(value, path, faults, f"lengths of at most {ARCH_VQ_MAX} quadwords")


def _is_cap_number(text: str) -> bool:
    return len(text) <= 4 and text.isascii() and text.isdecimal()


def _cap(value: object, path: str, faults: list[Fault]) -> None:
    if not isinstance(value, str) or (value not in Cap.__members__ and not _is_cap_number(value)):
        shape.wrong(value, path, faults, "a capability: KVM_CAP_ name without prefix, or a number")


_HEX = shape.text("0x[0-9a-f]{1,40}", "a number 0x...")
_CAPS = shape.mapping(_cap, lambda _: shape.number(-4095, (1 << 31) - 1), 1024)
_NUMBERS = shape.mapping(_register, _number_in, 1024)
_VARIANT = shape.members({"changed": _NUMBERS, "absent": shape.array(_register, 0, 1024)})
# A host of the model may be seen through a profile that was never released.
_KERNEL = shape.text(
    "|".join((r"[0-9]{1,4}\.[0-9]{1,4}[!-~]{0,200}", *map(re.escape, PROFILES))),
    "a kernel release such as 7.3.4",
)
_SHAPE = shape.members(
    {
        "format": shape.one_of((FORMAT,)),
        "name": shape.text("[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", "a name of letters, digits and . _ + -"),
        "cpu": shape.label(),
        "kernel": _KERNEL,
        "caps": _CAPS,
        "features": shape.array(shape.one_of([*F]), 0, 64),
        "cpus": shape.array(
            shape.members({}, {"count": shape.number(1, MOST_CPUS), "sve": _lengths, "sme": _lengths}), 1, 64
        ),
        "registers": shape.members({"plain": _NUMBERS}, dict.fromkeys(_VARIANTS, _VARIANT)),
    },
    {
        "profile": shape.text("[a-z0-9.-]{1,32}", "a kernel profile such as 7.3"),
        "origin": shape.label(),
        "notes": shape.array(shape.label(), 0, 64),
        "vm_caps": _CAPS,
        "preferred_target": shape.number(0, 5),
        "devices": shape.array(shape.one_of(_DEVICES), 0, 64),
        "cpu_flags": shape.label(8000),
        "vgic": shape.mapping(shape.label(40), lambda _: _HEX, 64),
        "hidden": _NUMBERS,
        "writable_masks": shape.mapping(_feature_id_register, _number_in, 1024),
        "behaviours": shape.mapping(
            shape.one_of(BEHAVIOURS, "the name of a behaviour"), lambda _: shape.boolean, 256
        ),
    },
)


def decode(tree: object, source: str, *, as_told: bool = False) -> HostFacts:
    """The facts in a parsed file; InputError with everything that is wrong with it.

    `as_told`: they may contradict each other.
    """
    faults = shape.check(tree, _SHAPE)
    if not faults:
        assert isinstance(tree, dict)  # noqa: S101 - the shape says so
        host = _facts(tree, faults)
        faults += () if as_told else contradictions(host)
        if not faults:
            return host
    raise InputError(source, faults)


# -- reading ---------------------------------------------------------------------------------------


def _facts(tree: Mapping[str, Any], faults: list[Fault]) -> HostFacts:
    caps = _caps(tree["caps"])
    cpus = [
        CpuVectors(_vectors(cpu.get("sve", "")), _vectors(cpu.get("sme", "")))
        for cpu in tree["cpus"]
        for _ in range(cpu.get("count", 1))
    ]
    masks = tree.get("writable_masks")
    return HostFacts(
        name=tree["name"],
        cpu=tree["cpu"],
        kernel=tree["kernel"],
        profile=tree.get("profile") or profile_named_by(tree["kernel"]),
        caps=caps,
        vm_caps=_caps(tree.get("vm_caps", {})),
        features=frozenset(map(F, tree["features"])),
        preferred_target=tree.get("preferred_target", 5),
        ipa_bits=caps.get(Cap.ARM_VM_IPA_SIZE, 0) or DEFAULT_IPA_BITS,
        device_types=frozenset(_DEVICES[name] for name in tree.get("devices", ())),
        cpus=tuple(cpus),
        cpu_flags=frozenset(tree.get("cpu_flags", "").split()),
        values=_values(tree["registers"], faults),
        vgic={name: int(value, 16) for name, value in tree.get("vgic", {}).items()},
        hidden=_numbers(tree.get("hidden", {}), "$.hidden", faults),
        behaviours=tree.get("behaviours", {}),
        writable_masks=None if masks is None else _numbers(masks, "$.writable_masks", faults),
        origin=tree.get("origin", ""),
        notes=tuple(tree.get("notes", ())),
    )


def _caps(tree: Mapping[str, int]) -> dict[int, int]:
    return {_cap_number(name): value for name, value in tree.items()}


@lru_cache(maxsize=4096)
def _cap_number(name: str) -> int:
    return int(Cap[name]) if name in Cap.__members__ else int(name)


def _values(tree: Mapping[str, Any], faults: list[Fault]) -> dict[str, dict[RegId, int]]:
    plain = _numbers(tree["plain"], "$.registers.plain", faults)
    values = {"plain": plain}
    for variant in _VARIANTS:
        if variant in tree:
            absent = {parse(name) for name in tree[variant]["absent"]}
            path = f"$.registers.{variant}"
            values[variant] = {reg: value for reg, value in plain.items() if reg not in absent}
            values[variant].update(_numbers(tree[variant]["changed"], f"{path}.changed", faults))
            faults += [
                Fault(f"{path}.absent", f"expected names of plain registers, got {name_of(reg)}")
                for reg in sorted(absent - plain.keys())
            ]
    return values


def _numbers(tree: Mapping[str, str], path: str, faults: list[Fault]) -> dict[RegId, int]:
    numbers = {parse(name): int(value, 16) for name, value in tree.items()}
    if len(numbers) != len(tree):
        twice = [reg for reg, times in Counter(map(parse, tree)).items() if times > 1]
        faults += [
            Fault(path, f"expected each register once, got {name_of(reg)} under two names") for reg in twice
        ]
    return numbers


def contradictions(host: HostFacts) -> Iterable[Fault]:
    """Facts that cannot both be true, and those of a host on which no VM with a vCPU can be."""
    if not LEAST_IPA_BITS <= host.ipa_bits <= MOST_IPA_BITS:
        expected = f"expected 0 or {LEAST_IPA_BITS} to {MOST_IPA_BITS}, got {host.ipa_bits}"
        yield Fault("$.caps.ARM_VM_IPA_SIZE", expected)
    most = host.caps.get(Cap.MAX_VCPU_ID)
    if most is not None and most < 1:
        yield Fault("$.caps.MAX_VCPU_ID", f"expected at least 1, for the first vCPU's id is 0; got {most}")
    targets = _targets(host)
    if host.preferred_target not in targets:
        expected = " or ".join(map(str, sorted(targets)))
        got = (
            f"expected {expected}, as KVM_ARM_VCPU_INIT takes for this MIDR_EL1; got {host.preferred_target}"
        )
        yield Fault("$.preferred_target", got)
    for feature, cap in CAP_OF.items():
        if (feature in host.features) != (host.caps.get(cap, 0) > 0):
            has = "has" if feature in host.features else "lacks"
            yield Fault("$.caps", f"expected {cap.name} to agree with features, which {has} {feature}")
    for number, cpu in enumerate(host.cpus):
        if F.SVE in host.features and 1 not in cpu.sve:
            yield Fault(f"$.cpus[{number}].sve", "expected a set with 1, for features has SVE")
        if F.SME in host.features and not cpu.sme:
            yield Fault(f"$.cpus[{number}].sme", "expected a set, for features has SME")
    has_el2 = {variant for variant in _VARIANTS if variant in host.values}
    if has_el2 and F.HAS_EL2 not in host.features:
        yield Fault("$.registers", "expected no EL2 variants, for features lacks HAS_EL2")
    if F.HAS_EL2 in host.features and not has_el2:
        yield Fault("$.registers", "expected an EL2 variant, for features has HAS_EL2")
    shown = _SVE_FIELD.extract(host.values["plain"].get(_PFR0, 0))
    if bool(shown) != (F.SVE in host.features):
        yield Fault("$.registers.plain", f"expected {_SVE_FIELD} to agree with features, it is {shown}")


def _targets(host: HostFacts) -> set[int]:
    """What KVM_ARM_PREFERRED_TARGET can give: the physical CPU's target, or the one for all CPUs."""
    physical = target_of(host.values["plain"].get(_MIDR, 0))
    profile = PROFILES.get(host.profile)
    only = profile is not None and PHYSICAL_TARGET in profile
    return {physical} if host.behaviours.get(PHYSICAL_TARGET, only) else {physical, GENERIC_V8}
