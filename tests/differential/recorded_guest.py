"""The recorders' guests, run on a place by the calls the recorders made (recorders/record_*.py).

The SVE guest reports by MMIO what it sees and leaves registers to be read; the SME guest logs to
its memory, stops after each step, and its registers are read, and written, in between.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.differential.places import errno_of
from tests.recordings import GOLDEN

from armkvm.abi.structs import ExitReason
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.abi.vls import encode
from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import parse
from armkvm.errors import KvmError, errno_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from armkvm.backends.base import System, Vcpu, Vm

RAM_BASE = 0x4000_0000
LOG = RAM_BASE + 0x4000
SVE_GUEST = (GOLDEN / "guests" / "sve_guest.bin").read_bytes()
SME_GUEST = (GOLDEN / "guests" / "sme_guest.bin").read_bytes()
PATTERN = bytes(range(256))
PSTATE_EL1H = 0x3C5

# What the SME guest logs, doubleword by doubleword.
SAW = (
    "pfr0", "pfr1", "zfr0", "smfr0", "smidr", "svcr_at_start", "smcr_at_start", "tpidr2", "smpri",
    "smpri_after_write15", "smcr_after_write_c00001ff", "rdsvl_start", "rdvl_start", "fpsr_start",
    "fpcr_start", "fpmr_start", "svcr_after_smstart", "fpsr_after_smstart", "rdsvl_after",
    "rdvl_after", "svcr_after_exit2", "fpsr_after_exit2", "svcr_after_smstop_sm",
    "fpsr_after_smstop_sm", "svcr_after_exit4", "svcr_after_smstop_za", "svcr_after_exit5",
)  # fmt: skip
LOOKED_AT = ["SVCR", "SMCR_EL1", "TPIDR2_EL0", "FPSR", "FPCR", "FPMR", "Z0", "P0", "FFR", "V0", "ZA0", "ZT0"]


def register(name: str) -> int:
    """The id of a register as the recordings call it: rows of ZA are ZA0, ZA255."""
    return parse(f"ZA[{name[2:]}]" if name.startswith("ZA") else name)


def stripped(data: bytes) -> str:
    """As the recorders write contents: hexadecimal without the zeros at the end."""
    return data.rstrip(b"\0").hex()


def set_reg(vcpu: Vcpu, name: str, data: bytes) -> str | None:
    """Write what fits the register; the errno by name."""
    reg = register(name)
    return errno_of(vcpu.set_one_reg, reg, data[: 1 << (reg >> 52 & 15)].ljust(1 << (reg >> 52 & 15), b"\0"))


def u64(value: int) -> bytes:
    return value.to_bytes(8, "little")


def number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def enter(vcpu: Vcpu) -> dict[str, Any]:
    """One KVM_RUN, described as the recorders describe it."""
    try:
        left = vcpu.run()
    except KvmError as refused:
        return {"errno": errno_name(refused.errno or 0)}
    said: dict[str, Any] = {"exit_reason": left.reason, "errno": None}
    if left.mmio is not None:
        at, data, is_write = left.mmio.address, left.mmio.data.hex(), int(left.mmio.is_write)
        said["mmio"] = {"addr": hex(at), "data": data, "is_write": is_write}
    if left.system_event is not None:
        said["system_event_type"] = left.system_event.type
    return said


def goes_on(said: dict[str, Any]) -> bool:
    return bool(said["errno"] is None and said["exit_reason"] == ExitReason.MMIO)


@contextmanager
def guest(system: System, features: list[str], code: bytes, ram: int) -> Iterator[tuple[Vm, Vcpu]]:
    """A VM with the guest's code in its memory, and a vCPU that is initialised."""
    with system.create_vm() as vm:
        vcpu = vm.create_vcpu(0)
        vcpu.init([F(name) for name in features])
        vm.set_memory(0, RAM_BASE, ram)
        vm.write_memory(RAM_BASE, code)
        yield vm, vcpu


