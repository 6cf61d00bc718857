"""Replay named call sequences on a place and compare every answer.

A sequence starts with a fresh VM, and with vCPU 0 created if it says so. A step names an ioctl,
its arguments and what was answered: an errno (None for success) and data. Steps marked volatile
are carried out and not compared. `traces.schema` says what sequences must look like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.backends.base import Attributes, Device, Feature, System, Vcpu, Vm
from armkvm.catalog import name_of
from armkvm.errors import KvmError, errno_name

Step = Mapping[str, Any]
Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """One answer that was not the recorded one."""

    sequence: str
    step: int
    call: str
    what: str
    recorded: object
    here: object
    because: str = ""

    def __str__(self) -> str:
        why = f"  ({self.because})" if self.because else ""
        where = f"{self.sequence}[{self.step}] {self.call}"
        return f"{where}: {self.what} recorded {_short(self.recorded)}, here {_short(self.here)}{why}"


@dataclass(slots=True)
class _Stage:
    """What a sequence has created so far. None stands for a vCPU that was refused here only."""

    vm: Vm
    vcpus: list[Vcpu | None]
    device: Device | None = None


class _LostError(Exception):
    """A step needs what this place refused to make."""


def replay(sequences: Iterable[Mapping[str, Any]], system: System) -> Iterator[Difference]:
    """Every difference between what was recorded and what `system` answers, sequence by sequence."""
    for sequence in sequences:
        yield from replay_one(sequence, system)


def replay_one(sequence: Mapping[str, Any], system: System) -> Iterator[Difference]:
    """The differences of one sequence."""
    with system.create_vm() as vm:
        stage = _Stage(vm, [])
        if sequence.get("vcpu0"):
            stage.vcpus.append(vm.create_vcpu(0))
        for number, step in enumerate(sequence["steps"]):
            try:
                answer, error = _carry_out(stage, step)
            except _LostError as lost:
                yield Difference(
                    sequence["name"], number, describe(step), "carried out", True, False, str(lost)
                )
                return
            if step.get("volatile"):
                continue
            for what in _COMPARED:
                if what in step and (what in answer or what == "errno") and _is_answer(step, what):
                    here = answer.get(what)
                    if here != step[what]:
                        yield Difference(
                            sequence["name"], number, describe(step), what, step[what], here, error
                        )


def _short(value: object) -> str:
    """An answer in a line of text: long contents by their beginning."""
    text = str(value)
    return text if len(text) <= 80 else f"{text[:64]}... ({len(text) // 2} bytes)"


_COMPARED = ("errno", "value", "n_out", "exit_reason", "mmio", "system_event_type")
_WRITES = ("KVM_SET_ONE_REG", "KVM_SET_DEVICE_ATTR")


def _is_answer(step: Step, what: str) -> bool:
    return what != "value" or step["ioctl"] not in _WRITES


def describe(step: Step) -> str:
    """A step as a person would write the call."""
    words = [step["ioctl"]]
    if step["ioctl"] in ("KVM_GET_ONE_REG", "KVM_SET_ONE_REG"):
        words.append(name_of(RegId(int(step["id"], 16))) or step["id"])
        if step["ioctl"] == "KVM_SET_ONE_REG":
            words.append(f"= {step['value'][:32]}")
    else:
        skip = {"ioctl", "errno", "value", "n_out", "vcpu"}
        words += [f"{key}={value}" for key, value in step.items() if key not in skip]
    if step.get("vcpu"):
        words.append(f"on vCPU {step['vcpu']}")
    return " ".join(words)


def _carry_out(stage: _Stage, step: Step) -> tuple[Answer, str]:
    """Issue one call: what it answered, and the place's explanation of a refusal."""
    try:
        answer = _CALLS[step["ioctl"]](stage, step)
    except KvmError as refused:
        answer = {"errno": errno_name(refused.errno or 0)}
        if "n" in step:
            answer["n_out"] = step["n"] if refused.count is None else refused.count
        because = refused.rule.name if refused.rule else ""
        return answer, f"{because} {refused.detail}".strip()
    return {"errno": None, **answer}, ""


def _vcpu(stage: _Stage, step: Step) -> Vcpu:
    vcpu = stage.vcpus[step.get("vcpu", 0)]
    if vcpu is None:
        raise _LostError("its vCPU was refused")
    return vcpu


