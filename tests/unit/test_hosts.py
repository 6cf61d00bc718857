"""Host files say what is wrong with them; built-in hosts are what was recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from tests.recordings import GOLDEN, REPOSITORY, recordings

from armkvm.abi.regid import RegId
from armkvm.arch.sysregs import sysreg
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.model import ModelSystem
from armkvm.errors import InputError, MissingFacts
from armkvm.hosts import hostfile, library, recording, shape
from armkvm.model.host import Platform
from armkvm.model.profile import PROFILES
from armkvm.state import HostFacts

BUILT_IN = [pytest.param(name, p, id=f"{p}/{name}") for name, found in library.names().items() for p in found]


def tree() -> dict[str, Any]:
    """The host file every example below damages."""
    loaded: dict[str, Any] = json.loads(hostfile.encode(library.builtin("max-nested", "7.3")))
    return loaded


def faults_of(damaged: object) -> list[str]:
    with pytest.raises(InputError) as refused:
        library.from_tree(damaged, [], "x", "x.json")
    return [str(fault) for fault in refused.value.faults]


@pytest.mark.parametrize(("name", "profile"), BUILT_IN)
def test_a_built_in_host_survives_its_file_form(name: str, profile: str) -> None:
    facts = library.builtin(name, profile)
    assert (facts.name, facts.profile) == (name, profile)
    assert hostfile.decode(json.loads(hostfile.encode(facts)), name) == facts


@pytest.mark.parametrize("path", recordings("captures/*/*.json"))
def test_a_built_in_host_is_its_recording(path: Path) -> None:
    """All that a model reads of it, so that the two cannot be told apart."""
    profile = path.parent.name
    name = f"sme-{path.stem}" if profile == "sme-v12" else path.stem
    recorded, built_in = library.read(path), library.builtin(name, profile)
    for name in HostFacts.__slots__:
        if name not in {"name", "writable_masks", "vgic"}:
            assert getattr(built_in, name) == getattr(recorded, name), name


@pytest.mark.parametrize("path", recordings("captures/*/*.json"))
def test_the_masks_a_host_reported_are_those_of_its_profile(path: Path) -> None:
    """Built-in hosts leave them out for that reason."""
    recorded = library.read(path)
    if recorded.writable_masks is not None:
        vm = ModelSystem(recorded, PROFILES[recorded.profile]).create_vm()
        assert vm.writable_masks() == recorded.writable_masks


@pytest.mark.shared
def test_built_in_hosts_are_current(shared_data: Path) -> None:
    """`tools/distill-hosts` would write what is there."""
    run = subprocess.run(
        [sys.executable, REPOSITORY / "tools" / "distill-hosts", "--check"],
        env=os.environ | {"ARMKVM_SHARED": str(shared_data.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, "")


def test_there_are_a_dozen_hosts_with_unlike_vector_lengths() -> None:
    offered = [Platform(facts, PROFILES[facts.profile]).sve for facts in library.builtins()]
    assert len(offered) >= 12
    assert len(set(offered)) >= 7


def test_unlike_cpus_are_capped_below_the_smallest_length_that_only_some_have() -> None:
    mixed = library.builtin("mixed-1-2-8-and-1-2-4-8")
    assert {str(cpu.sve) for cpu in mixed.cpus} == {"1,2,8", "1,2,4,8"}
    assert Platform(mixed, PROFILES["7.3"]).sve == VectorLengths([1, 2])


def damage(*path: str | int, value: object = None, remove: bool = False) -> Callable[[], dict[str, Any]]:
    def make() -> dict[str, Any]:
        document: Any = tree()
        at = document
        for part in path[:-1]:
            at = at[part]
        if remove:
            del at[path[-1]]
        else:
            at[path[-1]] = value
        damaged: dict[str, Any] = document
        return damaged

    return make


PLAIN = ("registers", "plain")


@pytest.mark.parametrize(
    ("damaged", "says"),
    [
        (damage("format", value="armkvm-host-2"), "$.format: expected one of armkvm-host-1"),
        (damage("name", remove=True), "$: expected a member name, got none"),
        (damage("colour", value="red"), "$.colour: expected no members but format"),
        (damage("kernel", value="new"), "$.kernel: expected a kernel release"),
        (damage("kernel", value=None), "$.kernel: expected a kernel release such as 7.3.4, got null"),
        (damage("caps", "ARM_SVEE", value=1), "$.caps.ARM_SVEE: expected a capability"),
        (damage("caps", "ARM_SVE", value="1"), "$.caps.ARM_SVE: expected a whole number"),
        (
            damage("caps", "ARM_SVE", value=0),
            "$.caps: expected ARM_SVE to agree with features, which has SVE",
        ),
        (damage("features", value=["SVE2"]), "$.features[0]: expected one of POWER_OFF"),
        (damage("devices", value=["VGIC"]), "$.devices[0]: expected one of VFIO"),
        (damage("cpus", value=[]), "$.cpus: expected an array of 1 to 64"),
        (damage("cpus", 0, "count", value=0), "$.cpus[0].count: expected a whole number 1..4096"),
        (damage("cpus", 0, "sve", value="1-17"), "$.cpus[0].sve: expected lengths of at most 16"),
        (damage("cpus", 0, "sve", value="1,two"), "$.cpus[0].sve: expected vector lengths"),
        (damage("cpus", 0, "sve", value="2,4"), "$.cpus[0].sve: expected a set with 1"),
        (damage(*PLAIN, "MIDR_EL9", value="0x1"), "MIDR_EL9: expected the name of a register"),
        (damage(*PLAIN, "X0", value="0x1"), "X0: expected the name of a register"),
        (damage(*PLAIN, "MIDR_EL1", value="0x1" + "0" * 16), "MIDR_EL1: expected a value of 64 bits"),
        (damage(*PLAIN, "CCSIDR_EL1(0)", value="0x100000000"), "expected a value of 32 bits"),
        (damage(*PLAIN, "MIDR_EL1", value=17), "MIDR_EL1: expected a number 0x..."),
        (damage(*PLAIN, "S3_0_C0_C0_0", value="0x1"), "MIDR_EL1 under two names"),
        (damage("registers", "el2", "absent", value=["TPIDR_EL0"]), "expected the name of a register"),
        (damage("notes", value=["a\nb"]), "$.notes[0]: expected at most 400 printable characters"),
        (damage("caps", "ARM_VM_IPA_SIZE", value=1), "$.caps.ARM_VM_IPA_SIZE: expected 0 or 32 to 52, got 1"),
        (damage("caps", "ARM_VM_IPA_SIZE", value=53), "$.caps.ARM_VM_IPA_SIZE: expected 0 or 32 to 52"),
        (damage("caps", "MAX_VCPU_ID", value=0), "$.caps.MAX_VCPU_ID: expected at least 1"),
        (damage("preferred_target", value=3), "$.preferred_target: expected 5, as KVM_ARM_VCPU_INIT takes"),
        *(
            (damage("writable_masks", value={name: "0x1"}), f"{name}: expected the name of a feature ID reg")
            for name in ("ACTLR_EL1", "PMMIR_EL1", "AMAIR_EL1", "PMCR_EL0")
        ),
        (list, '$: expected an object with "format"'),
    ],
)
def test_a_bad_host_file_says_what_was_expected_and_where(damaged: Callable[[], object], says: str) -> None:
    assert any(says in fault for fault in faults_of(damaged())), faults_of(damaged())


@pytest.mark.parametrize(("said", "bits"), [(0, 40), (36, 36), (52, 52)])
def test_an_ipa_size_of_0_is_an_absent_capability(said: int, bits: int) -> None:
    """Such a kernel gives every VM 40 bits; hosts with fewer than 40 exist."""
    document = tree()
    document["caps"]["ARM_VM_IPA_SIZE"] = said
    assert hostfile.decode(document, "x").ipa_bits == bits


def test_an_old_cpu_may_prefer_its_own_target() -> None:
    document = tree()
    document["registers"]["plain"]["MIDR_EL1"] = "0x411fd070"  # Cortex-A57
    for target in (2, 5):
        assert hostfile.decode(document | {"preferred_target": target}, "x").preferred_target == target


@pytest.mark.parametrize("ctr", [None, 0x0, 0x1_0001, 0x4_0004])
def test_any_cache_line_size_makes_a_vcpu(ctr: int | None) -> None:
    """Lines below 16 bytes have no encoding in CCSIDR_EL1: the kernel cuts it off, and so does the model."""
    document = tree()
    plain = document["registers"]["plain"]
    del plain["CTR_EL0"]
    if ctr is not None:
        plain["CTR_EL0"] = hex(ctr)
    facts = hostfile.decode(document, "x")
    with ModelSystem(facts, PROFILES["7.3"]).create_vm() as vm, vm.create_vcpu(0) as vcpu:
        vcpu.init(frozenset())
        value = int.from_bytes(vcpu.get_one_reg(RegId.ccsidr(0)), "little")
        assert value == ((ctr or 0) % 16 - 2) % 8
        vcpu.set_one_reg(RegId.ccsidr(0), value.to_bytes(4, "little"))


def test_a_recording_has_masks_of_feature_id_registers_alone() -> None:
    loaded = json.loads((GOLDEN / "captures" / "7.3" / "max.json").read_text())
    loaded["writable_masks"]["masks"][RegId.sysreg(sysreg("ACTLR_EL1")).hex] = "0x1"
    (fault,) = faults_of(loaded)
    assert "expected the id of a feature ID register" in fault


def test_all_faults_of_a_host_file_are_told_at_once() -> None:
    damaged = tree() | {"kernel": 7, "cpus": [{"sve": "99"}], "features": ["SVE", "SVE2"]}
    assert len(faults_of(damaged)) == 3


def test_faults_are_told_up_to_a_number_a_person_can_read() -> None:
    faults = faults_of(tree() | {"caps": {f"CAP{n}": 1 for n in range(1000)}})
    assert len(faults) == shape.MOST_FAULTS + 1
    assert faults[-1] == "$: and 800 more faults"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"\xff\xfe", "byte 0: expected UTF-8"),
        (b"{", "expected JSON, got the end of the file"),
        (b"[" * 100, "levels of nesting"),
        (b'{"format": "armkvm-host-1", "format": "armkvm-host-1"}', 'each key once, got "format" twice'),
    ],
)
def test_what_is_no_document_is_refused_in_one_message(text: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "h.json"
    path.write_bytes(text)
    with pytest.raises(InputError, match=says):
        library.read(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@given(st.data())
def test_a_file_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    """Whatever stands where something else was expected: InputError at most."""
    document = tree()
    key = data.draw(st.sampled_from(sorted(document)))
    inner = document[key]
    if isinstance(inner, dict) and inner and data.draw(st.booleans()):
        inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(JSON)
    else:
        document[key] = data.draw(JSON)
    try:
        library.from_tree(document, [], "x", "x.json")
    except InputError as refused:
        faults = refused.faults
    else:
        faults = ()
    assert len(faults) <= shape.MOST_FAULTS + 1


# -- recordings ------------------------------------------------------------------------------------


def a_recording() -> dict[str, Any]:
    """A small recording, as much as a host needs."""
    midr = RegId(0x603000000013C000).hex
    return {
        "schema": recording.SCHEMA,
        "kernel": "7.3.4",
        "caps": {"165": 40, "170": 0, "131": "EINVAL"},
        "preferred_target": {"target": 5},
        "configs": {
            "all": {"features": ["PSCI_0_2"], "init": None, "values": {midr: "10d04f4100000000"}},
            "base": {"features": ["PSCI_0_2"], "vs_all_values_changed": {}},
        },
    }


def test_a_recording_without_answers_is_a_host() -> None:
    facts = library.from_tree(a_recording(), [], "mine", "mine.json")
    assert facts.name == "mine"
    assert facts.profile == "7.3"
    assert facts.caps[131] == -22
    assert facts.values["plain"] == {RegId(0x603000000013C000): 0x414FD010}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kernel": ""}, "$.kernel: expected a kernel release"),
        ({"caps": {"x": 1}}, "$.caps.x: expected a capability's number"),
        ({"caps": {"1": "EWHAT"}}, '$.caps["1"]: expected an errno'),
        ({"configs": {}}, '$.configs: expected a configuration "all"'),
        ({"configs": {"all": {"features": ["X"]}}}, "$.configs.all.features[0]: expected one of"),
        ({"configs": {"all": {"features": [], "values": {"0x6": "00"}}}}, "expected a register id"),
        (
            {"configs": {"all": {"features": [], "values": {"0x603000000013c000": "00"}}}},
            "expected 8 bytes in hex, or an errno",
        ),
        ({"vls": "ff"}, "$.vls: expected 64 bytes in hex"),
        ({"vls": "0" * 10 + "1" + "0" * 117}, "expected lengths of at most 16 quadwords, got 45"),
    ],
)
def test_a_bad_recording_says_what_was_expected_and_where(change: dict[str, Any], says: str) -> None:
    faults = faults_of(a_recording() | change)
    assert any(says in fault for fault in faults), faults


@pytest.mark.parametrize("path", recordings("captures/[67]*/max.json"))
def test_the_answers_of_a_recording_are_never_read(path: Path) -> None:
    document = json.loads(path.read_text())
    without = {key: value for key, value in document.items() if key not in recording.ANSWERS}
    assert library.from_tree(without, [], "x", "x") == library.from_tree(document, [], "x", "x")


@pytest.mark.parametrize("kernel", ["sve-ioctl-2017", "sve-v5", "sve-v7"])
def test_the_road_to_sve_is_seen_on_hosts_recorded_under_6_1(kernel: str) -> None:
    """Those profiles are modelled on 6.1 and show what it shows, so its recording is taken."""
    facts, profile = library.find("max", kernel)
    assert profile.name == facts.profile == kernel
    assert facts.values == library.builtin("max", "6.1").values
    with pytest.raises(MissingFacts):
        library.find("neoverse-n2", kernel)
