"""The rules of the context switch: each a short function or value, with its reason and its source.

`Rules` holds one of each; the host and the switch ask it for every decision. A test replaces one by a
defective form (`dataclasses.replace(RULES, ...)`) and shows who is hurt. docs/context-switch.md is
written from the rows.

Source: Linux arch/arm64/kernel/fpsimd.c, arch/arm64/kvm/fpsimd.c, kvm/hyp/include/hyp/switch.h; the SME
series (v4 and what later revisions corrected in it); each row names its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import NamedTuple, TypeVar

from armkvm.model.context.image import Enables


class Saving(Enum):
    """What a binding says to save of a context whose mode does not say it."""

    CURRENT = "what the task is using"
    FPSIMD = "V0..V31: a call into the kernel gave up the rest"
    SVE = "Z, P and FFR"


class Lengths(NamedTuple):
    """Largest lengths in quadwords; 0 where there is none."""

    sve: int
    sme: int


class Control(NamedTuple):
    """What to write to ZCR_ELx and SMCR_ELx of one level; None leaves a register as it is."""

    zcr: int | None = None
    smcr: int | None = None


class Step(Enum):
    """One step of loading a guest's state on its first use of it."""

    OPEN = "open CPTR_EL2 or CPACR_EL1 for what the guest has"
    SVE_LENGTH = "set ZCR_EL2 to the vCPU's largest length"
    SME_LENGTH = "set SMCR_EL2 to the vCPU's largest streaming length, with FA64 and EZT0 as it has them"
    MODE = "write SVCR"
    MATRIX = "load ZA and ZT0, if PSTATE.ZA is set"
    VECTORS = "load Z, P and FFR, or V0..V31, with FPSR and FPCR"
    FPMR = "load FPMR"
    OWN_LENGTHS = (
        "set ZCR_EL1 and SMCR_EL1, and for a guest's guest ZCR_EL2 and SMCR_EL2, to what the guest chose"
    )


class Before(NamedTuple):
    """One step that must come before another, and why."""

    first: Step
    then: Step
    why: str


ORDER: tuple[Before, ...] = (
    Before(Step.OPEN, Step.VECTORS, "EL2's own accesses trap as long as its controls are closed"),
    Before(Step.SVE_LENGTH, Step.VECTORS, "Z, P and FFR lie in memory at the vCPU's largest length"),
    Before(Step.SME_LENGTH, Step.MATRIX, "ZA's rows lie in memory at the vCPU's largest streaming length"),
    Before(Step.SME_LENGTH, Step.VECTORS, "streaming Z, P and FFR likewise, and FFR needs FA64 enabled"),
    Before(Step.MODE, Step.MATRIX, "ZA cannot be accessed before PSTATE.ZA is set, which zeroes it"),
    Before(Step.MODE, Step.VECTORS, "a change of PSTATE.SM zeroes Z, P and FFR and sets FPSR"),
    Before(Step.MODE, Step.FPMR, "a change of PSTATE.SM zeroes FPMR"),
    Before(Step.VECTORS, Step.OWN_LENGTHS, "a smaller length would cut off what is loaded"),
    Before(Step.MATRIX, Step.OWN_LENGTHS, "likewise for ZA"),
)


_T = TypeVar("_T")


def _rule(default: _T, *, says: str, why: str, source: str) -> _T:
    return field(default=default, metadata={"says": says, "why": why, "source": source})


# -- the rules' right forms ------------------------------------------------------------------------


def _state_has(context: Enables, host: Enables) -> Enables:
    return Enables(context.fa64 and host.fa64, context.sme2 and host.sme2)


def _task_enables(host: Enables) -> int | None:
    return host.bits


def _layout_vq(lengths: Lengths, streaming: bool) -> int:
    return lengths.sme if streaming else lengths.sve


def _buffer_vq(lengths: Lengths) -> int:
    return max(lengths)


def _efi_has_ffr(live_full_a64: bool, host_fa64: bool) -> bool:
    return live_full_a64


def _return_lengths(
    guest: Lengths, guest_enables: int, host: Lengths, host_enables: int, *, vhe: bool
) -> dict[int, Control]:
    zcr = guest.sve - 1 if guest.sve else None
    smcr = (guest.sme - 1) | guest_enables if guest.sme else None
    if vhe:
        return {2: Control(zcr, smcr)}
    widest = Control(
        None if zcr is None else host.sve - 1, None if smcr is None else (host.sme - 1) | host_enables
    )
    return {2: widest, 1: Control(zcr, smcr)}


def _own_control_level(in_hyp: bool) -> int:
    return 2 if in_hyp else 1


def _nested_enables(vm: int, smcr_el2: int) -> int:
    return vm & smcr_el2


def _nested_len(largest: int, chosen: int) -> int:
    return min(largest - 1, chosen)


def _sets_mode_on_entry(has_sme: bool, owns: bool) -> bool:
    return has_sme


def _stops_on_exit(has_sme: bool, owns: bool) -> bool:
    return has_sme and not owns


