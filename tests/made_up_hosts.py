"""Hosts that nobody recorded, made for one test: CPUs with any vector lengths, any part of SME.

What of a host the ABI's rules look at is set; everything else is as plain as it can be. For hosts
that exist, see `tests.model_hosts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.idfields import field
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.model import ModelSystem
from armkvm.catalog import id_of
from armkvm.model.profile import PROFILES
from armkvm.state import CpuVectors, HostFacts

if TYPE_CHECKING:
    from armkvm.abi.regid import RegId
    from armkvm.backends.base import System

# Every field of a full host, as the recorded one with the most has it.
_FULL = {
    "ID_AA64PFR0_EL1": {"EL0": 1, "EL1": 1, "EL2": 1, "GIC": 1, "SVE": 1},
    "ID_AA64PFR1_EL1": {"BT": 1, "SME": 2},
    "ID_AA64PFR2_EL1": {"FPMR": 1},
    "ID_AA64ZFR0_EL1": {"SVEver": 2, "AES": 2, "BitPerm": 1, "F64MM": 1},
    "ID_AA64SMFR0_EL1": {"FA64": 1, "SMEver": 2, "I16I64": 15, "F64F64": 1, "I16I32": 5, "I8I32": 15},
    "ID_AA64DFR0_EL1": {"DebugVer": 6},
    "ID_AA64MMFR1_EL1": {"VH": 1},
}
_SME1_ONLY = {"I16I32", "SMEver"}  # fields that say something only with SME2


def facts(
    *cpus: tuple[str, str],
    profile: str = "sme-v12",
    fa64: bool = True,
    sme2: bool = True,
    fpmr: bool = True,
    el2: bool = False,
) -> HostFacts:
    """A host with CPUs of (SVE lengths, SME lengths) in quadwords; "" for a CPU without."""
    vectors = tuple(CpuVectors(VectorLengths.parse(sve), VectorLengths.parse(sme)) for sve, sme in cpus)
    has_sve, has_sme = all(cpu.sve for cpu in vectors), any(cpu.sme for cpu in vectors)
    wanted = {register: dict(fields) for register, fields in _FULL.items()}
    if not has_sve:
        del wanted["ID_AA64PFR0_EL1"]["SVE"]
    if not fpmr:
        del wanted["ID_AA64PFR2_EL1"]["FPMR"]
    if not has_sme:
        del wanted["ID_AA64PFR1_EL1"]["SME"], wanted["ID_AA64SMFR0_EL1"]
    elif not sme2:
        wanted["ID_AA64PFR1_EL1"]["SME"] = 1
        wanted["ID_AA64SMFR0_EL1"] = {
            name: value for name, value in wanted["ID_AA64SMFR0_EL1"].items() if name not in _SME1_ONLY
        }
    if has_sme and not fa64:
        del wanted["ID_AA64SMFR0_EL1"]["FA64"]
    values = {_register(name): _value(name, fields) for name, fields in wanted.items()}
    values[_register("MIDR_EL1")] = 0x000F_0510
    values[_register("CTR_EL0")] = 0x8444_8004
    values[_register("CLIDR_EL1")] = 0x0A20_0023
    features = {F.POWER_OFF, F.PSCI_0_2}
    features |= ({F.SVE} if has_sve else set()) | ({F.SME} if has_sme else set())
    features |= {F.HAS_EL2} if el2 else set()
    return HostFacts(
        name="made up",
        cpu="",
        kernel=profile,
        profile=profile,
        caps={},
        features=frozenset(features),
        preferred_target=5,
        ipa_bits=40,
        device_types=frozenset(),
        cpus=vectors,
        values={"plain": values, **({"el2": values} if el2 else {})},
    )


def _register(name: str) -> RegId:
    from armkvm.arch.sysregs import sysreg

    return id_of(sysreg(name))


def _value(register: str, fields: dict[str, int]) -> int:
    value = 0
    for name, number in fields.items():
        value = field(register, name).insert(value, number)
    return value


def host(*cpus: tuple[str, str], profile: str = "sme-v12", **parts: bool) -> System:
    """`facts`, under a kernel profile, as a place."""
    return cast("System", ModelSystem(facts(*cpus, profile=profile, **parts), PROFILES[profile]))
