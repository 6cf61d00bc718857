"""What the kernel's set_id_regs selftest does, derived from the tables, exactly and on several hosts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import pytest
from tests.hosts import made_up, recorded, system, vcpu_on

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.fields import Field, accepts, meet
from armkvm.arch.idfields import FIELDS, named_fields
from armkvm.arch.sysregs import sysreg
from armkvm.backends.model import ModelVcpu
from armkvm.catalog import id_of
from armkvm.errors import KvmError, errno_name
from armkvm.model.profile import PROFILES
from armkvm.model.sysregs import idregs
from armkvm.model.tables.writable import AARCH32, writable_fields
from armkvm.model.vcpu_behaviours import WRITABLE_ID_REGISTERS
from armkvm.state import HostFacts

WRITABLE = [name for name, profile in PROFILES.items() if WRITABLE_ID_REGISTERS in profile]
RECORDED = (
    "6.12/max", "6.12/a64fx", "6.12/cortex-a57", "6.18/neoverse-n1", "7.0/max", "7.2/neoverse-v1",
    "7.3/max-qemu11", "7.3/max-mte", "7.3/cortex-a72", "7.3/max-nested", "sme-v12/max",
)  # fmt: skip
HOSTS = [
    *(pytest.param(f"made-up {name}", id=f"made-up-{name}") for name in WRITABLE),
    *(pytest.param(name, marks=pytest.mark.shared) for name in RECORDED),
]
# Checks of their own, stated in `model.sysregs.idrules`: (field, values it refuses or rewrites).
OWN_CHECKS = {
    "EL0": {0}, "EL1": {0}, "DebugVer": set(range(6)), "CopDbg": set(range(6)), "PMUVer": {0xF},
    "PerfMon": {1, 2, 0xF}, "L1Ip": {0, 1},
}  # fmt: skip


def host_of(name: str) -> HostFacts:
    return made_up(name.split()[1]) if name.startswith("made-up") else recorded(f"captures/{name}.json")


def value(vcpu: ModelVcpu, part: Field) -> int:
    return int.from_bytes(vcpu.get_one_reg(id_of(part.register)), "little")


def put(vcpu: ModelVcpu, part: Field, wanted: int) -> str:
    """Write one field; the errno by name."""
    try:
        vcpu.set_one_reg(id_of(part.register), part.insert(value(vcpu, part), wanted).to_bytes(8, "little"))
    except KvmError as error:
        return errno_name(error.errno or 0)
    return ""


def every_field(profile: str, vcpu: ModelVcpu) -> Iterator[tuple[Field, bool]]:
    """The named fields of the VM's ID registers, and whether the tables call them writable."""
    for register in FIELDS:
        ignored = register in AARCH32 and not vcpu.vcpu.vm.platform.has_aarch32_el0
        if not ignored and (register in idregs.ID_SPACE or register == idregs.CTR):
            writable = writable_fields(profile, register)
            yield from ((part, part in writable) for part in named_fields(register))


def is_expected(part: Field, limit: int, wanted: int, writable: bool, profile: str) -> bool:
    """Whether a value should stick, by the tables."""
    if wanted == limit:
        return True
    levels_are_kept = "keeps-el0-el1" in PROFILES[profile].behaviours
    if wanted in OWN_CHECKS.get(part.name, ()) and (levels_are_kept or not part.name.startswith("EL")):
        return False
    return writable and accepts(part, limit, wanted)


@pytest.mark.parametrize("name", HOSTS)
def test_every_value_of_every_field(name: str) -> None:
    """For each field all its values: what the tables allow sticks and reads back, the rest is EINVAL and
    changes nothing.
    """
    host = host_of(name)
    profile = PROFILES[host.profile].id_table
    vcpu = vcpu_on(host)
    for part, writable in every_field(profile, vcpu):
        if part.width > 8 or part.name in ("NV", "MPAM", "MPAM_frac", "MTE_frac"):
            continue
        initial = value(vcpu, part)
        limit = part.extract(initial)
        for wanted in range(1 << part.width):
            before = value(vcpu, part)
            found = put(vcpu, part, wanted)
            if is_expected(part, limit, wanted, writable, host.profile):
                assert (found, part.extract(value(vcpu, part))) == ("", wanted), f"{part} = {wanted:#x}"
            elif part.name in ("PMUVer", "PerfMon") and wanted == 0xF:
                continue  # rewritten to 0 before it is judged
            else:
                assert (found, value(vcpu, part)) == ("EINVAL", before), f"{part} = {wanted:#x}"
        assert put(vcpu, part, limit) == ""


