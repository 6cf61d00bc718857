"""What a PE implements, as far as vectors are concerned."""

from __future__ import annotations

from dataclasses import dataclass, field

from armkvm.arch.vectors import VectorLengths


@dataclass(frozen=True, slots=True)
class PeFeatures:
    """The vector features a guest's PE has.

    `sve` and `sme` are the vector lengths that can take effect, empty where the feature is absent.
    `sve_trapped` and `sme_trapped`: the physical CPU has the feature but the guest has not. Its
    instructions are UNDEFINED, but only after the guest's own CPACR_EL1 has been looked at; and an SVE
    instruction at PSTATE.SM=0 of a guest with SME alone, which without SVE on the CPU takes an SME
    trap (not streaming). `sme2_trapped`: ZT0 is UNDEFINED after PSTATE.ZA and the guest's own
    SMCR_EL1.EZT0 have been looked at.
    Source: Arm ARM CheckSVEEnabled; recorded with KVM SME v12, hosts with and without SVE.
    """

    sve: VectorLengths = field(default_factory=VectorLengths)
    sme: VectorLengths = field(default_factory=VectorLengths)
    sve_trapped: bool = False
    sme_trapped: bool = False
    sme2_trapped: bool = False
    sve2: bool = True
    fa64: bool = True
    sme2: bool = True
    f64f64: bool = True
    i16i64: bool = True
    fpmr: bool = False
    pan: bool = True
    bitperm: bool = True
    pmull128: bool = True
    bf16: bool = True
    b16b16: bool = True
    i8mm: bool = True
    f32mm: bool = True
    f64mm: bool = True
    f16f16: bool = True
    sve2p1: bool = True
    sme2p1: bool = True

    @property
    def any_vectors(self) -> bool:
        return bool(self.sve or self.sme)

    @property
    def sve2p1_or_sme2(self) -> bool:
        """Whether the instructions that both extensions brought exist, in whatever mode."""
        return self.sve2p1 or self.sme2

    def effective_vq(self, streaming: bool, length_field: int) -> int:
        """The vq in effect for a LEN field: the largest implemented one that LEN allows.

        SME has no mandatory length, so a LEN below its smallest selects the smallest.
        """
        lengths = self.sme if streaming else self.sve
        allowed = lengths.up_to(length_field + 1)
        return allowed.max or int(min(lengths, default=1))
