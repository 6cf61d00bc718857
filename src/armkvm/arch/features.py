"""Architectural features (FEAT_*) as conditions on ID register values.

A condition says whether it holds for a set of ID registers, and which fields decided that, so that a
message can name them. What a guest is shown need not be what the hardware has: the same conditions
serve both, given the one's values or the other's.

Source: Arm Architecture Registers, descriptions of the ID registers ("FEAT_x implements the
functionality identified by the value ...").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from armkvm.arch.encoding import SysReg
from armkvm.arch.fields import Field
from armkvm.arch.idfields import FieldValue, field
from armkvm.value import Value

IdValues: TypeAlias = Callable[[SysReg], int]
"""The value of an ID register."""


class AtLeast(Value):
    """A field is at least some number; two's complement if the field is signed."""

    field: Field
    least: int

    def holds(self, ids: IdValues) -> bool:
        return self.field.number(self.field.extract(ids(self.field.register))) >= self.least

    def because(self, ids: IdValues) -> tuple[FieldValue, ...]:
        return (FieldValue(self.field, self.field.extract(ids(self.field.register))),)


class Exactly(Value):
    """A field is that number and no other."""

    field: Field
    number: int

    def holds(self, ids: IdValues) -> bool:
        return self.field.number(self.field.extract(ids(self.field.register))) == self.number

    def because(self, ids: IdValues) -> tuple[FieldValue, ...]:
        return (FieldValue(self.field, self.field.extract(ids(self.field.register))),)


class AllOf(Value):
    """Every part holds; the first that does not is to blame."""

    parts: tuple[Condition, ...]

    def holds(self, ids: IdValues) -> bool:
        return all(part.holds(ids) for part in self.parts)

    def because(self, ids: IdValues) -> tuple[FieldValue, ...]:
        failing = next((part for part in self.parts if not part.holds(ids)), None)
        blamed = self.parts if failing is None else (failing,)
        return tuple(value for part in blamed for value in part.because(ids))


class AnyOf(Value):
    """One part holds; if none does, all are to blame."""

    parts: tuple[Condition, ...]

    def holds(self, ids: IdValues) -> bool:
        return any(part.holds(ids) for part in self.parts)

    def because(self, ids: IdValues) -> tuple[FieldValue, ...]:
        holding = next((part for part in self.parts if part.holds(ids)), None)
        blamed = self.parts if holding is None else (holding,)
        return tuple(value for part in blamed for value in part.because(ids))


Condition: TypeAlias = AtLeast | Exactly | AllOf | AnyOf


def _least(register: str, name: str, number: int = 1) -> AtLeast:
    return AtLeast(field(f"ID_AA64{register}_EL1", name), number)


def _is(register: str, name: str, number: int) -> Exactly:
    return Exactly(field(f"ID_AA64{register}_EL1", name), number)


def _pauth(least: int) -> AnyOf:
    """One of the three algorithms, for addresses at that level and for generic code at all."""
    fields = (("ISAR1", "APA", "GPA"), ("ISAR1", "API", "GPI"), ("ISAR2", "APA3", "GPA3"))
    return AnyOf(tuple(AllOf((_least(reg, a, least), _least(reg, g))) for reg, a, g in fields))


