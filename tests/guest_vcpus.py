"""Modelled vCPUs with a few instructions in their memory, for tests of KVM_RUN."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.backends.base import Vcpu, Vm
from armkvm.backends.locate import connect
from armkvm.backends.model import ModelVcpu, ModelVm
from armkvm.catalog import parse

BASE, VECTORS, MEMORY = 0x4000_0000, 0x4000_1000, 0x1_0000
DEVICE = 0x0900_0000

HVC0, SMC0, SMC1, WFI, NOP, B_SELF = 0xD4000002, 0xD4000003, 0xD4000023, 0xD503207F, 0xD503201F, 0x14000000
BRK5, MOVZ_X1_DEVICE = 0xD42000A0, 0xD2A12001
MASKED_EL1H = 0x3C5


def mrs(encoding: tuple[int, int, int, int, int], rt: int) -> int:
    op0, op1, crn, crm, op2 = encoding
    return 0xD5200000 | op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5 | rt


def msr(encoding: tuple[int, int, int, int, int], rt: int) -> int:
    return mrs(encoding, rt) & ~(1 << 21)


def get(vcpu: Vcpu, name: str) -> int:
    return int.from_bytes(vcpu.get_one_reg(parse(name)), "little")


def put(vcpu: Vcpu, name: str, value: int) -> None:
    reg = parse(name)
    vcpu.set_one_reg(reg, value.to_bytes(1 << (reg >> 52 & 15), "little"))


def vm_with(
    *words: int, host: str = "max?kernel=7.3", features: Iterable[F] = (F.PSCI_0_2,), vcpus: int = 1
) -> tuple[ModelVm, list[ModelVcpu]]:
    """A VM with the words at `BASE`, and vCPUs: the first there, the others powered off."""
    vm = connect(f"model:{host}").create_vm()
    assert isinstance(vm, ModelVm)
    made = [vm.create_vcpu(n) for n in range(vcpus)]
    for n, vcpu in enumerate(made):
        vcpu.init({*features, *([F.POWER_OFF] if n else [])})
        if {F.SVE, F.SME} & set(features):
            vcpu.finalize(F.SVE)
        put(vcpu, "VBAR_EL1", VECTORS)
    vm.set_memory(0, BASE, MEMORY)
    write(vm, BASE, *words)
    put(made[0], "PC", BASE)
    put(made[0], "PSTATE", MASKED_EL1H)
    return vm, made


def vcpu_with(*words: int, host: str = "max?kernel=7.3", features: Iterable[F] = (F.PSCI_0_2,)) -> ModelVcpu:
    return vm_with(*words, host=host, features=features)[1][0]


def write(vm: Vm, address: int, *words: int) -> None:
    vm.write_memory(address, struct.pack(f"<{len(words)}I", *words))
