"""Fields of the GIC's CPU interface and of its virtualisation, as far as they describe the hardware.

Source: Arm GIC architecture specification (IHI 0069), ICC_CTLR_EL1, ICC_SRE_EL1, ICH_VTR_EL2 and
ICH_VMCR_EL2. A direction says what a guest may be told without being misled: fewer bits of priority or
INTID, no Aff3, and SErrors that never come; KVM compares some of them more strictly.
"""

from __future__ import annotations

from armkvm.arch.fields import EXACT, HIGHER, LOWER, Table

PRIORITY_BITS = {n: f"{n + 1} bits" for n in range(8)}
INTID_BITS = {0: "16 bits", 1: "24 bits"}
AFF3 = {0: "Aff3 is zero", 1: "Aff3 can be used"}
SERROR = {0: "no SErrors of its own", 1: "can raise SErrors"}

ROWS: Table = (
    ("ICC_CTLR_EL1", (
        ("ExtRange", 19, 19, LOWER, {0: "no extended INTIDs", 1: "extended INTIDs"}),
        ("RSS", 18, 18, LOWER, {0: "Aff0 up to 15", 1: "Aff0 up to 255"}),
        ("A3V", 15, 15, LOWER, AFF3),
        ("SEIS", 14, 14, HIGHER, SERROR),
        ("IDbits", 13, 11, LOWER, INTID_BITS),
        ("PRIbits", 10, 8, LOWER, PRIORITY_BITS),
        ("PMHE", 6, 6, EXACT, {}),
        ("EOImode", 1, 1, EXACT, {0: "EOIR drops and deactivates", 1: "EOIR drops, DIR deactivates"}),
        ("CBPR", 0, 0, EXACT, {0: "each group its binary point", 1: "BPR0 for both groups"}),
    )),
    ("ICC_SRE_EL1", (
        ("DIB", 2, 2, EXACT, {1: "no IRQ bypass"}),
        ("DFB", 1, 1, EXACT, {1: "no FIQ bypass"}),
        ("SRE", 0, 0, EXACT, {1: "system registers"}),
    )),
    ("ICH_VTR_EL2", (
        ("PRIbits", 31, 29, LOWER, PRIORITY_BITS),
        ("PREbits", 28, 26, LOWER, PRIORITY_BITS),
        ("IDbits", 25, 23, LOWER, INTID_BITS),
        ("SEIS", 22, 22, HIGHER, SERROR),
        ("A3V", 21, 21, LOWER, AFF3),
        ("nV4", 20, 20, HIGHER, {0: "direct injection", 1: "no direct injection"}),
        ("TDS", 19, 19, LOWER, {0: "no TDIR", 1: "ICH_HCR_EL2.TDIR"}),
        ("DVIM", 18, 18, LOWER, {0: "no masking", 1: "ICH_HCR_EL2.DVIM"}),
        ("ListRegs", 4, 0, LOWER, {}),
    )),
)  # fmt: skip
