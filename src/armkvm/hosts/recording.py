"""Host facts out of a recording of real KVM (schema ``kvm-arm64-capture-1``).

Every top-level key of a recording is a fact except `ANSWERS`, which are what the model has to
predict and are never read here. A recording from which the answers were removed gives the same
host. `FACTS` says what must hold of a recording before `facts` may read it; keys that are not
named there are not read.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Mapping
from typing import Any

from armkvm.abi.caps import DEFAULT_IPA_BITS, Cap
from armkvm.abi.regid import RegClass, RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.abi.vls import decode as decode_vls
from armkvm.arch.idfields import FIELDS, in_feature_id_space
from armkvm.arch.vectors import ARCH_VQ_MAX, VectorLengths
from armkvm.catalog import parse
from armkvm.errors import Fault, InputError
from armkvm.hosts import shape
from armkvm.hosts.shape import Shape
from armkvm.state import CpuVectors, HostFacts

SCHEMA = "kvm-arm64-capture-1"
ANSWERS = frozenset(
    (
        "probes",
        "vl_sets",
        "replay",
        "get_sweep",
        "guest_runs",
        "access",
        "vls_matrix",
        "svcr_transitions",
        "copies",
        "z_p_bytes_by_mode",
        "payload_layout",
        "random",
        "speed",
    )
)

# Which recorded configuration gives which variant of register values.
_VARIANTS = {"plain": "all", "el2": "all_el2", "el2_e2h0": "all_el2_e2h0"}

# Registers outside the feature ID space whose reset value is the host's.
_HOST_RESETS = frozenset(int(parse(n)) for n in ("ACTLR_EL1", "AMAIR_EL1", "PMCR_EL0", "PMMIR_EL1"))
_PSCI_VERSION = parse("KVM_REG_ARM_PSCI_VERSION")


# -- what a recording must look like ---------------------------------------------------------------

ERRNO = shape.one_of(errno.errorcode.values(), "an errno such as EINVAL")
REG_ID = shape.text("0x[0-9a-f]{16}", "a register id: 0x and 16 lower-case hex digits")
_MASK = shape.text("0x[0-9a-f]{1,16}", "0x and up to 16 lower-case hex digits")
_VLS = shape.text("[0-9a-f]{128}", "64 bytes in hex")
_CAP_NUMBER = shape.text("[0-9]{1,9}", "a capability's number")
_CAPS = shape.mapping(
    _CAP_NUMBER, lambda _: shape.either(str, (ERRNO, shape.number(-(1 << 31), (1 << 31) - 1))), 1024
)
_FEATURE = shape.one_of(list(F))
_MOST_REGISTERS = 8192


def value_of(reg: str) -> Shape:
    """A register's contents in hex, as many bytes as its id says; or the errno of reading it."""
    digits = 2 * RegId(int(reg, 16)).size

    def check(value: object, path: str, faults: list[Fault]) -> None:
        if isinstance(value, str) and value in _ERRNOS:
            return
        if not isinstance(value, str) or len(value) != digits or set(value) - _HEX:
            shape.wrong(value, path, faults, f"{digits // 2} bytes in hex, or an errno")

    return check


_ERRNOS = frozenset(errno.errorcode.values())
_HEX = frozenset("0123456789abcdef")
_VALUES = shape.mapping(REG_ID, value_of, _MOST_REGISTERS)

_CONFIG = shape.members(
    {"features": shape.array(_FEATURE, 0, 64)},
    {
        "init": shape.nullable(ERRNO),
        "values": _VALUES,
        "vs_all_reg_list_removed": shape.array(REG_ID, 0, _MOST_REGISTERS),
        "vs_all_values_changed": _VALUES,
    },
    others=True,
)


def _feature_id_register(value: object, path: str, faults: list[Fault]) -> None:
    before = len(faults)
    REG_ID(value, path, faults)
    if len(faults) == before and not is_feature_id_register(RegId(int(str(value), 16))):
        shape.wrong(value, path, faults, "the id of a feature ID register")


FACTS = shape.members(
    {
        "schema": shape.one_of((SCHEMA,)),
        "kernel": shape.text(r"[0-9]{1,4}\.[0-9]{1,4}[!-~]{0,200}", "a kernel release such as 7.3.4"),
        "caps": _CAPS,
        "preferred_target": shape.members({"target": shape.number(0, 0xFFFF_FFFF)}, others=True),
        "configs": shape.mapping(shape.label(), lambda _: _CONFIG, 64),
    },
    {
        "qemu_cpu": shape.label(),
        "cpuinfo": shape.mapping(shape.label(), lambda _: shape.label(8000), 64),
        "caps_vm_differs": _CAPS,
        "cap_sme_number_in_this_build": shape.number(0, 1023),
        "create_device_test": shape.mapping(
            shape.text("[0-9]{1,9}_.{1,64}", "a device type: its number, _ and its name"),
            lambda _: shape.nullable(ERRNO),
            64,
        ),
        "vls": shape.nullable(_VLS),
        "sme_vls": shape.nullable(_VLS),
        "writable_masks": shape.members(
            {"errno": shape.nullable(ERRNO)},
            {"masks": shape.mapping(_feature_id_register, lambda _: _MASK, 192)},
            others=True,
        ),
        "vgic_facts": shape.mapping(shape.label(), lambda _: _MASK, 64),
    },
    others=True,
)


def read(tree: Mapping[str, Any], name: str, source: str) -> HostFacts:
    """The host of a recording that nobody has looked at yet; InputError with all its faults."""
    faults = shape.check(tree, FACTS)
    if not faults:
        faults = list(_contradictions(tree))
    if faults:
        raise InputError(source, faults)
    return facts(tree, name)


