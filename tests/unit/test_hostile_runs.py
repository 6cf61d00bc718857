"""Any bytes as a guest, any registers: KVM_RUN ends within its limits, in a documented way."""

from __future__ import annotations

import random
from errno import EINTR, ENOSYS

import pytest
from tests.guest_vcpus import BASE, MEMORY, put, vm_with
from tests.unit.cpu.hostile import random_word

from armkvm.abi.structs import ExitReason, MpState
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.backends.model import ModelVcpu
from armkvm.catalog import parse
from armkvm.errors import KvmError, PlaceError
from armkvm.state import Exit

BUDGET, MOST_RUNS = 100, 8
HOSTS = (
    ("sme-max?kernel=sme-v12", (F.PSCI_0_2, F.SVE, F.SME)),
    ("sme-nosve?kernel=sme-v12", (F.PSCI_0_2, F.SME)),
    ("max-vq4?kernel=7.3", (F.PSCI_0_2, F.SVE)),
    ("neoverse-n1?kernel=6.1", (F.PSCI_0_2,)),
)
SYSREGS = "CPACR_EL1 VBAR_EL1 SCTLR_EL1 TCR_EL1 TTBR0_EL1 TTBR1_EL1 MAIR_EL1 ELR_EL1 SPSR_EL1 TPIDR_EL0"
EXITS = {value for name, value in vars(ExitReason).items() if name in ("MMIO", "SYSTEM_EVENT", "HYPERCALL")}


def randomise(vcpu: ModelVcpu, rng: random.Random) -> None:
    vcpu.set_mp_state(MpState.RUNNABLE)
    put(vcpu, "PC", BASE)
    put(vcpu, "PSTATE", rng.choice((0x3C5, 0x3C4, 0x3C0, 0x5, 0x0)))
    for n in range(31):
        near = BASE + rng.randrange(MEMORY)
        put(vcpu, f"X{n}", rng.choice((near, near, rng.getrandbits(64), rng.randrange(64), 0x8400_0000 + n)))
    for name in SYSREGS.split():
        near = BASE + rng.randrange(MEMORY)
        put(vcpu, name, rng.choice((0, near, rng.getrandbits(32), rng.getrandbits(64))))
    put(vcpu, "CPACR_EL1", rng.choice((0x333_0000, 0, rng.getrandbits(32))))
    if F.SME in vcpu.vcpu.features:
        vcpu.set_one_reg(parse("SVCR"), rng.randrange(4).to_bytes(8, "little"))


def came_of(vcpu: ModelVcpu) -> Exit | KvmError | PlaceError:
    try:
        return vcpu.run(instructions=BUDGET)
    except (KvmError, PlaceError) as error:
        return error


def check_one(vcpu: ModelVcpu, rng: random.Random) -> None:
    """Run what is in memory until something other than a device access comes of it."""
    randomise(vcpu, rng)
    for _ in range(MOST_RUNS):
        left = came_of(vcpu)
        if isinstance(left, PlaceError):
            assert str(left).startswith(("vCPU 0", "the model does not run"))
            return
        executed = left.count if isinstance(left, KvmError) else left.executed
        assert executed is not None
        assert executed <= BUDGET
        if isinstance(left, KvmError):
            assert left.errno in (EINTR, ENOSYS), left
            return
        assert left.reason in EXITS
        if left.mmio is None:
            return


def run_many(count: int, seed: int) -> None:
    rng = random.Random(seed)
    for host, features in HOSTS:
        vm, (vcpu,) = vm_with(host=host, features=features)
        for _ in range(count // len(HOSTS)):
            if rng.random() < 0.5:
                code = rng.randbytes(256)
            else:
                code = b"".join(random_word(rng).to_bytes(4, "little") for _ in range(64))
            vm.write_memory(BASE, code + rng.randbytes(256))
            check_one(vcpu, rng)
        vm.close()


def test_random_guests_end_in_documented_ways() -> None:
    run_many(400, 1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 10))
def test_a_hundred_thousand_random_guests_end_in_documented_ways(seed: int) -> None:
    """In eight parts, for as many processors."""
    run_many(12_500, seed)
