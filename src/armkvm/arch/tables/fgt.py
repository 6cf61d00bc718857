"""Fine-grained trap bits: one per line, by pair of controlling registers, from bit 63 down.

(bit, Arm's name, side, feature, what it covers). Side is "rw" where the reading and the writing
control register both have the bit, else "r" or "w"; instruction groups have one register and "x". A
name that starts with a small n has negative polarity: 0 traps. Covers names registers and instructions;
"" means the register the bit is named after. "*" after a feature means KVM may trap but never makes the
access UNDEFINED for it.

Source: Arm Architecture Registers (HFGRTR_EL2 to HFGITR2_EL2); the features as Linux relates them
(arch/arm64/kvm/config.c). Left out, because no KVM shows a guest the feature and its condition is not
certain: ICH_HFGRTR_EL2 and ICH_HFGITR_EL2 (GICv5), and of HDFGRTR2/HDFGWTR2 the bits of SPE_nVM, STEP2,
SPE_FDS and TRBE_MPAM (24, 23, 22, 19). Names without a known encoding are covered by name only.
"""

from __future__ import annotations

from typing import TypeAlias

FgtRow: TypeAlias = tuple[int, str, str, str, str]

_EL1 = "FEAT_AA64EL1*"


def _always(*rows: tuple[int, str] | tuple[int, str, str], side: str = "rw") -> tuple[FgtRow, ...]:
    """Bits of registers that every EL1 has."""
    return tuple((row[0], row[1], row[2] if len(row) == 3 else side, _EL1, "") for row in rows)


def _tlbi(bits: str, suffix: str, top: int, feature: str) -> tuple[FgtRow, ...]:
    """TLBI instructions in adjacent bits; a bit covers the nXS form as well."""
    return tuple(
        (top - n, f"TLBI{op}E1{suffix}", "x", feature, f"TLBI_{op}E1{suffix} TLBI_{op}E1{suffix}nXS")
        for n, op in enumerate(bits.split())
    )


_BY_VA, _BY_RANGE = "VAAL VAL VAA ASID VA VMALL", "RVAAL RVAL RVAA RVA"

