"""What the host's GIC gives virtual CPU interfaces: the part of ICH_VTR_EL2 that KVM passes on.

Source: Linux arch/arm64/kvm/vgic/vgic-v3.c (vgic_v3_enable), vgic.h (kvm_get_guest_vtr_el2).
"""

from __future__ import annotations

from collections.abc import Mapping

from armkvm.arch.gicfields import field
from armkvm.value import Value

CTLR_PRIBITS = field("ICC_CTLR_EL1", "PRIbits")
CTLR_IDBITS = field("ICC_CTLR_EL1", "IDbits")
CTLR_SEIS = field("ICC_CTLR_EL1", "SEIS")
CTLR_A3V = field("ICC_CTLR_EL1", "A3V")
VTR_PRIBITS = field("ICH_VTR_EL2", "PRIbits")
VTR_PREBITS = field("ICH_VTR_EL2", "PREbits")
VTR_SEIS = field("ICH_VTR_EL2", "SEIS")
_VTR_NV4 = field("ICH_VTR_EL2", "nV4")
_VTR_TDS = field("ICH_VTR_EL2", "TDS")
_VTR_LIST_REGS = field("ICH_VTR_EL2", "ListRegs")

ASSUMED_CTLR = 0x8C00
"""Where the host's facts do not tell: 5 bits of priority, 24 of INTID, Aff3 and no SErrors, which is what
every recorded host has."""

_ASSUMED_LIST_REGS = 3


class HostGic(Value):
    """Raw field values; `vtr` is ICH_VTR_EL2 as a guest with EL2 is shown it.

    `known` is False where the host's facts say nothing of its GIC and the values are assumed.
    """

    pri_bits: int
    pre_bits: int
    id_bits: int
    seis: int
    a3v: int
    vtr: int
    known: bool

    @classmethod
    def of(cls, facts: Mapping[str, int]) -> HostGic:
        """The GIC that ``HostFacts.vgic`` tells of: ICC_CTLR_EL1, and ICH_VTR_EL2 if guests can have EL2."""
        ctlr = facts.get("ICC_CTLR_EL1", ASSUMED_CTLR)
        pri_bits, seis = CTLR_PRIBITS.extract(ctlr), CTLR_SEIS.extract(ctlr)
        vtr = facts.get("ICH_VTR_EL2")
        if vtr is None:
            vtr = VTR_PRIBITS.mask & pri_bits << VTR_PRIBITS.lsb | pri_bits << VTR_PREBITS.lsb
            vtr |= seis << VTR_SEIS.lsb | _VTR_NV4.mask | _VTR_TDS.mask | _ASSUMED_LIST_REGS
        return cls(
            pri_bits=pri_bits,
            pre_bits=VTR_PREBITS.extract(vtr),
            id_bits=CTLR_IDBITS.extract(ctlr),
            seis=seis,
            a3v=CTLR_A3V.extract(ctlr),
            vtr=vtr,
            known="ICC_CTLR_EL1" in facts,
        )
