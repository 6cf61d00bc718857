"""The model answers what real kernels answered, for every recorded host, call by call.

Everything here builds the host from a recording's facts and predicts its answers; nothing reads an
answer to give it.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.differential.places import errno_of, fresh_vcpu, model_of, recorded
from tests.recordings import recordings

from armkvm.abi import vls
from armkvm.abi.regid import KVM_REG_ARM64, SIZE_SHIFT, RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.base import Vcpu
from armkvm.backends.model import ModelVcpu
from armkvm.errors import KvmError
from armkvm.model.one_reg import get_one_reg
from armkvm.model.outcome import Refused
from armkvm.model.vcpu import Vcpu as ModelRecord
from armkvm.traces import recordings as traces
from armkvm.traces.replay import replay

CAPTURES = recordings("captures/*/*.json")
RELEASED = recordings("captures/[67]*/*.json")
RANDOM = recordings("random/*.json")

VLS = RegId.sve_vls()
COUNTERS = {RegId(0x603000000013DF1A).hex, RegId(0x603000000013DF01).hex}
"""KVM_REG_ARM_TIMER_CNT and _PTIMER_CNT: they count between the recording's reads and ours."""


# -- named call sequences --------------------------------------------------------------------------

NOT_COVERED = Path(__file__).with_name("not-covered.txt")


def excused() -> list[tuple[str, str]]:
    rows = [line.partition(":") for line in NOT_COVERED.read_text().splitlines() if not line.startswith("#")]
    for words, colon, reason in rows:
        assert colon, f"not-covered.txt: {words!r} has no reason"
        assert reason.strip(), f"not-covered.txt: {words!r} has no reason"
    return [tuple(words.split(maxsplit=1)) for words, _, _ in rows]  # type: ignore[misc]


def excuse(path: Path, sequence: str) -> tuple[str, str] | None:
    name = f"{path.parent.name}/{path.stem}"
    return next(
        (row for row in excused() if fnmatchcase(name, row[0]) and fnmatchcase(sequence, row[1])), None
    )


@pytest.mark.parametrize("path", CAPTURES + RANDOM)
def test_every_recorded_sequence_replays_without_a_difference(path: Path) -> None:
    found = replay(traces.read(path), model_of(path))
    assert not [str(each) for each in found if not excuse(path, each.sequence)]


@pytest.mark.shared
def test_every_line_of_the_list_of_what_is_not_covered_is_needed() -> None:
    paths: list[Any] = [param.values[0] for param in CAPTURES + RANDOM]
    needed = {
        excuse(path, each.sequence)
        for path in paths
        if any(excuse(path, sequence["name"]) for sequence in recorded(path)["probes"])
        for each in replay(traces.read(path), model_of(path))
    }
    assert not set(excused()) - needed


# -- register lists and initial values -------------------------------------------------------------


def expected_list(configs: dict[str, Any], name: str) -> list[str]:
    """What is known of a configuration's list; where the order is not recorded, sorted."""
    whole = [reg for reg, _ in configs["all"]["reg_list"]]
    if name == "all":
        return whole
    config = configs[name]
    removed = set(config["vs_all_reg_list_removed"])
    return [reg for reg in whole if reg not in removed] + [reg for reg, _ in config["vs_all_reg_list_added"]]


def expected_values(configs: dict[str, Any], name: str) -> dict[str, str]:
    values: dict[str, str] = dict(configs["all"]["values"])
    if name != "all":
        for reg in configs[name]["vs_all_reg_list_removed"]:
            del values[reg]
        values.update(configs[name]["vs_all_values_changed"])
    return values


@pytest.mark.parametrize("path", CAPTURES)
def test_register_lists_hold_the_recorded_ids_in_the_recorded_order(path: Path) -> None:
    configs = recorded(path)["configs"]
    for name, config in configs.items():
        if config["init"] is not None:
            continue
        with fresh_vcpu(model_of(path), config["features"]) as vcpu:
            listed = [reg.hex for reg in vcpu.reg_list()]
            expected = expected_list(configs, name)
            assert sorted(listed) == sorted(expected), name
            assert len(listed) == config["reg_count"]
            common = set(expected_list(configs, "all")) & set(expected)
            in_order = [reg for reg in listed if reg in common] == [reg for reg in expected if reg in common]
            assert in_order == config.get("same_relative_order_as_all", True), name
            added = [reg for reg, _ in config.get("vs_all_reg_list_added", ())]
            if "added_at_end" in config:
                assert (listed[-len(added) :] == added) == config["added_at_end"], name
            assert [reg for reg in listed if reg in set(added)] == added, name


@pytest.mark.parametrize("path", CAPTURES)
def test_initial_values_are_the_recorded_ones(path: Path) -> None:
    configs = recorded(path)["configs"]
    for name, config in configs.items():
        if config["init"] is not None:
            continue
        with fresh_vcpu(model_of(path), config["features"]) as vcpu:
            expected = expected_values(configs, name)
            values = {reg: vcpu.get_one_reg(int(reg, 16)).hex() for reg in expected}
            differ = {reg for reg in expected if values[reg] != expected[reg]} - COUNTERS
            assert not {reg: (expected[reg], values[reg]) for reg in differ}, name


