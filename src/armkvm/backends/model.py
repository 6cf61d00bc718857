"""``model:HOST``: the protocol over the executable model. Refusals become `KvmError` here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from time import monotonic
from types import TracebackType
from typing import NoReturn, Self

from armkvm.abi.caps import Cap
from armkvm.abi.regid import VLS_BYTES, RegId
from armkvm.abi.structs import VCPU_EVENTS
from armkvm.abi.vcpu_features import BITS_7_3, VcpuFeature
from armkvm.backends.base import Feature
from armkvm.backends.run_calls import RUN_LIMIT, check_mmio_data, debug_registers, run_limit
from armkvm.catalog import name_of
from armkvm.errors import KvmError, UnknownPlace
from armkvm.model import (
    attributes,
    devices,
    lifecycle as calls,
    machine,
    many,
    one_reg,
    reglist,
    rules,
    setup,
    vcpu_state,
    vectors,
)
from armkvm.model.devices import Device
from armkvm.model.host import Platform
from armkvm.model.outcome import Refused
from armkvm.model.profile import KernelProfile
from armkvm.model.vcpu import Vcpu
from armkvm.model.vm import Vm
from armkvm.state import Exit, HostFacts


def _raise(refused: Refused, operation: str, reg: int | None = None, vcpu: Vcpu | None = None) -> NoReturn:
    known = None if reg is None else RegId(reg)
    raise KvmError(
        refused.errno,
        operation,
        reg=known,
        reg_name="" if known is None else name_of(known),
        rule=refused.rule,
        detail=refused.detail,
        state="" if vcpu is None else vcpu.state_words,
        count=refused.count,
    )


class _Handle:
    """Nothing is held, so closing only marks the handle."""

    closed = False

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Attributes(ABC):
    """KVM_{HAS,GET,SET}_DEVICE_ATTR over what a class says of its own attributes."""

    def _whose(self) -> Vcpu | None:
        """The vCPU they belong to, if they belong to one."""
        return None

    @abstractmethod
    def _has(self, group: int, attr: int) -> Refused | None: ...

    @abstractmethod
    def _get(self, group: int, attr: int) -> bytes | Refused: ...

    @abstractmethod
    def _put(self, group: int, attr: int, data: bytes | None) -> Refused | None: ...

    def has_attr(self, group: int, attr: int) -> None:
        refused = self._has(group, attr)
        if refused is not None:
            _raise(refused, calls.HAS_DEVICE_ATTR, vcpu=self._whose())

    def get_attr(self, group: int, attr: int, size: int = 8) -> bytes:
        data = self._get(group, attr)
        if isinstance(data, Refused):
            _raise(data, calls.GET_DEVICE_ATTR, vcpu=self._whose())
        if size < len(data):
            raise ValueError(f"the attribute has {len(data)} bytes, not {size}")
        return data.ljust(size, b"\0")

    def get_attr_null(self, group: int, attr: int) -> None:
        data = self._get(group, attr)
        refused = data if isinstance(data, Refused) else Refused(rules.BAD_POINTER)
        _raise(refused, calls.GET_DEVICE_ATTR, vcpu=self._whose())

    def set_attr(self, group: int, attr: int, data: bytes = b"") -> None:
        refused = self._put(group, attr, data)
        if refused is not None:
            _raise(refused, calls.SET_DEVICE_ATTR, vcpu=self._whose())

    def set_attr_null(self, group: int, attr: int) -> None:
        refused = self._put(group, attr, None)
        if refused is not None:
            _raise(refused, calls.SET_DEVICE_ATTR, vcpu=self._whose())


def open_place(uri_rest: str, options: Mapping[str, str]) -> ModelSystem:
    """``model:HOST[?kernel=KERNEL[+BEHAVIOUR]...]``: a built-in host, or a host file or recording.

    The option ``run_limit`` is the most seconds one KVM_RUN may take (10).
    """
    from armkvm.hosts.library import find

    unknown = sorted(options.keys() - {"kernel", "run_limit"})
    if unknown:
        raise UnknownPlace(f"model: has the options kernel and run_limit, not {', '.join(unknown)}")
    limit = run_limit(options)
    facts, profile = find(uri_rest, options.get("kernel"))
    given = "&".join(f"{name}={value}" for name, value in options.items())
    return ModelSystem(facts, profile, f"model:{uri_rest}" + (f"?{given}" if given else ""), limit)


class ModelSystem(_Handle):
    """A modelled host."""

    def __init__(
        self, facts: HostFacts, profile: KernelProfile, uri: str = "", run_limit: float = RUN_LIMIT
    ) -> None:
        self.platform = Platform(facts, profile)
        self._run_limit = run_limit
        self.uri = uri or f"model:{facts.name}"

    @property
    def kernel(self) -> str:
        return self.platform.facts.kernel

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user of this model should be told about its facts."""
        return self.platform.facts.notes

    def api_version(self) -> int:
        return 12

    def check_extension(self, cap: Cap | int) -> int:
        return _answered(machine.check_extension(self.platform, cap, on_vm=False))

    def create_vm(self, machine_type: int = 0) -> ModelVm:
        vm = machine.create_vm(self.platform, machine_type)
        if isinstance(vm, Refused):
            _raise(vm, "KVM_CREATE_VM")
        return ModelVm(vm, self._run_limit)


