"""The narrow protocol every place speaks: one method for each call of the ABI.

A refusal raises `KvmError` with the kernel's errno. Bytes of the wrong length are the caller's
mistake and raise ValueError before any call is made. All handles are context managers;
closing a VM closes its vCPUs and devices, closing twice is harmless.

The ``..._null`` methods issue a call with a NULL user pointer; they exist for replaying traces,
where EFAULT's place in the order of checks matters, and always raise unless the kernel
accepts the call without touching the pointer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.state import Exit

Feature = VcpuFeature | int
"""A feature by name, or a raw bit number of struct kvm_vcpu_init."""


class Handle(Protocol):
    """Something that is closed after use."""

    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Attributes(Protocol):
    """KVM_{HAS,GET,SET}_DEVICE_ATTR, on a device, a vCPU or a VM."""

    def has_attr(self, group: int, attr: int) -> None:
        """Return if the attribute exists; refuse with ENXIO otherwise."""

    def get_attr(self, group: int, attr: int, size: int = 8) -> bytes:
        """Read `size` bytes (what the attribute's type needs)."""

    def set_attr(self, group: int, attr: int, data: bytes = b"") -> None:
        """Write an attribute; `data` is what its pointer points at."""

    def set_attr_null(self, group: int, attr: int) -> None:
        """KVM_SET_DEVICE_ATTR with a NULL pointer."""

    def get_attr_null(self, group: int, attr: int) -> None:
        """KVM_GET_DEVICE_ATTR with a NULL pointer."""


class Device(Handle, Attributes, Protocol):
    """A device made by KVM_CREATE_DEVICE."""


class Vcpu(Handle, Attributes, Protocol):
    """One vCPU."""

    @property
    def id(self) -> int:
        """The number it was created with."""

    def init(self, features: Iterable[Feature] = (), target: int | None = None) -> None:
        """KVM_ARM_VCPU_INIT; `target` None asks KVM_ARM_PREFERRED_TARGET."""

    def finalize(self, feature: Feature) -> None:
        """KVM_ARM_VCPU_FINALIZE."""

    def get_one_reg(self, reg: int) -> bytes:
        """Read one register: as many bytes as its id says."""

    def set_one_reg(self, reg: int, data: bytes) -> None:
        """Write one register; `data` has as many bytes as its id says, or ValueError."""

    def get_regs(self, regs: Iterable[int]) -> list[bytes]:
        """Read many registers in order; the first refusal raises."""

    def set_regs(self, pairs: Iterable[tuple[int, bytes]]) -> None:
        """Write many registers in order; the first refusal raises, earlier writes stay."""

    def get_one_reg_null(self, reg: int) -> None:
        """KVM_GET_ONE_REG with a NULL pointer."""

    def set_one_reg_null(self, reg: int) -> None:
        """KVM_SET_ONE_REG with a NULL pointer."""

    def reg_list(self, n: int | None = None) -> list[RegId]:
        """KVM_GET_REG_LIST. `n` is the count offered (None: ask, then fetch).

        E2BIG if `n` is too small; the error's `count` is what the kernel wrote back.
        """

    def run(
        self, immediate_exit: bool = False, *, mmio_data: bytes = b"", instructions: int | None = None
    ) -> Exit:
        """KVM_RUN; EINTR with `immediate_exit`, after the work of a first run is done.

        `mmio_data` is what the guest's load reads that the last run returned for: as many bytes as
        that exit's `Mmio.data`, or none for zeroes; ValueError otherwise. A run is always bounded in
        time, see the place's option ``run_limit``, and by `instructions` if that is given, which a real
        KVM counts by single steps (slowly). Either limit ends it with EINTR, as a signal does.
        """

    def set_guest_debug(self, control: int, registers: bytes = b"") -> None:
        """KVM_SET_GUEST_DEBUG: control bits (`abi.structs.GuestDebug`), and 512 bytes of breakpoints
        and watchpoints, or none for zeroes. EINVAL for a control that KVM does not know.
        """

    def get_mp_state(self) -> int: ...
    def set_mp_state(self, state: int) -> None: ...

    def get_vcpu_events(self) -> bytes:
        """The 64 bytes of struct kvm_vcpu_events."""

    def set_vcpu_events(self, events: bytes) -> None: ...


@runtime_checkable
class SveVlsCalls(Protocol):
    """KVM_ARM_VCPU_GET_SVE_VLS and KVM_ARM_VCPU_SET_SVE_VLS, which some vCPUs have besides.

    Proposed in 2017 and never given a number, so only the model has them: they work under its profile
    ``sve-ioctl-2017``, and every other profile refuses them with EINVAL, as a kernel does an ioctl
    it does not know.
    """

    def get_sve_vls(self) -> bytes:
        """The set of SVE vector lengths: 64 bytes, bit vq-1 for vq quadwords."""

    def set_sve_vls(self, data: bytes) -> None:
        """Choose the set: EINVAL if it does not begin the host's, EPERM once the vCPU has run."""


class Vm(Handle, Attributes, Protocol):
    """One virtual machine."""

    def check_extension(self, cap: Cap | int) -> int: ...

    def create_vcpu(self, vcpu_id: int) -> Vcpu: ...

    def preferred_target(self) -> tuple[int, Sequence[int]]:
        """KVM_ARM_PREFERRED_TARGET: (target, features[7])."""

    def enable_cap(self, cap: Cap | int, *args: int, flags: int = 0) -> None: ...

    def create_device(self, kind: int, test: bool = False) -> Device | None:
        """KVM_CREATE_DEVICE; with `test` only asks, and returns None."""

    def writable_masks(self, range_: int = 0, reserved: Sequence[int] = ()) -> Mapping[RegId, int]:
        """KVM_ARM_GET_REG_WRITABLE_MASKS: feature ID register -> mask, zero masks left out."""

    def set_counter_offset(self, offset: int, reserved: int = 0) -> None:
        """KVM_ARM_SET_COUNTER_OFFSET."""

    def set_memory(self, slot: int, guest_address: int, size: int, flags: int = 0) -> None:
        """KVM_SET_USER_MEMORY_REGION with `size` zeroed bytes; size 0 deletes the slot."""

    def read_memory(self, guest_address: int, size: int) -> bytes:
        """Read guest memory; ValueError outside the slots."""

    def write_memory(self, guest_address: int, data: bytes) -> None:
        """Write guest memory; ValueError outside the slots."""


@runtime_checkable
class System(Handle, Protocol):
    """A place: what /dev/kvm is on a real host."""

    @property
    def uri(self) -> str:
        """How this place was named."""

    @property
    def kernel(self) -> str:
        """The kernel's release there, for labels only; never compared."""

    def api_version(self) -> int: ...

    def check_extension(self, cap: Cap | int) -> int:
        """KVM_CHECK_EXTENSION: 0 for what the place does not know."""

    def create_vm(self, machine_type: int = 0) -> Vm: ...