HFGRTR: tuple[FgtRow, ...] = (
    (63, "nAMAIR2_EL1", "rw", "FEAT_AIE", ""),
    (62, "nMAIR2_EL1", "rw", "FEAT_AIE", ""),
    (61, "nS2POR_EL1", "rw", "FEAT_S2POE", ""),
    (60, "nPOR_EL1", "rw", "FEAT_S1POE", ""),
    (59, "nPOR_EL0", "rw", "FEAT_S1POE", ""),
    (58, "nPIR_EL1", "rw", "FEAT_S1PIE", ""),
    (57, "nPIRE0_EL1", "rw", "FEAT_S1PIE", ""),
    (56, "nRCWMASK_EL1", "rw", "FEAT_THE", ""),
    (55, "nTPIDR2_EL0", "rw", "FEAT_SME", ""),
    (54, "nSMPRI_EL1", "rw", "FEAT_SME", ""),
    (53, "nGCS_EL1", "rw", "FEAT_GCS", "GCSCR_EL1 GCSPR_EL1"),
    (52, "nGCS_EL0", "rw", "FEAT_GCS", "GCSCRE0_EL1 GCSPR_EL0"),
    (50, "nACCDATA_EL1", "rw", "FEAT_LS64_ACCDATA", ""),
    (49, "ERXADDR_EL1", "rw", "FEAT_RAS", ""),
    (48, "ERXPFGCDN_EL1", "rw", "FEAT_RASv1p1", ""),
    (47, "ERXPFGCTL_EL1", "rw", "FEAT_RASv1p1", ""),
    (46, "ERXPFGF_EL1", "r", "FEAT_RASv1p1", ""),
    (45, "ERXMISCn_EL1", "rw", "FEAT_RAS", "ERXMISC0_EL1 ERXMISC1_EL1 ERXMISC2_EL1 ERXMISC3_EL1"),
    (44, "ERXSTATUS_EL1", "rw", "FEAT_RAS", ""),
    (43, "ERXCTLR_EL1", "rw", "FEAT_RAS", ""),
    (42, "ERXFR_EL1", "r", "FEAT_RAS", ""),
    (41, "ERRSELR_EL1", "rw", "FEAT_RAS", ""),
    (40, "ERRIDR_EL1", "r", "FEAT_RAS", ""),
    (39, "ICC_IGRPENn_EL1", "rw", "FEAT_GICv3", "ICC_IGRPEN0_EL1 ICC_IGRPEN1_EL1"),
    *_always((38, "VBAR_EL1"), (37, "TTBR1_EL1"), (36, "TTBR0_EL1"), (35, "TPIDR_EL0")),
    *_always((34, "TPIDRRO_EL0"), (33, "TPIDR_EL1")),
    (32, "TCR_EL1", "rw", _EL1, "TCR_EL1 TCR2_EL1"),
    (31, "SCXTNUM_EL0", "rw", "FEAT_CSV2_1p2", ""),
    (30, "SCXTNUM_EL1", "rw", "FEAT_CSV2_1p2", ""),
    (29, "SCTLR_EL1", "rw", _EL1, "SCTLR_EL1 SCTLR2_EL1"),
    *_always((28, "REVIDR_EL1", "r"), (27, "PAR_EL1"), (26, "MPIDR_EL1", "r"), (25, "MIDR_EL1", "r")),
    *_always((24, "MAIR_EL1")),
    (23, "LORSA_EL1", "rw", "FEAT_LOR", ""),
    (22, "LORN_EL1", "rw", "FEAT_LOR", ""),
    (21, "LORID_EL1", "r", "FEAT_LOR", ""),
    (20, "LOREA_EL1", "rw", "FEAT_LOR", ""),
    (19, "LORC_EL1", "rw", "FEAT_LOR", ""),
    *_always((18, "ISR_EL1", "r"), (17, "FAR_EL1"), (16, "ESR_EL1"), (15, "DCZID_EL0", "r")),
    *_always((14, "CTR_EL0", "r"), (13, "CSSELR_EL1"), (12, "CPACR_EL1"), (11, "CONTEXTIDR_EL1")),
    *_always((10, "CLIDR_EL1", "r"), (9, "CCSIDR_EL1", "r")),
    (8, "APIBKey", "rw", "FEAT_PAuth", "APIBKeyLo_EL1 APIBKeyHi_EL1"),
    (7, "APIAKey", "rw", "FEAT_PAuth", "APIAKeyLo_EL1 APIAKeyHi_EL1"),
    (6, "APGAKey", "rw", "FEAT_PAuth", "APGAKeyLo_EL1 APGAKeyHi_EL1"),
    (5, "APDBKey", "rw", "FEAT_PAuth", "APDBKeyLo_EL1 APDBKeyHi_EL1"),
    (4, "APDAKey", "rw", "FEAT_PAuth", "APDAKeyLo_EL1 APDAKeyHi_EL1"),
    *_always((3, "AMAIR_EL1"), (2, "AIDR_EL1", "r"), (1, "AFSR1_EL1"), (0, "AFSR0_EL1")),
)

