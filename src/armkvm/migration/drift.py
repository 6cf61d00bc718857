"""What a kernel's update alone changes for a VM: the same CPU under two kernels, id by id.

A fresh vCPU of each is compared; what differs is tried on the newer side, so that the class of a
change is what the kernel there does with the old value, and not what a table says it should.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from armkvm import catalog
from armkvm.abi import vls
from armkvm.abi.regid import RegClass, RegId
from armkvm.abi.structs import is_feature_id
from armkvm.arch.idfields import FIELDS, differences, field
from armkvm.backends.base import Feature, System
from armkvm.catalog import id_of, parse
from armkvm.errors import errno_name
from armkvm.migration.advice import Code
from armkvm.migration.check import Config, features_of, fresh
from armkvm.migration.deciding import explain
from armkvm.migration.findings import Finding, in_hex
from armkvm.migration.ordering import VOLATILE
from armkvm.migration.plan import LENGTHS
from armkvm.migration.rehearsal import Rehearsal, rehearse
from armkvm.migration.snapshot import VcpuState, VmConfig, sorted_features


class Change(StrEnum):
    """What became of an id."""

    APPEARED = "appeared"
    VANISHED = "vanished"
    MEANING = "changed meaning"
    VALUE = "changed value"


class Treatment(StrEnum):
    """What to do about it when a VM is carried over."""

    DROPPABLE = "droppable"
    """It can be left out: the guest cannot tell."""

    TRANSLATABLE = "translatable"
    """Another value or id says there what it said here, or the kernel takes the old value."""

    MUST_MATCH = "must match"
    """The guest would see another value, or the state is lost: avoid the difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One id that differs; `field` where it is a field of an ID register. "" where there is no value.

    Values are numbers, with Arm's name for them where a field has one, and sets of lengths in quadwords.
    """

    reg: RegId
    change: Change
    treatment: Treatment
    because: str
    field: str = ""
    before: str = ""
    after: str = ""

    @property
    def what(self) -> str:
        """The register or field by name."""
        name = catalog.name_of(self.reg) or self.reg.hex
        return f"{name}.{self.field}" if self.field else name


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifted:
    """All that differs between two hosts for a vCPU with `features`; `same_cpu` by MIDR_EL1."""

    features: tuple[Feature, ...]
    same_cpu: bool
    drifts: tuple[Drift, ...]

    @property
    def harmless(self) -> bool:
        """Whether nothing has to match that does not."""
        return all(each.treatment is not Treatment.MUST_MATCH for each in self.drifts)


def drift(before: System, after: System) -> Drifted:
    """Compare the largest vCPU that both grant, as it is on the one and on the other."""
    shared = {*features_of(before, Config.ALL)} & {*features_of(after, Config.ALL)}
    features = sorted_features(shared)
    old, new = fresh(before, features), fresh(after, features)
    told = {
        (found.reg, found.field): found for found in explain(after, old, VmConfig(), rehearse(after, old))
    }
    back = rehearse(after, _with_old_value_absent(old, new))
    found = [*_vanished(old, new), *_appeared(old, new, back), *_changed(old, new, told)]
    found.sort(key=lambda each: (list(Change).index(each.change), each.reg))
    same = old.registers.get(_MIDR) == new.registers.get(_MIDR)
    return Drifted(features=features, same_cpu=same, drifts=tuple(found))


def _with_old_value_absent(old: VcpuState, new: VcpuState) -> VcpuState:
    """The new vCPU with 0 in all that the old one did not have: does the guest's old view fit?"""
    registers = {
        reg: data if reg in old.registers or not _says_what_there_is(reg) else bytes(reg.size)
        for reg, data in new.registers.items()
    }
    return VcpuState(id=0, features=new.features, registers=type(new.registers)(registers.items()))


def _says_what_there_is(reg: RegId) -> bool:
    """Whether a register tells the guest what it has, so that 0 says the same as being absent."""
    return is_feature_id(reg) or (reg.is_arm64 and reg.reg_class == RegClass.FW_FEAT_BMAP)


_MIDR = parse("MIDR_EL1")
_UNCOMPARED = {row.reg for row in VOLATILE}
_CCIDX = field("ID_AA64MMFR2_EL1", "CCIDX")
_MMFR2 = id_of(_CCIDX.register)


# -- by what became of the id ----------------------------------------------------------------------


