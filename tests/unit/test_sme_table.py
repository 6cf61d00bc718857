"""Every call that SME touches x feature set x phase x SVCR x {FA64, SME2}, for each revision.

The tables are written from what the series says and what a kernel built from revision 12 did
(docs/sme.md says which row of the facts is which row here); they are not derived from the model.
A line is one or more operations (``*z0`` is ``get z0`` and ``set z0``), the feature sets and phases it
speaks of, and one answer for each value of SVCR, 0 to 3. ``a|b`` is the answer with and without the
part the operation is about: FA64 for FFR, SME2 for ZT0.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

import pytest
from tests.differential.sme_lab import errno_of, word
from tests.made_up_hosts import host

from armkvm.abi import vls
from armkvm.abi.regid import KVM_REG_ARM64, RegClass, RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.idfields import field
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.base import System, Vcpu
from armkvm.catalog import id_of, parse

SVE_LENGTHS, SME_LENGTHS, ROWS = "1,2,4", "1,2", 32
SVCR = parse("SVCR")


def sme_id(low: int, size: int) -> RegId:
    return RegId(KVM_REG_ARM64 | (size.bit_length() - 1) << 52 | RegClass.SME << 16 | low)


REGISTERS: dict[str, RegId] = {
    "z0": RegId.z(0),
    "z31": RegId.z(31),
    "p15": RegId.p(15),
    "ffr": RegId.ffr(),
    "v0": RegId.v(0),
    "v31": RegId.v(31),
    "z0-slice-1": RegId.z(0, 1),
    "za-first": RegId.za(0),
    "za-last": RegId.za(ROWS - 1),
    "za-beyond": RegId.za(ROWS),
    "za-slice-1": RegId.za(0, 1),
    "za-beyond-slice-1": RegId.za(ROWS, 1),
    "za-64-bytes": sme_id(0, 64),
    "zt0": RegId.zt0(),
    "zt1": sme_id(0x601, 64),
    "zt0-as-documented": sme_id(0x100, 64),
    "sme-vls": RegId.sme_vls(),
    "sme-vls-as-posted": sme_id(0xFFFF, 64),
    "sve-vls": RegId.sve_vls(),
    "svcr": SVCR,
    **{
        name.lower(): parse(name)
        for name in (
            *("SMCR_EL1", "TPIDR2_EL0", "SMIDR_EL1", "SMPRI_EL1", "SMCR_EL2", "SMPRIMAP_EL2", "ZCR_EL1"),
            *("FPSR", "FPCR", "FPMR"),
        )
    },
}


def _get(name: str) -> Callable[[Vcpu], object]:
    return lambda vcpu: vcpu.get_one_reg(REGISTERS[name])


def _put(name: str, data: bytes) -> Callable[[Vcpu], object]:
    return lambda vcpu: vcpu.set_one_reg(REGISTERS[name], data)


def _put_other(name: str, value: int) -> Callable[[Vcpu], object]:
    def call(vcpu: Vcpu) -> None:
        vcpu.set_one_reg(REGISTERS[name], word(value))

    return call


CALLS: dict[str, Callable[[Vcpu], object]] = {
    **{f"get {name}": _get(name) for name in REGISTERS},
    **{
        f"set {name}": _put(name, b"\x01" * reg.size)
        for name, reg in REGISTERS.items()
        if reg.size > 8 and not name.endswith(("vls", "posted"))
    },
    "get za-first, no buffer": lambda v: v.get_one_reg_null(REGISTERS["za-first"]),
    "set za-first, no buffer": lambda v: v.set_one_reg_null(REGISTERS["za-first"]),
    "get zt0, no buffer": lambda v: v.get_one_reg_null(REGISTERS["zt0"]),
    "set sme-vls, no buffer": lambda v: v.set_one_reg_null(REGISTERS["sme-vls"]),
    "set sme-vls": _put("sme-vls", vls.encode(VectorLengths([1]))),
    "set sme-vls, all": _put("sme-vls", vls.encode(VectorLengths([1, 2]))),
    "set sme-vls, wrong": _put("sme-vls", vls.encode(VectorLengths([2]))),
    "set sme-vls, none": _put("sme-vls", bytes(64)),
    "set sme-vls-as-posted": _put("sme-vls-as-posted", vls.encode(VectorLengths([1]))),
    "set sve-vls": _put("sve-vls", vls.encode(VectorLengths([1, 2]))),
    "set svcr 0": _put_other("svcr", 0),
    "set svcr 3": _put_other("svcr", 3),
    "set svcr 4": _put_other("svcr", 4),
    "set svcr 1<<63": _put_other("svcr", 1 << 63),
    "set smcr_el1 to ones": _put_other("smcr_el1", (1 << 64) - 1),
    "set tpidr2_el0": _put_other("tpidr2_el0", 5),
    "set smidr_el1, as it is": _put_other("smidr_el1", 0),
    "set smidr_el1, other": _put_other("smidr_el1", 0x4100_0000),
    "set smpri_el1 0": _put_other("smpri_el1", 0),
    "set smpri_el1 15": _put_other("smpri_el1", 15),
    "set fpmr": _put_other("fpmr", 1),
    "list": lambda v: v.reg_list(),
    "list, no room": lambda v: v.reg_list(0),
    "run": lambda v: v.run(immediate_exit=True),
    "finalize 4": lambda v: v.finalize(4),
    "finalize 5": lambda v: v.finalize(5),
    "finalize 8": lambda v: v.finalize(8),
    "finalize 9": lambda v: v.finalize(9),
    "finalize -1": lambda v: v.finalize(-1),
}

V12 = """
*z0 / *z31 / *p15       none          ready       ENOENT
*z0 / *z31 / *p15       sve           configured  EPERM
*z0 / *z31 / *p15       sve           ready       ok
*z0 / *z31 / *p15       sme           configured  ENOENT  EPERM   ENOENT  EPERM
*z0 / *z31 / *p15       sme           ready       ENOENT  ok      ENOENT  ok
*z0 / *z31 / *p15       both          configured  EPERM   EPERM   EPERM   EPERM
*z0 / *z31 / *p15       both          ready       ok      ok      ok      ok
*z0-slice-1             any           any         ENOENT  ENOENT  ENOENT  ENOENT
*ffr                    none          ready       ENOENT
*ffr                    sve           configured  EPERM
*ffr                    sve           ready       ok
*ffr                    sme           configured  ENOENT  EPERM|ENOENT  ENOENT  EPERM|ENOENT
*ffr                    sme           ready       ENOENT  ok|ENOENT  ENOENT  ok|ENOENT
*ffr                    both          configured  EPERM   EPERM|ENOENT  EPERM   EPERM|ENOENT
*ffr                    both          ready       ok      ok|ENOENT  ok      ok|ENOENT
*v0 / *v31              none          ready       ok
*v0 / *v31              sve           any         EINVAL
*v0 / *v31              sme           any         ok      EINVAL  ok      EINVAL
*v0 / *v31              both          any         EINVAL  EINVAL  EINVAL  EINVAL