HFGITR: tuple[FgtRow, ...] = (
    (63, "PSBCSYNC", "x", "FEAT_SPEv1p5", "PSB_CSYNC"),
    (62, "ATS1E1A", "x", "FEAT_ATS1A", "AT_S1E1A"),
    (60, "COSPRCTX", "x", "FEAT_SPECRES2", "COSP_RCTX"),
    (59, "nGCSEPP", "x", "FEAT_GCS", "GCSPUSHX GCSPOPCX"),
    (58, "nGCSSTR_EL1", "x", "FEAT_GCS", "GCSSTR GCSSTTR"),
    (57, "nGCSPUSHM_EL1", "x", "FEAT_GCS", "GCSPUSHM"),
    (56, "nBRBIALL", "x", "FEAT_BRBE", "BRB_IALL"),
    (55, "nBRBINJ", "x", "FEAT_BRBE", "BRB_INJ"),
    (54, "DCCVAC", "x", _EL1, "DC_CVAC DC_CGVAC DC_CGDVAC"),
    (53, "SVC_EL1", "x", _EL1, "SVC"),
    (52, "SVC_EL0", "x", _EL1, "SVC"),
    (51, "ERET", "x", _EL1, "ERET"),
    (50, "CPPRCTX", "x", "FEAT_SPECRES", "CPP_RCTX"),
    (49, "DVPRCTX", "x", "FEAT_SPECRES", "DVP_RCTX"),
    (48, "CFPRCTX", "x", "FEAT_SPECRES", "CFP_RCTX"),
    *_tlbi(_BY_VA, "", 47, _EL1),
    *_tlbi(_BY_RANGE, "", 41, "FEAT_TLBIRANGE"),
    *_tlbi(_BY_RANGE, "IS", 37, "FEAT_TLBIRANGE"),
    *_tlbi(_BY_VA, "IS", 33, _EL1),
    *_tlbi(_BY_RANGE, "OS", 27, "FEAT_TLBIRANGE"),
    *_tlbi(_BY_VA, "OS", 23, "FEAT_TLBIOS"),
    (17, "ATS1E1WP", "x", "FEAT_PAN2", "AT_S1E1WP"),
    (16, "ATS1E1RP", "x", "FEAT_PAN2", "AT_S1E1RP"),
    (15, "ATS1E0W", "x", _EL1, "AT_S1E0W"),
    (14, "ATS1E0R", "x", _EL1, "AT_S1E0R"),
    (13, "ATS1E1W", "x", _EL1, "AT_S1E1W"),
    (12, "ATS1E1R", "x", _EL1, "AT_S1E1R"),
    (11, "DCZVA", "x", _EL1, "DC_ZVA DC_GVA DC_GZVA"),
    (10, "DCCIVAC", "x", _EL1, "DC_CIVAC DC_CIGVAC DC_CIGDVAC"),
    (9, "DCCVADP", "x", "FEAT_DPB2", "DC_CVADP DC_CGVADP DC_CGDVADP"),
    (8, "DCCVAP", "x", _EL1, "DC_CVAP DC_CGVAP DC_CGDVAP"),
    (7, "DCCVAU", "x", _EL1, "DC_CVAU"),
    (6, "DCCISW", "x", _EL1, "DC_CISW DC_CIGSW DC_CIGDSW"),
    (5, "DCCSW", "x", _EL1, "DC_CSW DC_CGSW DC_CGDSW"),
    (4, "DCISW", "x", _EL1, "DC_ISW DC_IGSW DC_IGDSW"),
    (3, "DCIVAC", "x", _EL1, "DC_IVAC DC_IGVAC DC_IGDVAC"),
    (2, "ICIVAU", "x", _EL1, "IC_IVAU"),
    (1, "ICIALLU", "x", _EL1, "IC_IALLU"),
    (0, "ICIALLUIS", "x", _EL1, "IC_IALLUIS"),
)

