"""Fields of the AArch32 feature ID registers as AArch64 sees them; one block per register.

Source: Arm Architecture Registers (names, bits; meanings where certain). Directions: Linux's feature
tables (arch/arm64/kernel/cpufeature.c) where they have the field, else Arm's ID scheme: LOWER. PerfMon
carries the direction KVM gives it, see model/tables/writable.py.
"""

from __future__ import annotations

from armkvm.arch.fields import EXACT, HIGHER, LOWER, SIGNED_LOWER, Row, Table
from armkvm.arch.tables.idfields import DEBUG, NO


def nibbles(*names: str) -> tuple[Row, ...]:
    """Eight 4-bit fields that are lower-safe and without named values, from bit 31 down."""
    return tuple((name, 31 - 4 * n, 28 - 4 * n, LOWER, {}) for n, name in enumerate(names))


ROWS: Table = (
    ("ID_PFR0_EL1", (
        ("RAS", 31, 28, LOWER, {0: NO, 1: "FEAT_RAS", 2: "FEAT_RASv1p1"}),
        ("DIT", 27, 24, LOWER, {0: NO, 1: "FEAT_DIT"}),
        ("AMU", 23, 20, LOWER, {0: NO, 1: "FEAT_AMUv1", 2: "FEAT_AMUv1p1"}),
        ("CSV2", 19, 16, LOWER, {0: "not stated", 1: "FEAT_CSV2", 2: "FEAT_CSV2_1p1"}),
        ("State3", 15, 12, LOWER, {0: NO, 1: "T32EE"}),
        ("State2", 11, 8, LOWER, {0: NO, 1: "Jazelle", 2: "Jazelle, JOSCR.CV cleared on exceptions"}),
        ("State1", 7, 4, LOWER, {0: NO, 3: "T32 with Thumb-2"}),
        ("State0", 3, 0, LOWER, {0: NO, 1: "A32"}),
    )),
    ("ID_PFR1_EL1", (
        ("GIC", 31, 28, LOWER, {0: "no system registers", 1: "GICv3 or GICv4.0", 3: "GICv4.1"}),
        ("Virt_frac", 27, 24, LOWER, {}),
        ("Sec_frac", 23, 20, LOWER, {}),
        ("GenTimer", 19, 16, LOWER, {0: NO, 1: "generic timer", 2: "FEAT_ECV"}),
        ("Virtualization", 15, 12, LOWER, {0: NO, 1: "EL2 extensions"}),
        ("MProgMod", 11, 8, LOWER, {0: NO, 2: "two-stack model"}),
        ("Security", 7, 4, LOWER, {0: NO, 1: "EL3 extensions"}),
        ("ProgMod", 3, 0, LOWER, {0: NO, 1: "supported"}),
    )),
    ("ID_DFR0_EL1", (
        ("TraceFilt", 31, 28, LOWER, {0: NO, 1: "FEAT_TRF"}),
        ("PerfMon", 27, 24, LOWER, {
            0: NO, 1: "PMUv1", 2: "PMUv2", 3: "FEAT_PMUv3", 4: "FEAT_PMUv3p1", 5: "FEAT_PMUv3p4",
            6: "FEAT_PMUv3p5", 7: "FEAT_PMUv3p7", 8: "FEAT_PMUv3p8", 9: "FEAT_PMUv3p9",
            0xF: "IMPLEMENTATION DEFINED",
        }),
        ("MProfDbg", 23, 20, LOWER, {0: NO}),
        ("MMapTrc", 19, 16, LOWER, {0: NO}),
        ("CopTrc", 15, 12, LOWER, {0: NO, 1: "trace unit system registers"}),
        ("MMapDbg", 11, 8, LOWER, {0: NO}),
        ("CopSDbg", 7, 4, LOWER, {0: NO}),
        ("CopDbg", 3, 0, LOWER, DEBUG),
    )),
    ("ID_AFR0_EL1", tuple((f"IMPDEF{n}", 4 * n + 3, 4 * n, EXACT, {}) for n in (3, 2, 1, 0))),
    ("ID_MMFR0_EL1", (
        ("InnerShr", 31, 28, SIGNED_LOWER, {0: "non-cacheable", 1: "hardware coherency", 0xF: "ignored"}),
        ("FCSE", 27, 24, LOWER, {0: NO}),
        ("AuxReg", 23, 20, LOWER, {}),
        ("TCM", 19, 16, LOWER, {0: NO}),
        ("ShareLvl", 15, 12, LOWER, {0: "one level", 1: "two levels"}),
        ("OuterShr", 11, 8, SIGNED_LOWER, {0: "non-cacheable", 1: "hardware coherency", 0xF: "ignored"}),
        ("PMSA", 7, 4, LOWER, {0: NO}),
        ("VMSA", 3, 0, LOWER, {0: NO, 4: "VMSAv7 with PXN", 5: "VMSAv7 with long descriptors"}),
    )),
    ("ID_MMFR1_EL1", nibbles(
        "BPred", "L1TstCln", "L1Uni", "L1Hvd", "L1UniSW", "L1HvdSW", "L1UniVA", "L1HvdVA",
    )),
    ("ID_MMFR2_EL1", nibbles(
        "HWAccFlg", "WFIStall", "MemBarr", "UniTLB", "HvdTLB", "L1HvdRng", "L1HvdBG", "L1HvdFG",
    )),
    ("ID_MMFR3_EL1", (
        ("Supersec", 31, 28, LOWER, {}),  # 0xF: not supported
        ("CMemSz", 27, 24, LOWER, {}),
        ("CohWalk", 23, 20, LOWER, {}),
        ("PAN", 19, 16, LOWER, {0: NO, 1: "FEAT_PAN", 2: "FEAT_PAN2"}),
        ("MaintBcst", 15, 12, LOWER, {}),
        ("BPMaint", 11, 8, LOWER, {}),
        ("CMaintSW", 7, 4, LOWER, {}),
        ("CMaintVA", 3, 0, LOWER, {}),
    )),
    ("ID_ISAR0_EL1", (
        ("Divide", 27, 24, LOWER, {0: NO, 1: "in T32", 2: "in T32 and A32"}),
        ("Debug", 23, 20, LOWER, {0: NO, 1: "BKPT"}),
        ("Coproc", 19, 16, LOWER, {}),
        ("CmpBranch", 15, 12, LOWER, {0: NO, 1: "CBNZ and CBZ"}),
        ("BitField", 11, 8, LOWER, {0: NO, 1: "BFC, BFI, SBFX, UBFX"}),
        ("BitCount", 7, 4, LOWER, {0: NO, 1: "CLZ"}),
        ("Swap", 3, 0, LOWER, {0: NO, 1: "SWP and SWPB"}),
    )),
    ("ID_ISAR1_EL1", nibbles(
        "Jazelle", "Interwork", "Immediate", "IfThen", "Extend", "Except_AR", "Except", "Endian",
    )),
    ("ID_ISAR2_EL1", nibbles(
        "Reversal", "PSR_AR", "MultU", "MultS", "Mult", "MultiAccessInt", "MemHint", "LoadStore",
    )),
    ("ID_ISAR3_EL1", nibbles(
        "T32EE", "TrueNOP", "T32Copy", "TabBranch", "SynchPrim", "SVC", "SIMD", "Saturate",
    )),
    ("ID_ISAR4_EL1", nibbles(
        "SWP_frac", "PSR_M", "SynchPrim_frac", "Barrier", "SMC", "Writeback", "WithShifts", "Unpriv",
    )),
    ("ID_ISAR5_EL1", (
        ("VCMA", 31, 28, LOWER, {0: NO, 1: "FEAT_FCMA"}),
        ("RDM", 27, 24, LOWER, {0: NO, 1: "FEAT_RDM"}),
        ("CRC32", 19, 16, LOWER, {0: NO, 1: "FEAT_CRC32"}),
        ("SHA2", 15, 12, LOWER, {0: NO, 1: "FEAT_SHA256"}),
        ("SHA1", 11, 8, LOWER, {0: NO, 1: "FEAT_SHA1"}),
        ("AES", 7, 4, LOWER, {0: NO, 1: "FEAT_AES", 2: "FEAT_PMULL"}),
        ("SEVL", 3, 0, LOWER, {0: NO, 1: "SEVL"}),
    )),
    ("ID_MMFR4_EL1", (
        ("EVT", 31, 28, LOWER, {0: NO, 1: "some of the traps", 2: "FEAT_EVT"}),
        ("CCIDX", 27, 24, LOWER, {0: "32-bit CCSIDR format", 1: "FEAT_CCIDX"}),
        ("LSM", 23, 20, LOWER, {0: NO, 1: "FEAT_LSMAOC"}),
        ("HPDS", 19, 16, LOWER, {0: NO, 1: "FEAT_AA32HPD", 2: "FEAT_HPDS2"}),
        ("CnP", 15, 12, LOWER, {0: NO, 1: "FEAT_TTCNP"}),
        ("XNX", 11, 8, LOWER, {0: NO, 1: "FEAT_XNX"}),
        ("AC2", 7, 4, LOWER, {0: NO, 1: "ACTLR2 and HACTLR2"}),
        ("SpecSEI", 3, 0, HIGHER, {0: "no SError from speculation", 1: "SError from speculation possible"}),
    )),
    ("ID_ISAR6_EL1", (
        ("I8MM", 27, 24, LOWER, {0: NO, 1: "FEAT_AA32I8MM"}),
        ("BF16", 23, 20, LOWER, {0: NO, 1: "FEAT_AA32BF16"}),
        ("SPECRES", 19, 16, LOWER, {0: NO, 1: "FEAT_SPECRES", 2: "FEAT_SPECRES2"}),
        ("SB", 15, 12, LOWER, {0: NO, 1: "FEAT_SB"}),
        ("FHM", 11, 8, LOWER, {0: NO, 1: "FEAT_FHM"}),
        ("DP", 7, 4, LOWER, {0: NO, 1: "FEAT_DotProd"}),
        ("JSCVT", 3, 0, LOWER, {0: NO, 1: "FEAT_JSCVT"}),
    )),
    ("MVFR0_EL1", (
        ("FPRound", 31, 28, LOWER, {0: NO, 1: "all rounding modes"}),
        ("FPShVec", 27, 24, LOWER, {0: NO, 1: "short vectors"}),
        ("FPSqrt", 23, 20, LOWER, {0: NO, 1: "supported"}),
        ("FPDivide", 19, 16, LOWER, {0: NO, 1: "supported"}),
        ("FPTrap", 15, 12, LOWER, {0: NO, 1: "trapped exceptions"}),
        ("FPDP", 11, 8, LOWER, {0: NO, 1: "VFPv2", 2: "VFPv3 and later"}),
        ("FPSP", 7, 4, LOWER, {0: NO, 1: "VFPv2", 2: "VFPv3 and later"}),
        ("SIMDReg", 3, 0, LOWER, {0: NO, 1: "16 doubleword registers", 2: "32 doubleword registers"}),
    )),
    ("MVFR1_EL1", (
        ("SIMDFMAC", 31, 28, LOWER, {0: NO, 1: "fused multiply accumulate"}),
        ("FPHP", 27, 24, LOWER, {0: NO, 1: "to and from single", 2: "and double", 3: "FEAT_FP16"}),
        ("SIMDHP", 23, 20, LOWER, {0: NO, 1: "conversions", 2: "FEAT_FP16"}),
        ("SIMDSP", 19, 16, LOWER, {0: NO, 1: "supported"}),
        ("SIMDInt", 15, 12, LOWER, {0: NO, 1: "supported"}),
        ("SIMDLS", 11, 8, LOWER, {0: NO, 1: "supported"}),
        ("FPDNaN", 7, 4, LOWER, {0: "default NaN only", 1: "NaN propagation"}),
        ("FPFtZ", 3, 0, LOWER, {0: "flush to zero only", 1: "denormalised numbers"}),
    )),
    ("MVFR2_EL1", (
        ("FPMisc", 7, 4, LOWER, {}),
        ("SIMDMisc", 3, 0, LOWER, {}),
    )),
    ("ID_PFR2_EL1", (
        ("RAS_frac", 11, 8, LOWER, {0: "no fraction", 1: "FEAT_RASv1p1 if RAS is 1"}),
        ("SSBS", 7, 4, LOWER, {0: NO, 1: "FEAT_SSBS"}),
        ("CSV3", 3, 0, LOWER, {0: "not stated", 1: "FEAT_CSV3"}),
    )),
    ("ID_DFR1_EL1", (
        ("HPMN0", 7, 4, LOWER, {0: NO, 1: "FEAT_HPMN0"}),
        ("MTPMU", 3, 0, SIGNED_LOWER, {1: "FEAT_MTPMU", 0xF: NO}),
    )),
    ("ID_MMFR5_EL1", (
        ("nTLBPA", 7, 4, LOWER, {0: "not stated", 1: "FEAT_nTLBPA"}),
        ("ETS", 3, 0, LOWER, {0: NO, 2: "FEAT_ETS2", 3: "FEAT_ETS3"}),
    )),
)  # fmt: skip
