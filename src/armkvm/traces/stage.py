"""Carrying out the steps of a sequence on a place: one function for each call.

A step names a call and its arguments; the answer is an errno (None for success) and data, under the
names that `traces.schema` gives them. VMs, vCPUs and devices go by number, in the order in which they
were made; those that a sequence found refused have none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

from armkvm.abi.regid import RegId
from armkvm.abi.structs import CREATE_DEVICE_TEST
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.backends.base import Attributes, Device, Feature, System, Vcpu, Vm
from armkvm.catalog import MOVING
from armkvm.errors import KvmError, errno_name

Step = Mapping[str, Any]
Answer = dict[str, Any]
_T = TypeVar("_T")

REGISTERS = "REGISTERS"
"""A step of ours: KVM_GET_REG_LIST, then every register it names but those that move by themselves."""


class LostError(Exception):
    """A step needs what this place refused to make."""


@dataclass(slots=True)
class _Made:
    """One VM with what was made in it. None stands for what was refused here only."""

    vm: Vm
    vcpus: list[Vcpu | None] = field(default_factory=list)
    devices: list[Device | None] = field(default_factory=list)


class Stage:
    """What a sequence has made on a place so far. Closing it closes all of that, not the place."""

    def __init__(self, system: System, *, vm0: bool = True, vcpu0: bool = False) -> None:
        self.system = system
        self._vms: list[_Made | None] = []
        self._open = ExitStack()
        if vm0:
            self._vms.append(self._new_vm(0))
            if vcpu0:
                self.vm({}).vcpus.append(self.vm({}).vm.create_vcpu(0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def carry_out(self, step: Step) -> tuple[Answer, str]:
        """Issue one call: what it answered, and the place's reason for a refusal. LostError if it cannot."""
        try:
            answer = _CALLS[step["ioctl"]](self, step)
        except KvmError as refused:
            answer = {"errno": errno_name(refused.errno or 0)}
            if "n" in step:
                answer["n_out"] = step["n"] if refused.count is None else refused.count
            because = refused.rule.name if refused.rule else ""
            return answer, f"{because} {refused.detail}".strip()
        except ValueError as mistake:  # a feature without a number there, memory outside the slots
            raise LostError(str(mistake)) from None
        return {"errno": None, **answer}, ""

    def vm(self, step: Step) -> _Made:
        """The VM that a step is about."""
        return _existing(self._vms, step.get("vm", 0), "VM")

    def vcpu(self, step: Step) -> Vcpu:
        """The vCPU that a step is about."""
        return _existing(self.vm(step).vcpus, step.get("vcpu", 0), "vCPU")

    def device(self, step: Step) -> Device:
        """The device that a step is about: the last one made, unless it has a number."""
        return _existing(self.vm(step).devices, step.get("device", -1), "device")

    def _new_vm(self, machine_type: int) -> _Made:
        return _Made(self._open.enter_context(self.system.create_vm(machine_type)))

    def create_vm(self, step: Step) -> Answer:
        _counted(self._vms, step, lambda: self._new_vm(step.get("type", 0)))
        return {}


def _existing(made: list[_T | None], number: int, what: str) -> _T:
    try:
        thing = made[number]
    except IndexError:
        thing = None
    if thing is None:
        raise LostError(f"its {what} was refused")
    return thing


def _counted(made: list[_T | None], step: Step, make: Callable[[], _T | None]) -> None:
    """Things are counted as they were when the sequence was recorded; before that, as they are made."""
    counts = "errno" not in step or step["errno"] is None
    try:
        thing = make()
    except KvmError:
        if counts and "errno" in step:
            made.append(None)
        raise
    if counts:
        made.append(thing)


# -- calls -----------------------------------------------------------------------------------------


def _attributes(stage: Stage, step: Step) -> Attributes:
    on = step.get("on", "vcpu")
    if on == "device":
        return stage.device(step)
    return stage.vm(step).vm if on == "vm" else stage.vcpu(step)


def _number(value: str | int) -> int:
    return int(value, 16) if isinstance(value, str) else value


def _attr(step: Step) -> tuple[int, int]:
    return step["group"], _number(step["attr"])


