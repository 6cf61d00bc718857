"""Any place, with every call and answer written down as it happens.

`Recorder` is a place around a place. Each call goes through, and becomes one step: a mapping with
the call, its arguments, its answer and, where the place gives one, the reason of a refusal. The
steps are those of `armkvm.traces.schema`; what takes them is up to whoever makes the recorder. Many
registers at once are made and written down one by one, so that each has its own answer.
Closing is not written down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.abi.structs import CREATE_DEVICE_TEST
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.backends.base import Attributes, Device, Feature, Handle, System, Vcpu, Vm
from armkvm.catalog import MOVING
from armkvm.errors import KvmError, errno_name
from armkvm.state import Exit

Step = dict[str, Any]
Write = Callable[[Step], None]
_T = TypeVar("_T")
_NULL = "0x0"


def _nothing(_: object) -> Step:
    return {}


def _bytes(data: bytes) -> Step:
    return {"value": data.hex()}


class _Around:
    """A handle around a handle. `about` says in each step which one it is."""

    def __init__(self, inner: Handle, write: Write, about: Mapping[str, Any]) -> None:
        self._inner_handle = inner
        self._write = write
        self._about = dict(about)

    def close(self) -> None:
        self._inner_handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _do(self, step: Step, call: Callable[[], _T], answer: Callable[[_T], Step] = _nothing) -> _T:
        """Make a call and write it down, whatever comes of it (but for a place that dies)."""
        step = {"ioctl": step.pop("ioctl"), **self._about, **step}
        try:
            result = call()
        except KvmError as refused:
            step["errno"] = errno_name(refused.errno or 0)
            if refused.count is not None:
                step["n_out"] = refused.count
            if refused.rule is not None:
                step["because"] = f"{refused.rule.name} {refused.detail}".strip()
            self._write(step)
            raise
        self._write({**step, "errno": None, **answer(result)})
        return result


class _RecordedAttributes(_Around):
    """KVM_{HAS,GET,SET}_DEVICE_ATTR of whatever has them."""

    on: str
    _attributes: Attributes

    def _attr(self, ioctl: str, group: int, attr: int, **more: str | int) -> Step:
        return {"ioctl": ioctl, "on": self.on, "group": group, "attr": hex(attr), **more}

    def has_attr(self, group: int, attr: int) -> None:
        step = self._attr("KVM_HAS_DEVICE_ATTR", group, attr)
        self._do(step, lambda: self._attributes.has_attr(group, attr))

    def get_attr(self, group: int, attr: int, size: int = 8) -> bytes:
        step = self._attr("KVM_GET_DEVICE_ATTR", group, attr, size=size)
        return self._do(step, lambda: self._attributes.get_attr(group, attr, size), _bytes)

    def set_attr(self, group: int, attr: int, data: bytes = b"") -> None:
        step = self._attr("KVM_SET_DEVICE_ATTR", group, attr, value=data.hex())
        self._do(step, lambda: self._attributes.set_attr(group, attr, data))

    def set_attr_null(self, group: int, attr: int) -> None:
        step = self._attr("KVM_SET_DEVICE_ATTR", group, attr, addr=_NULL)
        self._do(step, lambda: self._attributes.set_attr_null(group, attr))

    def get_attr_null(self, group: int, attr: int) -> None:
        step = self._attr("KVM_GET_DEVICE_ATTR", group, attr, addr=_NULL)
        self._do(step, lambda: self._attributes.get_attr_null(group, attr))


class Recorder(_Around):
    """A place whose every call is handed to `write`."""

    def __init__(self, system: System, write: Write, done: Callable[[], None] = lambda: None) -> None:
        """`done` is called when the place was closed."""
        super().__init__(system, write, {})
        self._system = system
        self._done = done
        self._vms = 0

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._done()

    @property
    def uri(self) -> str:
        return self._system.uri

    @property
    def kernel(self) -> str:
        return self._system.kernel

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user of the place should be told."""
        notes: tuple[str, ...] = getattr(self._system, "notes", ())
        return notes

    def api_version(self) -> int:
        return self._do({"ioctl": "KVM_GET_API_VERSION"}, self._system.api_version, _result)

    def check_extension(self, cap: Cap | int) -> int:
        step = {"ioctl": "KVM_CHECK_EXTENSION", "cap": int(cap)}
        return self._do(step, lambda: self._system.check_extension(cap), _result)

    def create_vm(self, machine_type: int = 0) -> RecordedVm:
        step = {"ioctl": "KVM_CREATE_VM", "type": machine_type}
        vm = self._do(step, lambda: self._system.create_vm(machine_type))
        self._vms += 1
        return RecordedVm(vm, self._write, {"vm": self._vms - 1})


