"""In which order a vCPU's state is put back, and why: rows, read by one small engine.

A restore runs through the stages of `Stage` in their order. `RULES` gives every register its
stage; within a stage the rows' order decides, then the id's number. So the plan depends on what
is to be restored only, never on the order in which it was listed.

Source: Linux arch/arm64/kvm (guest.c, reset.c, sys_regs.c, arch_timer.c) 6.1 to 7.3 and revision
v12 of the SME series; the project's recordings of both, where list order was tried as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from functools import lru_cache
from itertools import groupby

from armkvm import catalog
from armkvm.abi import core
from armkvm.abi.regid import RegClass, RegId
from armkvm.abi.structs import is_feature_id
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.value import Value


class Stage(Enum):
    """The steps of a restore, in order, each with the reason for its place."""

    INIT = "before KVM_ARM_VCPU_INIT every other call is refused with ENOEXEC"
    IDENTITY = "the VM's feature ID registers decide which other registers exist, and freeze at its first run"
    FIRMWARE = "what the guest may ask of its firmware freezes at the VM's first run, like the ID registers"
    LENGTHS = "vector lengths can be chosen between INIT, which resets them, and FINALIZE, which fixes them"
    FINALIZE = "vector registers have their storage from here on; where FINALIZE exists, EPERM until then"
    MODE = "PSTATE.SM and PSTATE.ZA decide which vector registers exist, and changing them clears those"
    VECTORS = "vector contents have their final length and mode now"
    MATRIX = "ZA and ZT0 exist now that PSTATE.ZA is set"
    FLOATING_POINT = "a change of streaming mode overwrites these, so they follow it"
    PROCESSOR = "PSTATE's mode decides how wide later writes of general registers are kept"
    REGISTERS = "these depend on nothing but the stages before, and nothing depends on them"
    PMU_LAYOUT = "how many event counters there are decides which bits of the PMU's other registers stick"
    PMU_CLEAR = "clears what reset left in the bits that a write of the partner register can only set"
    PMU_SET = "sets exactly the bits that were set at the source, on bits cleared just before"
    COUNTER = "moves the clock of the whole VM, so it is written once, and before what is compared with it"
    TIMER = "a deadline means something only against the clock"
    TIMER_CONTROL = "a timer is switched on last, when clock and deadline are right"
    EVENTS = "a pending SError belongs to a vCPU that is complete"
    MP_STATE = "a vCPU becomes runnable when everything else is in place"


class Rule(Value):
    """One row: the registers it speaks of, the stage they belong to, and why."""

    name: str
    matches: Callable[[RegId], bool]
    stage: Stage
    because: str


def _of_class(*classes: int) -> Callable[[RegId], bool]:
    return lambda reg: reg.is_arm64 and reg.reg_class in classes


def _named(*names: str) -> Callable[[RegId], bool]:
    return frozenset(map(catalog.parse, names)).__contains__


def _is_vector(reg: RegId) -> bool:
    if reg.reg_class == RegClass.CORE:
        return core.is_v(reg.low)
    return reg.is_arm64 and reg.reg_class == RegClass.SVE


CLEARED_BEFORE: dict[RegId, RegId] = {
    catalog.parse(clear): catalog.parse(set_)
    for clear, set_ in (
        ("PMCNTENCLR_EL0", "PMCNTENSET_EL0"),
        ("PMINTENCLR_EL1", "PMINTENSET_EL1"),
        ("PMOVSCLR_EL0", "PMOVSSET_EL0"),
    )
}
"""The PMU's pairs: two names of one register, the first clearing bits and the second setting them."""