def _answered(value: int) -> int:
    """What KVM_CHECK_EXTENSION returned: some capabilities refuse on /dev/kvm."""
    if value < 0:
        raise KvmError(-value, "KVM_CHECK_EXTENSION")
    return value


class ModelVm(_Handle, _Attributes):
    """A modelled VM."""

    def __init__(self, vm: Vm, run_limit: float = RUN_LIMIT) -> None:
        self.vm = vm
        self._run_limit = run_limit

    def check_extension(self, cap: Cap | int) -> int:
        value = machine.check_vm_extension(self.vm, cap)
        if isinstance(value, Refused):
            _raise(value, "KVM_CHECK_EXTENSION")
        return _answered(value)

    def create_vcpu(self, vcpu_id: int) -> ModelVcpu:
        vcpu = machine.create_vcpu(self.vm, vcpu_id)
        if isinstance(vcpu, Refused):
            _raise(vcpu, "KVM_CREATE_VCPU")
        return ModelVcpu(vcpu, self._run_limit)

    def preferred_target(self) -> tuple[int, Sequence[int]]:
        target = machine.preferred_target(self.vm)
        if isinstance(target, Refused):
            _raise(target, "KVM_ARM_PREFERRED_TARGET")
        return target

    def enable_cap(self, cap: Cap | int, *args: int, flags: int = 0) -> None:
        refused = machine.enable_cap(self.vm, cap, args, flags)
        if refused is not None:
            _raise(refused, "KVM_ENABLE_CAP")

    def writable_masks(self, range_: int = 0, reserved: Sequence[int] = ()) -> Mapping[RegId, int]:
        masks = machine.writable_masks(self.vm, range_, reserved)
        if isinstance(masks, Refused):
            _raise(masks, "KVM_ARM_GET_REG_WRITABLE_MASKS")
        return masks

    def set_counter_offset(self, offset: int, reserved: int = 0) -> None:
        refused = machine.set_counter_offset(self.vm, offset, reserved)
        if refused is not None:
            _raise(refused, "KVM_ARM_SET_COUNTER_OFFSET")

    def create_device(self, kind: int, test: bool = False) -> ModelDevice | None:
        made = devices.create(self.vm, kind, test)
        if isinstance(made, Refused):
            _raise(made, "KVM_CREATE_DEVICE")
        return None if made is None else ModelDevice(made)

    # -- memory ----------------------------------------------------------------------------

    def set_memory(self, slot: int, guest_address: int, size: int, flags: int = 0) -> None:
        refused = machine.set_memory(self.vm, slot, guest_address, size, flags)
        if refused is not None:
            _raise(refused, "KVM_SET_USER_MEMORY_REGION")

    def read_memory(self, guest_address: int, size: int) -> bytes:
        return self.vm.memory.read(guest_address, size)

    def write_memory(self, guest_address: int, data: bytes) -> None:
        self.vm.memory.write(guest_address, data)

    # -- attributes ------------------------------------------------------------------------

    def _has(self, group: int, attr: int) -> Refused | None:
        return attributes.vm_has_attr(self.vm, group, attr)

    def _get(self, group: int, attr: int) -> bytes | Refused:
        return attributes.vm_get_attr(self.vm, group, attr)

    def _put(self, group: int, attr: int, data: bytes | None) -> Refused | None:
        return attributes.vm_put_attr(self.vm, group, attr, data)