def _result(number: int) -> Step:
    return {"result": number}


class RecordedVm(_RecordedAttributes):
    """One virtual machine."""

    on = "vm"

    def __init__(self, vm: Vm, write: Write, about: Mapping[str, Any]) -> None:
        super().__init__(vm, write, about)
        self._vm = self._attributes = vm
        self._vcpus = self._devices = 0

    def check_extension(self, cap: Cap | int) -> int:
        step = {"ioctl": "KVM_CHECK_EXTENSION", "on": "vm", "cap": int(cap)}
        return self._do(step, lambda: self._vm.check_extension(cap), _result)

    def create_vcpu(self, vcpu_id: int) -> RecordedVcpu:
        step = {"ioctl": "KVM_CREATE_VCPU", "id": vcpu_id}
        vcpu = self._do(step, lambda: self._vm.create_vcpu(vcpu_id))
        self._vcpus += 1
        return RecordedVcpu(vcpu, self._write, {**self._about, "vcpu": self._vcpus - 1})

    def preferred_target(self) -> tuple[int, Sequence[int]]:
        return self._do(
            {"ioctl": "KVM_ARM_PREFERRED_TARGET"},
            self._vm.preferred_target,
            lambda got: {"target_out": got[0], "features_out": list(got[1])},
        )

    def enable_cap(self, cap: Cap | int, *args: int, flags: int = 0) -> None:
        step = {"ioctl": "KVM_ENABLE_CAP", "cap": int(cap), "args": list(args), "flags": flags}
        self._do(step, lambda: self._vm.enable_cap(cap, *args, flags=flags))

    def create_device(self, kind: int, test: bool = False) -> RecordedDevice | None:
        step = {"ioctl": "KVM_CREATE_DEVICE", "type": int(kind), "flags": CREATE_DEVICE_TEST if test else 0}
        device = self._do(step, lambda: self._vm.create_device(kind, test))
        if device is None:
            return None
        self._devices += 1
        return RecordedDevice(device, self._write, {**self._about, "device": self._devices - 1})

    def writable_masks(self, range_: int = 0, reserved: Sequence[int] = ()) -> Mapping[RegId, int]:
        return self._do(
            {"ioctl": "KVM_ARM_GET_REG_WRITABLE_MASKS", "range": range_, "reserved": list(reserved)},
            lambda: self._vm.writable_masks(range_, reserved),
            lambda masks: {"masks": {RegId(reg).hex: hex(masks[reg]) for reg in sorted(masks)}},
        )

    def set_counter_offset(self, offset: int, reserved: int = 0) -> None:
        step = {"ioctl": "KVM_ARM_SET_COUNTER_OFFSET", "offset": offset, "reserved": reserved}
        self._do(step, lambda: self._vm.set_counter_offset(offset, reserved))

    def set_memory(self, slot: int, guest_address: int, size: int, flags: int = 0) -> None:
        step = {
            "ioctl": "KVM_SET_USER_MEMORY_REGION",
            "slot": slot,
            "addr": hex(guest_address),
            "size": size,
            "flags": flags,
        }
        self._do(step, lambda: self._vm.set_memory(slot, guest_address, size, flags))

    def read_memory(self, guest_address: int, size: int) -> bytes:
        step = {"ioctl": "READ_MEMORY", "addr": hex(guest_address), "size": size}
        return self._do(step, lambda: self._vm.read_memory(guest_address, size), _bytes)

    def write_memory(self, guest_address: int, data: bytes) -> None:
        step = {"ioctl": "WRITE_MEMORY", "addr": hex(guest_address), "value": data.hex()}
        self._do(step, lambda: self._vm.write_memory(guest_address, data))


class RecordedDevice(_RecordedAttributes):
    """A device made by KVM_CREATE_DEVICE."""

    on = "device"

    def __init__(self, device: Device, write: Write, about: Mapping[str, Any]) -> None:
        super().__init__(device, write, about)
        self._attributes = device