def _feature(value: str | int) -> Feature:
    return VcpuFeature(value) if isinstance(value, str) else value


def _check_extension(stage: Stage, step: Step) -> Answer:
    where = stage.vm(step).vm if step.get("on") == "vm" else stage.system
    return {"result": where.check_extension(step["cap"])}


def _api_version(stage: Stage, _: Step) -> Answer:
    return {"result": stage.system.api_version()}


def _create_vcpu(stage: Stage, step: Step) -> Answer:
    made = stage.vm(step)
    _counted(made.vcpus, step, lambda: made.vm.create_vcpu(step["id"]))
    return {}


def _preferred_target(stage: Stage, step: Step) -> Answer:
    target, features = stage.vm(step).vm.preferred_target()
    return {"target_out": target, "features_out": list(features)}


def _init(stage: Stage, step: Step) -> Answer:
    stage.vcpu(step).init([_feature(f) for f in step["features"]], step.get("target"))
    return {}


def _finalize(stage: Stage, step: Step) -> Answer:
    stage.vcpu(step).finalize(_feature(step["feature"]))
    return {}


def _get_one_reg(stage: Stage, step: Step) -> Answer:
    reg = int(step["id"], 16)
    if "addr" in step:
        stage.vcpu(step).get_one_reg_null(reg)
        return {}
    return {"value": stage.vcpu(step).get_one_reg(reg).hex()}


def _set_one_reg(stage: Stage, step: Step) -> Answer:
    reg = int(step["id"], 16)
    if "addr" in step:
        stage.vcpu(step).set_one_reg_null(reg)
    else:
        stage.vcpu(step).set_one_reg(reg, bytes.fromhex(step["value"]))
    return {}


def _reg_list(stage: Stage, step: Step) -> Answer:
    listed = stage.vcpu(step).reg_list(step.get("n"))
    return {"n_out": len(listed), "list": [reg.hex for reg in listed]}


def _registers(stage: Stage, step: Step) -> Answer:
    vcpu = stage.vcpu(step)
    wanted = [reg for reg in vcpu.reg_list() if reg not in MOVING]
    try:
        values: list[bytes | str] = list(vcpu.get_regs(wanted))
    except KvmError:
        values = [_value_or_errno(vcpu, reg) for reg in wanted]
    told = [value if isinstance(value, str) else value.hex() for value in values]
    return {"values": {reg.hex: value for reg, value in zip(wanted, told, strict=True)}}


def _value_or_errno(vcpu: Vcpu, reg: RegId) -> bytes | str:
    try:
        return vcpu.get_one_reg(reg)
    except KvmError as refused:
        return errno_name(refused.errno or 0)


def _run(stage: Stage, step: Step) -> Answer:
    left = stage.vcpu(step).run(
        step.get("immediate_exit", False),
        mmio_data=bytes.fromhex(step.get("mmio_data", "")),
        instructions=step.get("instructions"),
    )
    answer: Answer = {"exit_reason": left.reason}
    if left.mmio is not None:
        answer["mmio"] = {
            "addr": hex(left.mmio.address),
            "data": left.mmio.data.hex(),
            "is_write": int(left.mmio.is_write),
        }
    if left.system_event is not None:
        answer["system_event_type"] = left.system_event.type
    return answer


def _set_guest_debug(stage: Stage, step: Step) -> Answer:
    registers = bytes.fromhex(step.get("registers", ""))
    stage.vcpu(step).set_guest_debug(step["control"], registers)
    return {}


def _enable_cap(stage: Stage, step: Step) -> Answer:
    stage.vm(step).vm.enable_cap(step["cap"], *step["args"], flags=step.get("flags", 0))
    return {}


def _get_mp_state(stage: Stage, step: Step) -> Answer:
    return {"value": stage.vcpu(step).get_mp_state().to_bytes(4, "little").hex()}


def _set_mp_state(stage: Stage, step: Step) -> Answer:
    stage.vcpu(step).set_mp_state(int.from_bytes(bytes.fromhex(step["value"]), "little"))
    return {}


def _get_vcpu_events(stage: Stage, step: Step) -> Answer:
    return {"value": stage.vcpu(step).get_vcpu_events().hex()}