*za-first / *za-last    none,sve      any         ENOENT
*za-first / *za-last    sme,both      configured  EBUSY   EBUSY   EPERM   EPERM
*za-first / *za-last    sme,both      ready       EBUSY   EBUSY   ok      ok
*za-beyond              none,sve      any         ENOENT
*za-beyond              sme,both      any         EINVAL  EINVAL  EINVAL  EINVAL
*za-slice-1             none,sve      any         ENOENT
*za-slice-1             sme,both      any         ENOENT  ENOENT  ENOENT  ENOENT
*za-beyond-slice-1      none,sve      any         ENOENT
*za-beyond-slice-1      sme,both      any         EINVAL  EINVAL  EINVAL  EINVAL
*za-64-bytes            any           any         EINVAL  EINVAL  EINVAL  EINVAL
*zt0                    none,sve      any         ENOENT
*zt0                    sme,both      configured  EBUSY|ENOENT  EBUSY|ENOENT  EPERM|ENOENT  EPERM|ENOENT
*zt0                    sme,both      ready       EBUSY|ENOENT  EBUSY|ENOENT  ok|ENOENT  ok|ENOENT
*zt1                    any           any         EINVAL  EINVAL  EINVAL  EINVAL
*zt0-as-documented      any           any         EINVAL  EINVAL  EINVAL  EINVAL
*za-first, no buffer    none,sve      any         ENOENT
*za-first, no buffer    sme,both      configured  EBUSY   EBUSY   EPERM   EPERM
*za-first, no buffer    sme,both      ready       EBUSY   EBUSY   EFAULT  EFAULT
get zt0, no buffer      none,sve      any         ENOENT
get zt0, no buffer      sme,both      configured  EBUSY|ENOENT  EBUSY|ENOENT  EPERM|ENOENT  EPERM|ENOENT
get zt0, no buffer      sme,both      ready       EBUSY|ENOENT  EBUSY|ENOENT  EFAULT|ENOENT  EFAULT|ENOENT

