"""When a vector instruction may execute, and the exception it takes otherwise.

One function per check of the Arm ARM's pseudocode (CheckSVEEnabled and its siblings), in its order:
the order decides which exception wins, and which level takes it. A guest's situation need not hold its
hypervisor's controls: `PeFeatures.sve_trapped` and its siblings stand for those that hide a feature.
"""

# ruff: noqa: D103 - the module says it: each function is the pseudocode check of its name

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from armkvm.cpu.exceptions import FpTrap, GuestException, SmeTrap, Smtc, SveTrap, Undefined
from armkvm.cpu.features import PeFeatures

CPACR_ZEN, CPACR_FPEN, CPACR_SMEN = 16, 20, 24
_OPEN = 3 << CPACR_ZEN | 3 << CPACR_FPEN | 3 << CPACR_SMEN
CPTR_TZ, CPTR_TFP, CPTR_TSM = 1 << 8, 1 << 10, 1 << 12
SMCR_FA64, SMCR_EZT0 = 1 << 31, 1 << 30


class Check(Enum):
    """Which enables an instruction needs."""

    SVE = auto()
    """An SVE instruction that is also legal in streaming mode."""
    NON_STREAMING = auto()
    """An SVE instruction that streaming mode allows only with FA64."""
    STREAMING = auto()
    """Needs PSTATE.SM = 1."""
    SME = auto()
    """Needs SME and FP enabled, in any mode."""
    SME_ACCESS = auto()
    """Needs SME enabled, not FP: the PSTATE.SM and PSTATE.ZA controls."""
    ZA = auto()
    """Needs PSTATE.ZA = 1."""
    STREAMING_ZA = auto()
    """Needs both PSTATE.SM and PSTATE.ZA."""
    ZT0 = auto()
    """Needs PSTATE.ZA = 1, SME2 and SMCR_ELx.EZT0."""


class Unit(NamedTuple):
    """A register file that can be switched off: its two-bit field where CPACR_EL1 has it, and its trap
    bit in CPTR_EL2's form for EL2 without HCR_EL2.E2H.
    """

    shift: int
    trap_bit: int
    trap: Callable[[int], GuestException]


FP = Unit(CPACR_FPEN, CPTR_TFP, FpTrap)
SVE = Unit(CPACR_ZEN, CPTR_TZ, SveTrap)
SME = Unit(CPACR_SMEN, CPTR_TSM, lambda to_el: SmeTrap(Smtc.DISABLED, to_el))


class Hypervisor(NamedTuple):
    """EL2's controls: HCR_EL2.E2H and TGE, CPTR_EL2 in the form that E2H selects, SMCR_EL2."""

    e2h: bool
    tge: bool
    cptr: int
    smcr: int

    def traps(self, unit: Unit, el: int) -> bool:
        """Whether CPTR_EL2 traps an access to `unit` at level `el`, EL2 itself included."""
        if not self.e2h:
            return bool(self.cptr & unit.trap_bit)
        setting = self.cptr >> unit.shift & 3
        return setting in (0, 2) or (setting == 1 and el == 0 and self.tge)


class Situation(NamedTuple):
    """All that decides legality besides the instruction. `smcr` is SMCR_EL1."""

    features: PeFeatures
    el: int
    svcr: int
    cpacr: int
    smcr: int
    el2: Hypervisor | None = None

    @property
    def in_host(self) -> bool:
        """EL2, or EL0 under a hypervisor that is its operating system: EL1's controls do not count."""
        return self.el == 2 or (self.el2 is not None and self.el2.e2h and self.el2.tge and self.el == 0)

    @property
    def target(self) -> int:
        """The level that takes an exception of the current level's own making."""
        return 2 if self.el == 2 or (self.el2 is not None and self.el2.tge) else 1

    def controls(self) -> tuple[int, ...]:
        """The SMCR_ELx whose enables all count at the current level, its own system's first."""
        if self.el2 is None:
            return (self.smcr,)
        return (self.el2.smcr,) if self.in_host else (self.smcr, self.el2.smcr)

    def enabled(self, shift: int) -> bool:
        """Whether the two-bit CPACR_EL1 field at `shift` lets the current EL through."""
        setting = self.cpacr >> shift & 3
        return setting == 3 or (setting == 1 and self.el == 1)

    @property
    def streaming(self) -> bool:
        return bool(self.svcr & 1)

    @property
    def za(self) -> bool:
        return bool(self.svcr & 2)

    @property
    def full_a64(self) -> bool:
        """FEAT_SME_FA64, implemented and enabled."""
        if self.el2 is None:
            return self.features.fa64 and bool(self.smcr & SMCR_FA64)
        return self.features.fa64 and all(smcr & SMCR_FA64 for smcr in self.controls())