def _set_vcpu_events(stage: Stage, step: Step) -> Answer:
    stage.vcpu(step).set_vcpu_events(bytes.fromhex(step["value"]))
    return {}


def _writable_masks(stage: Stage, step: Step) -> Answer:
    masks = stage.vm(step).vm.writable_masks(step.get("range", 0), step.get("reserved", ()))
    return {"masks": {RegId(reg).hex: hex(mask) for reg, mask in sorted(masks.items())}}


def _set_counter_offset(stage: Stage, step: Step) -> Answer:
    stage.vm(step).vm.set_counter_offset(step["offset"], step.get("reserved", 0))
    return {}


def _set_memory(stage: Stage, step: Step) -> Answer:
    vm = stage.vm(step).vm
    vm.set_memory(step["slot"], _number(step["addr"]), step["size"], step.get("flags", 0))
    return {}


def _read_memory(stage: Stage, step: Step) -> Answer:
    return {"value": stage.vm(step).vm.read_memory(_number(step["addr"]), step["size"]).hex()}


def _write_memory(stage: Stage, step: Step) -> Answer:
    stage.vm(step).vm.write_memory(_number(step["addr"]), bytes.fromhex(step["value"]))
    return {}


def _create_device(stage: Stage, step: Step) -> Answer:
    made = stage.vm(step)
    if step["flags"] & CREATE_DEVICE_TEST:
        made.vm.create_device(step["type"], test=True)
    else:
        _counted(made.devices, step, lambda: made.vm.create_device(step["type"]))
    return {}


def _has_attr(stage: Stage, step: Step) -> Answer:
    _attributes(stage, step).has_attr(*_attr(step))
    return {}


def _get_attr(stage: Stage, step: Step) -> Answer:
    where = _attributes(stage, step)
    if "addr" in step:
        where.get_attr_null(*_attr(step))
        return {}
    size = step["size"] if "size" in step else len(step["value"]) // 2 if "value" in step else 8
    return {"value": where.get_attr(*_attr(step), size).hex()}


def _set_attr(stage: Stage, step: Step) -> Answer:
    where = _attributes(stage, step)
    if "addr" in step:
        where.set_attr_null(*_attr(step))
    else:
        where.set_attr(*_attr(step), bytes.fromhex(step.get("value", "00" * 8)))
    return {}


_CALLS: dict[str, Callable[[Stage, Step], Answer]] = {
    "KVM_GET_API_VERSION": _api_version,
    "KVM_CHECK_EXTENSION": _check_extension,
    "KVM_CREATE_VM": Stage.create_vm,
    "KVM_ARM_PREFERRED_TARGET": _preferred_target,
    "KVM_CREATE_VCPU": _create_vcpu,
    "KVM_ARM_VCPU_INIT": _init,
    "KVM_ARM_VCPU_FINALIZE": _finalize,
    "KVM_GET_ONE_REG": _get_one_reg,
    "KVM_SET_ONE_REG": _set_one_reg,
    "KVM_GET_REG_LIST": _reg_list,
    REGISTERS: _registers,
    "KVM_RUN": _run,
    "KVM_SET_GUEST_DEBUG": _set_guest_debug,
    "KVM_ENABLE_CAP": _enable_cap,
    "KVM_GET_MP_STATE": _get_mp_state,
    "KVM_SET_MP_STATE": _set_mp_state,
    "KVM_GET_VCPU_EVENTS": _get_vcpu_events,
    "KVM_SET_VCPU_EVENTS": _set_vcpu_events,
    "KVM_ARM_GET_REG_WRITABLE_MASKS": _writable_masks,
    "KVM_ARM_SET_COUNTER_OFFSET": _set_counter_offset,
    "KVM_SET_USER_MEMORY_REGION": _set_memory,
    "READ_MEMORY": _read_memory,
    "WRITE_MEMORY": _write_memory,
    "KVM_CREATE_DEVICE": _create_device,
    "KVM_HAS_DEVICE_ATTR": _has_attr,
    "KVM_GET_DEVICE_ATTR": _get_attr,
    "KVM_SET_DEVICE_ATTR": _set_attr,
}
IOCTLS = frozenset(_CALLS)