get sme-vls             none,sve      any         ENOENT
get sme-vls             sme,both      any         ok      ok      ok      ok
set sme-vls             none,sve      any         ENOENT
set sme-vls             sme,both      configured  ok      ok      ok      ok
set sme-vls             sme,both      ready       EPERM   EPERM   EPERM   EPERM
set sme-vls, all        none,sve      any         ENOENT
set sme-vls, all        sme,both      configured  ok      ok      ok      ok
set sme-vls, all        sme,both      ready       EPERM   EPERM   EPERM   EPERM
set sme-vls, wrong      none,sve      any         ENOENT
set sme-vls, wrong      sme,both      configured  EINVAL  EINVAL  EINVAL  EINVAL
set sme-vls, wrong      sme,both      ready       EPERM   EPERM   EPERM   EPERM
set sme-vls, none       none,sve      any         ENOENT
set sme-vls, none       sme,both      configured  EINVAL  EINVAL  EINVAL  EINVAL
set sme-vls, none       sme,both      ready       EPERM   EPERM   EPERM   EPERM
set sme-vls, no buffer  none,sve      any         ENOENT
set sme-vls, no buffer  sme,both      configured  EFAULT  EFAULT  EFAULT  EFAULT
set sme-vls, no buffer  sme,both      ready       EPERM   EPERM   EPERM   EPERM
*sme-vls-as-posted      any           any         EINVAL  EINVAL  EINVAL  EINVAL
get sve-vls             none          ready       ENOENT
get sve-vls             sve           any         ok
get sve-vls             sme           any         ENOENT  ENOENT  ENOENT  ENOENT
get sve-vls             both          any         ok      ok      ok      ok
set sve-vls             none          ready       ENOENT
set sve-vls             sve           configured  ok
set sve-vls             sve           ready       EPERM
set sve-vls             sme           any         ENOENT  ENOENT  ENOENT  ENOENT
set sve-vls             both          configured  ok      ok      ok      ok
set sve-vls             both          ready       EPERM   EPERM   EPERM   EPERM

get svcr                none,sve      any         ENOENT
get svcr                sme,both      any         ok      ok      ok      ok
set svcr 0 / set svcr 3  none,sve      any         ENOENT
set svcr 0 / set svcr 3  sme,both      any         ok      ok      ok      ok
set svcr 4 / set svcr 1<<63  none,sve      any         ENOENT
set svcr 4 / set svcr 1<<63  sme,both      any         EINVAL  EINVAL  EINVAL  EINVAL
get smcr_el1 / set smcr_el1 to ones  none,sve      any         ENOENT
get smcr_el1 / set smcr_el1 to ones  sme,both      any         ok      ok      ok      ok
get tpidr2_el0 / set tpidr2_el0  none,sve      any         ENOENT
get tpidr2_el0 / set tpidr2_el0  sme,both      any         ok      ok      ok      ok
get smidr_el1 / set smidr_el1, as it is  none,sve      any         ENOENT
get smidr_el1 / set smidr_el1, as it is  sme,both      any         ok      ok      ok      ok
set smidr_el1, other    none,sve      any         ENOENT
set smidr_el1, other    sme,both      any         EINVAL  EINVAL  EINVAL  EINVAL
get smpri_el1 / set smpri_el1 0  any           any         ENOENT  ENOENT  ENOENT  ENOENT
set smpri_el1 15        any           any         ENOENT  ENOENT  ENOENT  ENOENT
get smcr_el2 / get smprimap_el2  any           any         ENOENT  ENOENT  ENOENT  ENOENT
get zcr_el1             none          ready       ENOENT
get zcr_el1             sme           any         ENOENT  ENOENT  ENOENT  ENOENT
get zcr_el1             sve           any         ok
get zcr_el1             both          any         ok      ok      ok      ok
get fpsr / get fpcr / get fpmr / set fpmr  any           any         ok      ok      ok      ok

