"""How ID registers settle at a VM's first run (kvm_finalize_sys_regs)."""

from __future__ import annotations

import pytest
from tests.hosts import made_up, vcpu_on

from armkvm.arch.idfields import field
from armkvm.backends.model import ModelVcpu
from armkvm.catalog import id_of
from armkvm.errors import KvmError
from armkvm.model.profile import PROFILES
from armkvm.model.trap_behaviours import SETTLES_PERMISSIONS


def read(vcpu: ModelVcpu, register: str, name: str) -> int:
    part = field(f"ID_AA64{register}_EL1", name)
    return part.extract(int.from_bytes(vcpu.get_one_reg(id_of(part.register)), "little"))


def write(vcpu: ModelVcpu, register: str, name: str, value: int) -> None:
    part = field(f"ID_AA64{register}_EL1", name)
    reg = id_of(part.register)
    now = int.from_bytes(vcpu.get_one_reg(reg), "little")
    vcpu.set_one_reg(reg, part.insert(now, value).to_bytes(8, "little"))


def run(vcpu: ModelVcpu) -> None:
    with pytest.raises(KvmError):  # EINTR
        vcpu.run(immediate_exit=True)


@pytest.mark.parametrize(
    ("register", "name", "pie", "poe"),
    [
        ("MMFR3", "TCRX", 0, 0),  # without TCR2_EL1 nothing turns them on
        ("ISAR2", "ATS1A", 0, 0),  # without AT S1E1A nothing looks a permission up
        ("MMFR1", "HPDS", 1, 0),  # overlays take the bits of hierarchical permissions
        ("ISAR0", "RNDR", 1, 1),
    ],
)
def test_permission_schemes_need_their_prerequisites(register: str, name: str, pie: int, poe: int) -> None:
    """On 7.3 S1PIE and S1POE become 0 at the first run if what they need was lowered away."""
    vcpu = vcpu_on(made_up("7.3"))
    write(vcpu, register, name, 0)
    assert (read(vcpu, "MMFR3", "S1PIE"), read(vcpu, "MMFR3", "S1POE")) == (1, 1)
    run(vcpu)
    assert (read(vcpu, "MMFR3", "S1PIE"), read(vcpu, "MMFR3", "S1POE")) == (pie, poe)


@pytest.mark.parametrize(
    "profile", [p for p in PROFILES if SETTLES_PERMISSIONS not in PROFILES[p].behaviours]
)
def test_other_kernels_leave_permission_schemes_alone(profile: str) -> None:
    """Before 7.3 the fields stay as written."""
    vcpu = vcpu_on(made_up(profile, ISAR2_ATS1A=0))
    run(vcpu)
    assert read(vcpu, "MMFR3", "S1PIE") == 1


def test_registers_go_with_a_field_that_settles() -> None:
    """PIR_EL1 disappears for userspace when S1PIE settles at 0."""
    vcpu = vcpu_on(made_up("7.3", ISAR2_ATS1A=0))
    pir = id_of(field("ID_AA64MMFR3_EL1", "S1PIE").register)  # exists whatever it says
    assert pir in vcpu.reg_list()
    names = {reg.encoding for reg in vcpu.reg_list()}
    run(vcpu)
    gone = names - {reg.encoding for reg in vcpu.reg_list()}
    assert {str(reg and reg.parts) for reg in gone} >= {"(3, 0, 10, 2, 3)", "(3, 0, 10, 2, 2)"}


def test_settling_twice_is_settling_once() -> None:
    """A first run that fails (no PMU set up) has settled; what is then written is settled again."""
    vcpu = vcpu_on(made_up("7.3"))
    write(vcpu, "ISAR2", "ATS1A", 0)
    run(vcpu)
    run(vcpu)
    assert read(vcpu, "MMFR3", "S1PIE") == 0
    with pytest.raises(KvmError):
        write(vcpu, "MMFR3", "S1PIE", 1)