def start(vcpu: Vcpu) -> None:
    set_reg(vcpu, "PC", u64(RAM_BASE))
    set_reg(vcpu, "PSTATE", u64(PSTATE_EL1H))


def sve_run(system: System, recorded: dict[str, Any]) -> dict[str, Any]:
    """One of the SVE guest's runs: what the recording holds of it."""
    features: list[str] = recorded["features"]
    has_sve = "SVE" in features
    said: dict[str, Any] = {"steps": []}
    with guest(system, features, SVE_GUEST, 0x10000) as (vm, vcpu):
        if has_sve:
            if "vls_set" in recorded:
                vqs = recorded["vls_set"][0]
                lengths = encode(VectorLengths(vqs))
                said["vls_set"] = [vqs, set_reg(vcpu, "KVM_REG_ARM64_SVE_VLS", lengths)]
            said["finalize"] = errno_of(vcpu.finalize, F.SVE)
            if recorded["zcr_el1_set_before_run"] is not None:
                set_reg(vcpu, "ZCR_EL1", u64(recorded["zcr_el1_set_before_run"]))
            set_reg(vcpu, "Z0", PATTERN)
            set_reg(vcpu, "P0", PATTERN)
        start(vcpu)
        for _ in range(8):
            said["steps"].append(enter(vcpu))
            if not goes_on(said["steps"][-1]):
                break
        said["pc"] = vcpu.get_one_reg(register("PC"))[::-1].hex()
        if has_sve:
            said["mem_z0"] = stripped(vm.read_memory(RAM_BASE + 0x1000, 256))
            said["mem_p0"] = stripped(vm.read_memory(RAM_BASE + 0x1200, 32))
            for name in ("Z1", "P1", "FFR"):
                said[f"get_{name.lower()}"] = stripped(vcpu.get_one_reg(register(name)))
    return said


