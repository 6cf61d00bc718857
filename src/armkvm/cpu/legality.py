"""When a vector instruction may execute, and the exception it takes otherwise.

One function per check of the Arm ARM's pseudocode (CheckSVEEnabled and its siblings), in its order:
the order decides which exception wins. Traps to EL2 are the hypervisor's (`PeFeatures.sve_trapped`
stands for the one that hides SVE).
"""

# ruff: noqa: D103 - the module says it: each function is the pseudocode check of its name

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from armkvm.cpu.exceptions import FpTrap, SmeTrap, Smtc, SveTrap, Undefined
from armkvm.cpu.features import PeFeatures

CPACR_ZEN, CPACR_FPEN, CPACR_SMEN = 16, 20, 24
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
    """Needs PSTATE.ZA = 1, SME2 and SMCR_EL1.EZT0."""


class Situation(NamedTuple):
    """All that decides legality besides the instruction."""

    features: PeFeatures
    el: int
    svcr: int
    cpacr: int
    smcr: int

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
        return self.features.fa64 and bool(self.smcr & SMCR_FA64)


def check_fp(s: Situation) -> None:
    if not s.enabled(CPACR_FPEN):
        raise FpTrap


def check_advsimd(s: Situation, legal_in_streaming: bool) -> None:
    """For base FP and AdvSIMD instructions."""
    check_fp(s)
    if s.streaming and not legal_in_streaming and not s.full_a64:
        raise SmeTrap(Smtc.ILLEGAL_IN_STREAMING)


def check_sme_access(s: Situation) -> None:
    if not s.features.sme:
        raise Undefined
    if not s.enabled(CPACR_SMEN):
        raise SmeTrap(Smtc.DISABLED)


def check_sme(s: Situation) -> None:
    check_sme_access(s)
    check_fp(s)


def check_streaming(s: Situation) -> None:
    check_sme(s)
    if not s.streaming:
        raise SmeTrap(Smtc.NOT_STREAMING)


def check_sve(s: Situation) -> None:
    if s.streaming and s.features.sme:
        check_sme(s)
    elif s.features.sve:
        if not s.enabled(CPACR_ZEN):
            raise SveTrap
        check_fp(s)
    elif s.features.sme and not s.features.sve_trapped:
        check_streaming(s)
    else:
        raise Undefined


def check_non_streaming(s: Situation) -> None:
    if not (s.features.sve or s.features.sve_trapped):
        raise Undefined  # these belong to SVE proper, which the physical CPU lacks
    if s.streaming and not s.full_a64:
        check_sme(s)
        raise SmeTrap(Smtc.ILLEGAL_IN_STREAMING)
    check_sve(s)


def check_za(s: Situation) -> None:
    check_sme(s)
    if not s.za:
        raise SmeTrap(Smtc.ZA_INACTIVE)


def check_streaming_za(s: Situation) -> None:
    check_streaming(s)
    if not s.za:
        raise SmeTrap(Smtc.ZA_INACTIVE)


def check_zt0(s: Situation) -> None:
    if not s.features.sme or not s.features.sme2:
        raise Undefined
    check_za(s)
    if not s.smcr & SMCR_EZT0:
        raise SmeTrap(Smtc.ZT0_DISABLED)


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
