"""vCPUs of made-up SME hosts, and their registers as numbers and fields."""

from __future__ import annotations

from tests.differential.sme_lab import errno_of, word
from tests.made_up_hosts import host

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.idfields import field
from armkvm.backends.base import System, Vcpu
from armkvm.catalog import id_of, parse

REVISIONS = ("sme-v4", "sme-v12")
SVCR, FPSR, FPCR, FPMR = (parse(name) for name in ("SVCR", "FPSR", "FPCR", "FPMR"))
SM, ZA = 1, 2
ONES = b"\xff" * 256
BOTH = (F.SVE, F.SME)


def place(profile: str, sve: str = "1,2,4", sme: str = "1,2", **parts: bool) -> System:
    return host((sve, sme), profile=profile, **parts)


def ready(system: System, *features: F, svcr: int = 0) -> Vcpu:
    vcpu = system.create_vm().create_vcpu(0)
    vcpu.init(features)
    if {F.SVE, F.SME} & set(features):
        vcpu.finalize(F.VEC)
    vcpu.set_one_reg(SVCR, word(svcr)) if F.SME in features else None
    return vcpu


def number(vcpu: Vcpu, reg: RegId) -> int:
    return int.from_bytes(vcpu.get_one_reg(reg), "little")


def put(vcpu: Vcpu, reg: RegId, value: int) -> str | None:
    return errno_of(lambda: vcpu.set_one_reg(reg, value.to_bytes(reg.size, "little")))


def put_field(vcpu: Vcpu, register: str, name: str, value: int) -> str | None:
    part = field(register, name)
    reg = id_of(part.register)
    return put(vcpu, reg, part.insert(number(vcpu, reg), value))


def get_field(vcpu: Vcpu, register: str, name: str) -> int:
    part = field(register, name)
    return part.extract(number(vcpu, id_of(part.register)))


def listed(vcpu: Vcpu, *regs: RegId) -> list[bool]:
    """Whether KVM_GET_REG_LIST names each of some registers."""
    names = set(vcpu.reg_list())
    return [reg in names for reg in regs]
