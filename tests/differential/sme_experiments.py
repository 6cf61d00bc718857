"""The experiments of the SME recordings, as calls of the place protocol.

Each function carries one out on any place and answers in the form in which the recording of a real
kernel has it, so that a test only compares. What was done is defined by the programs that made the
recordings (`recorders` in the shared data); every vCPU here is the first one of a VM of its own.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tests.differential.sme_lab import (
    BASE,
    FFR,
    FPCR,
    FPMR,
    FPSR,
    LISTED_SYSREGS,
    MOVES_BY_ITSELF,
    NAMES,
    NOT_READ,
    PATTERN,
    SME_VLS,
    SVCR,
    SVE_VLS,
    ZA,
    ZT0,
    Features,
    Lab,
    P,
    Row,
    Subject,
    V,
    Z,
    cut,
    errno_of,
    is_vector,
    names,
    runs,
    word,
)

from armkvm.abi import vls
from armkvm.abi.regid import RegClass, RegId
from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import parse

# -- lists ---------------------------------------------------------------------------------------


def lists(lab: Lab, svcrs: Mapping[str, Iterable[int]]) -> Row:
    """Register lists of each configuration in `svcrs`, in each of those modes."""
    configurations: dict[str, tuple[Features, VectorLengths | None]] = {
        name: (features, None) for name, features in lab.feature_sets.items()
    }
    everything = lab.feature_sets["all"]
    configurations["all_el2"] = ([*everything, "HAS_EL2"], None)
    configurations["sve_sme_min_svl"] = (lab.with_all_vectors(), _smallest(lab.sme))
    return {
        name: {str(svcr): _list_row(lab, *configurations[name], svcr) for svcr in modes}
        for name, modes in svcrs.items()
    }


def _smallest(lengths: VectorLengths) -> VectorLengths:
    return VectorLengths(list(lengths)[:1])


def _list_row(lab: Lab, features: Features, sme: VectorLengths | None, svcr: int) -> Row:
    subject = lab.make(features, sme=sme)
    refused = subject.set(SVCR, word(svcr)) if "SME" in features else None
    ids = subject.listed()
    vectors = [n for n, reg in enumerate(ids) if is_vector(reg)]
    return {
        "svcr_set_errno": refused,
        "errno": None,
        "count": len(ids),
        "count_again": subject.count(),
        "dup": len(ids) - len(set(ids)),
        "runs": runs(ids),
        "coproc15_17_runs": runs(reg for reg in ids if is_vector(reg)),
        "sme_sysregs_listed": [
            [name, ids.index(parse(name))] for name in LISTED_SYSREGS if parse(name) in ids
        ],
        "first_and_last_vector_index": [vectors[0], vectors[-1]] if vectors else None,
        "core_vregs_listed": sum(reg in V for reg in ids),
        "get_errors": {RegId(reg).hex: error for reg in ids if (error := subject.get(reg)[1])},
    }


# -- access tables -------------------------------------------------------------------------------


def access(lab: Lab, states: Iterable[str], ids: Iterable[str]) -> Row:
    """What reading and writing each id comes to in each state, each on a fresh vCPU."""
    regs = [int(reg, 16) for reg in ids]
    table = {}
    for state in states:
        name, phase, mode = state.split("/")
        features = lab.feature_sets[name]
        table[state] = {
            RegId(reg).hex: _access_row(
                lab.make(features, final=phase == "finalized", svcr=int(mode.removeprefix("svcr"))), reg
            )
            for reg in regs
        }
    return table


def _access_row(subject: Subject, reg: int) -> list[str | None]:
    got, get_error = subject.get(reg)
    size = RegId(reg).size
    keeps = size <= 8 or reg in (SVE_VLS, SME_VLS, SME_VLS | 1)
    written = (got if got is not None else bytes(size)) if keeps else (PATTERN[1:] + b"\xee")[:size]
    set_error = subject.set(reg, written)
    after, after_error = subject.get(reg)
    return [
        get_error,
        None if got is None else cut(got),
        set_error,
        after_error if after is None else cut(after),
    ]


# -- vector lengths ------------------------------------------------------------------------------


def vls_matrix(lab: Lab, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> Row:
    """What each recorded set of lengths comes to. `rows` says which sets; its answers are not read."""
    matrices: dict[str, tuple[Features, int, VectorLengths]] = {
        "sme_on_sme_only": ([*BASE, "SME"], SME_VLS, lab.sme),
        "sme_on_both": ([*BASE, "SVE", "SME"], SME_VLS, lab.sme),
        "sve_on_both": ([*BASE, "SVE", "SME"], SVE_VLS, lab.sve),
    }
    return {
        name: [_vls_row(lab, *matrices[name][:2], row["name"], row["vqs"]) for row in recorded]
        for name, recorded in rows.items()
    }


def _vls_row(lab: Lab, features: Features, reg: int, name: str, vqs: list[int] | str) -> Row:
    asked = VectorLengths(vqs if isinstance(vqs, list) else range(1, int(vqs.removeprefix("1..")) + 1))
    subject = lab.make(features, final=False)
    refused = subject.set(reg, vls.encode(asked))
    row: Row = {"name": name, "vqs": vqs, "set_errno": refused, "readback": _bitmap(subject, reg)}
    if refused is not None:
        return row
    row["finalize"] = subject.finalize()
    row["after_finalize"] = _bitmap(subject, reg)
    row["svcr_set"] = subject.set(SVCR, word(3))
    for short, target in (("z0", Z[0]), ("p0", P[0]), ("ffr", FFR), ("za0", ZA[0]), ("zt0", ZT0)):
        subject.set(target, b"\xff" * RegId(target).size)
        data, error = subject.get(target)
        row[f"{short}_ff_bytes_kept"] = error if data is None else data.count(0xFF)
    end = 16 * asked.max if reg == SME_VLS else lab.last_row + 1
    row["za_row_last_get"] = subject.get(ZA[end - 1])[1]
    row["za_row_beyond_get"] = subject.get(ZA[end])[1] if end < len(ZA) else None
    row["z_and_za_rows_nonzero_after_writing_row0"] = [
        sum(1 for target in targets if (subject.get(target)[0] or b"").count(0xFF))
        for targets in (Z, ZA[: lab.last_row + 1])
    ]
    row["reg_count"] = len(subject.listed())
    return row


def _bitmap(subject: Subject, reg: int) -> str:
    return hex(int.from_bytes(subject.read(reg), "little"))


def z_p_bytes_by_mode(lab: Lab, rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """How many bytes Z3 and P3 keep for each pair of lengths, outside and in streaming mode."""
    answers = []
    for recorded in rows:
        most = {"sve_max": recorded["sve_max"], "sme_max": recorded["sme_max"]}
        row: Row = dict(most)
        for svcr in (0, 1):
            subject = lab.make(
                lab.with_all_vectors(),
                svcr=svcr,
                sve=lab.sve.up_to(most["sve_max"]),
                sme=lab.sme.up_to(most["sme_max"]),
            )
            subject.set(Z[3], b"\xff" * 256)
            subject.set(P[3], b"\xff" * 32)
            row[f"svcr{svcr}"] = [subject.read(reg).count(0xFF) for reg in (Z[3], P[3])]
            others = [reg for n, reg in enumerate(Z) if n != 3]
            row[f"svcr{svcr}_z_others_nonzero"] = sum(any(subject.read(reg)) for reg in others)
        answers.append(row)
    return answers


# -- SVCR ----------------------------------------------------------------------------------------


def _fill(lab: Lab, subject: Subject, seed: int) -> None:
    """Random contents in every vector register that takes them, and marks in the scalar ones."""
    source = random.Random(seed)
    for reg in (*Z, *P, FFR, *V, *ZA[: lab.last_row + 1], ZT0):
        subject.set(reg, bytes(source.getrandbits(8) | 1 for _ in range(RegId(reg).size)))
    for reg, data in (
        (FPSR, b"\x1f\0\0\0"),
        (FPCR, b"\0\0\xc0\x03"),
        (FPMR, word(0x12)),
        (int(parse("SMCR_EL1")), word(3)),
        (int(parse("ZCR_EL1")), word(2)),
        (int(parse("TPIDR2_EL0")), word(0x1122334455667788)),
    ):
        subject.set(reg, data)


def _grab(subject: Subject) -> dict[int, bytes]:
    return {reg: subject.read(reg) for reg in subject.listed() if reg not in NOT_READ}


def _changed(before: Mapping[int, bytes], after: Mapping[int, bytes]) -> list[int]:
    return [
        reg for reg, data in after.items() if before.get(reg, data) != data and reg not in MOVES_BY_ITSELF
    ]


def svcr_transitions(lab: Lab) -> Row:
    """From each mode to each other and back, with every register full."""
    return {
        name: [_transition(lab, features, old, new) for old in range(4) for new in range(4)]
        for name, features in lab.sme_sets.items()
    }


def _transition(lab: Lab, features: Features, old: int, new: int) -> Row:
    subject = lab.make(features, svcr=old)
    _fill(lab, subject, 7)
    start, fpmr = _grab(subject), subject.get(FPMR)[0]
    refused = subject.set(SVCR, word(new))
    there, fpmr_there = _grab(subject), subject.get(FPMR)[0]
    fresh, changed = [reg for reg in there if reg not in start], _changed(start, there)
    refused_back = subject.set(SVCR, word(old))
    back = _grab(subject)
    return {
        "from": old,
        "to": new,
        "errno": refused,
        "gone": names(reg for reg in start if reg not in there),
        "new": names(fresh),
        "changed": names(changed),
        "new_all_zero": not any(any(there[reg]) for reg in fresh),
        "changed_nonzero_values": {
            NAMES.get(reg, RegId(reg).hex): cut(there[reg]) for reg in changed if any(there[reg])
        },
        "fpsr": [start[FPSR].hex(), there[FPSR].hex()],
        "fpcr": [start[FPCR].hex(), there[FPCR].hex()],
        "fpmr": [None if data is None else data.hex() for data in (fpmr, fpmr_there)],
        "back": {
            "errno": refused_back,
            "same_list_as_before": list(back) == list(start),
            "changed_vs_start": names(_changed(start, back)),
            "fpsr": back[FPSR].hex(),
        },
    }


# -- copies --------------------------------------------------------------------------------------


def copy(lab: Lab, asked: Mapping[str, Any]) -> Row:
    """Copy one full vCPU into another in a given order; `asked` names features, mode and order."""
    features, svcr, order, vqs = asked["features"], asked["svcr"], asked["order"], asked["sme_vqs"]
    source = lab.make(features, svcr=svcr, sme=None if vqs is None else VectorLengths(vqs))
    _fill(lab, source, 11)
    row: Row = {"features": features, "svcr": svcr, "order": order, "sme_vqs": vqs}
    if "source_run" in asked:
        row["source_run"] = errno_of(lambda: source.vcpu.run(immediate_exit=True))
    ids = source.listed()
    values = {reg: source.read(reg) for reg in ids}

    target = Subject(lab.system.create_vm().create_vcpu(0))
    assert target.init(features) is None
    row["vls_set"] = {NAMES[reg]: target.set(reg, values[reg]) for reg in (SVE_VLS, SME_VLS) if reg in values}
    if order == "svcr_before_finalize":
        row["svcr_set"] = target.set(SVCR, values[SVCR])
    row["finalize"] = target.finalize()
    if order == "svcr_first":
        row["svcr_set"] = target.set(SVCR, values[SVCR])
    row["set_errors"] = _write_all(target, values)
    if order == "list_twice":
        row["second_pass_errors"] = _write_all(target, values)
    now = {reg: target.get(reg)[0] for reg in ids}
    row["count"] = len(ids)
    row["list_equal_after"] = target.listed() == ids
    row["differs_after"] = names(reg for reg in ids if now[reg] != values[reg] and reg not in MOVES_BY_ITSELF)
    row["fpsr_src_dst"] = [values[FPSR].hex(), (now[FPSR] or b"").hex()]
    return row


def _write_all(target: Subject, values: Mapping[int, bytes]) -> dict[str, list[str]]:
    refused: dict[str, list[int]] = {}
    for reg, data in values.items():
        error = target.set(reg, data)
        if error is not None:
            refused.setdefault(error, []).append(reg)
    return {error: names(regs) for error, regs in refused.items()}


# -- bytes, sweeps, masks --------------------------------------------------------------------------


def payload_layout(lab: Lab, asked: Mapping[str, Any]) -> Row:
    """What a few registers hold after a few writes, at short streaming vectors."""
    targets = {name: reg for reg, name in NAMES.items()}
    subject = lab.make(lab.with_all_vectors(), svcr=asked["svcr"], sme=VectorLengths(asked["sme_vqs"]))
    return {
        "sme_vqs": asked["sme_vqs"],
        "svcr": asked["svcr"],
        "set": {
            name: [data, subject.set(targets[name], bytes.fromhex(data))]
            for name, (data, _) in asked["set"].items()
        },
        "get": {
            name: error if data is None else data.hex()
            for name in asked["get"]
            for data, error in [subject.get(targets[name])]
        },
    }


_SME_LOW = [*range(0x2000), *range(0xFFF0, 0x10000)]


def _sweeps() -> Iterator[tuple[str, list[int]]]:
    for size in (8, 32, 64, 128, 256):
        first = 0x60 << 56 | (size.bit_length() - 1) << 52 | RegClass.SME << 16
        yield f"coproc17_size_{size}", [first | low for low in _SME_LOW]
    yield "sysreg_op0_3", [0x6030_0000_0013_0000 | low for low in range(0xC000, 0x10000)]


def get_sweep(lab: Lab) -> Row:
    """Which ids answer without being listed, and with what the others are refused."""
    answers = {}
    for label, features, svcr in (
        ("sve_sme svcr3", lab.with_all_vectors(), 3),
        ("sme svcr0", [*BASE, "SME"], 0),
    ):
        subject = lab.make(features, svcr=svcr)
        listed = set(subject.listed())
        answers[label] = {name: _sweep(subject, listed, ids) for name, ids in _sweeps()}
    return answers


def _sweep(subject: Subject, listed: set[int], ids: Iterable[int]) -> Row:
    unlisted: list[str] = []
    refusals: dict[str, int] = {}
    for reg in ids:
        error = subject.get(reg)[1]
        if error is not None:
            refusals[error] = refusals.get(error, 0) + 1
        elif reg not in listed:
            unlisted.append(RegId(reg).hex)
    return {"gettable_not_listed": unlisted, "errno_counts": refusals}


def writable_masks(lab: Lab, features: Features = ()) -> Row:
    """KVM_ARM_GET_REG_WRITABLE_MASKS, of a VM whose vCPU has `features` (none: no vCPU)."""
    vm = lab.system.create_vm()
    if features:
        assert Subject(vm.create_vcpu(0)).init(features) is None
    return {"errno": None, "masks": {reg.hex: hex(mask) for reg, mask in vm.writable_masks().items()}}


def initial_values(lab: Lab) -> dict[str, str]:
    """Every register of a fresh vCPU with SVE and SME, zeroes at the end cut."""
    subject = lab.make(lab.with_all_vectors())
    return {RegId(reg).hex: subject.read(reg).hex() for reg in subject.listed()}
