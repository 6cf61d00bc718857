"""A VM's vCPU state as a value: what one host answered, and what another is to be told.

Not in it: guest memory and the state of devices.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache

from armkvm.abi import vls
from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.abi.structs import VCPU_EVENTS
from armkvm.abi.vcpu_features import FEATURE_BITS_MAX, VcpuFeature
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.base import Feature
from armkvm.state import RegisterSet
from armkvm.value import Value

VCPU_IDS = 512
"""Vcpu ids are below this; the kernel's own bound may be lower."""

LABEL_LENGTH = 400


class Origin(Value):
    """Where a snapshot was taken. Labels for people; nothing is decided by them."""

    uri: str
    kernel: str = ""
    host: str = ""

    def __post_init__(self) -> None:
        for name in ("uri", "kernel", "host"):
            label = getattr(self, name)
            if len(label) > LABEL_LENGTH or not label.isprintable():
                raise ValueError(f"{name} is at most {LABEL_LENGTH} printable characters")


class EnabledCap(Value):
    """KVM_ENABLE_CAP on the VM, before any vCPU exists."""

    cap: Cap | int
    args: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.cap < 1 << 32:
            raise ValueError(f"a capability has 32 bits, not {self.cap:#x}")
        if len(self.args) > 4 or any(not 0 <= arg < 1 << 64 for arg in self.args):
            raise ValueError("a capability takes up to four arguments of 64 bits")

    @property
    def name(self) -> str:
        """The capability's name, or its number if it has none in mainline."""
        return self.cap.name if isinstance(self.cap, Cap) else str(self.cap)


class VmConfig(Value):
    """What a VM is made with before its first vCPU: KVM_CREATE_VM's type, then KVM_ENABLE_CAP."""

    machine_type: int = 0
    caps: tuple[EnabledCap, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.machine_type < 1 << 64:
            raise ValueError(f"a machine type has 64 bits, not {self.machine_type:#x}")


class VcpuEvents(Value, kw_only=True):
    """struct kvm_vcpu_events by field."""

    serror_pending: int = 0
    serror_has_esr: int = 0
    ext_dabt_pending: int = 0
    serror_esr: int = 0

    def __post_init__(self) -> None:
        for name in ("serror_pending", "serror_has_esr", "ext_dabt_pending"):
            if not 0 <= getattr(self, name) < 1 << 8:
                raise ValueError(f"{name} has 8 bits, not {getattr(self, name):#x}")
        if not 0 <= self.serror_esr < 1 << 64:
            raise ValueError(f"serror_esr has 64 bits, not {self.serror_esr:#x}")

    @classmethod
    @lru_cache(maxsize=16)  # nearly always the same 64 bytes
    def parse(cls, data: bytes) -> VcpuEvents:
        """From the 64 bytes of KVM_GET_VCPU_EVENTS.

        ValueError where bits are set that have no name here: dropping them would lose state.
        """
        pending, has_esr, ext_dabt, esr, *_reserved = VCPU_EVENTS.unpack(data)
        events = cls(
            serror_pending=pending, serror_has_esr=has_esr, ext_dabt_pending=ext_dabt, serror_esr=esr
        )
        if events.pack() != data:
            raise ValueError("KVM_GET_VCPU_EVENTS sets bits that are reserved today")
        return events

    def pack(self) -> bytes:
        """The 64 bytes of KVM_SET_VCPU_EVENTS."""
        return VCPU_EVENTS.pack(
            self.serror_pending, self.serror_has_esr, self.ext_dabt_pending, self.serror_esr, *[0] * 12
        )

    def __str__(self) -> str:
        words = []
        if self.serror_pending:
            syndrome = f" with ESR {self.serror_esr:#x}" if self.serror_has_esr else ""
            words.append(f"SError pending{syndrome}")
        if self.ext_dabt_pending:
            words.append("external data abort pending")
        return ", ".join(words) or "none"

    @property
    def carried(self) -> VcpuEvents:
        """What of it is the guest's: nothing but a pending SError, and its syndrome if it has one.

        The kernel reports `serror_has_esr` from the host's RAS extension whether or not an SError
        is pending.
        """
        if not self.serror_pending:
            return VcpuEvents(ext_dabt_pending=self.ext_dabt_pending)
        return (
            self
            if self.serror_has_esr
            else VcpuEvents(serror_pending=self.serror_pending, ext_dabt_pending=self.ext_dabt_pending)
        )


class VcpuState(Value, kw_only=True):
    """One vCPU: how it was initialised, every register its list named, and what is no register.

    `registers` keeps the order of KVM_GET_REG_LIST. `refused` holds the registers that were
    listed and yet could not be read, with the errno.
    """

    id: int
    features: tuple[Feature, ...]
    registers: RegisterSet
    refused: Mapping[RegId, int] = {}
    mp_state: int = 0
    events: VcpuEvents = VcpuEvents()

    def __post_init__(self) -> None:
        if not 0 <= self.id < VCPU_IDS:
            raise ValueError(f"a vCPU id is 0..{VCPU_IDS - 1}, not {self.id}")
        if not 0 <= self.mp_state < 1 << 32:
            raise ValueError(f"an MP state has 32 bits, not {self.mp_state:#x}")
        both = self.refused.keys() & self.registers.keys()
        if both:
            raise ValueError(f"{min(both)!r} has a value and was refused")
        object.__setattr__(self, "features", sorted_features(self.features))
        object.__setattr__(self, "refused", dict(self.refused))

    def lengths(self, pseudo_register: RegId) -> VectorLengths | None:
        """The set of vector lengths that KVM_REG_ARM64_SVE_VLS or _SME_VLS holds; None without it."""
        data = self.registers.get(pseudo_register)
        return None if data is None else vls.decode(data)

    @property
    def sve_lengths(self) -> VectorLengths | None:
        return self.lengths(RegId.sve_vls())

    @property
    def sme_lengths(self) -> VectorLengths | None:
        return self.lengths(RegId.sme_vls())

    @property
    def bytes_held(self) -> int:
        """How many bytes of register contents this is."""
        return sum(map(len, self.registers.values()))


class Snapshot(Value):
    """A VM's vCPU state, in the order the vCPUs were created."""

    origin: Origin
    vm: VmConfig
    vcpus: tuple[VcpuState, ...]

    def __post_init__(self) -> None:
        if not self.vcpus:
            raise ValueError("a snapshot holds at least one vCPU")
        ids = [vcpu.id for vcpu in self.vcpus]
        if len(set(ids)) != len(ids):
            raise ValueError(f"vCPU ids come twice: {ids}")


def sorted_features(features: Collection[Feature]) -> tuple[Feature, ...]:
    """Features once each, names in the ABI's order before raw bit numbers."""
    for feature in features:
        if not isinstance(feature, VcpuFeature) and not 0 <= feature < FEATURE_BITS_MAX:
            raise ValueError(f"a feature bit is 0..{FEATURE_BITS_MAX - 1}, not {feature}")
    named = [feature for feature in VcpuFeature if feature in features]
    return (*named, *sorted({bit for bit in features if not isinstance(bit, VcpuFeature)}))
