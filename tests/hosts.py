"""Modelled hosts for tests: real ones out of the recordings, and one made up where none is to hand."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from tests.recordings import SHARED_DATA

from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.idfields import field
from armkvm.arch.sysregs import sysreg
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.model import ModelSystem, ModelVcpu
from armkvm.catalog import id_of
from armkvm.hosts.recording import facts
from armkvm.model.lifecycle import FINALIZE
from armkvm.model.profile import PROFILES
from armkvm.model.vcpu_behaviours import WRITABLE_ID_REGISTERS, WRITABLE_IMP_ID
from armkvm.model.vector_behaviours import SME_GUESTS
from armkvm.state import CpuVectors, HostFacts

MACHINE = {F.PSCI_0_2}


@cache
def recorded(path: str) -> HostFacts:
    """The host of a recording, e.g. ``captures/7.3/max.json``."""
    file = Path(SHARED_DATA) / path
    return facts(json.loads(file.read_text()), file.stem)


def made_up(profile: str, **fields: int) -> HostFacts:
    """A host that no recording is needed for: a v9 CPU with SVE whose ID fields are as given; with SME
    under the kernels that give it to guests.

    `fields` are named ``MMFR3_S1PIE`` for ID_AA64MMFR3_EL1.S1PIE.
    """
    shown = {
        "PFR0_EL0": 1, "PFR0_EL1": 1, "PFR0_GIC": 1, "PFR0_RAS": 2, "PFR0_SVE": 1, "PFR0_CSV2": 2,
        "PFR1_SSBS": 2, "DFR0_DebugVer": 8, "DFR0_PMUVer": 6, "ISAR0_TLB": 2, "ISAR0_RNDR": 1,
        "ISAR1_DPB": 2, "ISAR2_ATS1A": 1, "ISAR2_MOPS": 1, "MMFR0_FGT": 2, "MMFR1_HCX": 1, "MMFR1_LO": 1,
        "MMFR1_PAN": 3, "MMFR1_HPDS": 2, "MMFR2_EVT": 2, "MMFR2_IDS": 1, "MMFR3_TCRX": 1,
        "MMFR3_SCTLRX": 1, "MMFR3_S1PIE": 1, "MMFR3_S1POE": 1, "PFR2_FPMR": 1,
    } | fields  # fmt: skip
    has_sme = SME_GUESTS in PROFILES[profile]
    if has_sme:
        shown = {"PFR1_SME": 2, "SMFR0_FA64": 1, "SMFR0_SMEver": 1} | shown
    values: dict[RegId, int] = {
        id_of(sysreg("MIDR_EL1")): 0x410F_D4F0,
        id_of(sysreg("REVIDR_EL1")): 0,
        id_of(sysreg("AIDR_EL1")): 0,
        id_of(sysreg("SMIDR_EL1")): 0,
        id_of(sysreg("CTR_EL0")): 0x9444_C004,
        id_of(sysreg("CLIDR_EL1")): 0x0C30_0123,
        id_of(sysreg("PMCR_EL0")): 6 << 11,
    }
    for name, value in shown.items():
        register, part_name = name.split("_", 1)
        part = field(f"ID_AA64{register}_EL1", part_name)
        reg = id_of(part.register)
        values[reg] = part.insert(values.get(reg, 0), value)
    return HostFacts(
        name="made-up",
        cpu="",
        kernel=profile,
        profile=profile,
        caps={int(cap): value for cap, value in _caps(profile).items()},
        features=frozenset({F.POWER_OFF, F.PSCI_0_2, F.SVE, F.PMU_V3, *([F.SME] if has_sme else [])}),
        preferred_target=5,
        ipa_bits=48,
        device_types=frozenset({7}),
        cpus=(CpuVectors(VectorLengths((1, 2)), VectorLengths((2, 4) if has_sme else ())),),
        values={"plain": values},
    )


def _caps(profile: str) -> dict[Cap, int]:
    behaviours = PROFILES[profile]
    return {
        Cap.ARM_SVE: 1,
        Cap.ARM_PMU_V3: 1,
        Cap.ARM_VM_IPA_SIZE: 48,
        Cap.ARM_INJECT_SERROR_ESR: 1,
        Cap.ARM_SUPPORTED_REG_MASK_RANGES: int(WRITABLE_ID_REGISTERS in behaviours),
        Cap.ARM_WRITABLE_IMP_ID_REGS: int(WRITABLE_IMP_ID in behaviours),
    }


def system(host: HostFacts, profile: str | None = None) -> ModelSystem:
    """The model of a host under its own kernel, or another."""
    return ModelSystem(host, PROFILES[profile or host.profile])


def vcpu_on(host: HostFacts, *features: F, profile: str | None = None) -> ModelVcpu:
    """A fresh vCPU, initialised and, with SVE or SME, ready: finalized, where there is a call for it, and
    listed, which does it where there is none.
    """
    vcpu = system(host, profile).create_vm().create_vcpu(0)
    vcpu.init({*MACHINE, *features})
    if {F.SVE, F.SME} & set(features) and FINALIZE not in vcpu.vcpu.refuses:
        vcpu.finalize(F.SVE)
    vcpu.reg_list()
    return vcpu