RULES: tuple[Rule, ...] = (
    Rule(
        "feature-id",
        is_feature_id,
        Stage.IDENTITY,
        "lowering a field removes registers, and no field can change once a vCPU has run",
    ),
    Rule(
        "firmware",
        _of_class(RegClass.FW, RegClass.FW_FEAT_BMAP),
        Stage.FIRMWARE,
        "the firmware bitmaps refuse changes with EBUSY once a vCPU has run",
    ),
    Rule(
        "vector-lengths",
        _named("KVM_REG_ARM64_SVE_VLS", "KVM_REG_ARM64_SME_VLS"),
        Stage.LENGTHS,
        "the set is refused with EPERM after FINALIZE and forgotten by an INIT before it",
    ),
    Rule(
        "svcr",
        _named("SVCR"),
        Stage.MODE,
        "changing PSTATE.SM zeroes Z, P, FFR, V and FPMR and sets FPSR to 0x0800009f; setting PSTATE.ZA "
        "zeroes ZA and ZT0",
    ),
    Rule(
        "vectors",
        _is_vector,
        Stage.VECTORS,
        "their length follows SVCR, and a later change of SVCR clears them",
    ),
    Rule("matrix", _of_class(RegClass.SME), Stage.MATRIX, "refused with EBUSY while PSTATE.ZA is 0"),
    Rule(
        "fp-status",
        _named("FPSR", "FPCR", "FPMR"),
        Stage.FLOATING_POINT,
        "a change of SVCR overwrites FPSR and FPMR",
    ),
    Rule(
        "pstate",
        _named("PSTATE"),
        Stage.PROCESSOR,
        "while PSTATE names an AArch32 mode, writes of core registers cut X registers and PC to 32 bits",
    ),
    Rule(
        "pmu-layout",
        _named("PMCR_EL0"),
        Stage.PMU_LAYOUT,
        "PMCR_EL0.N sets the number of counters, and bits of absent counters are dropped from later writes",
    ),
    Rule(
        "pmu-clear",
        CLEARED_BEFORE.__contains__,
        Stage.PMU_CLEAR,
        "6.12.95 takes a write as clearing the bits named, so a copy in list order undoes the partner; ones "
        "here and the value there are right on every kernel",
    ),
    Rule(
        "pmu-set",
        frozenset(CLEARED_BEFORE.values()).__contains__,
        Stage.PMU_SET,
        "6.12.95 takes a write as setting the bits named, on top of what reset left there",
    ),
    Rule(
        "counter",
        _named("KVM_REG_ARM_TIMER_CNT", "KVM_REG_ARM_PTIMER_CNT"),
        Stage.COUNTER,
        "a write moves the offset between host and guest time, which all vCPUs share",
    ),
    Rule(
        "timer-compare",
        _named("KVM_REG_ARM_TIMER_CVAL", "KVM_REG_ARM_PTIMER_CVAL"),
        Stage.TIMER,
        "the deadline is absolute guest time",
    ),
    Rule(
        "timer-control",
        _named("KVM_REG_ARM_TIMER_CTL", "KVM_REG_ARM_PTIMER_CTL"),
        Stage.TIMER_CONTROL,
        "enabled against an old deadline the timer would fire",
    ),
    Rule("independent", lambda _: True, Stage.REGISTERS, "KVM stores it whatever else is set"),
)

ONCE_PER_VM = _named("KVM_REG_ARM_TIMER_CNT", "KVM_REG_ARM_PTIMER_CNT")
"""Registers whose write moves the whole VM: restored with its first vCPU only."""

_STAGES = {stage: position for position, stage in enumerate(Stage)}
_ROWS = {rule.name: position for position, rule in enumerate(RULES)}


@lru_cache(maxsize=4096)
def rule_of(reg: RegId) -> Rule:
    """The first row that speaks of a register; the last row speaks of all."""
    return next(rule for rule in RULES if rule.matches(reg))


@lru_cache(maxsize=4096)
def _place(reg: RegId) -> tuple[int, int, int]:
    rule = rule_of(reg)
    return _STAGES[rule.stage], _ROWS[rule.name], reg


def arrange(regs: Iterable[RegId]) -> tuple[RegId, ...]:
    """Registers in the order in which they are restored."""
    return tuple(sorted(regs, key=_place))


def stages(arranged: Iterable[RegId]) -> list[tuple[Stage, tuple[RegId, ...]]]:
    """Arranged registers, by stage."""
    return [(stage, tuple(regs)) for stage, regs in groupby(arranged, key=lambda reg: rule_of(reg).stage)]


def before(reg: RegId, stage: Stage) -> bool:
    """Whether a register is restored before a stage begins."""
    return _place(reg)[0] < _STAGES[stage]


def explain(reg: RegId) -> str:
    """Why a register is restored when it is."""
    rule = rule_of(reg)
    stage = rule.stage.name.lower().replace("_", "-")
    return (
        f"{catalog.name_of(reg) or reg.hex} is restored in stage {stage} (rule {rule.name}): {rule.because}"
    )


class ReadFirst(Value):
    """A register that capture reads before it asks for the list, on vCPUs with a feature."""

    reg: RegId
    feature: VcpuFeature
    because: str


READ_FIRST: tuple[ReadFirst, ...] = (
    ReadFirst(
        catalog.parse("SVCR"),
        VcpuFeature.SME,
        "it decides which registers the list names, so the list is asked for after it and belongs to it",
    ),
)


class Volatile(Value):
    """Bits that may differ when a restored register is read back, and why that is no loss."""

    reg: RegId
    bits: int
    because: str


_ALL_BITS = (1 << 64) - 1
_ISTATUS = 1 << 2

VOLATILE: tuple[Volatile, ...] = (
    Volatile(
        catalog.parse("KVM_REG_ARM_TIMER_CNT"), _ALL_BITS, "the clock runs on between writing and reading"
    ),
    Volatile(
        catalog.parse("KVM_REG_ARM_PTIMER_CNT"), _ALL_BITS, "the clock runs on between writing and reading"
    ),
    Volatile(
        catalog.parse("KVM_REG_ARM_TIMER_CTL"),
        _ISTATUS,
        "ISTATUS says that the deadline has passed: 6.1 and 6.12 compute it when asked, 6.18 on keep none",
    ),
    Volatile(
        catalog.parse("KVM_REG_ARM_PTIMER_CTL"),
        _ISTATUS,
        "ISTATUS says that the deadline has passed: 6.1 and 6.12 compute it when asked, 6.18 on keep none",
    ),
)