def _contradictions(recording: Mapping[str, Any]) -> Iterable[Fault]:
    configs = recording["configs"]
    if configs.get("all", {}).get("init") is not None or "values" not in configs.get("all", {}):
        yield Fault("$.configs", 'expected a configuration "all" that was initialised, with its values')
        return
    for feature, key in ((F.SVE, "vls"), (F.SME, "sme_vls")):
        lengths = _lengths(recording.get(key))
        if feature in _features(recording) and not lengths:
            yield Fault(f"$.{key}", f"expected vector lengths, for a configuration has {feature}; got none")
        if lengths.max > ARCH_VQ_MAX:
            yield Fault(f"$.{key}", f"expected lengths of at most {ARCH_VQ_MAX} quadwords, got {lengths.max}")


# -- what it says ----------------------------------------------------------------------------------


def facts(recording: Mapping[str, Any], name: str) -> HostFacts:
    """The host a recording was made on. `recording` satisfies `FACTS`, or is one of ours."""
    configs = recording["configs"]
    features = _features(recording)
    sve = _lengths(recording.get("vls")) if F.SVE in features else VectorLengths()
    sme = _lengths(recording.get("sme_vls")) if F.SME in features else VectorLengths()
    cpuinfo = recording.get("cpuinfo", {})
    return HostFacts(
        name=name,
        cpu=recording.get("qemu_cpu", "") or cpuinfo.get("CPU part", ""),
        kernel=recording["kernel"],
        profile=_profile(recording),
        caps={int(cap): _cap_value(value) for cap, value in recording["caps"].items()},
        vm_caps={int(cap): _cap_value(value) for cap, value in recording.get("caps_vm_differs", {}).items()},
        features=features,
        preferred_target=recording["preferred_target"]["target"],
        ipa_bits=_ipa_bits(recording),
        device_types=frozenset(
            int(key.partition("_")[0])
            for key, error in recording.get("create_device_test", {}).items()
            if error is None
        ),
        cpus=(CpuVectors(sve, sme),),
        values={
            variant: _host_values(configs, config)
            for variant, config in _VARIANTS.items()
            if config in configs and configs[config].get("init") is None
        },
        cpu_flags=frozenset(cpuinfo.get("Features", "").split()),
        writable_masks=_masks(recording.get("writable_masks", {})),
        vgic={key: int(value, 16) for key, value in recording.get("vgic_facts", {}).items()},
        origin=f"recorded under {recording['kernel']}",
    )


def _cap_value(value: int | str) -> int:
    """A capability's value; where the call itself was refused, the errno, negative."""
    return -getattr(errno, value) if isinstance(value, str) else value


def _ipa_bits(recording: Mapping[str, Any]) -> int:
    return int(recording["caps"].get(str(int(Cap.ARM_VM_IPA_SIZE)), 0)) or DEFAULT_IPA_BITS


def _profile(recording: Mapping[str, Any]) -> str:
    if "cap_sme_number_in_this_build" in recording:
        return "sme-v12"
    return profile_named_by(recording["kernel"])


def profile_named_by(release: str) -> str:
    """The major.minor of a kernel release, which names its profile."""
    match = re.match(r"[0-9]+\.[0-9]+", release)
    return match.group() if match else release


def _features(recording: Mapping[str, Any]) -> frozenset[F]:
    """What KVM_ARM_VCPU_INIT accepted in any recorded configuration."""
    accepted: set[F] = set()
    for config in recording["configs"].values():
        if config.get("init") is None:
            accepted.update(F(name) for name in config["features"])
    if recording["caps"].get(str(int(Cap.ARM_PMU_V3_STRICT))):
        accepted.add(F.PMU_V3_STRICT)
    return frozenset(accepted)


def _lengths(vls: str | None) -> VectorLengths:
    return decode_vls(bytes.fromhex(vls)) if vls else VectorLengths()


def _host_values(configs: Mapping[str, Any], config: str) -> dict[RegId, int]:
    """The values of one configuration, which all but one record as differences to `all`."""
    values: dict[str, str] = dict(configs["all"]["values"])
    chosen = configs[config]
    for reg in chosen.get("vs_all_reg_list_removed", ()):
        values.pop(reg, None)
    values.update(chosen.get("vs_all_values_changed", {}))
    return dict(_kept((RegId(int(reg, 16)), value) for reg, value in values.items()))


def _kept(pairs: Iterable[tuple[RegId, str]]) -> Iterable[tuple[RegId, int]]:
    """Of all registers those that tell hosts apart: IDs, host resets, caches, firmware levels."""
    for reg, value in pairs:
        if tells_hosts_apart(reg) and value not in _ERRNOS:
            yield reg, int.from_bytes(bytes.fromhex(value), "little")


def tells_hosts_apart(reg: RegId) -> bool:
    """Whether a register's initial value is the host's rather than the kernel's."""
    encoding = reg.encoding
    is_id = encoding is not None and encoding.op0 == 3 and encoding.crn == 0
    is_level = reg.reg_class == RegClass.FW and reg != _PSCI_VERSION
    return is_id or is_level or reg in _HOST_RESETS or reg.reg_class == RegClass.DEMUX


def is_feature_id_register(reg: RegId) -> bool:
    """Whether KVM_ARM_GET_REG_WRITABLE_MASKS can say anything of a register."""
    encoding = reg.encoding
    return encoding is not None and (encoding in FIELDS or in_feature_id_space(encoding))


def _masks(recorded: Mapping[str, Any]) -> dict[RegId, int] | None:
    if recorded.get("errno") or "masks" not in recorded:
        return None
    return {RegId(int(reg, 16)): int(mask, 16) for reg, mask in recorded["masks"].items()}
