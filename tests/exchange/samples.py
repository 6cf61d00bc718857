"""Fingerprints, templates and vCPUs to convert; none of them is anyone else's file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Mapping

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.idfields import FIELDS, in_feature_id_space
from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import BITMAPS, id_of, parse
from armkvm.state import GuestCpu

# A made-up CPU with a real part number, as a vCPU of it might look under 6.18.
VCPU = {
    "MIDR_EL1": 0x410FD403,
    "REVIDR_EL1": 0,
    "AIDR_EL1": 0,
    "MPIDR_EL1": 0x80000000,
    "ID_AA64PFR0_EL1": 0x1101_0010_1011_1112,
    "ID_AA64PFR1_EL1": 0x21,
    "ID_AA64DFR0_EL1": 0x10305009,
    "ID_AA64ISAR0_EL1": 0x0021_1102_1021_2120,
    "ID_AA64ISAR1_EL1": 0x0010_1110_0021_0002,
    "ID_AA64MMFR0_EL1": 0x101125,
    "ID_AA64MMFR1_EL1": 0x1021_2122,
    "ID_AA64MMFR2_EL1": 0x1011,
    "CTR_EL0": 0xB444_C004,
    "CLIDR_EL1": 0x0300_0123,
    "CCSIDR_EL1(0)": 2,
    "KVM_REG_ARM_PSCI_VERSION": 0x10003,
    "V0": 0x0123_4567_89AB_CDEF_0011_2233_4455_6677,
}


def bits(value: int, width: int = 128) -> str:
    return f"0b{value:0{width}b}"


def fingerprint(kernel: str = "6.18.7", registers: Mapping[str, int] = VCPU, **changes: object) -> bytes:
    """A fingerprint as Firecracker writes it, with some of its members replaced."""
    rows = [{"addr": parse(name).hex, "bitmap": bits(value)} for name, value in registers.items()]
    document = {
        "firecracker_version": "1.16.0",
        "kernel_version": kernel,
        "microcode_version": "0x00000000000000ff",
        "bios_version": "1.0",
        "bios_revision": "1.0",
        "guest_cpu_config": {"kvm_capabilities": [], "vcpu_features": [], "reg_modifiers": rows},
    }
    return json.dumps(document | changes).encode()


def template(**members: object) -> bytes:
    return json.dumps(members).encode()


def expansion(props: Mapping[str, object], name: str = "host") -> bytes:
    """A reply to query-cpu-model-expansion."""
    return json.dumps({"return": {"model": {"name": name, "props": props}}}).encode()


N1_LIKE = GuestCpu(features=frozenset((F.PSCI_0_2, F.PMU_V3)))
V1_LIKE = GuestCpu(
    features=frozenset((F.PSCI_0_2, F.PMU_V3, F.SVE, F.PTRAUTH_ADDRESS, F.PTRAUTH_GENERIC)),
    sve=VectorLengths([1, 2]),
    id_registers={parse("ID_AA64ISAR0_EL1"): 0x0021_1100_1021_2120, parse("MIDR_EL1"): 0x410FD403},
    bitmaps={parse("KVM_REG_ARM_STD_BMAP"): 1},
    psci_version=0x10001,
)
V1_HOST = {parse("ID_AA64ISAR0_EL1"): 0x0021_1102_1021_2120, parse("MIDR_EL1"): 0x410FD403}

SVE_SETS = st.integers(0, (1 << 15) - 1).map(lambda more: VectorLengths.from_bitmap(more << 1 | 1))
ID_REGISTERS = [id_of(reg) for reg in FIELDS if in_feature_id_space(reg)]
NUMBERS = st.integers(0, (1 << 64) - 1)


@st.composite
def guests(draw: st.DrawFn) -> GuestCpu:
    """vCPUs that KVM could be asked for."""
    features = {F.PSCI_0_2, draw(st.sampled_from((F.PSCI_0_2, F.POWER_OFF, F.PMU_V3)))}
    sve = draw(st.one_of(st.just(VectorLengths()), SVE_SETS))
    features |= {F.SVE} if sve else set()
    features |= {F.PTRAUTH_ADDRESS, F.PTRAUTH_GENERIC} if draw(st.booleans()) else set()
    return GuestCpu(
        features=frozenset(features),
        sve=sve,
        id_registers=draw(st.dictionaries(st.sampled_from(ID_REGISTERS), NUMBERS, max_size=4)),
        bitmaps=draw(
            st.dictionaries(st.sampled_from([parse(name) for name in BITMAPS]), NUMBERS, max_size=2)
        ),
        psci_version=draw(st.sampled_from((None, 0x2, 0x10000, 0x10001, 0x10003))),
    )


@st.composite
def hosts_of(draw: st.DrawFn, guest: GuestCpu) -> dict[RegId, int]:
    """Initial values of a host that differs from a vCPU in some bits of some registers."""
    return {
        reg: value ^ draw(st.sampled_from((0, 0, 1 << draw(st.integers(0, 63)), draw(NUMBERS))))
        for reg, value in guest.id_registers.items()
    }


_KEYS = (
    "reg_modifiers",
    "vcpu_features",
    "addr",
    "bitmap",
    "index",
    "return",
    "model",
    "props",
    "name",
    "sve",
)
documents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(_KEYS), st.text(max_size=8)), inner, max_size=4),
    ),
    max_leaves=12,
)
"""Whatever JSON can say, with words that readers look for."""
