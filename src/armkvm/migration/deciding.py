"""Why a rehearsed restore failed: from what a place answered to findings a person can act on.

A refused feature ID register is taken apart: each field that differs from what the destination
starts with is tried there alone, on a throw-away vCPU, so that the place itself says which of them
decide, whatever its kernel's rules are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Self

from armkvm.abi import vls
from armkvm.abi.regid import RegClass, RegId
from armkvm.arch.encoding import SysReg
from armkvm.arch.fields import Field
from armkvm.arch.idfields import FIELDS, differences
from armkvm.backends.base import System, Vcpu
from armkvm.catalog import parse
from armkvm.errors import KvmError
from armkvm.migration import findings, ordering
from armkvm.migration.advice import ANY_FIELD, Code, advice, field_advice
from armkvm.migration.build import features_taken, make_vm
from armkvm.migration.findings import Finding, in_hex
from armkvm.migration.ordering import Stage
from armkvm.migration.plan import LENGTHS
from armkvm.migration.rehearsal import Rehearsal
from armkvm.migration.snapshot import VcpuState, VmConfig
from armkvm.migration.verdict import same

IDENTITY = frozenset(map(parse, ("MIDR_EL1", "REVIDR_EL1", "AIDR_EL1", "SMIDR_EL1")))
_OF_VECTORS = {Stage.VECTORS, Stage.MATRIX}


def explain(place: System, state: VcpuState, config: VmConfig, tried: Rehearsal) -> tuple[Finding, ...]:
    """Every finding of a rehearsal of `state` at `place`, in the order of a restore."""
    if tried.init is not None:
        return (_features(place, state, config, tried.init),)
    found = list(_lengths(state, tried))
    if tried.finalize is not None:
        found.append(findings.refusal(Code.FINALIZE, tried.finalize, vcpu=state.id))
    # where the lengths or FINALIZE were refused, vectors cannot be right and say nothing of their own
    silent = _OF_VECTORS if found else set[Stage]()
    found += _registers(place, state, config, tried, silent)
    if tried.extra_here:
        found.append(findings.only_here(state.id, tried.extra_here))
    return tuple(found)


def _features(place: System, state: VcpuState, config: VmConfig, refused: KvmError) -> Finding:
    taken = features_taken(place, config, state.features)
    lacking = [str(feature) for feature in state.features if feature not in taken]
    offers = f"it offers no {' and no '.join(lacking)}" if lacking else "it does not offer them together"
    return findings.refusal(
        Code.FEATURES,
        refused,
        vcpu=state.id,
        asked=", ".join(map(str, state.features)),
        there=offers,
        acceptable=", ".join(map(str, taken)) or "none",
    )


def _lengths(state: VcpuState, tried: Rehearsal) -> Iterator[Finding]:
    for reg, refused in tried.lengths.items():
        wanted = state.lengths(reg)
        if refused is None or wanted is None:
            continue
        if reg in tried.initial:
            offered = vls.decode(tried.initial[reg])
            yield findings.lengths(state.id, reg, wanted, offered, operation=refused.operation)
        else:
            yield findings.refusal(Code.VECTOR_LENGTHS, refused, vcpu=state.id, reg=reg, asked=str(wanted))


def _registers(
    place: System, state: VcpuState, config: VmConfig, tried: Rehearsal, silent: set[Stage]
) -> Iterator[Finding]:
    amiss = {*tried.refused, *tried.differs, *tried.missing_here} - {*LENGTHS}
    with _Trial(place, state, config) as trial:
        for reg in ordering.arrange(amiss):
            asked = state.registers[reg]
            if ordering.rule_of(reg).stage in silent:
                continue
            if reg in tried.refused:
                yield from _refused(trial, state.id, reg, asked, tried)
            elif reg in tried.differs:
                yield from _changed(state.id, reg, asked, tried.differs[reg])
            else:
                row = advice(Code.REGISTER_MISSING, reg)
                why, remedy = (row.why, row.remedy) if row else ("", "")
                yield Finding(
                    code=Code.REGISTER_MISSING,
                    vcpu=state.id,
                    reg=reg,
                    asked=in_hex(asked),
                    there="not listed",
                    why=why,
                    remedy=remedy,
                )


def _refused(trial: _Trial, vcpu: int, reg: RegId, asked: bytes, tried: Rehearsal) -> Iterator[Finding]:
    refused, there = tried.refused[reg], tried.initial.get(reg)
    deciding = [] if there is None or not _has_fields(reg) else list(trial.deciding(reg, asked, there))
    for part, wanted, have, error in deciding:
        takes = ranges(trial.accepted(reg, part, _number(there or b"")))
        yield _field(vcpu, reg, part, (part.told(wanted), part.told(have), takes), error)
    if not deciding:
        yield findings.refusal(
            Code.REGISTER_REFUSED,
            refused,
            vcpu=vcpu,
            reg=reg,
            asked=in_hex(asked),
            there="" if there is None else in_hex(there),
            acceptable=_acceptable(reg, asked, there),
        )


def _acceptable(reg: RegId, asked: bytes, there: bytes | None) -> str:
    """Of a bitmap of services what both have; of a version what the destination starts with, its newest."""
    if there is None or not reg.is_arm64:
        return ""
    if reg.reg_class == RegClass.FW_FEAT_BMAP:
        return hex(_number(asked) & _number(there))
    return in_hex(there) if reg.reg_class == RegClass.FW else ""


def _changed(vcpu: int, reg: RegId, asked: bytes, there: bytes | None) -> Iterator[Finding]:
    """A register that was taken and reads back otherwise: by field, if it has fields."""
    if there is None or same(reg, asked, there):
        return
    if not _has_fields(reg):
        yield findings.differs(vcpu, reg, asked, there)
        return
    row = advice(Code.REGISTER_DIFFERS, reg)
    for part, wanted, have in differences(_encoding(reg), _number(asked), _number(there)):
        yield Finding(
            code=Code.ID_FIELD,
            vcpu=vcpu,
            reg=reg,
            field=part.name,
            asked=part.told(wanted),
            there=part.told(have),
            why=row.why if row else "",
            remedy=row.remedy if row else "",
        )


def _field(
    vcpu: int, reg: RegId, part: Field, values: tuple[str, str, str], error: KvmError | None
) -> Finding:
    """A field that decides: asked, there, and what would be taken. `error` None: taken, but not kept."""
    asked, there, takes = values
    general = field_advice(part)
    rule = error.rule if error else None
    meant = general.why if general is not ANY_FIELD or not (error and error.detail) else ""
    return Finding(
        code=Code.ID_FIELD,
        vcpu=vcpu,
        operation=error.operation if error else "",
        reg=reg,
        field=part.name,
        errno=error.errno if error else None,
        asked=asked,
        there=there,
        acceptable=takes,
        rule=rule.name if rule else "",
        why="; ".join(filter(None, (error.detail if error else "", meant))),
        remedy=general.remedy,
    )


def ranges(values: Iterable[int]) -> str:
    """Values for people: ``0x0, 0x6-0x9``."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ", ".join(f"{run[0]:#x}" + (f"-{run[-1]:#x}" if len(run) > 1 else "") for run in runs)


class _Trial:
    """A throw-away vCPU on which single fields are written; made when the first is."""

    def __init__(self, place: System, state: VcpuState, config: VmConfig) -> None:
        self._place, self._state, self._config = place, state, config
        self._undo = ExitStack()
        self._vcpu: Vcpu | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _ready(self) -> Vcpu:
        if self._vcpu is None:
            vm = self._undo.enter_context(make_vm(self._place, self._config))
            self._vcpu = self._undo.enter_context(vm.create_vcpu(self._state.id))
            self._vcpu.init(self._state.features)
        return self._vcpu

    def deciding(
        self, reg: RegId, asked: bytes, there: bytes
    ) -> Iterator[tuple[Field, int, int, KvmError | None]]:
        """The fields that do not stick when written alone: (field, what is asked, what is there, refusal)."""
        initial = _number(there)
        for part, wanted, have in differences(_encoding(reg), _number(asked), initial):
            sticks, refused = self._try(reg, part, wanted, initial)
            if not sticks:
                yield part, wanted, have, refused

    def accepted(self, reg: RegId, part: Field, initial: int) -> list[int]:
        """The values of a field that stick when written alone; of a wide field only what is there."""
        if part.width > _WIDEST:
            return [part.extract(initial)]
        return [value for value in range(1 << part.width) if self._try(reg, part, value, initial)[0]]

    def _try(self, reg: RegId, part: Field, value: int, initial: int) -> tuple[bool, KvmError | None]:
        vcpu, wanted = self._ready(), part.insert(initial, value).to_bytes(reg.size, "little")
        try:
            vcpu.set_one_reg(reg, wanted)
            kept = vcpu.get_one_reg(reg)
            vcpu.set_one_reg(reg, initial.to_bytes(reg.size, "little"))
        except KvmError as error:
            return False, error
        return kept == wanted, None


_WIDEST = 4


def _has_fields(reg: RegId) -> bool:
    return reg.encoding is not None and reg not in IDENTITY and reg.encoding in FIELDS


def _encoding(reg: RegId) -> SysReg:
    assert reg.encoding is not None  # noqa: S101 - who asks has looked
    return reg.encoding


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")