def _opened(has_sve: bool, has_sme: bool, owns: bool) -> frozenset[str]:
    if not owns:
        return frozenset()
    return frozenset({"FP"} | ({"SVE"} if has_sve else set()) | ({"SME"} if has_sme else set()))


def _resident(last_is_task: bool, last_cpu_is_this: bool) -> bool:
    return last_is_task and last_cpu_is_this


def _still_owns(owned: bool, foreign: bool) -> bool:
    return owned and not foreign


def _yes() -> bool:
    return True


def _switches_tpidr2(has_sme: bool) -> bool:
    return has_sme


_KERNEL = "arch/arm64/kernel/fpsimd.c"
_KVM = "arch/arm64/kvm/fpsimd.c"
_SWITCH = "arch/arm64/kvm/hyp/include/hyp/switch.h"


@dataclass(frozen=True, slots=True)
class Rules:
    """Every decision of the context switch. Fields are in the order of docs/context-switch.md."""

    # who owns the registers
    resident: Callable[[bool, bool], bool] = _rule(
        _resident,
        says="A CPU still holds a task's state only if it was the last bound there and the task was last "
        "bound on no other CPU.",
        why="Either alone is true of a task that has meanwhile run elsewhere, or of a CPU that others used.",
        source=f"{_KERNEL} (fpsimd_thread_switch)",
    )
    saved_at_load: Callable[[], bool] = _rule(
        _yes,
        says="Loading a vCPU saves the task's state first, and leaves the registers to nobody.",
        why="The guest's first use loads its own state over whatever is there.",
        source=f"{_KVM} (kvm_arch_vcpu_load_fp)",
    )
    flush_stops_streaming: Callable[[], bool] = _rule(
        _yes,
        says="Whoever leaves the registers to nobody clears PSTATE.SM and PSTATE.ZA.",
        why="The kernel's own Advanced SIMD is illegal in streaming mode, guests without SME would start "
        "in it, and the hypervisor refuses to be entered with either set.",
        source=f"{_KERNEL} (fpsimd_flush_cpu_state); SME series v12, patch 22",
    )
    still_owns: Callable[[bool, bool], bool] = _rule(
        _still_owns,
        says="A guest owns the registers at entry only if nothing took them since its last exit.",
        why="An interrupt between two entries may have used them for the kernel.",
        source=f"{_KVM} (kvm_arch_vcpu_ctxflush_fp)",
    )
    bound_after_exit: Callable[[], bool] = _rule(
        _yes,
        says="After an exit the registers are bound to the guest that owns them.",
        why="Otherwise the kernel, which uses them without asking KVM, has nowhere to save them.",
        source=f"{_KVM} (kvm_arch_vcpu_ctxsync_fp)",
    )
    opened: Callable[[bool, bool, bool], frozenset[str]] = _rule(
        _opened,
        says="FP, SVE and SME are open to a guest that has them and owns the registers; else they trap.",
        why="What is not trapped reaches what is in the registers, whoever left it.",
        source=f"{_SWITCH}; SME series v4, patch 23",
    )
    leaves_streaming_for_calls: Callable[[], bool] = _rule(
        _yes,
        says="A system call, KVM_RUN included, clears the caller's PSTATE.SM and keeps PSTATE.ZA.",
        why="It is the ABI of calls; a caller's ZA is saved as the rest of its state is.",
        source=f"{_KERNEL} (fpsimd_syscall_enter); Documentation/arch/arm64/sme.rst",
    )
    first_use_zeroes: Callable[[], bool] = _rule(
        _yes,
        says="A task's first use of SVE finds zero in Z above V, P and FFR.",
        why="They hold what the last context on this CPU left.",
        source=f"{_KERNEL} (do_sve_acc)",
    )

    # what is saved and loaded
    state_has: Callable[[Enables, Enables], Enables] = _rule(
        _state_has,
        says="Whether ZT0, and FFR in streaming mode, are saved is decided when state is bound, by what "
        "that context has.",
        why="A guest may have neither where the host has both; with its enables in force, the host's "
        "access to either is an exception in the kernel.",
        source="SME series v4, patch 2",
    )
    task_enables: Callable[[Enables], int | None] = _rule(
        _task_enables,
        says="SMCR's FA64 and EZT0 are set as the host has them whenever a task's state is loaded, and at "
        "its first use of SME.",
        why="A guest that has less leaves them clear; set once at boot, they stay so for the next task.",
        source="SME series v4, patch 1; v12, patch 3",
    )
    layout_vq: Callable[[Lengths, bool], int] = _rule(
        _layout_vq,
        says="Where FFR lies in memory follows from the length of the mode the state is in.",
        why="The routines find Z below FFR at the live length; another length's place is not the one "
        "userspace reads, and may lie outside the buffer.",
        source="SME series v7, patch 15 (v4 used SVE's length alone)",
    )
    buffer_vq: Callable[[Lengths], int] = _rule(
        _buffer_vq,
        says="The buffer of Z, P and FFR has room for the longer of the two lengths, in quadwords.",
        why="Less is overrun in the other mode; a size computed from bytes is 16 times too large.",
        source="SME series v4, patch 25; corrected in v7, patch 27",
    )
    efi_has_ffr: Callable[[bool, bool], bool] = _rule(
        _efi_has_ffr,
        says="Around a call of EFI, FFR in streaming mode is kept if FA64 is enabled now.",
        why="The state in the registers may be a guest's without FA64, on a host with it.",
        source="SME series v4, patch 3",
    )
    efi_keeps_mode: Callable[[], bool] = _rule(
        _yes,
        says="A call of EFI runs outside streaming mode; the interrupted mode comes back, FPSR and FPMR too.",
        why="EFI's code knows no streaming mode; leaving it zeroes Z, P, FFR and FPMR and sets FPSR.",
        source=f"{_KERNEL} (__efi_fpsimd_begin); Arm ARM (PSTATE.SM)",
    )
    switches_tpidr2: Callable[[bool], bool] = _rule(
        _switches_tpidr2,
        says="TPIDR2_EL0 is switched with the other thread registers when the VM has SME.",
        why="Nothing traps it then, whoever owns the vector registers.",
        source="SME series v4, patch 16",
    )
    traps_tpidr2: Callable[[bool], bool] = _rule(
        lambda has_sme: not has_sme,
        says="Of a VM without SME, accesses to TPIDR2_EL0 trap, and are UNDEFINED.",
        why="It is not switched then, and holds what the task has in it.",
        source="arch/arm64/kvm/sys_regs.c (fine-grained UNDEF); SME series v4, patch 16",
    )
    live_tpidr2: Callable[[bool, bool], bool] = _rule(
        lambda vhe, loaded: vhe and loaded,
        says="With VHE, TPIDR2_EL0 of a loaded vCPU is in the CPU, for userspace and KVM alike.",
        why="A write to memory alone is overwritten when the vCPU is put.",
        source="SME series v11, patches 15 and 16",
    )

    # lengths and modes at EL2
    load_steps: tuple[Step, ...] = _rule(
        tuple(Step),
        says="Loading a guest's state goes in the order of the table below.",
        why="Each constraint has its own reason there.",
        source="SME series v4, patch 22",
    )
    return_lengths: Callable[..., dict[int, Control]] = _rule(
        _return_lengths,
        says="Back in the host, the lengths in force are the guest's largest: of EL2 with VHE; of EL1 "
        "without, with EL2's as wide as the host's. Each of ZCR and SMCR by its own kind of length.",
        why="The kernel saves the guest's state whenever it likes, at the length it was bound with; a "
        "host that finds another kills the program. EL2's left narrow would cut off every task.",
        source=f"{_SWITCH} (fpsimd_lazy_switch_to_host); v4, patch 22 (nVHE used SVE's length for SMCR_EL1)",
    )
    own_control_level: Callable[[bool], int] = _rule(
        _own_control_level,
        says="EL1's ZCR and SMCR hold the guest's own for EL1, or those for EL2 while its hypervisor runs.",
        why="A guest's hypervisor runs at EL1; its own lengths and enables count, not its guest's.",
        source="SME series v12, patch 22 (v4 loaded SMCR_EL1 always)",
    )
    sets_mode_on_entry: Callable[[bool, bool], bool] = _rule(
        _sets_mode_on_entry,
        says="A guest with SME enters with its SMCR_EL1 and its SVCR, even if it does not own the registers.",
        why="EL1's own traps come before EL2's, and which one is taken depends on PSTATE.SM.",
        source="SME series v12, patch 22",
    )
    stops_on_exit: Callable[[bool, bool], bool] = _rule(
        _stops_on_exit,
        says="If it did not own them at exit either, the host clears PSTATE.SM and PSTATE.ZA.",
        why="They are the guest's, and nothing is bound that would be saved with them.",
        source="SME series v12, patch 22",
    )
    nested_len: Callable[[int, int], int] = _rule(
        _nested_len,
        says="A guest's guest has at most the length in its hypervisor's ZCR_EL2 and SMCR_EL2, clamped "
        "when it is used, after all is loaded.",
        why="The registers keep any LEN that is written; the largest is the vCPU's.",
        source="SME series v12, patches 15 and 22",
    )
    nested_enables: Callable[[int, int], int] = _rule(
        _nested_enables,
        says="A guest's guest has FA64 and ZT0 only if its hypervisor enabled them in SMCR_EL2.",
        why="They are the hypervisor's to withhold; v12 gave what the VM has.",
        source="review of the SME series v12, patch 22",
    )


RULES = Rules()


class Row(NamedTuple):
    """A rule as documents show it."""

    name: str
    says: str
    why: str
    source: str


ROWS: tuple[Row, ...] = tuple(
    Row(one.name, one.metadata["says"], one.metadata["why"], one.metadata["source"]) for one in fields(Rules)
)
