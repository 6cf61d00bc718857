"""What the experiments of the SME recordings are made with: vCPUs whose calls answer instead of
raising, and the forms in which the recordings write answers down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from armkvm.abi import vls
from armkvm.abi.regid import RegClass, RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.arch.encoding import SysReg
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.base import System, Vcpu
from armkvm.catalog import parse
from armkvm.errors import KvmError, errno_name

Features = Sequence[str]
Row = dict[str, Any]

BASE = ["PSCI_0_2"]
FINALIZE_VECTORS = 4
LIST_ROOM = 4096
PATTERN = bytes(range(256))

NAMED_SYSREGS = (
    *("SVCR", "FPMR", "SMCR_EL1", "SMPRI_EL1", "SMIDR_EL1", "TPIDR2_EL0", "SMCR_EL2", "SMPRIMAP_EL2"),
    *("SMCR_EL12", "ZCR_EL1", "ZCR_EL2", "CPACR_EL1", "ID_AA64PFR0_EL1", "ID_AA64PFR1_EL1"),
    *("ID_AA64PFR2_EL1", "ID_AA64ZFR0_EL1", "ID_AA64SMFR0_EL1", "ID_AA64FPFR0_EL1", "MIDR_EL1"),
)
LISTED_SYSREGS = (
    *("SVCR", "SMCR_EL1", "SMPRI_EL1", "SMIDR_EL1", "TPIDR2_EL0", "FPMR", "ZCR_EL1", "SMCR_EL2"),
    *("SMPRIMAP_EL2", "ZCR_EL2"),
)

SVCR, FPMR, SMPRI = int(parse("SVCR")), int(parse("FPMR")), int(parse("SMPRI_EL1"))
FPSR, FPCR = int(parse("FPSR")), int(parse("FPCR"))
SVE_VLS, SME_VLS = int(RegId.sve_vls()), int(RegId.sme_vls())
FFR, ZT0 = int(RegId.ffr()), int(RegId.zt0())
V = [int(RegId.v(n)) for n in range(32)]
Z = [int(RegId.z(n)) for n in range(32)]
P = [int(RegId.p(n)) for n in range(16)]
ZA = [int(RegId.za(n)) for n in range(256)]

_RANGES = {"V": V, "Z": Z, "P": P, "ZA": ZA}
NAMES: dict[int, str] = {
    **{int(parse(name)): name for name in (*NAMED_SYSREGS, "FPSR", "FPCR", "PC", "FFR", "ZT0")},
    SVE_VLS: "SVE_VLS",
    SME_VLS: "SME_VLS",
    **{reg: f"{kind}{n}" for kind, regs in _RANGES.items() for n, reg in enumerate(regs)},
}


def _timer(crm: int, op2: int) -> int:
    return int(RegId.sysreg(SysReg.of(3, 3, 14, crm, op2)))


MOVES_BY_ITSELF = {_timer(3, 2), _timer(0, 1), _timer(0, 2), _timer(0, 5), _timer(0, 6)}
NOT_READ = {_timer(3, 2), _timer(0, 1), _timer(3, 1)}


# -- one call, and what came of it -------------------------------------------------------------


def word(value: int) -> bytes:
    return value.to_bytes(8, "little")


def cut(data: bytes) -> str:
    """Bytes as the recordings have them: in hex, without zeroes at the end."""
    return data.rstrip(b"\0").hex()


def errno_of(call: Callable[[], object]) -> str | None:
    """What a call was refused with, None if it was not."""
    try:
        call()
    except KvmError as refused:
        return errno_name(refused.errno or 0)
    return None


@dataclass(frozen=True, slots=True)
class Subject:
    """A vCPU whose calls answer instead of raising."""

    vcpu: Vcpu

    def get(self, reg: int) -> tuple[bytes | None, str | None]:
        """The bytes or the errno."""
        try:
            return self.vcpu.get_one_reg(reg), None
        except KvmError as refused:
            return None, errno_name(refused.errno or 0)

    def read(self, reg: int) -> bytes:
        return self.vcpu.get_one_reg(reg)

    def set(self, reg: int, data: bytes) -> str | None:
        return errno_of(lambda: self.vcpu.set_one_reg(reg, data))

    def finalize(self) -> str | None:
        return errno_of(lambda: self.vcpu.finalize(FINALIZE_VECTORS))

    def init(self, features: Features) -> str | None:
        return errno_of(lambda: self.vcpu.init([VcpuFeature(name) for name in features]))

    def listed(self) -> list[int]:
        return [int(reg) for reg in self.vcpu.reg_list(LIST_ROOM)]

    def count(self) -> int:
        """What KVM_GET_REG_LIST writes back for no room at all."""
        with pytest.raises(KvmError) as refused:
            self.vcpu.reg_list(0)
        return refused.value.count or 0


@dataclass(frozen=True, slots=True)
class Lab:
    """A place to experiment on: what it offers, and the feature sets tried there."""

    system: System
    feature_sets: Mapping[str, Features]
    sve: VectorLengths
    sme: VectorLengths

    @classmethod
    def of(cls, system: System, feature_sets: Mapping[str, Features]) -> Lab:
        lengths = {}
        for feature, reg in (("SVE", SVE_VLS), ("SME", SME_VLS)):
            subject = Subject(system.create_vm().create_vcpu(0))
            accepted = subject.init([*BASE, feature]) is None
            lengths[feature] = vls.decode(subject.read(reg)) if accepted else VectorLengths()
        return cls(system, feature_sets, lengths["SVE"], lengths["SME"])

    def with_all_vectors(self) -> Features:
        return [*BASE, *(["SVE"] if self.sve else []), *(["SME"] if self.sme else [])]

    @property
    def sme_sets(self) -> dict[str, Features]:
        """The feature sets with SME that the experiments were done with."""
        return {
            name: features
            for name, features in self.feature_sets.items()
            if "SME" in features and name in ("sme", "sve_sme")
        }

    @property
    def last_row(self) -> int:
        return 16 * (self.sme.max or 1) - 1

    def make(
        self,
        features: Features,
        *,
        final: bool = True,
        svcr: int = 0,
        sve: VectorLengths | None = None,
        sme: VectorLengths | None = None,
    ) -> Subject:
        subject = Subject(self.system.create_vm().create_vcpu(0))
        assert subject.init(features) is None
        if sve is not None:
            subject.set(SVE_VLS, vls.encode(sve))
        if sme is not None:
            subject.set(SME_VLS, vls.encode(sme))
        if final and ("SVE" in features or "SME" in features):
            subject.finalize()
        if svcr:
            subject.set(SVCR, word(svcr))
        return subject


# -- forms in which registers are written down --------------------------------------------------


def runs(regs: Iterable[int]) -> list[list[Any]]:
    """A register list as [first id, count, step, size] of each even stretch."""
    found: list[tuple[int, int, int, int]] = []
    for reg in regs:
        size = RegId(reg).size
        if found and found[-1][3] == size:
            first, count, step, _ = found[-1]
            if count == 1 and 0 < reg - first <= 0x20:
                found[-1] = (first, 2, reg - first, size)
                continue
            if count > 1 and reg == first + count * step:
                found[-1] = (first, count + 1, step, size)
                continue
        found.append((reg, 1, 0, size))
    return [[RegId(first).hex, count, hex(step), size] for first, count, step, size in found]


def names(regs: Iterable[int]) -> list[str]:
    """Registers by name, neighbours as Z0..31."""
    found: list[tuple[str, int, int]] = []
    for reg in regs:
        name = NAMES.get(reg, RegId(reg).hex)
        kind = name.rstrip("0123456789")
        if kind not in _RANGES:
            found.append((name, 0, -1))
            continue
        number = int(name[len(kind) :])
        if found and found[-1][0] == kind and found[-1][2] + 1 == number:
            found[-1] = (kind, found[-1][1], number)
        else:
            found.append((kind, number, number))
    return [_range_name(*entry) for entry in found]


def _range_name(kind: str, first: int, last: int) -> str:
    if last < first:
        return kind
    return f"{kind}{first}" if first == last else f"{kind}{first}..{last}"


def is_vector(reg: int) -> bool:
    return RegId(reg).reg_class in (RegClass.SVE, RegClass.SME)