def _create_vcpu(stage: _Stage, step: Step) -> Answer:
    """Vcpus are counted as they were when the sequence was recorded."""
    counts = step["errno"] is None
    try:
        vcpu = stage.vm.create_vcpu(step["id"])
    except KvmError:
        if counts:
            stage.vcpus.append(None)
        raise
    if counts:
        stage.vcpus.append(vcpu)
    return {}


def _feature(value: str | int) -> Feature:
    return VcpuFeature(value) if isinstance(value, str) else value


def _init(stage: _Stage, step: Step) -> Answer:
    _vcpu(stage, step).init([_feature(f) for f in step["features"]], step.get("target"))
    return {}


def _get_one_reg(stage: _Stage, step: Step) -> Answer:
    reg = int(step["id"], 16)
    if "addr" in step:
        _vcpu(stage, step).get_one_reg_null(reg)
        return {}
    return {"value": _vcpu(stage, step).get_one_reg(reg).hex()}


def _set_one_reg(stage: _Stage, step: Step) -> Answer:
    reg = int(step["id"], 16)
    if "addr" in step:
        _vcpu(stage, step).set_one_reg_null(reg)
    else:
        _vcpu(stage, step).set_one_reg(reg, bytes.fromhex(step["value"]))
    return {}


def _reg_list(stage: _Stage, step: Step) -> Answer:
    return {"n_out": len(_vcpu(stage, step).reg_list(step["n"]))}


def _finalize(stage: _Stage, step: Step) -> Answer:
    _vcpu(stage, step).finalize(step["feature"])
    return {}


def _run(stage: _Stage, step: Step) -> Answer:
    left = _vcpu(stage, step).run(step.get("immediate_exit", False))
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


def _enable_cap(stage: _Stage, step: Step) -> Answer:
    stage.vm.enable_cap(step["cap"], *step["args"])
    return {}


def _get_mp_state(stage: _Stage, step: Step) -> Answer:
    return {"value": _vcpu(stage, step).get_mp_state().to_bytes(4, "little").hex()}


def _get_vcpu_events(stage: _Stage, step: Step) -> Answer:
    return {"value": _vcpu(stage, step).get_vcpu_events().hex()}


def _create_device(stage: _Stage, step: Step) -> Answer:
    made = stage.vm.create_device(step["type"], test=bool(step["flags"]))
    if made is not None:
        stage.device = made
    return {}


def _attributes(stage: _Stage, step: Step) -> tuple[Attributes, int, int]:
    if step.get("on") == "device":
        if stage.device is None:
            raise _LostError("its device was refused")
        where: Attributes = stage.device
    else:
        where = _vcpu(stage, step)
    attr = step["attr"]
    return where, step["group"], int(attr, 16) if isinstance(attr, str) else attr


def _has_attr(stage: _Stage, step: Step) -> Answer:
    where, group, attr = _attributes(stage, step)
    where.has_attr(group, attr)
    return {}


def _get_attr(stage: _Stage, step: Step) -> Answer:
    where, group, attr = _attributes(stage, step)
    if "addr" in step:
        where.get_attr_null(group, attr)
        return {}
    size = len(step["value"]) // 2 if "value" in step else 8
    return {"value": where.get_attr(group, attr, size).hex()}


def _set_attr(stage: _Stage, step: Step) -> Answer:
    where, group, attr = _attributes(stage, step)
    if "addr" in step:
        where.set_attr_null(group, attr)
    else:
        where.set_attr(group, attr, bytes.fromhex(step.get("value", "00" * 8)))
    return {}


_CALLS: dict[str, Callable[[_Stage, Step], Answer]] = {
    "KVM_CREATE_VCPU": _create_vcpu,
    "KVM_ARM_VCPU_INIT": _init,
    "KVM_ARM_VCPU_FINALIZE": _finalize,
    "KVM_GET_ONE_REG": _get_one_reg,
    "KVM_SET_ONE_REG": _set_one_reg,
    "KVM_GET_REG_LIST": _reg_list,
    "KVM_RUN": _run,
    "KVM_ENABLE_CAP": _enable_cap,
    "KVM_GET_MP_STATE": _get_mp_state,
    "KVM_GET_VCPU_EVENTS": _get_vcpu_events,
    "KVM_CREATE_DEVICE": _create_device,
    "KVM_HAS_DEVICE_ATTR": _has_attr,
    "KVM_GET_DEVICE_ATTR": _get_attr,
    "KVM_SET_DEVICE_ATTR": _set_attr,
}