HDFGRTR: tuple[FgtRow, ...] = (
    (63, "PMBIDR_EL1", "r", "FEAT_SPE", ""),
    (62, "nPMSNEVFR_EL1", "rw", "FEAT_SPEv1p2", ""),
    (61, "nBRBDATA", "rw", "FEAT_BRBE", "S2_1_C8 S2_1_C9"),
    (60, "nBRBCTL", "rw", "FEAT_BRBE", "BRBCR_EL1 BRBFCR_EL1"),
    (59, "nBRBIDR", "r", "FEAT_BRBE", "BRBIDR0_EL1"),
    (58, "PMCEIDn_EL0", "r", "FEAT_PMUv3", "PMCEID0_EL0 PMCEID1_EL0"),
    (57, "PMUSERENR_EL0", "rw", "FEAT_PMUv3", ""),
    (56, "TRBTRG_EL1", "rw", "FEAT_TRBE", ""),
    (55, "TRBSR_EL1", "rw", "FEAT_TRBE", ""),
    (54, "TRBPTR_EL1", "rw", "FEAT_TRBE", ""),
    (53, "TRBMAR_EL1", "rw", "FEAT_TRBE", ""),
    (52, "TRBLIMITR_EL1", "rw", "FEAT_TRBE", ""),
    (51, "TRBIDR_EL1", "r", "FEAT_TRBE", ""),
    (50, "TRBBASER_EL1", "rw", "FEAT_TRBE", ""),
    (49, "TRFCR_EL1", "w", "FEAT_TRF", ""),
    (48, "TRCVICTLR", "rw", "FEAT_TRC_SR", ""),
    (47, "TRCSTATR", "r", "FEAT_TRC_SR", ""),
    (46, "TRCSSCSRn", "rw", "FEAT_TRC_SR", " ".join(f"TRCSSCSR{n}" for n in range(8))),
    (45, "TRCSEQSTR", "rw", "FEAT_TRC_SR", ""),
    (44, "TRCPRGCTLR", "rw", "FEAT_TRC_SR", ""),
    (43, "TRCOSLSR", "r", "FEAT_TRC_SR", ""),
    (42, "TRCOSLAR", "w", "FEAT_TRC_SR", ""),
    (41, "TRCIMSPECn", "rw", "FEAT_TRC_SR", " ".join(f"TRCIMSPEC{n}" for n in range(8))),
    (40, "TRCID", "r", "FEAT_TRC_SR", "TRCDEVARCH TRCDEVID " + " ".join(f"TRCIDR{n}" for n in range(14))),
    (37, "TRCCNTVRn", "rw", "FEAT_TRC_SR", " ".join(f"TRCCNTVR{n}" for n in range(4))),
    (36, "TRCCLAIM", "rw", "FEAT_TRC_SR", "TRCCLAIMCLR TRCCLAIMSET"),
    (35, "TRCAUXCTLR", "rw", "FEAT_TRC_SR", ""),
    (34, "TRCAUTHSTATUS", "r", "FEAT_TRC_SR", ""),
    (33, "TRC", "rw", "FEAT_TRC_SR", " ".join(f"S2_1_C{crn}" for crn in range(8))),
    (32, "PMSLATFR_EL1", "rw", "FEAT_SPE", ""),
    (31, "PMSIRR_EL1", "rw", "FEAT_SPE", ""),
    (30, "PMSIDR_EL1", "r", "FEAT_SPE", ""),
    (29, "PMSICR_EL1", "rw", "FEAT_SPE", ""),
    (28, "PMSFCR_EL1", "rw", "FEAT_SPE", ""),
    (27, "PMSEVFR_EL1", "rw", "FEAT_SPE", ""),
    (26, "PMSCR_EL1", "rw", "FEAT_SPE", ""),
    (25, "PMBSR_EL1", "rw", "FEAT_SPE", ""),
    (24, "PMBPTR_EL1", "rw", "FEAT_SPE", ""),
    (23, "PMBLIMITR_EL1", "rw", "FEAT_SPE", ""),
    (22, "PMMIR_EL1", "r", "FEAT_PMUv3", ""),
    (21, "PMCR_EL0", "w", "FEAT_PMUv3", ""),
    (20, "PMSWINC_EL0", "w", "FEAT_PMUv3", ""),
    (19, "PMSELR_EL0", "rw", "FEAT_PMUv3", ""),
    (18, "PMOVS", "rw", "FEAT_PMUv3", "PMOVSCLR_EL0 PMOVSSET_EL0"),
    (17, "PMINTEN", "rw", "FEAT_PMUv3", "PMINTENCLR_EL1 PMINTENSET_EL1"),
    (16, "PMCNTEN", "rw", "FEAT_PMUv3", "PMCNTENCLR_EL0 PMCNTENSET_EL0"),
    (15, "PMCCNTR_EL0", "rw", "FEAT_PMUv3", ""),
    (14, "PMCCFILTR_EL0", "rw", "FEAT_PMUv3", ""),
    (13, "PMEVTYPERn_EL0", "rw", "FEAT_PMUv3", " ".join(f"PMEVTYPER{n}_EL0" for n in range(31))),
    (12, "PMEVCNTRn_EL0", "rw", "FEAT_PMUv3", " ".join(f"PMEVCNTR{n}_EL0" for n in range(31))),
    (11, "OSDLR_EL1", "rw", "FEAT_DoubleLock*", ""),
    *_always((10, "OSECCR_EL1"), (9, "OSLSR_EL1", "r"), (8, "OSLAR_EL1", "w"), (7, "DBGPRCR_EL1")),
    *_always((6, "DBGAUTHSTATUS_EL1", "r")),
    (5, "DBGCLAIM", "rw", _EL1, "DBGCLAIMSET_EL1 DBGCLAIMCLR_EL1"),
    *_always((4, "MDSCR_EL1")),
    *(
        (bit, f"DBG{kind}n_EL1", "rw", _EL1, " ".join(f"DBG{kind}{n}_EL1" for n in range(16)))
        for bit, kind in ((3, "WVR"), (2, "WCR"), (1, "BVR"), (0, "BCR"))
    ),
)