# name, ID register (ID_AA64*_EL1), field, least value
_ONE_FIELD: tuple[tuple[str, str, str, int], ...] = (
    ("FEAT_AA64EL1", "PFR0", "EL1", 1),
    ("FEAT_GICv3", "PFR0", "GIC", 1),
    ("FEAT_RAS", "PFR0", "RAS", 1),
    ("FEAT_RASv2", "PFR0", "RAS", 3),
    ("FEAT_SVE", "PFR0", "SVE", 1),
    ("FEAT_AMUv1", "PFR0", "AMU", 1),
    ("FEAT_DIT", "PFR0", "DIT", 1),
    ("FEAT_SSBS2", "PFR1", "SSBS", 2),
    ("FEAT_MTE", "PFR1", "MTE", 1),
    ("FEAT_MTE2", "PFR1", "MTE", 2),
    ("FEAT_SME", "PFR1", "SME", 1),
    ("FEAT_GCS", "PFR1", "GCS", 1),
    ("FEAT_THE", "PFR1", "THE", 1),
    ("FEAT_PFAR", "PFR1", "PFAR", 1),
    ("FEAT_FPMR", "PFR2", "FPMR", 1),
    ("FEAT_TRC_SR", "DFR0", "TraceVer", 1),
    ("FEAT_PMUv3", "DFR0", "PMUVer", 1),
    ("FEAT_PMUv3p9", "DFR0", "PMUVer", 9),
    ("FEAT_PMUv3_SS", "DFR0", "PMSS", 1),
    ("FEAT_SEBEP", "DFR0", "SEBEP", 1),
    ("FEAT_SPE", "DFR0", "PMSVer", 1),
    ("FEAT_SPEv1p2", "DFR0", "PMSVer", 3),
    ("FEAT_SPEv1p5", "DFR0", "PMSVer", 6),
    ("FEAT_DoubleLock", "DFR0", "DoubleLock", 0),
    ("FEAT_TRF", "DFR0", "TraceFilt", 1),
    ("FEAT_TRBE", "DFR0", "TraceBuffer", 1),
    ("FEAT_TRBEv1p1", "DFR0", "TraceBuffer", 2),
    ("FEAT_BRBE", "DFR0", "BRBE", 1),
    ("FEAT_Debugv8p9", "DFR0", "DebugVer", 11),
    ("FEAT_PMUv3_ICNTR", "DFR1", "PMICNTR", 1),
    ("FEAT_ITE", "DFR1", "ITE", 1),
    ("FEAT_SPMU", "DFR1", "SPMU", 1),
    ("FEAT_RNG", "ISAR0", "RNDR", 1),
    ("FEAT_TLBIOS", "ISAR0", "TLB", 1),
    ("FEAT_TLBIRANGE", "ISAR0", "TLB", 2),
    ("FEAT_LS64", "ISAR1", "LS64", 1),
    ("FEAT_LS64_V", "ISAR1", "LS64", 2),
    ("FEAT_LS64_ACCDATA", "ISAR1", "LS64", 3),
    ("FEAT_SPECRES", "ISAR1", "SPECRES", 1),
    ("FEAT_SPECRES2", "ISAR1", "SPECRES", 2),
    ("FEAT_DPB2", "ISAR1", "DPB", 2),
    ("FEAT_ATS1A", "ISAR2", "ATS1A", 1),
    ("FEAT_MOPS", "ISAR2", "MOPS", 1),
    ("FEAT_FGT", "MMFR0", "FGT", 1),
    ("FEAT_FGT2", "MMFR0", "FGT", 2),
    ("FEAT_HCX", "MMFR1", "HCX", 1),
    ("FEAT_PAN2", "MMFR1", "PAN", 2),
    ("FEAT_LOR", "MMFR1", "LO", 1),
    ("FEAT_HPDS", "MMFR1", "HPDS", 1),
    ("FEAT_EVT", "MMFR2", "EVT", 1),
    ("FEAT_EVT_TTLBxS", "MMFR2", "EVT", 2),
    ("FEAT_IDST", "MMFR2", "IDS", 1),
    ("FEAT_TCR2", "MMFR3", "TCRX", 1),
    ("FEAT_SCTLR2", "MMFR3", "SCTLRX", 1),
    ("FEAT_S1PIE", "MMFR3", "S1PIE", 1),
    ("FEAT_S1POE", "MMFR3", "S1POE", 1),
    ("FEAT_S2POE", "MMFR3", "S2POE", 1),
    ("FEAT_AIE", "MMFR3", "AIE", 1),
    ("FEAT_PoPS", "MMFR4", "PoPS", 1),
    ("FEAT_SRMASK", "MMFR4", "SRMASK", 1),
)

FEATURES: dict[str, Condition] = {
    **{name: _least(register, part, least) for name, register, part, least in _ONE_FIELD},
    "FEAT_RASv1p1": AnyOf((
        _least("PFR0", "RAS", 2),
        AllOf((_is("PFR0", "RAS", 1), _least("PFR1", "RAS_frac"))),
    )),
    "FEAT_CSV2_1p2": AnyOf((
        _least("PFR0", "CSV2", 2),
        AllOf((_is("PFR0", "CSV2", 1), _least("PFR1", "CSV2_frac", 2))),
    )),
    "FEAT_PAuth": _pauth(1),
    "FEAT_EBEP or FEAT_PMUv3_SS": AnyOf((_least("DFR1", "EBEP"), _least("DFR0", "PMSS"))),
}  # fmt: skip


def feature(name: str) -> Condition:
    """The condition of that name; ValueError if there is none.

    >>> str(feature("FEAT_TCR2").because(lambda reg: 0)[0].field)
    'ID_AA64MMFR3_EL1.TCRX'
    """
    if name not in FEATURES:
        raise ValueError(f"no condition is known for {name!r}")
    return FEATURES[name]
