"""SVE and SME instructions against QEMU's user mode: every row, over random words, states and lengths.

The committed digests are what the QEMU named in them answered; `python -m
tests.differential.cpu.test_instructions` records them anew. The comparison with the QEMU installed here
runs with ``-m lab``.
"""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.differential.cpu import oracle
from tests.differential.cpu.samples import STREAMING, Sample, doubted, draw

from armkvm.cpu.decode import Row
from armkvm.cpu.emulation import DECODER
from armkvm.cpu.legality import Check

GOLDEN = Path(__file__).parents[2] / "golden" / "cpu" / "instructions.json"
GOLDEN_VLS, GOLDEN_SAMPLES = (16, 48, 64, 256), 3
LIVE_VLS, LIVE_SAMPLES = (16, 32, 48, 64, 112, 128, 208, 256), 6
_CANDIDATES = 32


def name_of(row: Row) -> str:
    return f"{row.mnemonic}: {' '.join(row.pattern.split())}"


def comparable(row: Row, sample: Sample, vl: int) -> bool:
    """SME lengths are powers of two, and QEMU is not right in everything."""
    streaming = sample.flags & STREAMING or row.check is Check.SME_ACCESS
    return (not streaming or not vl & vl - 1) and not doubted(row, sample, vl)


@cache
def golden() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(GOLDEN.read_text())
    return loaded


@cache
def ours(vl: int) -> oracle.Ours:
    return oracle.Ours(vl)


def recorded() -> list[tuple[str, Sample, dict[str, str]]]:
    return [
        (name, Sample(int(word, 16), flags, seed), digests)
        for name, samples in golden()["rows"].items()
        for word, flags, seed, digests in samples
    ]


@pytest.mark.parametrize("vl", GOLDEN_VLS)
def test_instructions_do_what_qemu_recorded(vl: int) -> None:
    """Digests of all registers and memory after each sample of each row."""
    differing = [
        f"{name}: {sample.word:#010x}"
        for name, sample, digests in recorded()
        if str(vl) in digests and oracle.digest(ours(vl).run(sample)) != digests[str(vl)]
    ]
    assert differing == []


def test_every_row_is_recorded() -> None:
    """No instruction is covered without an independent answer."""
    rows = golden()["rows"]
    assert set(rows) == {name_of(row) for row in DECODER.rows}
    # These have scalar twins in tests/unit/cpu instead: see `doubted`.
    assert {name.split()[0] for name, samples in rows.items() if not samples} == {"LDFF1B", "LDNF1B"}


@pytest.mark.lab
@pytest.mark.skipif(
    not oracle.available(), reason="needs the aarch64 assembler and qemu-aarch64 of 11 or later"
)
@pytest.mark.parametrize("vl", LIVE_VLS)
def test_instructions_do_what_qemu_does(vl: int) -> None:
    """Every register and byte, on random words, states, predicates and floating-point modes."""
    rng = random.Random(vl)
    drawn = [(row, draw(row, rng)) for row in DECODER.rows for _ in range(LIVE_SAMPLES)]
    chosen = [s for row, s in drawn if comparable(row, s, vl)]
    answers = zip(chosen, oracle.qemu(chosen, vl), strict=True)
    assert [f"{s.word:#010x}" for s, theirs in answers if ours(vl).run(s) != theirs] == []


def choose() -> list[tuple[Row, Sample]]:
    """For each row a few samples, of those that QEMU executes if there are any."""
    drawn = []
    for row in DECODER.rows:
        rng = random.Random(name_of(row))
        drawn += [(row, draw(row, rng)) for _ in range(_CANDIDATES)]
    drawn = [(row, s) for row, s in drawn if not doubted(row, s, 32)]
    answers = oracle.qemu((s for _, s in drawn), 32)
    executed = {s for (_, s), answer in zip(drawn, answers, strict=True) if answer is not None}
    chosen = []
    for row in DECODER.rows:
        samples = sorted((s for r, s in drawn if r is row), key=lambda s: s not in executed)
        chosen += [(row, s) for s in samples[:GOLDEN_SAMPLES]]
    return chosen


def record() -> None:
    """Write the golden digests from the QEMU installed here."""
    chosen = choose()
    digests: dict[Sample, dict[str, str]] = {s: {} for _, s in chosen}
    for vl in GOLDEN_VLS:
        asked = [
            s for row, s in chosen if comparable(row, s, vl) and not (s.flags & STREAMING and vl > 64)
        ]  # ZA at the longest length is left to the live comparison
        for sample, answer in zip(asked, oracle.qemu(asked, vl), strict=True):
            digests[sample][str(vl)] = oracle.digest(answer)
    by_row: dict[str, list[object]] = {name_of(row): [] for row in DECODER.rows}
    for row, s in chosen:
        by_row[name_of(row)].append([f"{s.word:#010x}", s.flags, s.seed, digests[s]])
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(samples)}" for name, samples in by_row.items())
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(f'{{"source": "{oracle.version()} -cpu max", "rows": {{\n{lines}\n}}}}\n')


if __name__ == "__main__":
    record()