class ModelDevice(_Handle, _Attributes):
    """A device of a modelled VM."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def close(self) -> None:
        if not self.closed:
            self.device.close()
        super().close()

    def _has(self, group: int, attr: int) -> Refused | None:
        return self.device.has_attr(group, attr)

    def _get(self, group: int, attr: int) -> bytes | Refused:
        return self.device.get_attr(group, attr)

    def _put(self, group: int, attr: int, data: bytes | None) -> Refused | None:
        return self.device.put_attr(group, attr, data)


class ModelVcpu(_Handle, _Attributes):
    """A modelled vCPU."""

    def __init__(self, vcpu: Vcpu, run_limit: float = RUN_LIMIT) -> None:
        self.vcpu = vcpu
        self._run_limit = run_limit

    @property
    def id(self) -> int:
        return self.vcpu.id

    # -- life cycle ------------------------------------------------------------------------

    def init(self, features: Iterable[Feature] = (), target: int | None = None) -> None:
        facts, profile = self.vcpu.vm.platform.facts, self.vcpu.vm.profile
        numbers = {feature: _number(profile, feature) for feature in features}
        unknown = [feature for feature, number in numbers.items() if number is None]
        if unknown:
            _raise(
                Refused(rules.UNKNOWN_FEATURE, _unnumbered(unknown[0], profile)), calls.INIT, vcpu=self.vcpu
            )
        bits = [number for number in numbers.values() if number is not None]
        refused = setup.init(self.vcpu, bits, facts.preferred_target if target is None else target)
        if refused is not None:
            _raise(refused, calls.INIT, vcpu=self.vcpu)

    def finalize(self, feature: Feature) -> None:
        number = _number(self.vcpu.vm.profile, feature)
        if number is not None and number.bit_length() > 31:
            raise ValueError(f"{number} is no feature: KVM_ARM_VCPU_FINALIZE takes an int of 32 bits")
        refused = setup.finalize(self.vcpu, _UNKNOWN if number is None else number)
        if refused is not None:
            _raise(refused, calls.FINALIZE, vcpu=self.vcpu)

    def run(
        self, immediate_exit: bool = False, *, mmio_data: bytes = b"", instructions: int | None = None
    ) -> Exit:
        pending = self.vcpu.mmio
        check_mmio_data(mmio_data, 0 if pending is None or pending.is_write else pending.size)
        from armkvm.model import run  # a third of the model, which only guests need

        ends = monotonic() + self._run_limit
        budget = run.Budget(instructions, lambda: int(1e6 * (ends - monotonic())))
        outcome = run.run(self.vcpu, immediate_exit, mmio_data, budget)
        if isinstance(outcome, Refused):
            _raise(outcome, calls.RUN, vcpu=self.vcpu)
        return outcome

    def set_guest_debug(self, control: int, registers: bytes = b"") -> None:
        debug_registers(registers)  # which matter only to USE_HW, and the model does not run with that
        from armkvm.model import guest_debug

        refused = guest_debug.set_debug(self.vcpu, control)
        if refused is not None:
            _raise(refused, calls.SET_GUEST_DEBUG, vcpu=self.vcpu)

    # -- registers -------------------------------------------------------------------------

    def get_one_reg(self, reg: int) -> bytes:
        data = one_reg.get_one_reg(self.vcpu, reg)
        if data.__class__ is Refused:
            _raise(data, calls.GET_ONE_REG, reg, self.vcpu)
        return data  # type: ignore[return-value]  # a class test is cheaper than isinstance here

    def set_one_reg(self, reg: int, data: bytes) -> None:
        if len(data) != 1 << (reg >> 52 & 15):
            raise ValueError(f"{RegId(reg)!r} holds {RegId(reg).size} bytes, not {len(data)}")
        refused = one_reg.set_one_reg(self.vcpu, reg, data)
        if refused is not None:
            _raise(refused, calls.SET_ONE_REG, reg, self.vcpu)

    def get_regs(self, regs: Iterable[int]) -> list[bytes]:
        values = many.get(self.vcpu, regs)
        if isinstance(values, tuple):
            _raise(values[1], calls.GET_ONE_REG, values[0], self.vcpu)
        return values

    def set_regs(self, pairs: Iterable[tuple[int, bytes]]) -> None:
        refused = many.put(self.vcpu, pairs)
        if refused is not None:
            _raise(refused[1], calls.SET_ONE_REG, refused[0], self.vcpu)

    def get_one_reg_null(self, reg: int) -> None:
        self.get_one_reg(reg)
        _raise(Refused(rules.BAD_POINTER), calls.GET_ONE_REG, reg, self.vcpu)

    def set_one_reg_null(self, reg: int) -> None:
        refused = one_reg.set_one_reg(self.vcpu, reg, None)
        if refused is not None:
            _raise(refused, calls.SET_ONE_REG, reg, self.vcpu)

    def reg_list(self, n: int | None = None) -> list[RegId]:
        listed = reglist.get_reg_list(self.vcpu, n)
        if isinstance(listed, Refused):
            _raise(listed, calls.GET_REG_LIST, vcpu=self.vcpu)
        return list(map(_reg_id, listed))

    def get_sve_vls(self) -> bytes:
        data = vectors.get_lengths(self.vcpu)
        if isinstance(data, Refused):
            _raise(data, calls.GET_LENGTHS_CALL, vcpu=self.vcpu)
        return data

    def set_sve_vls(self, data: bytes) -> None:
        if len(data) != VLS_BYTES:
            raise ValueError(f"a set of vector lengths has {VLS_BYTES} bytes, not {len(data)}")
        refused = vectors.set_lengths(self.vcpu, data)
        if refused is not None:
            _raise(refused, calls.SET_LENGTHS_CALL, vcpu=self.vcpu)

    # -- other state -----------------------------------------------------------------------

    def get_mp_state(self) -> int:
        state = vcpu_state.get_mp_state(self.vcpu)
        if isinstance(state, Refused):
            _raise(state, calls.GET_MP_STATE, vcpu=self.vcpu)
        return state

    def set_mp_state(self, state: int) -> None:
        refused = vcpu_state.set_mp_state(self.vcpu, state)
        if refused is not None:
            _raise(refused, calls.SET_MP_STATE, vcpu=self.vcpu)

    def get_vcpu_events(self) -> bytes:
        events = vcpu_state.get_events(self.vcpu)
        if isinstance(events, Refused):
            _raise(events, calls.GET_VCPU_EVENTS, vcpu=self.vcpu)
        return events

    def set_vcpu_events(self, events: bytes) -> None:
        if len(events) != VCPU_EVENTS.size:
            raise ValueError(f"struct kvm_vcpu_events has {VCPU_EVENTS.size} bytes, not {len(events)}")
        refused = vcpu_state.set_events(self.vcpu, events)
        if refused is not None:
            _raise(refused, calls.SET_VCPU_EVENTS, vcpu=self.vcpu)

    def _whose(self) -> Vcpu:
        return self.vcpu

    def _has(self, group: int, attr: int) -> Refused | None:
        return attributes.has_attr(self.vcpu, group, attr)

    def _get(self, group: int, attr: int) -> bytes | Refused:
        return attributes.get_attr(self.vcpu, group, attr)

    def _put(self, group: int, attr: int, data: bytes | None) -> Refused | None:
        return attributes.put_attr(self.vcpu, group, attr, data)


_reg_id = lru_cache(maxsize=1 << 14)(RegId)  # a model lists the same ids again and again


_UNKNOWN = -1  # no kernel has a feature of this number


def _number(profile: KernelProfile, feature: Feature) -> int | None:
    """A feature's number: this kernel's, or the one a program built for a newer kernel would pass."""
    if not isinstance(feature, VcpuFeature):
        if not isinstance(feature, int):
            raise TypeError(f"{feature!r} is no vCPU feature: give an armkvm.VcpuFeature or a bit's number")
        return feature
    number = profile.bit_of(feature)
    return BITS_7_3.get(feature) if number is None else number


def _unnumbered(feature: Feature, profile: KernelProfile) -> str:
    return f"{feature} has no number in kernel {profile.name}"
