"""What KVM does with a guest's access, register by register, and the trap bits it sets at EL2.

A row says which control makes the access trap, what KVM then answers, and which feature the guest must
be shown for it not to be UNDEFINED. Registers without a row are the guest's own (they have a row in
`model.sysregs`), or reach the CPU untouched.

Source: Linux arch/arm64/kvm/sys_regs.c (sys_reg_descs, kvm_calculate_traps), emulate-nested.c,
arch/arm64/include/asm/kvm_arm.h; Arm Architecture Registers (HCR_EL2, HCRX_EL2).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.cpu.legality import FP, SME, SVE, Unit
from armkvm.model.trap_behaviours import RAS_BY_FIELD
from armkvm.model.vcpu_behaviours import WRITABLE_ID_REGISTERS, WRITABLE_IMP_ID
from armkvm.model.vector_behaviours import SME_GUESTS, SMPRI_READS_TRAP


class Answer(Enum):
    """What KVM makes of an access that trapped."""

    UNDEFINED = "the access is UNDEFINED"
    IDENTITY = "the access is UNDEFINED, or a trap of its own class with FEAT_IDST"
    RAZ_WI = "reads are zero, writes are ignored"
    EMULATED = "KVM answers from the state of a device it emulates"
    IGNORED_WRITES = "reads give the register, writes are ignored"


@dataclass(frozen=True, slots=True)
class GuestRow:
    """One rule. `since` is the behaviour of the kernels it holds on, "" for all."""

    registers: str
    control: str
    answer: Answer
    feature: str = ""
    since: str = ""


_U, _Z, _E = Answer.UNDEFINED, Answer.RAZ_WI, Answer.EMULATED
_ERX = "ERRIDR_EL1 ERRSELR_EL1 ERXFR_EL1 ERXCTLR_EL1 ERXSTATUS_EL1 ERXADDR_EL1 ERXMISC0_EL1 ERXMISC1_EL1"
_ERX_1P1 = "ERXPFGF_EL1 ERXPFGCTL_EL1 ERXPFGCDN_EL1 ERXMISC2_EL1 ERXMISC3_EL1"

# The first row that names a register and holds on the kernel decides.
ROWS: tuple[GuestRow, ...] = (
    GuestRow("MDRAR_EL1 OSDLR_EL1 DBGPRCR_EL1 MDCCSR_EL0", "MDCR_EL2", _Z),
    GuestRow("DBGCLAIMSET_EL1 DBGCLAIMCLR_EL1", "MDCR_EL2.TDA", _Z),
    GuestRow("OSLAR_EL1 DBGAUTHSTATUS_EL1", "MDCR_EL2", _E),
    GuestRow(_ERX, "HCR_EL2.TERR", _Z, "FEAT_RAS", RAS_BY_FIELD),
    GuestRow(_ERX_1P1, "HCR_EL2.TERR", _Z, "FEAT_RASv1p1", RAS_BY_FIELD),
    GuestRow(_ERX, "HCR_EL2.TERR", _Z),
    GuestRow(_ERX_1P1, "HCR_EL2.TERR", _U),
    GuestRow("LORSA_EL1 LOREA_EL1 LORN_EL1 LORC_EL1 LORID_EL1", "HCR_EL2.TLOR", _Z, "FEAT_LOR"),
    GuestRow("TRFCR_EL1", "MDCR_EL2.TTRF", _U, "FEAT_TRF"),
    GuestRow(
        "PMSCR_EL1 PMSNEVFR_EL1 PMSICR_EL1 PMSIRR_EL1 PMSFCR_EL1 PMSEVFR_EL1 PMSLATFR_EL1 PMSIDR_EL1",
        "MDCR_EL2.TPMS",
        _U,
        "FEAT_SPE",
    ),
    GuestRow("PMBLIMITR_EL1 PMBPTR_EL1 PMBSR_EL1", "MDCR_EL2.E2PB", _U, "FEAT_SPE"),
    GuestRow(
        "TRBLIMITR_EL1 TRBPTR_EL1 TRBBASER_EL1 TRBSR_EL1 TRBMAR_EL1 TRBTRG_EL1",
        "MDCR_EL2.E2TB",
        _U,
        "FEAT_TRBE",
    ),
    GuestRow("SCXTNUM_EL0 SCXTNUM_EL1", "HCR_EL2.EnSCXT", _U),
    GuestRow("SMIDR_EL1", "HCR_EL2.TID1", Answer.IDENTITY, "", WRITABLE_IMP_ID),
    GuestRow("CCSIDR2_EL1", "HCR_EL2.TID2", Answer.IDENTITY),
    GuestRow("SMPRI_EL1", "", _Z, "FEAT_SME", SME_GUESTS),  # by FINE_TRAPS
    GuestRow("ACTLR_EL1", "HCR_EL2.TACR", Answer.IGNORED_WRITES),
    GuestRow("CCSIDR_EL1", "HCR_EL2.TID2", _E),
    GuestRow(
        "ICC_PMR_EL1 ICC_IAR0_EL1 ICC_EOIR0_EL1 ICC_HPPIR0_EL1 ICC_BPR0_EL1 ICC_AP0R0_EL1 ICC_AP0R1_EL1 "
        "ICC_AP0R2_EL1 ICC_AP0R3_EL1 ICC_AP1R0_EL1 ICC_AP1R1_EL1 ICC_AP1R2_EL1 ICC_AP1R3_EL1 ICC_DIR_EL1 "
        "ICC_RPR_EL1 ICC_SGI1R_EL1 ICC_ASGI1R_EL1 ICC_SGI0R_EL1 ICC_IAR1_EL1 ICC_EOIR1_EL1 ICC_HPPIR1_EL1 "
        "ICC_BPR1_EL1 ICC_CTLR_EL1 ICC_SRE_EL1 ICC_IGRPEN0_EL1 ICC_IGRPEN1_EL1",
        "ICH_HCR_EL2",
        _E,
        "FEAT_GICv3",
        WRITABLE_ID_REGISTERS,
    ),
)

# Whole groups, (op0, op1, CRn): control and answer.
SPANS: dict[tuple[int, int, int], GuestRow] = {
    **{(2, 1, crn): GuestRow("the trace unit", "CPTR_EL2.TTA", _U, "FEAT_TRC_SR") for crn in range(8)},
    (3, 3, 13): GuestRow("activity monitors", "CPTR_EL2.TAM", _U, "FEAT_AMUv1"),
    (3, 3, 14): GuestRow("timers and event counters", "CNTHCTL_EL2, MDCR_EL2.TPM", _E),
    (3, 3, 9): GuestRow("performance monitors", "MDCR_EL2.TPM", _E),
}
# Registers that lie among these but are the guest's own: threads, and the virtual timer.
NOT_OF_SPAN = (
    "TPIDR_EL0 TPIDRRO_EL0 TPIDR2_EL0 CNTFRQ_EL0 CNTVCT_EL0 CNTV_CTL_EL0 CNTV_CVAL_EL0 CNTV_TVAL_EL0"
)

# Registers that HCRX_EL2 gives to the guest: by ID field, whatever userspace is shown.
ENABLED: dict[str, tuple[str, str]] = {
    "TCR2_EL1": ("HCRX_EL2.TCR2En", "FEAT_TCR2"),
    "SCTLR2_EL1": ("HCRX_EL2.SCTLR2En", "FEAT_SCTLR2"),
    "FPMR": ("HCRX_EL2.EnFPM", "FEAT_FPMR"),
}

# Registers that come with a feature of the vCPU or VM: what traps them without it, and what shows it.
GIVEN: dict[str, tuple[str, str]] = {
    "ZCR_EL1": ("CPTR_EL2.TZ", "FEAT_SVE"),
    **dict.fromkeys(("SMCR_EL1", "SVCR", "SMPRI_EL1"), ("CPTR_EL2.TSM", "FEAT_SME")),
    **dict.fromkeys(("RGSR_EL1", "GCR_EL1", "TFSR_EL1", "TFSRE0_EL1"), ("HCR_EL2.ATA", "FEAT_MTE2")),
    **{
        f"AP{key}Key{half}_EL1": ("HCR_EL2.APK", "FEAT_PAuth")
        for key in ("IA", "IB", "DA", "DB", "GA")
        for half in ("Lo", "Hi")
    },
    **dict.fromkeys(("PMINTENSET_EL1", "PMINTENCLR_EL1", "PMMIR_EL1"), ("MDCR_EL2.TPM", "FEAT_PMUv3")),
}

# Registers and PSTATE accessors of features that KVM lets userspace hide but has no trap for.
UNPREVENTED: dict[str, str] = {
    "RNDR": "FEAT_RNG",
    "RNDRRS": "FEAT_RNG",
    "DIT": "FEAT_DIT",
    "SSBS": "FEAT_SSBS2",
    "TCO": "FEAT_MTE",
}

# HCRX_EL2: bits that give the guest something, with the feature that it must be shown.
HCRX: tuple[tuple[int, str, str], ...] = (
    (23, "EnFPM", "FEAT_FPMR"),
    (15, "SCTLR2En", "FEAT_SCTLR2"),
    (14, "TCR2En", "FEAT_TCR2"),
    (11, "MSCEn", "FEAT_MOPS"),
    (10, "MCE2", "FEAT_MOPS"),
    (2, "EnASR", "FEAT_LS64_V"),
    (1, "EnALS", "FEAT_LS64"),
)
HCRX_ALWAYS: tuple[tuple[int, str], ...] = ((5, "SMPME"),)

# HCR_EL2: the trap bits of every guest. Those that depend on the VM are in `model.traps`.
HCR_ALWAYS: dict[str, int] = {
    "TLOR": 35, "TSW": 22, "TACR": 21, "TIDCP": 20, "TSC": 19, "TID3": 18, "TWE": 14, "TWI": 13,
}  # fmt: skip
HCR: dict[str, int] = {
    "ATA": 56, "TTLBOS": 55, "TID4": 49, "API": 41, "APK": 40, "TEA": 37, "TERR": 36, "RW": 31, "TID2": 17,
    "TID1": 16,
}  # fmt: skip

# CPTR_EL2 while a guest runs. A unit is open (its field 3 with HCR_EL2.E2H, its trap bit 0 without) if
# the vCPU has the feature, "" being none in particular, and owns the registers.
CPTR_UNITS: tuple[tuple[Unit, F | None], ...] = ((FP, None), (SVE, F.SVE), (SME, F.SME))
CPTR_VHE_ALWAYS: dict[str, int] = {"TAM": 30, "TTA": 28}
CPTR_NVHE_ALWAYS: dict[str, int] = {"TAM": 30, "TTA": 20}
CPTR_NVHE_RES1 = 0x22FF
"""RES1 without HCR_EL2.E2H: bits 13, 9 and 7 to 0; TSM (12) and TZ (8) are RES1 on CPUs without the unit."""


@dataclass(frozen=True, slots=True)
class FineTrap:
    """A fine-grained trap that does not make the access UNDEFINED: KVM answers by the register's row."""

    name: str
    sides: str
    feature: str
    since: str


# The first row that names a bit and holds on the kernel decides.
FINE_TRAPS: tuple[FineTrap, ...] = (
    FineTrap("nSMPRI_EL1", "rw", "FEAT_SME", SMPRI_READS_TRAP),
    FineTrap("nSMPRI_EL1", "w", "FEAT_SME", SME_GUESTS),
)

# Before the tables of conditions: the bits 6.12 made UNDEFINED by hand.
FGU_BY_HAND: frozenset[str] = frozenset((
    *("nAMAIR2_EL1", "nMAIR2_EL1", "nS2POR_EL1", "nACCDATA_EL1", "nSMPRI_EL1", "nTPIDR2_EL0"),
    *("nPIR_EL1", "nPIRE0_EL1", "nPOR_EL1", "nPOR_EL0", "ATS1E1A", "ATS1E1RP", "ATS1E1WP"),
))  # fmt: skip
FGU_FEATURES_BY_HAND: frozenset[str] = frozenset(("FEAT_TLBIOS", "FEAT_TLBIRANGE", "FEAT_AMUv1"))