class SmeRun:
    """One of the SME guest's runs. `exits` and `memory` are what the recording holds of it."""

    def __init__(self, system: System, recorded: dict[str, Any], host_sme: list[int]) -> None:
        self.recorded = recorded
        self.features: list[str] = recorded["features"]
        self.has_sme = "SME" in self.features
        self.rows = 16 * (recorded["sme_vqs"] or host_sme)[-1] if self.has_sme else 0
        self.exits: list[dict[str, Any]] = []
        with guest(system, self.features, SME_GUEST, 0x20000) as (self.vm, self.vcpu):
            self.set: dict[str, str | None] = {}
            self._configure()
            self._fill()
            start(self.vcpu)
            self._run()
            self.memory = self._memory()

    def _configure(self) -> None:
        recorded, vcpu = self.recorded, self.vcpu
        for name, key in (("SVE", "sve_vqs"), ("SME", "sme_vqs")):
            if recorded[key] is not None:
                set_reg(vcpu, f"KVM_REG_ARM64_{name}_VLS", encode(VectorLengths(recorded[key])))
        for name, key, low, bits in (
            ("ID_AA64PFR1_EL1", "id_pfr1_sme", 24, 4),
            ("ID_AA64SMFR0_EL1", "id_fa64", 63, 1),
        ):
            if recorded[key] is not None:
                old = number(vcpu.get_one_reg(register(name)))
                new = old & ~((1 << bits) - 1 << low) | recorded[key] << low
                assert set_reg(vcpu, name, u64(new)) == recorded[f"set_{'pfr1' if low == 24 else 'smfr0'}"]
        if {"SVE", "SME"} & set(self.features):
            vcpu.finalize(F.SVE)

    def _fill(self) -> None:
        recorded, vcpu = self.recorded, self.vcpu
        if self.has_sme:
            set_reg(vcpu, "SVCR", u64(recorded["svcr_before"]))
            for name, data in (
                ("Z0", PATTERN),
                ("P0", PATTERN),
                ("FFR", b"\x55" * 32),
                ("V0", PATTERN),
                ("ZA0", PATTERN),
                ("ZT0", PATTERN),
                ("TPIDR2_EL0", u64(0x1122_3344_5566_7788)),
                ("FPSR", b"\x1f"),
            ):
                self.set[name] = set_reg(vcpu, name, data)
            self.set["ZA_last"] = set_reg(vcpu, f"ZA{self.rows - 1}", PATTERN[::-1])
            if recorded["smcr_el1_before"] is not None:
                set_reg(vcpu, "SMCR_EL1", u64(recorded["smcr_el1_before"]))
        if recorded["label"].startswith("both") and "smcr 0" not in recorded["label"]:
            set_reg(vcpu, "ZCR_EL1", u64(15))
        for at, factor, plus, size in ((0x8000, 3, 1, 256), (0x8100, 5, 2, 256), (0x8200, 7, 3, 64)):
            self.vm.write_memory(RAM_BASE + at, bytes((x * factor + plus) & 255 for x in range(size)))

    def _run(self) -> None:
        pokes = any("poke" in left for left in self.recorded["exits"])
        for n in range(12):
            said = enter(self.vcpu)
            if self.has_sme and said["errno"] is None:
                said["regs"] = self._look()
            if pokes and goes_on(said) and n in (1, 4):
                said["poke"] = self._poke(n)
            self.exits.append(said)
            if not goes_on(said):
                break

    def _poke(self, n: int) -> dict[str, str | None]:
        """What userspace wrote after the second exit, and after the fifth."""
        written = [("Z0", b"\x77" * 256), ("ZA0", b"\x66" * 256), ("ZT0", b"\x44" * 64), ("FPSR", b"\1")]
        if n == 4:
            written = [("SVCR", b"\2"), ("ZA0", b"\x33" * 256)]
        return {name: set_reg(self.vcpu, name, data) for name, data in written}

    def _look(self) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for name in (*LOOKED_AT, f"ZA{self.rows - 1}"):
            try:
                seen[name] = stripped(self.vcpu.get_one_reg(register(name)))
            except KvmError as refused:
                seen[name] = errno_name(refused.errno or 0)
        seen["list_count"] = len(self.vcpu.reg_list())
        return seen

    def _memory(self) -> dict[str, Any]:
        """The guest's log, with the recording's keys."""
        log = self.vm.read_memory(LOG, 0x4000)

        def at(offset: int, size: int) -> str:
            return stripped(log[offset : offset + size])

        saw = {key: hex(number(log[8 * n : 8 * n + 8])) for n, key in enumerate(SAW)}
        vl = int(saw["rdvl_start"], 16)
        vl = 0 if vl == 0xDEAD else vl
        dump = {
            "z0": at(0x1000, 0x100 if vl > 128 else vl),
            "q0": at(0x1300, 16),
            "za_row0": at(0x1400, 256),
            "za_last": at(0x1500, 256),
            "zt0": at(0x1600, 64),
        }
        if vl:
            dump["p0"], dump["p1_from_ffr"] = at(0x1000 + vl, vl // 8), at(0x1000 + vl + vl // 8, vl // 8)
        return {
            "guest_saw": saw,
            "guest_dump_start": dump,
            "guest_dump_after_exit2": {
                "z0": at(0x2000, self.rows),
                "za_row0": at(0x2400, 256),
                "za_last": at(0x2500, 256),
                "zt0": at(0x2600, 64),
            },
            "guest_za_row0_after_exit5": at(0x3400, 256),
            "guest_exceptions": self._exceptions(log),
            "pc_end": self.vcpu.get_one_reg(register("PC"))[::-1].hex(),
        }

    @staticmethod
    def _exceptions(log: bytes) -> list[dict[str, str]]:
        taken = []
        for at in range(0x800, 0xC00, 16):
            esr, elr = number(log[at : at + 8]), number(log[at + 8 : at + 16])
            if not esr and not elr:
                break
            offset = elr - RAM_BASE
            said = {"esr": hex(esr), "ec": hex(esr >> 26 & 63), "iss": hex(esr & 0x1FF_FFFF)}
            said["offset"] = hex(offset)
            said["insn"] = f"{number(SME_GUEST[offset : offset + 4]):08x}"
            taken.append(said)
        return taken
