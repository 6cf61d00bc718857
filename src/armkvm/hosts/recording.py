"""Host facts out of a recording of real KVM (schema ``kvm-arm64-capture-1``).

Every top-level key of a recording is a fact except `ANSWERS`, which are what the model has to
predict and are never read here. A recording from which the answers were removed gives the same
host.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from typing import Any

from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegClass, RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.abi.vls import decode as decode_vls
from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import parse
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


def facts(recording: Mapping[str, Any], name: str) -> HostFacts:
    """The host a recording was made on. `recording` has passed `hosts.schema`."""
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
        notes=("recorded from real KVM",),
    )


def _cap_value(value: int | str) -> int:
    """A capability's value; where the call itself was refused, the errno, negative."""
    return -getattr(errno, value) if isinstance(value, str) else value


def _ipa_bits(recording: Mapping[str, Any]) -> int:
    return int(recording["caps"].get(str(int(Cap.ARM_VM_IPA_SIZE)), 40))


def _profile(recording: Mapping[str, Any]) -> str:
    if "cap_sme_number_in_this_build" in recording:
        return "sme-v12"
    return ".".join(recording["kernel"].split("-")[0].split("+")[0].split(".")[:2])


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
        encoding = reg.encoding
        is_id = encoding is not None and encoding.op0 == 3 and encoding.crn == 0
        if is_id or reg in _HOST_RESETS or reg.reg_class in (RegClass.DEMUX, RegClass.FW):
            yield reg, int.from_bytes(bytes.fromhex(value), "little")


def _masks(recorded: Mapping[str, Any]) -> dict[RegId, int] | None:
    if recorded.get("errno") or "masks" not in recorded:
        return None
    return {RegId(int(reg, 16)): int(mask, 16) for reg, mask in recorded["masks"].items()}
