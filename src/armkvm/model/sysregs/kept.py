"""What a CPU keeps of the EL1 registers it holds for a guest: bits it implements, by register.

Some registers a CPU does not implement, of some it drops reserved bits. Seen alike on every CPU
recorded; other designs may keep other reserved bits.
"""

from __future__ import annotations

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch import vectorfields
from armkvm.arch.idfields import field
from armkvm.arch.sysregs import sysreg
from armkvm.catalog import id_of
from armkvm.model.vcpu import Vcpu

ALL_BITS = (1 << 64) - 1

KEPT: dict[int, int] = {
    int(id_of(sysreg(name))): mask
    for name, mask in (
        ("AFSR0_EL1", 0),
        ("AFSR1_EL1", 0),
        ("AMAIR_EL1", 0),
        ("SCTLR_EL1", 0xFFFF_F01F_FFFF_FFFF),
        ("VBAR_EL1", 0xFFFF_FFFF_FFFF_FFE0),
    )
}

_ZCR, _SMCR = (int(id_of(sysreg(name))) for name in ("ZCR_EL1", "SMCR_EL1"))
_SME = field("ID_AA64PFR1_EL1", "SME")
_PFR1 = int(id_of(_SME.register))
_ZCR_BITS, _SMCR_BITS = (vectorfields.named_bits(name) for name in ("ZCR_EL1", "SMCR_EL1"))
_EZT0 = vectorfields.field("SMCR_EL1", "EZT0").mask


def of_vectors(vcpu: Vcpu) -> dict[int, int]:
    """The masks of the two that control vectors, which meet hardware only when the guest runs."""
    masks = {}
    if F.SVE in vcpu.features:
        masks[_ZCR] = _ZCR_BITS
    if F.SME in vcpu.features:
        has_zt0 = _SME.extract(vcpu.id_limits[_PFR1]) >= 2
        masks[_SMCR] = _SMCR_BITS if has_zt0 else _SMCR_BITS & ~_EZT0
    return masks
