"""Vector lengths, and sets of them.

Two units, never mixed: a *vq* counts 128-bit quadwords, a *vl* counts bytes; ``vl = 16 * vq``.
The architecture allows vq 1..16 (2048 bits); Linux's ABI leaves room for 1..512.

Source: Linux Documentation/arch/arm64/sve.rst; Arm ARM, FEAT_SVE (VL) and FEAT_SME (SVL).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

QUADWORD_BYTES = 16
ARCH_VQ_MAX = 16
ABI_VQ_MAX = 512


class Vq(int):
    """A vector length in quadwords, 1..512."""

    __slots__ = ()

    def __new__(cls, quadwords: int) -> Vq:
        if not 1 <= quadwords <= ABI_VQ_MAX:
            raise ValueError(f"a vector length is 1..{ABI_VQ_MAX} quadwords, not {quadwords}")
        return super().__new__(cls, quadwords)

    @classmethod
    def from_vl(cls, vl: int) -> Vq:
        """From a length in bytes, which must be a multiple of 16."""
        if vl % QUADWORD_BYTES:
            raise ValueError(f"a vector length in bytes is a multiple of {QUADWORD_BYTES}, not {vl}")
        return cls(vl // QUADWORD_BYTES)

    @property
    def vl(self) -> int:
        """The length of a Z register in bytes."""
        return self * QUADWORD_BYTES

    @property
    def pl(self) -> int:
        """The length of a P register (and FFR) in bytes."""
        return self * 2

    @property
    def bits(self) -> int:
        return self * 128


class VectorLengths:
    """An immutable set of vector lengths, ordered by size. Its bitmap has bit vq-1 for vq.

    >>> VectorLengths([4, 1, 2])
    VectorLengths([1, 2, 4])
    """

    __slots__ = ("bitmap",)
    bitmap: int

    def __init__(self, vqs: Iterable[int] = ()) -> None:
        bitmap = 0
        for vq in vqs:
            bitmap |= 1 << (Vq(vq) - 1)
        object.__setattr__(self, "bitmap", bitmap)

    @classmethod
    def from_bitmap(cls, bitmap: int) -> VectorLengths:
        if bitmap < 0 or bitmap >> ABI_VQ_MAX:
            raise ValueError(f"a vector-length bitmap has {ABI_VQ_MAX} bits")
        self = cls()
        object.__setattr__(self, "bitmap", bitmap)
        return self

    @classmethod
    def parse(cls, text: str) -> VectorLengths:
        """From ``"1,2,4"`` or ``"1-4,8"``, in quadwords."""
        vqs: list[int] = []
        for part in filter(None, (p.strip() for p in text.split(","))):
            low, dash, high = part.partition("-")
            try:
                first, last = int(low), int(high) if dash else int(low)
            except ValueError:
                raise ValueError(f"vector lengths are quadwords like 1,2,4; got {part!r}") from None
            if first > last:
                raise ValueError(f"vector lengths {part!r} run backwards")
            Vq(first), Vq(last)
            vqs.extend(range(first, last + 1))
        return cls(vqs)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("VectorLengths is immutable")

    def __reduce__(self) -> tuple[object, ...]:
        return (VectorLengths.from_bitmap, (self.bitmap,))

    @property
    def max(self) -> int:
        """The largest vq, or 0 for the empty set."""
        return self.bitmap.bit_length()

    def up_to(self, vq: int) -> VectorLengths:
        """The lengths of this set that are at most `vq` (0 gives the empty set)."""
        return VectorLengths.from_bitmap(self.bitmap & ((1 << vq) - 1))

    def is_prefix_of(self, other: VectorLengths) -> bool:
        """Whether this set is what `other` holds up to this set's own maximum."""
        return self == other.up_to(self.max)

    def common_prefix(self, other: VectorLengths) -> VectorLengths:
        """The longest set that is a prefix of both: everything below the first disagreement."""
        differs = self.bitmap ^ other.bitmap
        if not differs:
            return self
        lowest = (differs & -differs).bit_length()
        return self.up_to(lowest - 1)

    def __iter__(self) -> Iterator[Vq]:
        rest = self.bitmap
        while rest:
            low = rest & -rest
            yield Vq(low.bit_length())
            rest ^= low

    def __contains__(self, vq: object) -> bool:
        return isinstance(vq, int) and vq >= 1 and bool(self.bitmap >> (vq - 1) & 1)

    def __len__(self) -> int:
        return self.bitmap.bit_count()

    def __and__(self, other: VectorLengths) -> VectorLengths:
        return VectorLengths.from_bitmap(self.bitmap & other.bitmap)

    def __or__(self, other: VectorLengths) -> VectorLengths:
        return VectorLengths.from_bitmap(self.bitmap | other.bitmap)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VectorLengths) and self.bitmap == other.bitmap

    def __hash__(self) -> int:
        return hash((VectorLengths, self.bitmap))

    def __repr__(self) -> str:
        return f"VectorLengths([{', '.join(str(int(vq)) for vq in self)}])"

    def __str__(self) -> str:
        """As the command line takes it: ``1,2,4``; runs of three and more as ``1-16``."""
        runs: list[list[int]] = []
        for vq in self:
            if runs and vq == runs[-1][-1] + 1:
                runs[-1].append(int(vq))
            else:
                runs.append([int(vq)])
        return ",".join(f"{r[0]}-{r[-1]}" if len(r) > 2 else ",".join(map(str, r)) for r in runs) or "none"


def common(cpus: Iterable[VectorLengths]) -> VectorLengths:
    """The vector lengths that every CPU has."""
    sets = list(cpus)
    bitmap = sets[0].bitmap if sets else 0
    for lengths in sets:
        bitmap &= lengths.bitmap
    return VectorLengths.from_bitmap(bitmap)


def first_partial(cpus: Iterable[VectorLengths]) -> int:
    """The smallest vq that some CPUs have and others lack; 0 if the CPUs agree."""
    sets = list(cpus)
    union = 0
    for lengths in sets:
        union |= lengths.bitmap
    partial = union & ~common(sets).bitmap
    return (partial & -partial).bit_length()


def virtualisable(cpus: Iterable[VectorLengths], required: int = 0) -> VectorLengths:
    """The vector lengths a hypervisor can give every vCPU of a host with unlike CPUs.

    The smallest length that only some CPUs have caps everything at and above it, because EL2
    can limit a vCPU's length but cannot hide one length below the limit. `required` is the
    architecture's own minimum (1 for SVE, 0 for SME, which has none).

    Source: Linux arch/arm64/kernel/fpsimd.c, the virtualisable maximum computed at boot.
    """
    sets = list(cpus)
    partial = first_partial(sets)
    limit = partial - 1 if partial else ARCH_VQ_MAX
    return common(sets).up_to(limit) if limit >= required else VectorLengths()