list                    none          ready       ok
list                    sve,sme,both  configured  EPERM   EPERM   EPERM   EPERM
list                    sve,sme,both  ready       ok      ok      ok      ok
list, no room           none          ready       E2BIG
list, no room           sve,sme,both  configured  EPERM   EPERM   EPERM   EPERM
list, no room           sve,sme,both  ready       E2BIG   E2BIG   E2BIG   E2BIG
run                     none          ready       EINTR
run                     sve,sme,both  configured  EPERM   EPERM   EPERM   EPERM
run                     sve,sme,both  ready       EINTR   EINTR   EINTR   EINTR
finalize 4              none          ready       EINVAL
finalize 4              sve,sme,both  configured  ok      ok      ok      ok
finalize 4              sve,sme,both  ready       EPERM   EPERM   EPERM   EPERM
finalize 5 / finalize 8  any           any         EINVAL  EINVAL  EINVAL  EINVAL
finalize 9 / finalize -1  any           any         EINVAL  EINVAL  EINVAL  EINVAL
"""

# What revision 4 says otherwise: the cover letter's rules, then its documentation's, then its code's.
V4 = """
*ffr                    sme           configured  ENOENT  EPERM   ENOENT  EPERM
*ffr                    sme           ready       ENOENT  ok      ENOENT  ok
*ffr                    both          configured  EPERM   EPERM   EPERM   EPERM
*ffr                    both          ready       ok      ok      ok      ok
*za-first / *za-last    sme,both      configured  EPERM   EPERM   EPERM   EPERM
*za-first / *za-last    sme,both      ready       EINVAL  EINVAL  ok      ok
*zt0                    sme,both      configured  EPERM|ENOENT  EPERM|ENOENT  EPERM|ENOENT  EPERM|ENOENT
*zt0                    sme,both      ready       EINVAL|ENOENT  EINVAL|ENOENT  ok|ENOENT  ok|ENOENT
*za-first, no buffer    sme,both      configured  EPERM   EPERM   EPERM   EPERM
*za-first, no buffer    sme,both      ready       EINVAL  EINVAL  EFAULT  EFAULT
get zt0, no buffer      sme,both      configured  EPERM|ENOENT  EPERM|ENOENT  EPERM|ENOENT  EPERM|ENOENT
get zt0, no buffer      sme,both      ready       EINVAL|ENOENT  EINVAL|ENOENT  EFAULT|ENOENT  EFAULT|ENOENT
*sme-vls-as-posted      none,sve      any         ENOENT
get sme-vls-as-posted   sme,both      any         ok      ok      ok      ok
set sme-vls-as-posted   sme,both      configured  ok      ok      ok      ok
set sme-vls-as-posted   sme,both      ready       EPERM   EPERM   EPERM   EPERM
set svcr 4 / set svcr 1<<63  sme,both      any         ok      ok      ok      ok
set smidr_el1, other    sme,both      any         ok      ok      ok      ok
get smpri_el1 / set smpri_el1 0  sme,both      any         ok      ok      ok      ok
set smpri_el1 15        sme,both      any         ok      ok      ok      ok
"""

FEATURES = {"none": (), "sve": (F.SVE,), "sme": (F.SME,), "both": (F.SVE, F.SME)}
PHASES = {"none": ("ready",), "sve": ("configured", "ready")} | dict.fromkeys(
    ("sme", "both"), ("configured", "ready")
)
PART_OF = {"ffr": "fa64", "zt0": "sme2"}
PARTS = {"fa64": ("ID_AA64SMFR0_EL1", "FA64", 0), "sme2": ("ID_AA64PFR1_EL1", "SME", 1)}

Key = tuple[str, str, str]


def _calls(operations: str) -> list[str]:
    return [
        call
        for name in operations.split(" / ")
        for call in ([f"get {name[1:]}", f"set {name[1:]}"] if name.startswith("*") else [name])
    ]


def _rows(text: str) -> Iterator[tuple[Key, list[str]]]:
    """(call, features, phase) with the answers at each value of SVCR."""
    for line in filter(None, text.splitlines()):
        operations, sets, phase, *answers = re.split(r" {2,}", line)
        for call, features in itertools.product(
            _calls(operations), FEATURES if sets == "any" else sets.split(",")
        ):
            for at in PHASES[features]:
                if phase in (at, "any"):
                    yield (call, features, at), answers


TABLES = {"sme-v12": dict(_rows(V12)), "sme-v4": dict(_rows(V12)) | dict(_rows(V4))}


def test_each_table_says_everything_once() -> None:
    """No state is left out, none is spoken of twice, and revision 4 only changes what is there."""
    everything = {
        (call, features, phase) for call in CALLS for features in FEATURES for phase in PHASES[features]
    }
    said = [key for key, _ in _rows(V12)]
    assert len(said) == len(set(said))
    assert set(said) == everything
    changed = [key for key, _ in _rows(V4)]
    assert len(changed) == len(set(changed))
    assert set(changed) <= everything


def _expected(row: list[str], call: str, svcr: int, parts: dict[str, bool]) -> str:
    answer = row[svcr]
    if "|" not in answer:
        return answer
    part = next(part for name, part in PART_OF.items() if name in call)
    return answer.split("|")[0 if parts[part] else 1]


def _vcpu(system: System, features: str, phase: str, svcr: int, lowered: dict[str, bool]) -> Vcpu:
    """A vCPU in a state; `lowered` parts are taken from it through its ID registers."""
    vcpu = system.create_vm().create_vcpu(0)
    vcpu.init(FEATURES[features])
    if F.SME in FEATURES[features]:
        for part, there in lowered.items():
            if not there:
                _lower(vcpu, *PARTS[part])
    if phase == "ready" and features != "none":
        vcpu.finalize(4)
    if svcr:
        vcpu.set_one_reg(SVCR, word(svcr))
    return vcpu


def _lower(vcpu: Vcpu, register: str, name: str, value: int) -> None:
    part = field(register, name)
    reg = id_of(part.register)
    old = int.from_bytes(vcpu.get_one_reg(reg), "little")
    vcpu.set_one_reg(reg, word(part.insert(old, value)))


@pytest.mark.parametrize("taken_by", ["host", "guest"])
@pytest.mark.parametrize("sme2", [True, False], ids=["sme2", "sme1"])
@pytest.mark.parametrize("fa64", [True, False], ids=["fa64", "nofa64"])
@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("profile", TABLES)
def test_every_answer(profile: str, features: str, *, fa64: bool, sme2: bool, taken_by: str) -> None:
    """Each call of the table on a fresh vCPU in each state it speaks of."""
    parts = {"fa64": fa64, "sme2": sme2}
    if taken_by == "guest" and fa64 and sme2:
        pytest.skip("nothing is taken")
    has = dict.fromkeys(parts, True) if taken_by == "guest" else parts
    lowered = parts if taken_by == "guest" else {}
    system = host((SVE_LENGTHS, SME_LENGTHS), profile=profile, **has)
    wrong = []
    for (call, feature_set, phase), answers in TABLES[profile].items():
        if feature_set != features:
            continue
        for svcr in range(4) if F.SME in FEATURES[features] else (0,):
            vcpu = _vcpu(system, features, phase, svcr, lowered)
            here = errno_of(lambda: CALLS[call](vcpu)) or "ok"  # noqa: B023 - called at once
            expected = _expected(answers, call, svcr, parts)
            if here != expected:
                wrong.append(f"{call} ({phase}, SVCR={svcr}): {here}, the table says {expected}")
    assert wrong == []


@pytest.mark.parametrize("profile", TABLES)
def test_before_init_nothing_answers(profile: str) -> None:
    """ENOEXEC, whatever the call: a vCPU has no state yet."""
    vcpu = host((SVE_LENGTHS, SME_LENGTHS), profile=profile).create_vm().create_vcpu(0)
    assert {call: errno_of(lambda: issue(vcpu)) for call, issue in CALLS.items()} == dict.fromkeys(  # noqa: B023
        CALLS, "ENOEXEC"
    )
