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
from armkvm.hosts.recording import ERRNO, REG_ID
from armkvm.hosts.shape import Shape

_U32 = shape.number(0, (1 << 32) - 1)
_U64 = shape.number(0, (1 << 64) - 1)
_I32 = shape.number(-(1 << 31), (1 << 31) - 1)
_BYTES = shape.text("(?:[0-9a-f]{2}){0,32768}", "bytes in hex")
_NULL = shape.one_of(("0x0",))
_HEX = shape.text("0x[0-9a-f]{1,16}", "a number 0x...")
_FEATURES = shape.array(
    shape.either(str, (shape.one_of([*VcpuFeature]), shape.number(0, FEATURE_BITS_MAX - 1))), 0, 256
)
_ATTRIBUTE = {"group": _U32, "attr": shape.either(str, (_HEX, _U64))}
_PLACE = {"on": shape.one_of(("vcpu", "device"))}

# ioctl -> (members it needs, members it may have)
_STEPS: Mapping[str, tuple[Mapping[str, Shape], Mapping[str, Shape]]] = {
    "KVM_CREATE_VCPU": ({"id": _U32}, {}),
    "KVM_ARM_VCPU_INIT": ({"features": _FEATURES}, {"target": _U32}),
    "KVM_ARM_VCPU_FINALIZE": ({"feature": _I32}, {}),
    "KVM_GET_ONE_REG": ({"id": REG_ID}, {"addr": _NULL, "value": _BYTES}),
    "KVM_SET_ONE_REG": ({"id": REG_ID}, {"addr": _NULL, "value": _BYTES}),
    "KVM_GET_REG_LIST": ({"n": _U64}, {"n_out": _U64}),
    "KVM_RUN": (
        {},
        {
            "immediate_exit": shape.boolean,
            "exit_reason": _U32,
            "mmio": shape.members(
                {"addr": _HEX, "data": _BYTES, "is_write": shape.number(0, 1)}, others=True
            ),
            "system_event_type": _U32,
        },
    ),
    "KVM_ENABLE_CAP": ({"cap": _U32, "args": shape.array(_U64, 0, 4)}, {}),
    "KVM_GET_MP_STATE": ({}, {"value": _BYTES}),
    "KVM_GET_VCPU_EVENTS": ({}, {"value": _BYTES}),
    "KVM_CREATE_DEVICE": ({"type": _U32, "flags": _U32}, {}),
    "KVM_HAS_DEVICE_ATTR": (_ATTRIBUTE, _PLACE),
    "KVM_GET_DEVICE_ATTR": (_ATTRIBUTE, {**_PLACE, "addr": _NULL, "value": _BYTES}),
    "KVM_SET_DEVICE_ATTR": (_ATTRIBUTE, {**_PLACE, "addr": _NULL, "value": _BYTES}),
}
IOCTLS = frozenset(_STEPS)

_COMMON = {"vcpu": shape.number(0, 511), "volatile": shape.boolean}
_SHAPES = {
    ioctl: shape.members(
        {"errno": shape.nullable(ERRNO), **needs},
        {"ioctl": shape.one_of(IOCTLS), **_COMMON, **may},
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
    {"vcpu0": shape.boolean},
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
    vcpus, has_device = int(bool(sequence.get("vcpu0"))), False
    for number, step in enumerate(sequence["steps"]):
        here, ioctl = member(path, number), step["ioctl"]
        if ioctl == "KVM_CREATE_VCPU":
            vcpus += step["errno"] is None
        elif ioctl == "KVM_CREATE_DEVICE":
            has_device |= step["errno"] is None and not step["flags"] & CREATE_DEVICE_TEST
        elif step.get("on") == "device":
            if not has_device:
                yield Fault(here, "expected a device created before it is used, got none")
        elif ioctl != "KVM_ENABLE_CAP" and step.get("vcpu", 0) >= vcpus:
            got = step.get("vcpu", 0)
            yield Fault(here, f"expected a vCPU created before it is used, got number {got} of {vcpus}")
        if ioctl == "KVM_SET_ONE_REG" and "addr" not in step:
            size = RegId(int(step["id"], 16)).size
            if len(step.get("value", "")) != 2 * size:
                yield Fault(here, f"expected a value of the register's {size} bytes")
