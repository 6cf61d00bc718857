"""What the kernel's get-reg-list selftest does, for every configuration it knows."""

from __future__ import annotations

from typing import Any

import pytest
from tests.hosts import recorded, system

from armkvm.abi.regid import RegClass, RegId
from armkvm.abi.vcpu_features import BITS_7_3, VcpuFeature as F
from armkvm.arch.sysregs import sysreg
from armkvm.backends.model import ModelVcpu
from armkvm.catalog import id_of, name_of
from armkvm.errors import KvmError, errno_name

pytestmark = pytest.mark.shared

KERNELS = {"6.1": "max", "6.12": "max", "7.3": "max-nested"}
# A recorded host of each kernel that has every feature the configurations ask for.
HOSTS = {kernel: f"captures/{kernel}/{name}.json" for kernel, name in KERNELS.items()}
OTHERS = {"7.3": "captures/7.3/max-qemu11.json"}  # with TCRX, S1PIE, SCTLRX and FPMR, but without EL2
BY_BIT = {bit: feature for feature, bit in BITS_7_3.items()}


def vcpu_of(config: dict[str, Any], sublists: dict[str, Any], host: str) -> ModelVcpu | None:
    """The vCPU the selftest makes: preferred target, the sublists' features, finalized if they say so."""
    parts = [sublists[name] for name in config["sublists"]]
    vcpu = system(recorded(host)).create_vm().create_vcpu(0)
    features = {BY_BIT[part["feature"]] for part in parts if part.get("feature") is not None}
    try:
        vcpu.init(features)
    except KvmError:
        return None
    if any(part.get("finalize") for part in parts):
        vcpu.finalize(F.SVE)
    return vcpu


def blessed(config: dict[str, Any], sublists: dict[str, Any]) -> dict[RegId, str]:
    """Register -> the errno that writing its own value back must give."""
    return {
        RegId(int(row["id"], 16)): part["rejects_errno"] if row["id"] in part.get("rejects_set", ()) else ""
        for name in config["sublists"]
        for part in (sublists[name],)
        for row in part["ids"]
    }


def excused(vcpu: ModelVcpu, selftest: dict[str, Any]) -> set[RegId]:
    """Registers that need not be there because the VM's ID registers do not show them."""
    return {
        RegId(int(row["reg"], 16))
        for row in selftest["conditional_on_id_field"]
        if int.from_bytes(vcpu.get_one_reg(id_of(sysreg(row["id_reg"]))), "little") >> row["shift"] & 15
        < row["min"]
    }


def refused(vcpu: ModelVcpu, reg: RegId) -> str:
    try:
        vcpu.set_one_reg(reg, vcpu.get_one_reg(reg))
    except KvmError as error:
        return errno_name(error.errno or 0)
    return ""


@pytest.mark.parametrize("kernel", HOSTS)
def test_blessed_registers_are_listed_and_take_their_own_value_back(
    reg_lists: dict[str, Any], kernel: str
) -> None:
    """Every blessed id is in the list (unless its ID field excuses it), readable, and accepts what was
    read; only the vector lengths are EPERM. All configurations of the kernel's own test.
    """
    selftest = reg_lists["selftest"][kernel]
    tried = 0
    for name, config in selftest["configs"].items():
        for host in filter(None, (HOSTS[kernel], OTHERS.get(kernel))):
            vcpu = vcpu_of(config, selftest["sublists"], host)
            if vcpu is None:
                assert host in OTHERS.values(), f"{name} cannot be configured on {host}"
                continue
            tried += 1
            expected = blessed(config, selftest["sublists"])
            assert len(expected) == config["blessed_total"]
            listed = set(vcpu.reg_list())
            missing = {name_of(reg) for reg in set(expected) - listed - excused(vcpu, selftest)}
            assert not missing, f"{name} on {host}"
            wrong = {
                name_of(reg): refused(vcpu, reg)
                for reg, errno in expected.items()
                if reg in listed and refused(vcpu, reg) != errno
            }
            assert not wrong, f"{name} on {host}"
    assert tried >= len(selftest["configs"])


@pytest.mark.parametrize("kernel", HOSTS)
def test_nothing_unknown_is_listed(reg_lists: dict[str, Any], kernel: str) -> None:
    """What is listed beyond the blessed ids is the cache geometry, memory tags and FPMR; no surprise."""
    selftest = reg_lists["selftest"][kernel]
    known = {RegId(int(row["id"], 16)) for part in selftest["sublists"].values() for row in part["ids"]}
    vcpu = vcpu_of(selftest["configs"]["sve+pmu"], selftest["sublists"], HOSTS[kernel])
    assert vcpu is not None
    beyond = {name_of(reg) for reg in vcpu.reg_list() if reg not in known and reg.reg_class != RegClass.DEMUX}
    assert beyond <= {"FPMR"}