HAFGRTR: tuple[FgtRow, ...] = (
    *(
        (bit, f"AMEV{kind}1{n}_EL0", "r", "FEAT_AMUv1", "")
        for n in range(15, -1, -1)
        for bit, kind in ((19 + 2 * n, "TYPER"), (18 + 2 * n, "CNTR"))
    ),
    (17, "AMCNTEN1", "r", "FEAT_AMUv1", "AMCNTENCLR1_EL0 AMCNTENSET1_EL0"),
    *((1 + n, f"AMEVCNTR0{n}_EL0", "r", "FEAT_AMUv1", "") for n in range(3, -1, -1)),
    (0, "AMCNTEN0", "r", "FEAT_AMUv1", "AMCNTENCLR0_EL0 AMCNTENSET0_EL0"),
)

_MASKS = (
    *("nACTLRALIAS", "nACTLRMASK", "nTCR2ALIAS", "nTCRALIAS", "nSCTLRALIAS2", "nSCTLRALIAS", "nCPACRALIAS"),
    *("nTCR2MASK", "nTCRMASK", "nSCTLR2MASK", "nSCTLRMASK", "nCPACRMASK"),
)

HFGRTR2: tuple[FgtRow, ...] = (
    *((14 - n, f"{name}_EL1", "rw", "FEAT_SRMASK", "") for n, name in enumerate(_MASKS)),
    (2, "nRCWSMASK_EL1", "rw", "FEAT_THE", ""),
    (1, "nERXGSR_EL1", "r", "FEAT_RASv2", ""),
    (0, "nPFAR_EL1", "rw", "FEAT_PFAR", ""),
)

HFGITR2: tuple[FgtRow, ...] = (
    (1, "nDCCIVAPS", "x", "FEAT_PoPS", "DC_CIVAPS"),
    (0, "TSBCSYNC", "x", "FEAT_TRBEv1p1", "TSB_CSYNC"),
)

HDFGRTR2: tuple[FgtRow, ...] = (
    (21, "nPMZR_EL0", "w", "FEAT_PMUv3p9", ""),
    (20, "nTRCITECR_EL1", "rw", "FEAT_ITE", ""),
    (18, "nSPMDEVAFF_EL1", "r", "FEAT_SPMU", ""),
    (17, "nSPMID", "r", "FEAT_SPMU", ""),
    *(
        (16 - n, name, "rw", "FEAT_SPMU", "")
        for n, name in enumerate(
            ("nSPMSCR_EL1", "nSPMACCESSR_EL1", "nSPMCR_EL0", "nSPMOVS", "nSPMINTEN", "nSPMCNTEN",
             "nSPMSELR_EL0", "nSPMEVTYPERn_EL0", "nSPMEVCNTRn_EL0")
        )
    ),
    (7, "nPMSSCR_EL1", "rw", "FEAT_PMUv3_SS", ""),
    (6, "nPMSSDATA", "r", "FEAT_PMUv3_SS", ""),
    (5, "nMDSELR_EL1", "rw", "FEAT_Debugv8p9", ""),
    (4, "nPMUACR_EL1", "rw", "FEAT_PMUv3p9", ""),
    (3, "nPMICFILTR_EL0", "rw", "FEAT_PMUv3_ICNTR", ""),
    (2, "nPMICNTR_EL0", "rw", "FEAT_PMUv3_ICNTR", ""),
    (1, "nPMIAR_EL1", "rw", "FEAT_SEBEP", ""),
    (0, "nPMECR_EL1", "rw", "FEAT_EBEP or FEAT_PMUv3_SS", ""),
)  # fmt: skip

GROUPS: tuple[tuple[str, tuple[FgtRow, ...]], ...] = (
    ("HFGRTR", HFGRTR),
    ("HFGITR", HFGITR),
    ("HDFGRTR", HDFGRTR),
    ("HAFGRTR", HAFGRTR),
    ("HFGRTR2", HFGRTR2),
    ("HFGITR2", HFGITR2),
    ("HDFGRTR2", HDFGRTR2),
)