@pytest.mark.parametrize("path", CAPTURES)
def test_configurations_come_up_as_recorded(path: Path) -> None:
    """INIT, the list and the vector lengths before FINALIZE, FINALIZE, the lengths after it."""
    for name, config in recorded(path)["configs"].items():
        with model_of(path).create_vm() as vm:
            vcpu = vm.create_vcpu(0)
            assert errno_of(vcpu.init, map(F, config["features"])) == config["init"], name
            if config["init"] is None:
                assert list_or_errno(vcpu) == config["reg_list_before_finalize"], name
            if "finalize" in config:
                assert get_or_errno(vcpu, VLS) == config.get("vls_before_finalize", "ENOENT"), name
                assert errno_of(vcpu.finalize, F.SVE) == config["finalize"], name
                assert get_or_errno(vcpu, VLS) == config.get("vls_after_finalize", "ENOENT"), name


def list_or_errno(vcpu: Vcpu) -> int | str:
    try:
        return len(vcpu.reg_list())
    except KvmError as refused:
        return errno.errorcode[refused.errno or 0]


def get_or_errno(vcpu: Vcpu, reg: int) -> str:
    try:
        return vcpu.get_one_reg(reg).hex()
    except KvmError as refused:
        return errno.errorcode[refused.errno or 0]


# -- the system and its VMs ------------------------------------------------------------------------


@pytest.mark.parametrize("path", CAPTURES)
def test_every_capability_has_the_recorded_value(path: Path) -> None:
    capture, system = recorded(path), model_of(path)
    with system.create_vm() as vm:
        for cap in range(300):
            expected = capture["caps"].get(str(cap), 0)
            assert cap_or_errno(system.check_extension, cap) == expected, cap
            on_vm = capture["caps_vm_differs"].get(str(cap), expected)
            assert cap_or_errno(vm.check_extension, cap) == on_vm, cap
        assert list(vm.preferred_target()) == [
            capture["preferred_target"]["target"],
            tuple(capture["preferred_target"]["features"]),
        ]


def cap_or_errno(check: Callable[[int], int], cap: int) -> int | str:
    try:
        return check(cap)
    except KvmError as refused:
        return errno.errorcode[refused.errno or 0]


@pytest.mark.parametrize("path", CAPTURES)
def test_machine_types_are_taken_as_recorded(path: Path) -> None:
    capture, system = recorded(path), model_of(path)
    for bits, expected in capture["ipa_size_create_vm"].items():
        assert errno_of(system.create_vm, int(bits)) == expected, bits
    for bit, expected in capture["create_vm_type_bit"].items():
        if expected != "overflow":  # the recorder's own: Python could not pass it
            assert errno_of(system.create_vm, 1 << int(bit)) == expected, bit


@pytest.mark.parametrize("path", CAPTURES)
def test_each_feature_bit_alone_is_taken_as_recorded(path: Path) -> None:
    for bit, expected in recorded(path)["init_single_feature"].items():
        with model_of(path).create_vm() as vm:
            assert errno_of(vm.create_vcpu(0).init, [int(bit)]) == expected, bit


@pytest.mark.parametrize("path", RELEASED)
def test_writable_masks_are_the_recorded_ones(path: Path) -> None:
    expected = recorded(path)["writable_masks"]
    with model_of(path).create_vm() as vm:
        assert errno_of(vm.writable_masks) == expected["errno"]
        if expected["errno"] is None:
            masks = {reg.hex: hex(mask) for reg, mask in vm.writable_masks().items()}
            assert masks == expected["masks"]
            assert errno_of(partial(vm.writable_masks, 1)) == expected["range_1_errno"]
            assert errno_of(partial(vm.writable_masks, 0, [1])) == expected["reserved_nonzero_errno"]


# -- sets of vector lengths ------------------------------------------------------------------------


@pytest.mark.parametrize("path", RELEASED)
def test_every_set_of_vector_lengths_is_taken_or_refused_as_recorded(path: Path) -> None:
    for row in recorded(path)["vl_sets"]:
        with fresh_vcpu(model_of(path), ["PSCI_0_2", "SVE"], finalize=False) as vcpu:
            asked = row["vqs"]
            vqs = asked if isinstance(asked, list) else range(1, int(asked.partition("..")[2]) + 1)
            assert errno_of(vcpu.set_one_reg, VLS, vls.encode(VectorLengths(vqs))) == row["set_errno"], row
            assert bitmap(vcpu) == row["readback"], row
            if row["set_errno"] is None:
                assert as_finalized(vcpu) == {key: row[key] for key in FINALIZED}, row


FINALIZED = (
    *("finalize", "after_finalize", "z0_ff_bytes_kept", "z0_tail_zero"),
    *("p0_ff_bytes_kept", "ffr_ff_bytes_kept", "reg_count"),
)


