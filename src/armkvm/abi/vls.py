"""KVM_REG_ARM64_SVE_VLS and KVM_REG_ARM64_SME_VLS: sets of vector lengths as ``__u64[8]``.

Bit ``(vq - 1) % 64`` of word ``(vq - 1) / 64`` says that vq quadwords are supported.
"""

from __future__ import annotations

from armkvm.abi.regid import VLS_BYTES
from armkvm.arch.vectors import VectorLengths


def encode(lengths: VectorLengths) -> bytes:
    """The 64 bytes of the pseudo-register (words little-endian, as on every supported host)."""
    return lengths.bitmap.to_bytes(VLS_BYTES, "little")


def decode(data: bytes) -> VectorLengths:
    """The set that 64 bytes stand for; every bit pattern is a set."""
    if len(data) != VLS_BYTES:
        raise ValueError(f"a vector-length set is {VLS_BYTES} bytes, not {len(data)}")
    return VectorLengths.from_bitmap(int.from_bytes(data, "little"))