def _vanished(old: VcpuState, new: VcpuState) -> Iterator[Drift]:
    names = {catalog.name_of(reg): reg for reg in new.registers.keys() - old.registers.keys()}
    for reg in old.registers.keys() - new.registers.keys():
        held = old.registers[reg]
        twin = names.get(catalog.name_of(reg)) if catalog.name_of(reg) else None
        if twin is not None:
            treatment, because = Treatment.TRANSLATABLE, f"the same register is {twin.hex} there"
        elif any(held):
            treatment = Treatment.MUST_MATCH
            because = "the kernel there has no such register, and here it says something"
        elif _says_what_there_is(reg):
            treatment, because = Treatment.DROPPABLE, "0 says the same as not being there"
        else:
            treatment = Treatment.DROPPABLE
            because = "as long as it holds its reset value, 0; a guest that used it loses that"
        yield Drift(
            reg=reg, change=Change.VANISHED, treatment=treatment, because=because, before=in_hex(held)
        )


def _appeared(old: VcpuState, new: VcpuState, back: Rehearsal) -> Iterator[Drift]:
    names = {catalog.name_of(reg) for reg in old.registers.keys() - new.registers.keys()} - {""}
    for reg in new.registers.keys() - old.registers.keys():
        held = new.registers[reg]
        if catalog.name_of(reg) in names:
            continue  # told as vanished, with the new id
        if not _says_what_there_is(reg) or not any(held):
            treatment = Treatment.DROPPABLE
            because = "it keeps its reset value, which is all that a guest from here can expect"
        elif reg in back.refused or reg in back.differs:
            treatment = Treatment.MUST_MATCH
            because = "the guest would be shown it, and the kernel does not let it be hidden"
        else:
            treatment = Treatment.TRANSLATABLE
            because = "write 0 before the guest runs there: it shows what the guest had here, nothing"
        yield Drift(reg=reg, change=Change.APPEARED, treatment=treatment, because=because, after=in_hex(held))


def _changed(old: VcpuState, new: VcpuState, told: Told) -> Iterator[Drift]:
    layouts = {_CCIDX.extract(_number(state.registers.get(_MMFR2, b""))) for state in (old, new)}
    for reg, held in old.registers.items():
        there = new.registers.get(reg)
        if there is None or reg in _UNCOMPARED:
            continue
        if reg.is_arm64 and reg.reg_class == RegClass.DEMUX and len(layouts) > 1:
            treatment, because = _outcome(told, reg)
            yield Drift(
                reg=reg,
                change=Change.MEANING,
                treatment=treatment,
                because=f"{_CCIDX} differs, so its fields lie elsewhere; {because}",
                before=in_hex(held),
                after=in_hex(there),
            )
        elif there != held:
            yield from _values(reg, held, there, told)


def _values(reg: RegId, held: bytes, there: bytes, told: Told) -> Iterator[Drift]:
    """One change, or one for each field of an ID register."""
    encoding = reg.encoding
    if reg in LENGTHS:
        rows = [("", str(vls.decode(held)), str(vls.decode(there)))]
    elif encoding is None or encoding not in FIELDS:
        rows = [("", in_hex(held), in_hex(there))]
    else:
        parts = differences(encoding, _number(held), _number(there))
        rows = [(part.name, part.told(here), part.told(now)) for part, here, now in parts]
    for name, before, after in rows:
        treatment, because = _outcome(told, reg, name)
        yield Drift(
            reg=reg,
            field=name,
            change=Change.VALUE,
            treatment=treatment,
            because=because,
            before=before,
            after=after,
        )


Told = Mapping[tuple[RegId | None, str], Finding]
"""Findings of the old vCPU's restore under the new kernel, by register and field."""


def _outcome(told: Told, reg: RegId, name: str = "") -> tuple[Treatment, str]:
    """The class of a change, by what the other kernel did with the old value."""
    finding = told.get((reg, name)) or told.get((reg, ""))
    if finding is None:
        return (
            Treatment.TRANSLATABLE,
            "the kernel there keeps the old value when it is written before the guest runs",
        )
    if finding.code is Code.VECTOR_LENGTHS:
        because = f"the kernel there refuses the old set: {finding.why}"
    elif finding.errno is None:
        because = "the kernel there takes the old value and drops it; the guest sees the new one"
    else:
        because = f"the kernel there refuses the old value with {errno_name(finding.errno)}: {finding.why}"
    return Treatment.MUST_MATCH, because


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")