def as_finalized(vcpu: Vcpu) -> dict[str, Any]:
    """What a vCPU is after FINALIZE: its set, and how much of each kind of register is kept."""
    finalize = errno_of(vcpu.finalize, F.SVE)
    kept = {}
    for name, reg in (("z0", RegId.z(0)), ("p0", RegId.p(0)), ("ffr", RegId.ffr())):
        vcpu.set_one_reg(reg, b"\xff" * reg.size)
        kept[name] = vcpu.get_one_reg(reg)
    return {
        "finalize": finalize,
        "after_finalize": bitmap(vcpu),
        "z0_ff_bytes_kept": kept["z0"].count(0xFF),
        "z0_tail_zero": kept["z0"].rstrip(b"\0") == b"\xff" * kept["z0"].count(0xFF),
        "p0_ff_bytes_kept": kept["p0"].count(0xFF),
        "ffr_ff_bytes_kept": kept["ffr"].count(0xFF),
        "reg_count": len(vcpu.reg_list()),
    }


def bitmap(vcpu: Vcpu) -> str:
    return hex(int.from_bytes(vcpu.get_one_reg(VLS), "little"))


# -- a whole vCPU into another ---------------------------------------------------------------------


@pytest.mark.parametrize("path", RELEASED)
def test_restoring_in_list_order_gives_the_recorded_refusals_and_differences(path: Path) -> None:
    for row in recorded(path)["replay"]:
        assert restored_in_list_order(path, row) == {key: row[key] for key in RESTORED if key in row}


RESTORED = ("source_run", "vls_set", "finalize", "set_errno_nonzero", "count", "differs_after")


def restored_in_list_order(path: Path, row: dict[str, Any]) -> dict[str, Any]:
    """Every listed register of one vCPU written into a second one, as it stands in the list."""
    system, features = model_of(path), row["features"]
    came: dict[str, Any] = {}
    with fresh_vcpu(system, features) as source, fresh_vcpu(system, features, finalize=False) as there:
        if row["source_ran_once"]:
            came["source_run"] = errno_of(source.run, True)
        listed = source.reg_list()
        values = {reg: source.get_one_reg(reg) for reg in listed}
        if "SVE" in features:
            if row["vls_set_before_finalize"]:
                came["vls_set"] = errno_of(there.set_one_reg, VLS, values[VLS])
            came["finalize"] = errno_of(there.finalize, F.SVE)
        refused = {reg.hex: errno_of(there.set_one_reg, reg, values[reg]) for reg in listed}
        came["set_errno_nonzero"] = {reg: number for reg, number in refused.items() if number}
        came["count"] = len(listed)
        came["differs_after"] = [reg.hex for reg in listed if there.get_one_reg(reg) != values[reg]]
    return came


# -- every id there could be -----------------------------------------------------------------------


def ids(reg_class: int, size: int, low: Iterable[int]) -> list[int]:
    return [KVM_REG_ARM64 | (size.bit_length() - 1) << SIZE_SHIFT | reg_class << 16 | n for n in low]


SVE_IDS = [*range(0x800), 0xFFFF]
SWEEPS = {
    "sysreg_op0_2_3": ids(0x13, 8, range(0x8000, 0x10000)),
    "sysreg_op0_0_1": ids(0x13, 8, range(0x8000)),
    "core_size_4": ids(0x10, 4, range(0x200)),
    "core_size_8": ids(0x10, 8, range(0x200)),
    "core_size_16": ids(0x10, 16, range(0x200)),
    "demux": ids(0x11, 4, range(0x200)),
    "fw": ids(0x14, 8, range(0x100)),
    "fw_bmap": ids(0x16, 8, range(0x100)),
    "sve_u2048": ids(0x15, 256, SVE_IDS),
    "sve_u256": ids(0x15, 32, SVE_IDS),
    "sve_u512": ids(0x15, 64, SVE_IDS),
}


@pytest.mark.parametrize("path", RELEASED)
def test_every_id_of_whole_ranges_answers_as_recorded(path: Path) -> None:
    capture = recorded(path)
    with fresh_vcpu(model_of(path), capture["configs"]["all"]["features"]) as vcpu:
        assert isinstance(vcpu, ModelVcpu)
        listed = set(vcpu.reg_list())
        swept = {name: sweep(vcpu.vcpu, numbers, listed) for name, numbers in SWEEPS.items()}
    assert swept == capture["get_sweep"]


def sweep(vcpu: ModelRecord, numbers: Iterable[int], listed: set[RegId]) -> dict[str, Any]:
    """Which ids can be read without being listed, and how many are refused with which errno.

    Through the model's own entry: sixty thousand exceptions would take most of the tests' time.
    """
    answers = [(number, get_one_reg(vcpu, number)) for number in numbers]
    refused = Counter(errno.errorcode[came.errno] for _, came in answers if isinstance(came, Refused))
    return {
        "gettable_not_listed": [
            RegId(number).hex
            for number, came in answers
            if not isinstance(came, Refused) and number not in listed
        ],
        "errno_counts": dict(refused),
    }
