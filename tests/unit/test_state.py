"""Values that cross layers refuse nonsense when they are built."""

from __future__ import annotations

from typing import Any

import pytest

from armkvm.abi.regid import RegId
from armkvm.state import CpuVectors, HostFacts, RegisterSet, RegValue

X0, X1 = RegId.x(0), RegId.x(1)
FACTS: dict[str, Any] = {
    "name": "h", "cpu": "c", "kernel": "7.3", "profile": "7.3", "caps": {}, "features": frozenset(),
    "preferred_target": 5, "ipa_bits": 40, "device_types": frozenset(), "cpus": (CpuVectors(),),
    "values": {"plain": {}},
}  # fmt: skip


def test_a_value_has_as_many_bytes_as_its_id_says() -> None:
    assert RegValue(X0, bytes.fromhex("0102000000000000")).number == 0x201
    with pytest.raises(ValueError, match="8 bytes, not 4"):
        RegValue(X0, bytes(4))


def test_a_register_set_keeps_the_order_it_was_given() -> None:
    registers = RegisterSet([(X1, bytes(8)), (X0, bytes(8))])
    assert list(registers) == [X1, X0]
    assert len(registers) == 2
    assert registers[X0] == bytes(8)


def test_a_register_set_refuses_a_register_twice_or_of_the_wrong_size() -> None:
    with pytest.raises(ValueError, match="twice"):
        RegisterSet([(X0, bytes(8)), (X0, bytes(8))])
    with pytest.raises(ValueError, match="8 bytes, not 7"):
        RegisterSet([(X0, bytes(7))])


@pytest.mark.parametrize(
    ("part", "says"), [({"cpus": ()}, "at least one CPU"), ({"values": {}}, "plain vCPU")]
)
def test_a_host_needs_a_cpu_and_values(part: dict[str, Any], says: str) -> None:
    assert HostFacts(**FACTS).name == "h"
    with pytest.raises(ValueError, match=says):
        HostFacts(**FACTS | part)
