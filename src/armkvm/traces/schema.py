"""What a file of call sequences must look like before it is replayed.

One row for each kind of step: the members it needs and may have. Members not named are let be, as
recordings annotate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from armkvm.abi.regid import RegId
from armkvm.abi.structs import CREATE_DEVICE_TEST
from armkvm.abi.vcpu_features import FEATURE_BITS_MAX, VcpuFeature
from armkvm.documents import step as member
from armkvm.errors import Fault
from armkvm.hosts import shape
from armkvm.hosts.recording import ERRNO, REG_ID, value_of
from armkvm.hosts.shape import Shape
from armkvm.traces.stage import REGISTERS

_U32 = shape.number(0, (1 << 32) - 1)
_U64 = shape.number(0, (1 << 64) - 1)
_I32 = shape.number(-(1 << 31), (1 << 31) - 1)
_BYTES = shape.text("(?:[0-9a-f]{2}){0,32768}", "bytes in hex")
_NULL = shape.one_of(("0x0",))
_HEX = shape.text("0x[0-9a-f]{1,16}", "a number 0x...")
_FEATURES = shape.array(
    shape.either(str, (shape.one_of([*VcpuFeature]), shape.number(0, FEATURE_BITS_MAX - 1))), 0, 256
)
_ADDRESS = shape.either(str, (_HEX, _U64))
_ATTRIBUTE = {"group": _U32, "attr": _ADDRESS}
_PLACE = {"on": shape.one_of(("vcpu", "device", "vm")), "device": shape.number(0, 511)}
_MEMORY = shape.number(0, 1 << 32)
_MOST_REGISTERS = 8192
_VALUES = shape.mapping(REG_ID, value_of, _MOST_REGISTERS)


def _exactly(size: int) -> Shape:
    return shape.text(f"[0-9a-f]{{{2 * size}}}", f"{size} bytes in hex")


# ioctl -> (members it needs, members it may have)
_STEPS: Mapping[str, tuple[Mapping[str, Shape], Mapping[str, Shape]]] = {
    "KVM_GET_API_VERSION": ({}, {"result": _I32}),
    "KVM_CHECK_EXTENSION": ({"cap": _U32}, {"on": shape.one_of(("system", "vm")), "result": _I32}),
    "KVM_CREATE_VM": ({}, {"type": _U64}),
    "KVM_ARM_PREFERRED_TARGET": ({}, {"target_out": _U32, "features_out": shape.array(_U32, 7, 7)}),
    "KVM_CREATE_VCPU": ({"id": _U32}, {}),
    "KVM_ARM_VCPU_INIT": ({"features": _FEATURES}, {"target": _U32}),
    "KVM_ARM_VCPU_FINALIZE": ({"feature": shape.either(str, (shape.one_of([*VcpuFeature]), _I32))}, {}),
    "KVM_GET_ONE_REG": ({"id": REG_ID}, {"addr": _NULL, "value": _BYTES}),
    "KVM_SET_ONE_REG": ({"id": REG_ID}, {"addr": _NULL, "value": _BYTES}),
    "KVM_GET_REG_LIST": ({}, {"n": _U64, "n_out": _U64, "list": shape.array(REG_ID, 0, _MOST_REGISTERS)}),
    REGISTERS: ({}, {"values": _VALUES}),
    "KVM_RUN": (
        {},
        {
            "immediate_exit": shape.boolean,
            "mmio_data": _BYTES,
            "instructions": _U64,
            "exit_reason": _U32,
            "mmio": shape.members(
                {"addr": _HEX, "data": _BYTES, "is_write": shape.number(0, 1)}, others=True
            ),
            "system_event_type": _U32,
        },
    ),
    "KVM_SET_GUEST_DEBUG": ({"control": _U32}, {"registers": _exactly(512)}),
    "KVM_ENABLE_CAP": ({"cap": _U32, "args": shape.array(_U64, 0, 4)}, {"flags": _U32}),
    "KVM_GET_MP_STATE": ({}, {"value": _BYTES}),
    "KVM_SET_MP_STATE": ({"value": _exactly(4)}, {}),
    "KVM_GET_VCPU_EVENTS": ({}, {"value": _BYTES}),
    "KVM_SET_VCPU_EVENTS": ({"value": _exactly(64)}, {}),
    "KVM_ARM_GET_REG_WRITABLE_MASKS": (
        {},
        {
            "range": _U32,
            "reserved": shape.array(_U32, 0, 13),
            "masks": shape.mapping(REG_ID, lambda _: _HEX, 192),
        },
    ),
    "KVM_ARM_SET_COUNTER_OFFSET": ({"offset": _U64}, {"reserved": _U64}),
    "KVM_SET_USER_MEMORY_REGION": ({"slot": _U32, "addr": _ADDRESS, "size": _MEMORY}, {"flags": _U32}),
    "READ_MEMORY": ({"addr": _ADDRESS, "size": shape.number(0, 1 << 24)}, {"value": _BYTES}),
    "WRITE_MEMORY": ({"addr": _ADDRESS, "value": _BYTES}, {}),
    "KVM_CREATE_DEVICE": ({"type": _U32, "flags": _U32}, {}),
    "KVM_HAS_DEVICE_ATTR": (_ATTRIBUTE, _PLACE),
    "KVM_GET_DEVICE_ATTR": (
        _ATTRIBUTE,
        {**_PLACE, "addr": _NULL, "value": _BYTES, "size": shape.number(0, 32768)},
    ),
    "KVM_SET_DEVICE_ATTR": (_ATTRIBUTE, {**_PLACE, "addr": _NULL, "value": _BYTES}),
}
_COMMON = {
    "vm": shape.number(0, 511),
    "vcpu": shape.number(0, 511),
    "volatile": shape.boolean,
    "because": shape.label(2000),
}
_SHAPES = {
    ioctl: shape.members(
        {"errno": shape.nullable(ERRNO), **needs},
        {"ioctl": shape.one_of(_STEPS), **_COMMON, **may},
        others=True,
    )
    for ioctl, (needs, may) in _STEPS.items()
}
_KIND = shape.members({"ioctl": shape.one_of(_STEPS, "a call armkvm can replay")}, others=True)


def _step(value: object, path: str, faults: list[Fault]) -> None:
    before = len(faults)
    _KIND(value, path, faults)
    if len(faults) == before and isinstance(value, dict):
        _SHAPES[value["ioctl"]](value, path, faults)


_SEQUENCE = shape.members(
    {"name": shape.label(), "steps": shape.array(_step, 0, 100_000)},
    {"vm0": shape.boolean, "vcpu0": shape.boolean},
    others=True,
)
_TRACE = shape.members({"probes": shape.array(_SEQUENCE, 0, 100_000)}, others=True)


def faults_of(tree: object) -> list[Fault]:
    """Everything wrong with the sequences of a parsed recording or trace."""
    faults = shape.check(tree, _TRACE)
    if not faults and isinstance(tree, dict):
        for number, sequence in enumerate(tree["probes"]):
            faults += _inconsistent(sequence, f"$.probes[{number}].steps")
    return shape.limited(faults)


def _inconsistent(sequence: Mapping[str, Any], path: str) -> Iterator[Fault]:
    """Steps that use what no step made, or hold what their call cannot."""
    vcpus = [int(bool(sequence.get("vcpu0")))] if sequence.get("vm0", True) else []
    devices = [0] * len(vcpus)
    for number, step in enumerate(sequence["steps"]):
        here, ioctl, succeeded = member(path, number), step["ioctl"], step["errno"] is None
        if ioctl == "KVM_CREATE_VM":
            vcpus += [0] * succeeded
            devices += [0] * succeeded
        if ioctl in _OF_THE_SYSTEM and step.get("on") != "vm":
            continue
        vm = step.get("vm", 0)
        if vm >= len(vcpus):
            yield Fault(here, f"expected a VM created before it is used, got number {vm} of {len(vcpus)}")
            continue
        if ioctl == "KVM_CREATE_VCPU":
            vcpus[vm] += succeeded
        elif ioctl == "KVM_CREATE_DEVICE":
            devices[vm] += succeeded and not step["flags"] & CREATE_DEVICE_TEST
        elif step.get("on") == "device":
            if step.get("device", 0) >= devices[vm]:
                yield Fault(here, "expected a device created before it is used, got none")
        elif _is_of_a_vcpu(step) and step.get("vcpu", 0) >= vcpus[vm]:
            got = step.get("vcpu", 0)
            yield Fault(here, f"expected a vCPU created before it is used, got number {got} of {vcpus[vm]}")
        if ioctl == "KVM_SET_ONE_REG" and "addr" not in step:
            size = RegId(int(step["id"], 16)).size
            if len(step.get("value", "")) != 2 * size:
                yield Fault(here, f"expected a value of the register's {size} bytes")


_OF_THE_SYSTEM = frozenset(("KVM_GET_API_VERSION", "KVM_CHECK_EXTENSION", "KVM_CREATE_VM"))
_OF_A_VM = frozenset(
    (
        "KVM_CHECK_EXTENSION",
        "KVM_ARM_PREFERRED_TARGET",
        "KVM_ENABLE_CAP",
        "KVM_ARM_GET_REG_WRITABLE_MASKS",
        "KVM_ARM_SET_COUNTER_OFFSET",
        "KVM_SET_USER_MEMORY_REGION",
        "READ_MEMORY",
        "WRITE_MEMORY",
    )
)


def _is_of_a_vcpu(step: Mapping[str, Any]) -> bool:
    return step["ioctl"] not in _OF_A_VM and step.get("on") != "vm"
