"""Registers and SYS instructions that only guests name: no KVM gives userspace an id for them.

(op0, op1, CRn, CRm, op2) and Arm's name, as in `tables.sysregs`; an instruction's operation and operand
are joined by an underscore. They are here because the model decides what a guest's access comes to.

Source: Arm Architecture Reference Manual, Armv9-A, and Arm Architecture Registers (encodings).
"""

from __future__ import annotations

from typing import TypeAlias

Row: TypeAlias = tuple[int, int, int, int, int, str]

REGISTERS: tuple[Row, ...] = (
    (2, 0, 0, 6, 2, "OSECCR_EL1"),
    (2, 1, 9, 0, 1, "BRBFCR_EL1"),
    (2, 1, 9, 2, 0, "BRBIDR0_EL1"),
    (3, 0, 5, 4, 0, "ERXFR_EL1"),
    (3, 0, 5, 4, 1, "ERXCTLR_EL1"),
    (3, 0, 5, 4, 2, "ERXSTATUS_EL1"),
    (3, 0, 5, 4, 3, "ERXADDR_EL1"),
    (3, 0, 5, 4, 4, "ERXPFGF_EL1"),
    (3, 0, 5, 4, 5, "ERXPFGCTL_EL1"),
    (3, 0, 5, 4, 6, "ERXPFGCDN_EL1"),
    *((3, 0, 5, 5, n, f"ERXMISC{n}_EL1") for n in range(4)),
    *(
        (3, 0, 9, 9, op2, f"PMS{name}_EL1")
        for op2, name in enumerate(("NEVFR", "ICR", "IRR", "FCR", "EVFR", "LATFR"), 1)
    ),
    (3, 0, 9, 10, 0, "PMBLIMITR_EL1"),
    (3, 0, 9, 10, 1, "PMBPTR_EL1"),
    (3, 0, 9, 10, 3, "PMBSR_EL1"),
    (3, 0, 9, 10, 7, "PMBIDR_EL1"),
    (3, 0, 9, 11, 1, "TRBPTR_EL1"),
    (3, 0, 9, 11, 2, "TRBBASER_EL1"),
    (3, 0, 9, 11, 3, "TRBSR_EL1"),
    (3, 0, 9, 11, 4, "TRBMAR_EL1"),
    (3, 0, 9, 11, 6, "TRBTRG_EL1"),
    (3, 0, 9, 11, 7, "TRBIDR_EL1"),
    (3, 0, 10, 2, 5, "S2POR_EL1"),
    (3, 0, 12, 1, 0, "ISR_EL1"),
    (3, 3, 9, 4, 0, "PMICNTR_EL0"),
    (3, 3, 9, 6, 0, "PMICFILTR_EL0"),
    # activity monitors
    (3, 3, 13, 2, 1, "AMCFGR_EL0"),
    (3, 3, 13, 2, 2, "AMCGCR_EL0"),
    (3, 3, 13, 2, 4, "AMCNTENCLR0_EL0"),
    (3, 3, 13, 2, 5, "AMCNTENSET0_EL0"),
    (3, 3, 13, 3, 0, "AMCNTENCLR1_EL0"),
    (3, 3, 13, 3, 1, "AMCNTENSET1_EL0"),
    *((3, 3, 13, 4, n, f"AMEVCNTR0{n}_EL0") for n in range(4)),
    *((3, 3, 13, 6, n, f"AMEVTYPER0{n}_EL0") for n in range(4)),
    *((3, 3, 13, 12 + n // 8, n % 8, f"AMEVCNTR1{n}_EL0") for n in range(16)),
    *((3, 3, 13, 14 + n // 8, n % 8, f"AMEVTYPER1{n}_EL0") for n in range(16)),
    # the trace unit, as far as its registers have trap bits of their own
    (2, 1, 0, 0, 2, "TRCVICTLR"),
    (2, 1, 0, 1, 0, "TRCPRGCTLR"),
    (2, 1, 0, 3, 0, "TRCSTATR"),
    (2, 1, 0, 6, 0, "TRCAUXCTLR"),
    (2, 1, 0, 7, 4, "TRCSEQSTR"),
    (2, 1, 1, 0, 4, "TRCOSLAR"),
    (2, 1, 1, 1, 4, "TRCOSLSR"),
    (2, 1, 7, 2, 7, "TRCDEVID"),
    (2, 1, 7, 8, 6, "TRCCLAIMSET"),
    (2, 1, 7, 9, 6, "TRCCLAIMCLR"),
    (2, 1, 7, 14, 6, "TRCAUTHSTATUS"),
    (2, 1, 7, 15, 6, "TRCDEVARCH"),
    *((2, 1, 0, n, 7, f"TRCIMSPEC{n}") for n in range(8)),
    *((2, 1, 0, 8 + n, 5, f"TRCCNTVR{n}") for n in range(4)),
    *((2, 1, 0, 8 + n, 7, f"TRCIDR{n}") for n in range(8)),
    *((2, 1, 0, n - 8, 6, f"TRCIDR{n}") for n in range(8, 14)),
    *((2, 1, 1, 8 + n, 2, f"TRCSSCSR{n}") for n in range(8)),
)

_TLBI_OPS = (("VMALL", 0), ("VA", 1), ("ASID", 2), ("VAA", 3), ("VAL", 5), ("VAAL", 7))
_RANGE_OPS = (("RVA", 1), ("RVAA", 3), ("RVAL", 5), ("RVAAL", 7))
_TLBI_SCOPES = ((_TLBI_OPS, 1, "OS"), (_TLBI_OPS, 3, "IS"), (_TLBI_OPS, 7, ""))
_RANGE_SCOPES = ((_RANGE_OPS, 5, "OS"), (_RANGE_OPS, 2, "IS"), (_RANGE_OPS, 6, ""))

# by set/way, then to the point of coherency and beyond; each by data, tags (G) and both (GD)
_BY_SET = (("I", 6), ("C", 10), ("CI", 14))
_BY_ADDRESS = (("C", "VAC", 10), ("C", "VAP", 12), ("C", "VADP", 13), ("CI", "VAC", 14))

INSTRUCTIONS: tuple[Row, ...] = (
    *(
        (1, 0, 8 + nxs, crm, op2, f"TLBI_{op}E1{scope}{'nXS' * nxs}")
        for ops, crm, scope in (*_TLBI_SCOPES, *_RANGE_SCOPES)
        for op, op2 in ops
        for nxs in (0, 1)
    ),
    *(
        (1, 0, 7, crm, op2, f"AT_S1E{name}")
        for crm, names in ((8, ("1R", "1W", "0R", "0W")), (9, ("1RP", "1WP", "1A")))
        for op2, name in enumerate(names)
    ),
    *(
        (1, 0, 7, crm, op2, f"DC_{op}{tags}SW")
        for op, crm in _BY_SET
        for op2, tags in ((2, ""), (4, "G"), (6, "GD"))
    ),
    *(
        (1, 3, 7, crm, op2, f"DC_{op}{tags}{point}")
        for op, point, crm in _BY_ADDRESS
        for op2, tags in ((1, ""), (3, "G"), (5, "GD"))
    ),
    *((1, 0, 7, 6, op2, f"DC_I{tags}VAC") for op2, tags in ((1, ""), (3, "G"), (5, "GD"))),
    (1, 3, 7, 11, 1, "DC_CVAU"),
    (1, 3, 7, 4, 1, "DC_ZVA"),
    (1, 3, 7, 4, 3, "DC_GVA"),
    (1, 3, 7, 4, 4, "DC_GZVA"),
    (1, 0, 7, 1, 0, "IC_IALLUIS"),
    (1, 0, 7, 5, 0, "IC_IALLU"),
    (1, 3, 7, 5, 1, "IC_IVAU"),
    (1, 3, 7, 3, 4, "CFP_RCTX"),
    (1, 3, 7, 3, 5, "DVP_RCTX"),
    (1, 3, 7, 3, 6, "COSP_RCTX"),
    (1, 3, 7, 3, 7, "CPP_RCTX"),
    (1, 1, 7, 2, 4, "BRB_IALL"),
    (1, 1, 7, 2, 5, "BRB_INJ"),
    (1, 0, 7, 7, 4, "GCSPUSHX"),
    (1, 0, 7, 7, 5, "GCSPOPCX"),
    (1, 3, 7, 7, 0, "GCSPUSHM"),
)
