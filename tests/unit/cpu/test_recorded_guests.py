"""The guests that real KVM ran, run on our PE: same exits, memory, registers and exceptions."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.recordings import SHARED_DATA, shared_recordings
from tests.unit.cpu.recorded_guests import (
    PATTERN,
    PFR0,
    PFR1,
    RAM_BASE,
    SMFR0,
    SMIDR,
    SMPRI,
    ZFR0,
    RecordedVcpu,
    stripped,
)

from armkvm.arch.vectors import VectorLengths
from armkvm.cpu.features import PeFeatures
from armkvm.cpu.legality import SMCR_EZT0
from armkvm.cpu.port import FPMR, SMCR_EL1, TPIDR2_EL0, ZCR_EL1, Refusal

GUESTS = SHARED_DATA / "guests"
# The recordings' QEMU reports SMTC 0 instead of 4 where SMCR_EL1.EZT0 refuses them.
NOT_ARCHITECTURAL = {
    # That QEMU (10.0.2) executes RDFFR and WRFFR in streaming mode with FA64 off; all other captures
    # have the trap there.
    ("qemu10-sme1-host", "fa64 off"),
    ("qemu10-sme1-host", "both, svcr 3, smcr 0 (no EZT0/FA64, LEN 0)"),
}
ZT0_INSTRUCTIONS = ("e13f80a0", "e11f80e0")


@cache
def capture(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def host_vqs(recording: dict[str, Any], kind: str = "sve") -> list[int]:
    """The vector lengths of the recorded host, from what prctl granted."""
    granted = recording[f"host_prctl_{kind}_set_vl"]
    return sorted({v // 16 for v in (x & 0xFFFF if isinstance(x, int) else 0 for x in granted.values()) if v})


@pytest.mark.parametrize("path", shared_recordings("captures/[67].*/*.json"))
def test_the_sve_guest_does_what_it_did_under_kvm(path: Path) -> None:
    recording = capture(path)
    code = (GUESTS / "sve_guest.bin").read_bytes()
    assert recording["guest_runs"]
    for run in recording["guest_runs"]:
        sve = "SVE" in run["features"]
        vqs = run["vls_set"][0] if run.get("vls_set") else host_vqs(recording)
        vcpu = RecordedVcpu(code, 0x10000, PeFeatures(sve=VectorLengths(vqs if sve else ())))
        first = run["steps"][0]
        if "mmio" in first:
            vcpu.registers.store(PFR0, int.from_bytes(bytes.fromhex(first["mmio"]["data"]), "little"))
        if sve:
            vcpu.pe.vectors.z[:256], vcpu.pe.vectors.p[:32] = PATTERN, PATTERN[:32]
            vcpu.registers.store(ZCR_EL1, run["zcr_el1_set_before_run"] or 0)
        for n, step in enumerate(run["steps"]):
            if n:
                vcpu.resume()
            assert vcpu.step() == step
        assert vcpu.pe.core.pc == int(run["pc"], 16)
        if sve:
            seen = {
                "mem_z0": stripped(vcpu.ram[0x1000:0x1100]),
                "mem_p0": stripped(vcpu.ram[0x1200:0x1220]),
                "get_z1": stripped(vcpu.pe.vectors.z[256:512]),
                "get_p1": stripped(vcpu.pe.vectors.p[32:64]),
                "get_ffr": stripped(vcpu.pe.vectors.ffr),
            }
            assert seen == {key: run[key] for key in seen}


def sme_features(recording: dict[str, Any], run: dict[str, Any]) -> PeFeatures:
    host_sve, host_sme = host_vqs(recording), host_vqs(recording, "sme")
    sme = "SME" in run["features"]
    saw = {key: int(value, 16) for key, value in run["guest_saw"].items()}
    return PeFeatures(
        sve=VectorLengths((run["sve_vqs"] or host_sve) if "SVE" in run["features"] else ()),
        sme=VectorLengths((run["sme_vqs"] or host_sme) if sme else ()),
        sve_trapped=bool(host_sve) or "arm64.nosve" in recording["cmdline"],
        fa64=bool(saw["smfr0"] >> 63),
        sme2=saw["pfr1"] >> 24 & 15 >= 2,
        fpmr=saw["fpmr_start"] != 0xDEAD,
    )


def sme_vcpu(recording: dict[str, Any], run: dict[str, Any]) -> RecordedVcpu:
    """A vCPU in the state the recorder gave it before the first KVM_RUN."""
    vcpu = RecordedVcpu((GUESTS / "sme_guest.bin").read_bytes(), 0x20000, sme_features(recording, run))
    registers, vectors, saw = vcpu.registers, vcpu.pe.vectors, run["guest_saw"]
    for reg, key in ((PFR0, "pfr0"), (PFR1, "pfr1"), (ZFR0, "zfr0"), (SMFR0, "smfr0")):
        registers.store(reg, int(saw[key], 16))
    if all(int(r["guest_saw"]["pfr1"], 16) >> 24 & 15 < 2 for r in recording["guest_runs"]):
        registers.masks[SMCR_EL1] &= ~SMCR_EZT0  # the host has no SME2
    registers.write(SMCR_EL1, run["smcr_el1_before"] or 0, 1)  # as it comes back from the hardware
    if run["label"].startswith("both"):
        registers.store(ZCR_EL1, 15)
    if "SME" in run["features"]:
        registers.store(SMIDR, int(saw["smidr"], 16))
        if int(saw["pfr1"], 16) >> 24 & 15 == 0:
            registers.refused[SMPRI] = registers.refused[TPIDR2_EL0] = Refusal.UNDEFINED
    if "fpmr_start" in saw and int(saw["fpmr_start"], 16) == 0xDEAD:
        registers.refused[FPMR] = Refusal.UNDEFINED
    vectors.set_svcr(run["svcr_before"])
    done = {name for name, errno in run.get("set", {}).items() if errno is None}
    last = 16 * max(VectorLengths(vcpu.features.sme), default=1) - 1
    values: list[tuple[str, bytearray, int, bytes]] = [
        ("V0", vectors.z, 0, PATTERN[:16]),
        ("Z0", vectors.z, 0, PATTERN),
        ("P0", vectors.p, 0, PATTERN[:32]),
        ("FFR", vectors.ffr, 0, b"\x55" * 32),
        ("ZA0", vectors.za, 0, PATTERN),
        ("ZT0", vectors.zt0, 0, PATTERN[:64]),
        ("ZA_last", vectors.za, 256 * last, PATTERN[::-1]),
    ]
    sme_vl = 16 * int(vcpu.features.sme.max)
    for name, register, at, value in values:
        if name in done:
            length = min(len(value), sme_vl) if name.startswith("ZA") else len(value)
            register[at : at + length] = value[:length]
    if "TPIDR2_EL0" in done:
        registers.store(TPIDR2_EL0, 0x1122334455667788)
    if "FPSR" in done:
        vectors.fpsr = 0x1F
    vcpu.ram[0x8000:0x8100] = bytes((x * 3 + 1) & 255 for x in range(256))
    vcpu.ram[0x8100:0x8200] = bytes((x * 5 + 2) & 255 for x in range(256))
    vcpu.ram[0x8200:0x8240] = bytes((x * 7 + 3) & 255 for x in range(64))
    return vcpu


def poke(vcpu: RecordedVcpu, poked: dict[str, str | None]) -> None:
    """What the recorder wrote between two runs."""
    vectors = vcpu.pe.vectors
    sme_vl = 16 * int(vcpu.features.sme.max)
    if "SVCR" in poked:
        vectors.set_svcr(2)
        vectors.za[:sme_vl] = b"\x33" * sme_vl
        return
    assert set(poked.values()) <= {None, "ENOENT"}
    vectors.z[:256], vectors.za[:sme_vl] = b"\x77" * 256, b"\x66" * sme_vl
    vectors.fpsr = 1
    if poked["ZT0"] is None:
        vectors.zt0[:] = b"\x44" * 64


def exceptions_logged(vcpu: RecordedVcpu, code: bytes) -> list[dict[str, str]]:
    log = []
    for n in range(64):
        at = 0x4800 + 16 * n
        esr, elr = (int.from_bytes(vcpu.ram[at + i : at + i + 8], "little") for i in (0, 8))
        if not esr and not elr:
            break
        offset = elr - RAM_BASE
        word = int.from_bytes(code[offset : offset + 4], "little")
        log.append({"esr": hex(esr), "offset": hex(offset), "insn": f"{word:08x}"})
    return log


def same_exception(ours: dict[str, str], recorded: dict[str, str]) -> bool:
    if recorded["insn"] in ZT0_INSTRUCTIONS and recorded["esr"] == "0x76000000":
        return ours["esr"] == "0x76000004" and ours["offset"] == recorded["offset"]
    return all(ours[key] == recorded[key] for key in ours)


@pytest.mark.parametrize("path", shared_recordings("captures/sme-v12/*.json"))
def test_the_sme_guest_does_what_it_did_under_kvm(path: Path) -> None:
    recording = capture(path)
    code = (GUESTS / "sme_guest.bin").read_bytes()
    for run in recording["guest_runs"]:
        if (recording["config"], run["label"]) in NOT_ARCHITECTURAL:
            continue
        vcpu = sme_vcpu(recording, run)
        complete = True
        for n, recorded in enumerate(run["exits"]):
            if recorded.get("errno") == "EINTR":
                complete = False  # the emulator's endless ZT0 trap, see the facts on the oracle
                break
            if n:
                vcpu.resume()
            where = f"{run['label']}, exit {n + 1}"
            exit_seen = vcpu.step()
            assert exit_seen == {k: recorded[k] for k in exit_seen}, where
            seen = vcpu.registers_seen(recorded.get("regs", {}))
            assert seen == {k: recorded["regs"][k] for k in seen}, where
            if "poke" in recorded:
                poke(vcpu, recorded["poke"])
        ours, theirs = exceptions_logged(vcpu, code), run["guest_exceptions"]
        assert all(map(same_exception, ours, theirs)), (run["label"], ours, theirs)
        if complete:
            assert len(ours) == len(theirs), run["label"]
            check_memory(vcpu, run)


def check_memory(vcpu: RecordedVcpu, run: dict[str, Any]) -> None:
    def dump(offset: int, size: int) -> str:
        return stripped(vcpu.ram[0x4000 + offset : 0x4000 + offset + size])

    for n, (key, value) in enumerate(run["guest_saw"].items()):
        seen = hex(int.from_bytes(vcpu.ram[0x4000 + 8 * n :][:8], "little"))
        assert seen == value, (run["label"], key)
    start, after = run["guest_dump_start"], run["guest_dump_after_exit2"]
    ours = {
        "q0": dump(0x1300, 16),
        "za_row0": dump(0x1400, 256),
        "za_last": dump(0x1500, 256),
        "zt0": dump(0x1600, 64),
    }
    vl = int(run["guest_saw"]["rdvl_start"], 16)
    if vl != 0xDEAD:
        ours["z0"] = dump(0x1000, 256 if vl > 128 else vl)
        ours["p0"] = dump(0x1000 + vl, vl // 8)
        ours["p1_from_ffr"] = dump(0x1000 + vl + vl // 8, vl // 8)
    assert ours == {key: start[key] for key in ours}, run["label"]
    sme_vl = 16 * int(vcpu.features.sme.max)
    ours = {
        "z0": dump(0x2000, sme_vl),
        "za_row0": dump(0x2400, 256),
        "za_last": dump(0x2500, 256),
        "zt0": dump(0x2600, 64),
    }
    assert ours == {key: after[key] for key in ours}, run["label"]
    assert dump(0x3400, 256) == run["guest_za_row0_after_exit5"], run["label"]
    assert vcpu.pe.core.pc == int(run["pc_end"], 16)
