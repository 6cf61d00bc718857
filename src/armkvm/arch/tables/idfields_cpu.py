"""Fields of the registers that identify a CPU and its caches; one block per register.

Source: Arm Architecture Registers. CTR_EL0's directions follow Linux's feature table.
"""

from __future__ import annotations

from armkvm.arch.fields import EXACT, HIGHER_OR_ZERO, LOWER, Table, exact

IMPLEMENTERS = {
    0x41: "Arm",
    0x42: "Broadcom",
    0x43: "Cavium",
    0x46: "Fujitsu",
    0x48: "HiSilicon",
    0x4E: "NVIDIA",
    0x50: "Applied Micro",
    0x51: "Qualcomm",
    0x53: "Samsung",
    0x56: "Marvell",
    0x61: "Apple",
    0x6D: "Microsoft",
    0xC0: "Ampere",
}
CACHE = {0: "no cache", 1: "instruction", 2: "data", 3: "separate instruction and data", 4: "unified"}
TAG_CACHE = {
    0: "no tag cache",
    1: "separate allocation tag cache",
    2: "unified, tags and data in the same lines",
    3: "unified, tags and data in separate lines",
}

ROWS: Table = (
    ("MIDR_EL1", (
        ("Implementer", 31, 24, EXACT, IMPLEMENTERS),
        ("Variant", 23, 20, EXACT, {}),
        ("Architecture", 19, 16, EXACT, {0xF: "described by the ID registers"}),
        ("PartNum", 15, 4, EXACT, {}),
        ("Revision", 3, 0, EXACT, {}),
    )),
    ("MPIDR_EL1", (
        ("Aff3", 39, 32, EXACT, {}),
        ("RES1", 31, 31, EXACT, {}),
        ("U", 30, 30, EXACT, {0: "part of a multiprocessor", 1: "uniprocessor"}),
        ("MT", 24, 24, EXACT, {0: "Aff0 counts cores", 1: "Aff0 counts threads of a core"}),
        ("Aff2", 23, 16, EXACT, {}),
        ("Aff1", 15, 8, EXACT, {}),
        ("Aff0", 7, 0, EXACT, {}),
    )),
    ("REVIDR_EL1", (
        ("IMPDEF", 63, 0, EXACT, {}),
    )),
    ("AIDR_EL1", (
        ("IMPDEF", 63, 0, EXACT, {}),
    )),
    ("SMIDR_EL1", (
        ("NSMC", 59, 56, EXACT, {}),
        ("HIP", 55, 52, EXACT, {}),
        ("Affinity2", 51, 32, EXACT, {}),
        ("Implementer", 31, 24, EXACT, IMPLEMENTERS),
        ("Revision", 23, 16, EXACT, {}),
        ("SMPS", 15, 15, EXACT, {0: "no streaming priority", 1: "streaming priority"}),
        ("SH", 14, 13, EXACT, {}),
        ("Affinity", 11, 0, EXACT, {}),
    )),
    # A line size is log2 of the number of 4-byte words in it.
    ("CTR_EL0", (
        ("TminLine", 37, 32, LOWER, {}),
        ("RES1", 31, 31, EXACT, {}),
        ("DIC", 29, 29, LOWER, {0: "instruction cache needs invalidation to PoU", 1: "it does not"}),
        ("IDC", 28, 28, LOWER, {0: "data cache needs cleaning to PoU", 1: "it does not"}),
        ("CWG", 27, 24, HIGHER_OR_ZERO, {0: "not stated, assume the maximum"}),
        ("ERG", 23, 20, HIGHER_OR_ZERO, {0: "not stated, assume the maximum"}),
        ("DminLine", 19, 16, LOWER, {}),
        ("L1Ip", 15, 14, exact(2), {0: "VPIPT", 1: "AIVIVT (reserved)", 2: "VIPT", 3: "PIPT"}),
        ("IminLine", 3, 0, LOWER, {}),
    )),
    ("CLIDR_EL1", (
        *((f"Ttype{n}", 32 + 2 * n, 31 + 2 * n, EXACT, TAG_CACHE) for n in range(7, 0, -1)),
        ("ICB", 32, 30, EXACT, {0: "not stated", **{n: f"level {n}" for n in range(1, 8)}}),
        ("LoUU", 29, 27, EXACT, {}),
        ("LoC", 26, 24, EXACT, {}),
        ("LoUIS", 23, 21, EXACT, {}),
        *((f"Ctype{n}", 3 * n - 1, 3 * n - 3, EXACT, CACHE) for n in range(7, 0, -1)),
    )),
)  # fmt: skip
