"""A snapshot file is what docs/snapshot-format.md says, and every fault of one is reported."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from armkvm.abi import vls
from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import parse
from armkvm.errors import InputError
from armkvm.migration import codec, files
from armkvm.migration.snapshot import EnabledCap, Origin, Snapshot, VcpuEvents, VcpuState, VmConfig
from armkvm.state import RegisterSet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Tree = dict[str, Any]

SCHEMA = json.loads(codec._SCHEMA.read_bytes())


def example() -> Snapshot:
    registers = RegisterSet(
        [
            (RegId.x(0), bytes(range(8))),
            (RegId.core(212, 4), b"\x1f\0\0\x08"),
            (RegId.sve_vls(), vls.encode(VectorLengths([1, 2]))),
            (RegId.z(0), bytes(range(32)) + bytes(224)),
            (parse("ID_AA64PFR0_EL1"), (0x1101_0000_2111_0112).to_bytes(8, "little")),
        ]
    )
    state = VcpuState(
        id=0,
        features=(VcpuFeature.SVE, VcpuFeature.PSCI_0_2, 11),
        registers=registers,
        refused={RegId.zt0(): 16, RegId.za(3): 9999},
        mp_state=5,
        events=VcpuEvents(serror_pending=1, serror_has_esr=1, serror_esr=0x123),
    )
    caps = (EnabledCap(Cap.ARM_MTE, (0, 1)), EnabledCap(250))
    return Snapshot(Origin("model:x", "7.3", "lab"), VmConfig(0x28, caps), (state,))


def document() -> Tree:
    tree: Tree = json.loads(codec.encode(example()))
    return tree


def sealed(tree: Tree) -> bytes:
    """A document with the checksum of what it now says, so that other faults stand alone."""
    return json.dumps(tree | {"sha256": codec.checksum(tree)}).encode()


def faults(data: bytes) -> list[str]:
    with pytest.raises(InputError) as caught:
        codec.decode(data, "file")
    assert caught.value.source == "file"
    return [str(fault) for fault in caught.value.faults]


def test_the_text_is_for_people_a_register_to_a_line() -> None:
    lines = codec.encode(example()).decode().splitlines()
    assert lines[1] == ' "format": "armkvm-snapshot-1",'
    assert '    ["X0", "0x0706050403020100"],' in lines
    assert '    ["FPSR", "0x0800001f"],' in lines
    assert '    ["ID_AA64PFR0_EL1", "0x1101000021110112"]' in lines
    assert '    ["ZT0", "EBUSY"],' in lines
    assert '   "features": ["PSCI_0_2", "SVE", 11],' in lines


def test_an_encoded_snapshot_is_read_back_with_its_order() -> None:
    snapshot = example()
    read = codec.decode(codec.encode(snapshot), "file")
    assert read == snapshot
    assert list(read.vcpus[0].registers) == list(snapshot.vcpus[0].registers)
    assert list(read.vcpus[0].refused) == list(snapshot.vcpus[0].refused)


def test_what_is_written_satisfies_the_schema() -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(document())


def test_layout_and_order_of_members_are_free() -> None:
    tree = document()
    assert codec.decode(json.dumps(tree, sort_keys=True, indent=7).encode(), "file") == example()


def test_the_checksum_is_as_documented() -> None:
    """SHA-256 over the document without it: sorted members, no white space, ASCII."""
    import hashlib

    tree = document()
    stated = tree.pop("sha256")
    canonical = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    assert stated == hashlib.sha256(canonical.encode("ascii")).hexdigest()


def put(*path: str | int, value: object) -> Callable[[Tree], None]:
    def change(tree: Tree) -> None:
        part: Any = tree
        for step in path[:-1]:
            part = part[step]
        part[path[-1]] = value

    return change


def row(value: object, section: str = "registers") -> Callable[[Tree], None]:
    return put("vcpus", 0, section, 0, value=value)


V0 = "$.vcpus[0]"
R0, R1, F0 = f"{V0}.registers[0]: expected ", f"{V0}.registers[1]: expected ", f"{V0}.refused[0]: "
X0_AS_ID = "0x6030000000100000"
ZEROS = "0x0000000000000000"
TOO_LARGE = "0x60f0000000150000"  # its size field says 32768 bytes


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            put("format", value="armkvm-snapshot-2"),
            '$.format: expected "armkvm-snapshot-1", got "armkvm-snapshot-2"',
        ),
        (put("format", value=None), '$.format: expected "armkvm-snapshot-1", got null'),
        (
            put("surprise", value=1),
            '$: expected no members but format, sha256, origin, vm, vcpus; got "surprise"',
        ),
        (
            put("vm", "machine_type", value="40"),
            '$.vm.machine_type: expected "0x" and 1 to 16 lower-case hex',
        ),
        (put("vm", "caps", value=[["NO_SUCH"]]), "$.vm.caps[0]: expected a KVM_CAP_ name of mainline"),
        (put("vm", "caps", value=[[True]]), "$.vm.caps[0][0]: expected a capability"),
        (put("vm", "caps", value=[[1, *["0x1"] * 5]]), "$.vm.caps[0]: expected [capability, argument...]"),
        (put("origin", "host", value="a\x1b[31m"), "$.origin: host is at most 400 printable characters"),
        (put("origin", "uri", value="x" * 401), "$.origin.uri: expected a text of at most 400 characters"),
        (put("vcpus", value=[]), "$.vcpus: expected an array of 1 to 512 vCPUs, got an array of 0"),
        (put("vcpus", 0, value=7), f"{V0}: expected an object: a vCPU, got 7"),
        (put("vcpus", 0, "id", value=512), f"{V0}.id: expected a number 0..511, got 512"),
        (put("vcpus", 0, "id", value=True), f"{V0}.id: expected a number 0..511, got true"),
        (put("vcpus", 0, "features", value=["SVE", "SVE"]), f"{V0}: expected each feature once"),
        (put("vcpus", 0, "features", value=["FPU"]), f"{V0}: expected KVM_ARM_VCPU_ names without prefix"),
        (put("vcpus", 0, "features", value=[224]), f"{V0}.features[0]: expected a feature"),
        (put("vcpus", 0, "mp_state", value=-1), f"{V0}.mp_state: expected a number 0..4294967295, got -1"),
        (
            put("vcpus", 0, "events", "serror_pending", value=256),
            f"{V0}.events.serror_pending: expected a num",
        ),
        (row(["X0"]), f"{R0}a pair that begins with a register, got an array of 1"),
        (row("X0"), f'{R0}a pair that begins with a register, got "X0"'),
        (row(["FOO", "0x00"]), f'{R0}a register\'s name, or a 64-bit id 0x... if it has none, got "FOO"'),
        (row([7, "0x00"]), f"{R0}a register's name"),
        (row(["x0", ZEROS]), f'{R0}"X0", got "x0"'),
        (row([X0_AS_ID, ZEROS]), f'{R0}"X0", got "{X0_AS_ID}"'),
        (row([ZEROS, "0x00"]), f"{R0}an arm64 register of at most 256 bytes"),
        (row([TOO_LARGE, "0x00"]), f"{R0}an arm64 register of at most 256 bytes"),
        (
            row(["X0", "0x00000000000000"]),
            f'{V0}.registers[0]: X0: expected "0x" and 16 lower-case hex digits (8 bytes), got "0x00',
        ),
        (row(["X0", "0x07060504030201AA"]), f"{V0}.registers[0]: X0: expected"),
        (row(["X0", "070605040302010011"]), f"{V0}.registers[0]: X0: expected"),
        (row(["X0", 1]), f"{V0}.registers[0]: X0: expected"),
        (row(["X0", "0x" + "0" * 100_000]), "... (100002 characters)"),
        (row(["FPSR", "0x00000000"]), f"{R1}each register once, got FPSR again (first at {V0}.registers[0])"),
        (row(["X0", "EINVAL"], "refused"), f"{F0}expected each register once, got X0 again"),
        (row(["ZT0", "EWHAT"], "refused"), f"{F0}ZT0: expected an errno by name"),
        (row(["ZT0", "22"], "refused"), f"{F0}ZT0: expected an errno by name"),
        (row(["ZT0", "E2BIG" * 50], "refused"), f"{F0}ZT0: expected an errno by name"),
    ],
)
def test_one_fault_is_one_message_with_its_path(change: Callable[[Tree], None], says: str) -> None:
    tree = document()
    change(tree)
    said = faults(sealed(tree))
    assert len(said) == 1
    assert says in said[0]
    assert len(said[0]) < 300


@pytest.mark.parametrize("member", ["format", "sha256", "origin", "vm", "vcpus"])
def test_a_missing_member_is_named(member: str) -> None:
    tree = json.loads(sealed(document()))
    del tree[member]
    assert f"$: expected a member '{member}', got none" in faults(json.dumps(tree).encode())


def test_two_vcpus_with_one_id_are_refused() -> None:
    tree = document()
    tree["vcpus"] *= 2
    assert faults(sealed(tree)) == ["$.vcpus: vCPU ids come twice: [0, 0]"]


def test_a_changed_value_breaks_the_checksum() -> None:
    tree = document()
    tree["vcpus"][0]["mp_state"] = 0
    said = faults(json.dumps(tree).encode())
    assert len(said) == 1
    assert said[0].startswith("$.sha256: expected the contents' checksum ")


def test_all_faults_of_a_file_come_at_once() -> None:
    tree = document()
    tree["format"] = "armkvm-snapshot-9"
    tree["vm"]["machine_type"] = -1
    tree["vcpus"][0]["registers"] += [["NOPE", "0x00"], ["PC", "0x12"], ["X0", "0x0706050403020100"]]
    text = json.dumps(tree).replace('"mp_state"', '"id": 0, "mp_state"')
    said = faults(text.encode())
    assert [each.split(":")[0] for each in said] == [
        "$.vcpus[0]",
        "$.format",
        "$.vm.machine_type",
        "$.vcpus[0].registers[5]",
        "$.vcpus[0].registers[6]",
        "$.vcpus[0].registers[7]",
        "$.sha256",
    ]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "0.0", "1" * 400])
def test_no_number_but_a_whole_one_of_sensible_size_passes(text: str) -> None:
    data = codec.encode(example()).replace(b'"mp_state": 5', b'"mp_state": ' + text.encode())
    said = faults(data)
    assert any(each.startswith(f"{V0}.mp_state: expected a number 0..4294967295") for each in said)


def test_endless_faults_are_cut_off_and_it_is_said() -> None:
    tree = document()
    tree["vcpus"][0]["registers"] = [["X0"]] * 4000
    said = faults(sealed(tree))
    assert len(said) == codec.MAX_FAULTS + 1
    assert said[-1] == "$: and more faults; the first 200 are shown"


@pytest.mark.parametrize("text", ["[]", '"text"', "7", "null", "[[[[[[[]]]]]]]", '{"vcpus": {"id": [1]}}'])
def test_any_json_that_is_no_snapshot_is_refused(text: str) -> None:
    assert faults(text.encode())


@pytest.mark.parametrize(
    "hostile",
    [
        b"[" * 1_000_000,
        b'{"vcpus":[' + b"[[]]," * 200_000 + b"1]}",
        b'{"vcpus":[{"registers":[' + b'["X0","0x00"],' * 100_000 + b"1]}]}",
        b'{"' + b'a":1,"' * 300_000 + b'b":1}',
        b'{"sha256":"' + b"0" * 4_000_000 + b'"}',
    ],
)
def test_hostile_files_are_refused_within_bounded_time(hostile: bytes) -> None:
    began = time.process_time()
    assert len(faults(hostile)) <= codec.MAX_FAULTS + 1
    assert time.process_time() - began < 20


def test_every_part_of_the_schema_says_what_is_expected() -> None:
    """The descriptions are the error messages."""

    def nodes(schema: Tree) -> list[Tree]:
        parts = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
        parts += [part for part in (schema.get("items"), *schema.get("prefixItems", ())) if part]
        return [schema, *(node for part in parts for node in nodes(part))]

    assert len(nodes(SCHEMA)) > 30
    assert all(node.get("description") or "$ref" in node for node in nodes(SCHEMA))


@pytest.mark.parametrize(
    "bad", [["X0"], ["X0", 7], ["X0", "0xZZ"], [7, "0x00"], "X0", ["X0", "0x00", 1], ["X" * 65, "0x00"]]
)
def test_rows_that_the_schema_refuses_are_refused_though_it_is_not_asked(bad: object) -> None:
    tree = document()
    tree["vcpus"][0]["registers"][0] = bad
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(tree)
    assert faults(sealed(tree))


def test_a_saved_snapshot_is_loaded_again(tmp_path: Path) -> None:
    files.save(tmp_path / "snapshot.json", example())
    assert files.load(tmp_path / "snapshot.json") == example()


def test_a_file_that_is_none_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        files.load(tmp_path / "absent")


def test_a_save_that_fails_leaves_the_old_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    path = tmp_path / "snapshot.json"
    files.save(path, example())

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    other = Snapshot(Origin("other"), VmConfig(), example().vcpus)
    with pytest.raises(OSError, match="disk full"):
        files.save(path, other)
    assert files.load(path) == example()
