"""SVE and SME instructions against QEMU's user mode, over random states and vector lengths.

The committed digests are of what QEMU 7.2.22 answered; `python -m tests.differential.cpu.test_instructions`
records them anew. The comparison with the QEMU installed here runs with ``-m lab``.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.differential.cpu import oracle
from tests.differential.cpu.cases import CASES, STREAMING, Case, trusted

GOLDEN = Path(__file__).parents[2] / "golden" / "cpu" / "instructions.json"
GOLDEN_VLS, GOLDEN_TRIALS = (16, 48, 256), 2
LIVE_VLS, LIVE_TRIALS = (16, 32, 48, 64, 112, 128, 208, 256), 4


@cache
def golden() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(GOLDEN.read_text())
    return loaded


@cache
def ours(vl: int) -> oracle.Ours:
    return oracle.Ours(vl)


def possible(case: Case, vl: int) -> bool:
    """SME lengths are powers of two."""
    return trusted(case, vl) and (not case.flags & STREAMING or not vl & vl - 1)


@pytest.mark.parametrize("vl", GOLDEN_VLS)
def test_instructions_do_what_qemu_recorded(vl: int) -> None:
    """Digests of all registers and memory after each case, two random states per length."""
    differing = []
    for case in CASES:
        if not possible(case, vl):
            continue
        record = golden()["cases"][case.key]
        states = [
            ours(vl).run(int(record["word"], 16), case, oracle.random_state(case, vl, trial))
            for trial in range(GOLDEN_TRIALS)
        ]
        if oracle.digest(states) != record["digests"][str(vl)]:
            differing.append(case.key)
    assert differing == []


def test_every_case_is_recorded() -> None:
    assert set(golden()["cases"]) == {case.key for case in CASES}


@pytest.mark.lab
@pytest.mark.skipif(not oracle.available(), reason="needs the aarch64 assembler and qemu-aarch64-static")
@pytest.mark.parametrize("vl", LIVE_VLS)
def test_instructions_do_what_qemu_does(vl: int) -> None:
    """Every register and byte, on random states, operands, predicates and floating-point modes."""
    cases = [case for case in CASES if possible(case, vl)]
    differing = []
    for case, word, expected in zip(
        cases, oracle.words(cases), oracle.qemu(cases, vl, LIVE_TRIALS), strict=True
    ):
        for trial, theirs in enumerate(expected):
            mine = ours(vl).run(word, case, oracle.random_state(case, vl, trial))
            differing += [
                f"{case.asm}: {name}, trial {trial}"
                for name in theirs.__slots__
                if getattr(mine, name) != getattr(theirs, name)
            ]
    assert differing == []


def record() -> None:
    """Write the golden digests from the QEMU installed here."""
    cases = list(CASES)
    records: dict[str, Any] = {
        case.key: {"word": f"{word:#010x}", "digests": {}}
        for case, word in zip(cases, oracle.words(cases), strict=True)
    }
    for vl in GOLDEN_VLS:
        chosen = [case for case in cases if possible(case, vl)]
        for case, states in zip(chosen, oracle.qemu(chosen, vl, GOLDEN_TRIALS), strict=True):
            records[case.key]["digests"][str(vl)] = oracle.digest(states)
    lines = ",\n".join(f" {json.dumps(asm)}: {json.dumps(entry)}" for asm, entry in records.items())
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text('{"source": "qemu-aarch64 7.2.22 -cpu max", "cases": {\n' + lines + "\n}}\n")


if __name__ == "__main__":
    record()
