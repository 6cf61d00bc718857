"""A recorded step, made again through the protocol: what it answered then and what it answers now."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.backends.base import Attributes, Device, Vcpu, Vm
from armkvm.errors import KvmError, errno_name


@dataclass
class Scene:
    """The VM of one probe, with what was created in it, in order."""

    vm: Vm
    vcpus: list[Vcpu] = field(default_factory=list)
    device: Device | None = None


def perform(scene: Scene, step: dict[str, Any]) -> dict[str, Any]:
    """Make the call again; the answering part of a step (errno, value, n_out)."""
    answer: dict[str, Any] = {"errno": None}
    try:
        answer.update(_perform(scene, step))
    except KvmError as error:
        answer["errno"] = errno_name(error.errno or 0)
        if step["ioctl"] == "KVM_GET_REG_LIST":
            answer["n_out"] = step["n"] if error.count is None else error.count
    return answer


def _perform(scene: Scene, step: dict[str, Any]) -> dict[str, Any]:
    call = step["ioctl"]
    if call == "KVM_CREATE_VCPU":
        scene.vcpus.append(scene.vm.create_vcpu(step["id"]))
        return {}
    if call == "KVM_ENABLE_CAP":
        cap = step["cap"]
        scene.vm.enable_cap(cap if isinstance(cap, int) else Cap[cap], *step["args"])
        return {}
    if call == "KVM_CREATE_DEVICE":
        device = scene.vm.create_device(step["type"], test=bool(step["flags"]))
        scene.device = device or scene.device
        return {}
    if call.endswith("_DEVICE_ATTR"):
        return _attribute(scene, step)
    vcpu = scene.vcpus[step.get("vcpu", 0)]
    if call == "KVM_ARM_VCPU_INIT":
        features = [VcpuFeature(f) if isinstance(f, str) else f for f in step["features"]]
        vcpu.init(features, step.get("target"))
    elif call == "KVM_ARM_VCPU_FINALIZE":
        vcpu.finalize(step["feature"])
    elif call == "KVM_GET_REG_LIST":
        return {"n_out": len(vcpu.reg_list(step["n"]))}
    elif call == "KVM_RUN":
        vcpu.run(step["immediate_exit"])
    elif call == "KVM_GET_MP_STATE":
        return {"value": vcpu.get_mp_state().to_bytes(4, "little").hex()}
    elif call == "KVM_GET_VCPU_EVENTS":
        return {"value": vcpu.get_vcpu_events().hex()}
    else:
        return _register(vcpu, step)
    return {}


def _register(vcpu: Vcpu, step: dict[str, Any]) -> dict[str, Any]:
    reg = RegId(int(step["id"], 16))
    null = step.get("addr") == "0x0"
    if step["ioctl"] == "KVM_GET_ONE_REG":
        if null:
            vcpu.get_one_reg_null(reg)
            return {}
        return {"value": vcpu.get_one_reg(reg).hex()}
    if null:
        vcpu.set_one_reg_null(reg)
    else:
        vcpu.set_one_reg(reg, bytes.fromhex(step["value"]).ljust(reg.size, b"\0")[: reg.size])
    return {}


def _attribute(scene: Scene, step: dict[str, Any]) -> dict[str, Any]:
    on: Attributes | None = (
        scene.vcpus[step.get("vcpu", 0)] if step.get("on", "vcpu") == "vcpu" else scene.device
    )
    assert on is not None
    attr = step["attr"] if isinstance(step["attr"], int) else int(step["attr"], 16)
    group, call = step["group"], step["ioctl"]
    null = step.get("addr") == "0x0"
    if call == "KVM_HAS_DEVICE_ATTR":
        on.has_attr(group, attr)
    elif call == "KVM_GET_DEVICE_ATTR":
        if null:
            on.get_attr_null(group, attr)
        else:
            size = len(step.get("value", "")) // 2 or 8
            value = on.get_attr(group, attr, size)
            return {"value": value.hex()} if "value" in step else {}
    elif null:
        on.set_attr_null(group, attr)
    else:
        on.set_attr(group, attr, bytes.fromhex(step.get("value", "")))
    return {}
