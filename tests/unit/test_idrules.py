"""ID fields that kernels showed once: the CPU's own value is welcome back, and dropped."""

from __future__ import annotations

import json
from errno import EBUSY, EINVAL

import pytest

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.fields import Field
from armkvm.arch.idfields import field
from armkvm.arch.sysregs import sysreg
from armkvm.backends.model import ModelSystem
from armkvm.catalog import id_of
from armkvm.errors import KvmError
from armkvm.hosts import hostfile, library
from armkvm.value import replace

MPAM, MPAM_FRAC = field("ID_AA64PFR0_EL1", "MPAM"), field("ID_AA64PFR1_EL1", "MPAM_frac")
PFR0, PFR1 = id_of(MPAM.register), id_of(MPAM_FRAC.register)


def write(kernel: str, hidden: dict[RegId, int], part: Field, value: int) -> int:
    """What the field is after a write of `value`; KvmError if that is refused."""
    facts, profile = library.find("max", kernel)
    with ModelSystem(replace(facts, hidden=hidden), profile) as system, system.create_vm() as vm:
        vcpu = vm.create_vcpu(0)
        vcpu.init({F.SVE})
        reg = id_of(part.register)
        before = int.from_bytes(vcpu.get_one_reg(reg), "little")
        vcpu.set_one_reg(reg, part.insert(before, value).to_bytes(8, "little"))
        after = int.from_bytes(vcpu.get_one_reg(reg), "little")
    assert after == before, "what was dropped changes nothing"
    return part.extract(after)


@pytest.mark.parametrize("kernel", ["6.18", "7.0", "7.2", "7.3"])
@pytest.mark.parametrize("part", [MPAM, MPAM_FRAC], ids=str)
def test_the_cpus_own_mpam_is_taken_and_dropped(kernel: str, part: Field) -> None:
    hidden = {id_of(part.register): part.insert(0, 1)}
    assert write(kernel, hidden, part, 1) == 0
    assert write(kernel, hidden, part, 0) == 0
    with pytest.raises(KvmError, match="EINVAL"):
        write(kernel, hidden, part, 2)


@pytest.mark.parametrize("part", [MPAM, MPAM_FRAC], ids=str)
def test_another_cpus_mpam_is_refused(part: Field) -> None:
    with pytest.raises(KvmError, match="EINVAL"):
        write("7.3", {}, part, 1)


def test_hidden_fields_survive_in_a_host_file() -> None:
    facts = replace(library.find("max")[0], hidden={PFR0: MPAM.insert(0, 1), PFR1: MPAM_FRAC.insert(0, 1)})
    tree = json.loads(hostfile.encode(facts))
    assert hostfile.decode(tree, "a file").hidden == facts.hidden


@pytest.mark.parametrize(("kernel", "errno"), [("6.12", EBUSY), ("6.18", EINVAL), ("7.3", EINVAL)])
def test_an_instruction_cache_policy_that_is_none_is_looked_at_only_where_it_is_written(
    kernel: str, errno: int
) -> None:
    """Once the VM has run, a kernel that fixes CTR_EL0.L1Ip says so; one that does not, what is wrong."""
    ctr = RegId.sysreg(sysreg("CTR_EL0"))
    with ModelSystem(*library.find("max", kernel)) as system, system.create_vm() as vm:
        vcpu = vm.create_vcpu(0)
        vcpu.init({F.PSCI_0_2})
        with pytest.raises(KvmError) as refused:
            vcpu.set_one_reg(ctr, bytes(8))
        assert refused.value.errno == EINVAL
        with pytest.raises(KvmError, match="EINTR"):
            vcpu.run(immediate_exit=True)
        with pytest.raises(KvmError) as refused:
            vcpu.set_one_reg(ctr, bytes(8))
        assert refused.value.errno == errno