class RecordedVcpu(_RecordedAttributes):
    """One vCPU."""

    on = "vcpu"

    def __init__(self, vcpu: Vcpu, write: Write, about: Mapping[str, Any]) -> None:
        super().__init__(vcpu, write, about)
        self._vcpu = self._attributes = vcpu

    @property
    def id(self) -> int:
        return self._vcpu.id

    def init(self, features: Iterable[Feature] = (), target: int | None = None) -> None:
        wanted = list(features)
        step: Step = {"ioctl": "KVM_ARM_VCPU_INIT", "features": _features(wanted)}
        if target is not None:
            step["target"] = target
        self._do(step, lambda: self._vcpu.init(wanted, target))

    def finalize(self, feature: Feature) -> None:
        step = {"ioctl": "KVM_ARM_VCPU_FINALIZE", "feature": _features([feature])[0]}
        self._do(step, lambda: self._vcpu.finalize(feature))

    def get_one_reg(self, reg: int) -> bytes:
        step: Step = {"ioctl": "KVM_GET_ONE_REG", "id": RegId(reg).hex}
        if reg in MOVING:
            step["volatile"] = True
        return self._do(step, lambda: self._vcpu.get_one_reg(reg), _bytes)

    def set_one_reg(self, reg: int, data: bytes) -> None:
        step = {"ioctl": "KVM_SET_ONE_REG", "id": RegId(reg).hex, "value": data.hex()}
        self._do(step, lambda: self._vcpu.set_one_reg(reg, data))

    def get_regs(self, regs: Iterable[int]) -> list[bytes]:
        return [self.get_one_reg(reg) for reg in regs]

    def set_regs(self, pairs: Iterable[tuple[int, bytes]]) -> None:
        for reg, data in pairs:
            self.set_one_reg(reg, data)

    def get_one_reg_null(self, reg: int) -> None:
        step = {"ioctl": "KVM_GET_ONE_REG", "id": RegId(reg).hex, "addr": _NULL}
        self._do(step, lambda: self._vcpu.get_one_reg_null(reg))

    def set_one_reg_null(self, reg: int) -> None:
        step = {"ioctl": "KVM_SET_ONE_REG", "id": RegId(reg).hex, "addr": _NULL}
        self._do(step, lambda: self._vcpu.set_one_reg_null(reg))

    def reg_list(self, n: int | None = None) -> list[RegId]:
        step: Step = {"ioctl": "KVM_GET_REG_LIST"}
        if n is not None:
            step["n"] = n
        return self._do(
            step,
            lambda: self._vcpu.reg_list(n),
            lambda listed: {"n_out": len(listed), "list": [RegId(reg).hex for reg in listed]},
        )

    def run(
        self, immediate_exit: bool = False, *, mmio_data: bytes = b"", instructions: int | None = None
    ) -> Exit:
        step: Step = {"ioctl": "KVM_RUN", "immediate_exit": immediate_exit}
        if mmio_data:
            step["mmio_data"] = mmio_data.hex()
        if instructions is not None:
            step["instructions"] = instructions
        return self._do(
            step,
            lambda: self._vcpu.run(immediate_exit, mmio_data=mmio_data, instructions=instructions),
            _exit,
        )

    def set_guest_debug(self, control: int, registers: bytes = b"") -> None:
        step: Step = {"ioctl": "KVM_SET_GUEST_DEBUG", "control": control}
        if registers:
            step["registers"] = registers.hex()
        self._do(step, lambda: self._vcpu.set_guest_debug(control, registers))

    def get_mp_state(self) -> int:
        return self._do({"ioctl": "KVM_GET_MP_STATE"}, self._vcpu.get_mp_state, _word)

    def set_mp_state(self, state: int) -> None:
        self._do({"ioctl": "KVM_SET_MP_STATE", **_word(state)}, lambda: self._vcpu.set_mp_state(state))

    def get_vcpu_events(self) -> bytes:
        return self._do({"ioctl": "KVM_GET_VCPU_EVENTS"}, self._vcpu.get_vcpu_events, _bytes)

    def set_vcpu_events(self, events: bytes) -> None:
        step = {"ioctl": "KVM_SET_VCPU_EVENTS", "value": events.hex()}
        self._do(step, lambda: self._vcpu.set_vcpu_events(events))


def _features(features: Iterable[Feature]) -> list[str | int]:
    return [feature.value if isinstance(feature, VcpuFeature) else feature for feature in features]


def _word(number: int) -> Step:
    return _bytes(number.to_bytes(4, "little"))


def _exit(left: Exit) -> Step:
    answer: Step = {"exit_reason": left.reason}
    if left.mmio is not None:
        answer["mmio"] = {
            "addr": hex(left.mmio.address),
            "data": left.mmio.data.hex(),
            "is_write": int(left.mmio.is_write),
        }
    if left.system_event is not None:
        answer["system_event_type"] = left.system_event.type
    return answer
