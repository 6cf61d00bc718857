"""Values that cross layers: registers with their contents, a host's facts, a vCPU's phase, exits.

All of them are frozen and refuse nonsense when built.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from enum import Enum
from typing import NamedTuple

from armkvm.abi.regid import SIZE_SHIFT, RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.arch.fields import Field
from armkvm.arch.idfields import narrow_fields
from armkvm.arch.vectors import VectorLengths
from armkvm.value import Value


class Phase(Enum):
    """Where a vCPU is in its life. The VM's first run is a separate fact, see `model.lifecycle`."""

    CREATED = "not initialised"
    CONFIGURED = "initialised, vector lengths not finalized"
    READY = "ready"


class RegValue(Value):
    """A register's contents: exactly as many bytes as its id says, in memory order."""

    reg: RegId
    data: bytes

    def __post_init__(self) -> None:
        if len(self.data) != self.reg.size:
            raise ValueError(f"{self.reg!r} holds {self.reg.size} bytes, not {len(self.data)}")

    @property
    def number(self) -> int:
        return int.from_bytes(self.data, "little")


class RegisterSet(Mapping[RegId, bytes]):
    """Registers with their contents, in the order they were listed; each at most once."""

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[RegId, bytes]]) -> None:
        pairs = list(pairs)
        values = dict(pairs)
        for reg, data in pairs:
            if len(data) != 1 << (reg >> SIZE_SHIFT & 15):  # reg.size, without the call
                raise ValueError(f"{reg!r} holds {reg.size} bytes, not {len(data)}")
        if len(values) != len(pairs):
            twice = next(reg for reg, count in Counter(reg for reg, _ in pairs).items() if count > 1)
            raise ValueError(f"{twice!r} appears twice")
        self._values = values

    def __getitem__(self, reg: RegId) -> bytes:
        return self._values[reg]

    def __iter__(self) -> Iterator[RegId]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    # What Mapping would build from the above, at the speed of a dict: whole vCPUs go through here.

    def __contains__(self, reg: object) -> bool:
        return reg in self._values

    def keys(self) -> KeysView[RegId]:
        return self._values.keys()

    def items(self) -> ItemsView[RegId, bytes]:
        return self._values.items()

    def values(self) -> ValuesView[bytes]:
        return self._values.values()

    def __repr__(self) -> str:
        return f"<RegisterSet of {len(self)} registers>"


class CpuVectors(NamedTuple):
    """The vector lengths of one physical CPU."""

    sve: VectorLengths = VectorLengths()
    sme: VectorLengths = VectorLengths()


class HostFacts(Value, kw_only=True):
    """What is known of a host: the CPU's and the kernel's side, as userspace can see it.

    `values` holds register values after KVM_ARM_VCPU_INIT with every feature the host has, by
    variant: ``plain``, and ``el2`` and ``el2_e2h0`` where guests can have EL2. `origin` says where
    the facts come from, `notes` what a user of them should be told. `hidden` holds, by ID register, the
    CPU's own fields that its kernel no longer shows but takes back (MPAM, NV), where they are known.
    `writable_masks` and `behaviours` (by name, whether the kernel has it) are what a probe saw; what it
    did not see is as the profile says.
    """

    name: str
    cpu: str
    kernel: str
    profile: str
    caps: Mapping[int, int]
    vm_caps: Mapping[int, int] = {}
    features: frozenset[VcpuFeature]
    preferred_target: int
    ipa_bits: int
    device_types: frozenset[int]
    cpus: tuple[CpuVectors, ...]
    values: Mapping[str, Mapping[RegId, int]]
    cpu_flags: frozenset[str] = frozenset()
    writable_masks: Mapping[RegId, int] | None = None
    vgic: Mapping[str, int] = {}
    hidden: Mapping[RegId, int] = {}
    behaviours: Mapping[str, bool] = {}
    origin: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.cpus:
            raise ValueError("a host has at least one CPU")
        if "plain" not in self.values:
            raise ValueError("a host's facts need register values of a plain vCPU")


class GuestCpu(NamedTuple):
    """A vCPU as a VM would be given it: what to ask KVM for, and what to write before it first runs.

    `id_registers` and `bitmaps` hold whole register values by id; a register left out keeps what
    the host initialises it to. Empty vector lengths mean that the feature is left out.
    """

    features: frozenset[VcpuFeature]
    sve: VectorLengths = VectorLengths()
    sme: VectorLengths = VectorLengths()
    id_registers: Mapping[RegId, int] = {}
    bitmaps: Mapping[RegId, int] = {}
    psci_version: int | None = None


FieldRules = Callable[[RegId, int], tuple[int, ...]]
"""For each of a register's narrow ID fields the values that stick when written, as bits (bit v for value v).

Wider fields accept what they are.
"""


class Acceptance(NamedTuple):
    """What one host's KVM accepts for a vCPU with given features, before it first runs.

    `initial` holds the feature ID registers as initialised, which are also the most they may be
    set to. `rules` say of a `compared` register that was initialised to a value which values of its
    fields stick; hosts that go by the same rules share them. `identity` registers (MIDR_EL1 and its
    like) take any value if `identity_is_writable`.
    """

    host: str
    kernel: str
    features: frozenset[VcpuFeature]
    sve: VectorLengths
    sme: VectorLengths
    initial: Mapping[RegId, int]
    compared: tuple[RegId, ...]
    rules: FieldRules
    identity: Mapping[RegId, int]
    identity_is_writable: bool
    bitmaps: Mapping[RegId, int]
    psci_versions: tuple[int, ...]

    def fields(self, reg: RegId) -> Mapping[Field, int]:
        """The values that stick in each field of a register, empty if it is not compared."""
        encoding = reg.encoding
        if encoding is None or reg not in self.compared:
            return {}
        return dict(zip(narrow_fields(encoding), self.rules(reg, self.initial[reg]), strict=True))


class Mmio(NamedTuple):
    """KVM_EXIT_MMIO: the guest touched an address without memory."""

    address: int
    data: bytes
    is_write: bool


class SystemEvent(NamedTuple):
    """KVM_EXIT_SYSTEM_EVENT: 1 shutdown, 2 reset, 3 crash, 4 wakeup, 5 suspend."""

    type: int
    data: tuple[int, ...] = ()


class Exit(NamedTuple):
    """Why KVM_RUN returned: `reason` is KVM_EXIT_*, with what belongs to it.

    `executed` counts the guest's instructions if the run was given a limit on them, the one that
    led to the exit included.
    """

    reason: int
    mmio: Mmio | None = None
    system_event: SystemEvent | None = None
    payload: bytes = b""
    executed: int | None = None