def check_access(s: Situation, *units: Unit) -> None:
    """The controls of the current level's own system come first, over all of `units`; then what a
    hypervisor hides from it, which is UNDEFINED; then EL2's controls.
    """
    el2, features = s.el2, s.features
    if el2 is None and s.cpacr & _OPEN == _OPEN and features.sve.bitmap and features.sme.bitmap:
        return  # as nearly always, and once for every emulated instruction
    in_host = el2 is not None and s.in_host
    if not in_host:
        for unit in units:
            if s.cpacr >> unit.shift & 3 != 3 and not s.enabled(unit.shift):
                raise Undefined(2) if unit is FP and s.target == 2 else unit.trap(s.target)
    elif el2 is not None:
        _check_el2(s, el2, units)
    if (not features.sve.bitmap and SVE in units) or (not features.sme.bitmap and SME in units):
        raise Undefined(s.target)
    if el2 is not None and not in_host:
        _check_el2(s, el2, units)


def _check_el2(s: Situation, el2: Hypervisor, units: tuple[Unit, ...]) -> None:
    for unit in units:
        if el2.traps(unit, s.el):
            raise unit.trap(2)


def check_fp(s: Situation) -> None:
    check_access(s, FP)


def check_zcr(s: Situation) -> None:
    """For ZCR_EL1 and ZCR_EL2 themselves."""
    check_access(s, SVE)


def check_advsimd(s: Situation, legal_in_streaming: bool) -> None:
    """For base FP and AdvSIMD instructions."""
    check_fp(s)
    if s.streaming and not legal_in_streaming and not s.full_a64:
        raise SmeTrap(Smtc.ILLEGAL_IN_STREAMING, s.target)


def check_sme_access(s: Situation) -> None:
    if not (s.features.sme or s.features.sme_trapped):
        raise Undefined(s.target)
    check_access(s, SME)


def check_sme(s: Situation) -> None:
    if not (s.features.sme or s.features.sme_trapped):
        raise Undefined(s.target)
    check_access(s, SME, FP)


def check_streaming(s: Situation) -> None:
    check_sme(s)
    if not s.streaming:
        raise SmeTrap(Smtc.NOT_STREAMING, s.target)


def check_sve(s: Situation) -> None:
    if s.streaming and s.features.sme:
        check_sme(s)
    elif s.features.sve or s.features.sve_trapped:
        check_access(s, SVE, FP)
    elif s.features.sme or s.features.sme_trapped:
        check_streaming(s)
    else:
        raise Undefined(s.target)


def check_non_streaming(s: Situation) -> None:
    if not (s.features.sve or s.features.sve_trapped):
        raise Undefined(s.target)  # these belong to SVE proper, which the physical CPU lacks
    if s.streaming and not s.full_a64:
        check_sme(s)
        raise SmeTrap(Smtc.ILLEGAL_IN_STREAMING, s.target)
    check_sve(s)


def check_za(s: Situation) -> None:
    check_sme(s)
    if not s.za:
        raise SmeTrap(Smtc.ZA_INACTIVE, s.target)


def check_streaming_za(s: Situation) -> None:
    check_streaming(s)
    if not s.za:
        raise SmeTrap(Smtc.ZA_INACTIVE, s.target)


def check_zt0(s: Situation) -> None:
    if not (s.features.sme2 or s.features.sme2_trapped):
        raise Undefined(s.target)
    check_za(s)
    controls = s.controls()
    if not controls[0] & SMCR_EZT0:
        raise SmeTrap(Smtc.ZT0_DISABLED, s.target)
    if not s.features.sme2:
        raise Undefined(s.target)
    if not controls[-1] & SMCR_EZT0:
        raise SmeTrap(Smtc.ZT0_DISABLED, 2)


CHECKS: dict[Check, Callable[[Situation], None]] = {
    Check.SVE: check_sve,
    Check.NON_STREAMING: check_non_streaming,
    Check.STREAMING: check_streaming,
    Check.SME: check_sme,
    Check.SME_ACCESS: check_sme_access,
    Check.ZA: check_za,
    Check.STREAMING_ZA: check_streaming_za,
    Check.ZT0: check_zt0,
}
