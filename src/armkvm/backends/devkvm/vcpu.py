"""One vCPU over real ioctls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct, unpack_from
from time import monotonic

from armkvm.abi.ioctls import Ioctl
from armkvm.abi.regid import RegId
from armkvm.abi.structs import (
    GUEST_DEBUG_HEAD,
    MP_STATE,
    ONE_REG,
    REG_LIST_HEAD,
    VCPU_EVENTS,
    VCPU_INIT,
    GuestDebug,
)
from armkvm.abi.vcpu_features import FEATURE_BITS_MAX
from armkvm.backends.base import Feature
from armkvm.backends.devkvm.descriptor import NULL, AttributeDescriptor, Scratch, packed
from armkvm.backends.devkvm.registers import RegisterBuffers, refusal, size_of
from armkvm.backends.devkvm.running import RunPage
from armkvm.backends.devkvm.stepping import run_counted
from armkvm.backends.register_layout import transposed
from armkvm.backends.run_calls import debug_registers
from armkvm.errors import KvmError
from armkvm.state import Exit

_INT = Struct("<i")
_LONGEST_VALUE = 1 << 15  # bits 55:52 of an id can claim this many bytes
_SHORTEST_RUN = 1e-3
_LIST_ROOM = 1 << 16
"""Ids there is room for at least; the kernel writes as many as it has, never as many as it is offered."""


class DevKvmVcpu(AttributeDescriptor):
    """One vCPU. Used by one thread at a time, as the kernel wants it."""

    def __init__(
        self,
        fd: int,
        vcpu_id: int,
        *,
        preferred_target: Callable[[], int],
        feature_bit: Callable[[Feature, str], int],
        run_page_size: int,
        run_limit: float,
    ) -> None:
        super().__init__(fd)
        self._id = vcpu_id
        self._preferred_target = preferred_target
        self._feature_bit = feature_bit
        self._run_page_size = run_page_size
        self._run_limit = run_limit
        self._run_page: RunPage | None = None
        self._debugged = False
        self._one = Scratch(_LONGEST_VALUE)
        self._many: RegisterBuffers | None = None

    @property
    def id(self) -> int:
        return self._id

    def init(self, features: Iterable[Feature] = (), target: int | None = None) -> None:
        words = [0] * (FEATURE_BITS_MAX // 32)
        for feature in features:
            bit = self._feature_bit(feature, Ioctl.KVM_ARM_VCPU_INIT.name)
            if not 0 <= bit < FEATURE_BITS_MAX:
                raise ValueError(
                    f"a feature is a bit of struct kvm_vcpu_init, 0..{FEATURE_BITS_MAX - 1}, not {bit}"
                )
            words[bit // 32] |= 1 << bit % 32
        if target is None:
            target = self._preferred_target()
        self.structure(Ioctl.KVM_ARM_VCPU_INIT, packed(VCPU_INIT, target, *words))

    def finalize(self, feature: Feature) -> None:
        request = Ioctl.KVM_ARM_VCPU_FINALIZE
        self.structure(request, packed(_INT, self._feature_bit(feature, request.name)))

    # -- registers -------------------------------------------------------------------------

    def _one_reg(self, call: Ioctl, reg: int, address: int) -> None:
        try:
            self.structure(call, packed(ONE_REG, reg, address))
        except KvmError as error:
            raise refusal(error, call, reg) from None

    def get_one_reg(self, reg: int) -> bytes:
        self._one_reg(Ioctl.KVM_GET_ONE_REG, reg, self._one.address)
        return self._one.memory[: size_of(reg)]

    def set_one_reg(self, reg: int, data: bytes) -> None:
        if len(data) != size_of(reg):
            raise ValueError(f"{RegId(reg)!r} holds {size_of(reg)} bytes, not {len(data)}")
        # A system register is read as eight bytes even where its id claims fewer.
        padded = data.ljust(16, b"\0")
        self._one.memory[: len(padded)] = padded
        self._one_reg(Ioctl.KVM_SET_ONE_REG, reg, self._one.address)

    def get_one_reg_null(self, reg: int) -> None:
        self._one_reg(Ioctl.KVM_GET_ONE_REG, reg, NULL)

    def set_one_reg_null(self, reg: int) -> None:
        self._one_reg(Ioctl.KVM_SET_ONE_REG, reg, NULL)

    def get_regs(self, regs: Iterable[int]) -> list[bytes]:
        return self._buffers(regs).read(self.fd)

    def set_regs(self, pairs: Iterable[tuple[int, bytes]]) -> None:
        regs, values = transposed(pairs)
        self._buffers(regs).write(self.fd, values)

    def _buffers(self, regs: Iterable[int]) -> RegisterBuffers:
        """Ready-made buffers for these registers; the last list's are kept."""
        regs = list(regs)
        if self._many is None or self._many.layout.regs != regs:
            if self._many is not None:
                self._many.close()
                self._many = None
            self._many = RegisterBuffers(regs)
        return self._many

    def reg_list(self, n: int | None = None) -> list[RegId]:
        if n is None:
            try:
                return self.reg_list(0)
            except KvmError as error:
                if error.count is None:
                    raise
                n = error.count
        room = Scratch(REG_LIST_HEAD.size + 8 * min(max(n, 0), _LIST_ROOM))
        try:
            room.memory[: REG_LIST_HEAD.size] = packed(REG_LIST_HEAD, n)
            try:
                self.number(Ioctl.KVM_GET_REG_LIST, room.address)
            except KvmError as error:
                (error_count,) = REG_LIST_HEAD.unpack_from(room.memory)
                error.count = error_count if error_count != n else None
                raise
            (count,) = REG_LIST_HEAD.unpack_from(room.memory)
            return list(map(RegId, unpack_from(f"<{count}Q", room.memory, REG_LIST_HEAD.size)))
        finally:
            room.close()

    # -- running and the rest --------------------------------------------------------------

    def run(
        self, immediate_exit: bool = False, *, mmio_data: bytes = b"", instructions: int | None = None
    ) -> Exit:
        if self._run_page is None:
            self._run_page = RunPage(self, self._run_page_size)
        page = self._run_page
        if instructions is None or immediate_exit or self._debugged:
            return page.run(immediate_exit, mmio_data, self._run_limit)
        ends = monotonic() + self._run_limit

        def step() -> Exit:
            nonlocal mmio_data
            data, mmio_data = mmio_data, b""
            return page.run(False, data, max(ends - monotonic(), _SHORTEST_RUN))

        return run_counted(step, self._debug, instructions)

    def set_guest_debug(self, control: int, registers: bytes = b"") -> None:
        self._debug(control, registers)
        self._debugged = bool(control & GuestDebug.ENABLE)

    def _debug(self, control: int, registers: bytes = b"") -> None:
        head = packed(GUEST_DEBUG_HEAD, control)
        self.structure(Ioctl.KVM_SET_GUEST_DEBUG, head + debug_registers(registers))

    def get_mp_state(self) -> int:
        (state,) = MP_STATE.unpack(self.structure(Ioctl.KVM_GET_MP_STATE, bytes(MP_STATE.size)))
        return int(state)

    def set_mp_state(self, state: int) -> None:
        self.structure(Ioctl.KVM_SET_MP_STATE, packed(MP_STATE, state))

    def get_vcpu_events(self) -> bytes:
        return self.structure(Ioctl.KVM_GET_VCPU_EVENTS, bytes(VCPU_EVENTS.size))

    def set_vcpu_events(self, events: bytes) -> None:
        if len(events) != VCPU_EVENTS.size:
            raise ValueError(f"struct kvm_vcpu_events has {VCPU_EVENTS.size} bytes, not {len(events)}")
        self.structure(Ioctl.KVM_SET_VCPU_EVENTS, events)

    def close(self) -> None:
        if self._fd < 0:
            return
        if self._run_page is not None:
            self._run_page.close()
        if self._many is not None:
            self._many.close()
        self._one.close()
        super().close()