@pytest.mark.parametrize("name", ["made-up 7.3", "made-up 6.12"])
def test_values_survive_a_run_and_a_second_init_then_freeze(name: str) -> None:
    """All fields lowered at once stay through KVM_RUN and KVM_ARM_VCPU_INIT; after that EBUSY."""
    host = host_of(name)
    vcpu = vcpu_on(host)
    lowered: dict[Field, int] = {}
    for part, writable in every_field(PROFILES[host.profile].id_table, vcpu):
        limit = part.extract(value(vcpu, part))
        if part.width > 8 or part.name in ("GIC", "GCIE"):
            continue
        values = (v for v in range(1 << part.width) if v != limit)
        wanted = next((v for v in values if is_expected(part, limit, v, writable, host.profile)), None)
        if wanted is not None and put(vcpu, part, wanted) == "":
            lowered[part] = wanted
    assert len(lowered) > 15
    with pytest.raises(KvmError):
        vcpu.run(immediate_exit=True)
    vcpu.init({F.PSCI_0_2})
    for part, wanted in lowered.items():
        assert part.extract(value(vcpu, part)) == wanted, str(part)
        assert put(vcpu, part, wanted) == ""
        refused_first = OWN_CHECKS.get(part.name, ())
        other = next(v for v in range(1 << part.width) if v != wanted and v not in refused_first)
        assert put(vcpu, part, other) == "EBUSY", str(part)


@pytest.mark.shared
def test_what_two_hosts_have_in_common_both_accept() -> None:
    """The meet of two hosts' limits, field by field, is accepted by the model of either, whole register
    for whole register, whenever each may write the fields in which it must give way.
    """
    vcpus = {name: vcpu_on(recorded(f"captures/{name}.json")) for name in RECORDED}
    tried = 0
    for one, two in combinations(RECORDED, 2):
        for register in FIELDS:
            if register not in idregs.ID_SPACE or register in AARCH32:
                continue
            which = id_of(register)
            limits = {name: vcpus[name].vcpu.id_limits[which] for name in (one, two)}
            common = 0
            can_move = True
            for part in named_fields(register):
                best = meet(part, part.extract(limits[one]), part.extract(limits[two]))
                for name in (one, two):
                    moves = best != part.extract(limits[name])
                    table = PROFILES[vcpus[name].vcpu.vm.profile.name].id_table
                    can_move &= best is not None and (not moves or part in writable_fields(table, register))
                    can_move &= not moves or best not in OWN_CHECKS.get(part.name, ())
                common = part.insert(common, best or 0)
            if not can_move:
                continue
            tried += 1
            for name in (one, two):
                vcpus[name].set_one_reg(which, common.to_bytes(8, "little"))
                assert vcpus[name].vcpu.id_regs[which] == common
                vcpus[name].set_one_reg(which, limits[name].to_bytes(8, "little"))
    assert tried > 800


def test_a_vm_with_two_vcpus_has_one_set_of_id_registers() -> None:
    """A write through one vCPU is what the other shows, limits included."""
    vm = system(made_up("7.3")).create_vm()
    one, two = vm.create_vcpu(0), vm.create_vcpu(1)
    one.init({F.PSCI_0_2})
    two.init({F.PSCI_0_2})
    part = next(p for p in named_fields(sysreg("ID_AA64ISAR0_EL1")) if p.name == "TLB")
    assert put(two, part, 1) == ""
    assert part.extract(value(one, part)) == 1
    assert put(one, part, 2) == ""
    assert put(one, part, 3) == "EINVAL"
