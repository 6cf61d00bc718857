"""QEMU: command lines as QEMU itself understands them, and what it says of a CPU model."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from tests.exchange import samples
from tests.exchange.programs import lengths_in_guest, needs_qemu, qmp
from tests.exchange.samples import N1_LIKE, V1_HOST, V1_LIKE, guests, hosts_of

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.encoding import SysReg
from armkvm.arch.fields import Kind
from armkvm.arch.idfields import FIELDS, field, named_fields
from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import parse
from armkvm.errors import InputError
from armkvm.exchange.qemu import Newer, property_name, read_expansion, write_command_line
from armkvm.exchange.written import changes
from armkvm.state import GuestCpu

ALL_OFF_FROM_384 = ",".join(f"sve{bits}=off" for bits in range(384, 2049, 128))


def accessed(reg: RegId) -> SysReg:
    assert reg.encoding is not None
    return reg.encoding


def options(line: str) -> dict[str, str]:
    """The properties of a line's -cpu."""
    words = line.split()
    return dict(item.split("=") for item in words[words.index("-cpu") + 1].split(",")[1:])


# -- writing ---------------------------------------------------------------------------------------


def test_a_line_without_sve() -> None:
    written = write_command_line(N1_LIKE)
    assert written.text == "-cpu host,sve=off,pauth=off,pmu=on"
    assert (written.lost, written.needs) == ((), ())


def test_a_line_with_sve_names_every_length() -> None:
    written = write_command_line(V1_LIKE, [V1_HOST])
    assert written.text == f"-cpu host,sve=on,sve128=on,sve256=on,{ALL_OFF_FROM_384},pauth=on,pmu=on"
    assert written.lost == (
        "KVM_REG_ARM_STD_BMAP 0x1: QEMU leaves it as the host has it",
        "PSCI version: each host gives its newest; kvm-psci-version would set it",
        "ID register fields: each host gives its own; SYSREG_ID_AA64ISAR0_EL1_SHA3 would set it",
    )


def test_a_line_with_what_newer_qemu_has() -> None:
    written = write_command_line(V1_LIKE, [V1_HOST], newer=tuple(Newer))
    assert written.text.endswith(",pmu=on,kvm-psci-version=1.1,SYSREG_ID_AA64ISAR0_EL1_SHA3=0x0")
    assert written.needs == (
        "a QEMU that has kvm-psci-version",
        "a QEMU with the SYSREG_* series, which is not merged",
    )


def test_pmu_is_not_named_where_hosts_have_none() -> None:
    without = GuestCpu(features=frozenset((F.PSCI_0_2,)))
    assert "pmu=off" in write_command_line(without, offered=frozenset(F)).text
    assert "pmu" not in write_command_line(without, offered=frozenset((F.PSCI_0_2,))).text


def test_el2_is_the_machines_and_aarch32_the_cpus() -> None:
    written = write_command_line(GuestCpu(features=frozenset((F.PSCI_0_2, F.HAS_EL2, F.EL1_32BIT))))
    assert written.text == "-cpu host,sve=off,pauth=off,pmu=off,aarch64=off -machine virtualization=on"


def test_features_qemu_cannot_ask_for_are_said() -> None:
    written = write_command_line(GuestCpu(features=frozenset((F.HAS_EL2_E2H0, F.SME, F.PMU_V3_STRICT))))
    assert written.lost == (
        "HAS_EL2_E2H0: QEMU cannot ask KVM for it",
        "PMU_V3_STRICT: QEMU cannot ask KVM for it",
        "SME: QEMU cannot ask KVM for it",
        "a vCPU without PSCI_0_2: QEMU always asks for it",
    )


@pytest.mark.parametrize(
    ("guest", "fault"),
    [
        (GuestCpu(features=frozenset((F.PTRAUTH_ADDRESS,))), "both pointer authentication features"),
        (GuestCpu(features=frozenset((F.SVE,))), "SVE exactly if it has SVE vector lengths, not none"),
        (GuestCpu(features=frozenset(), sve=VectorLengths([1])), "SVE exactly if"),
        (GuestCpu(features=frozenset((F.SVE,)), sve=VectorLengths([1, 17])), "up to 2048 bits, not 1,17"),
    ],
)
def test_a_vcpu_that_qemu_cannot_be_told_of_is_refused(guest: GuestCpu, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        write_command_line(guest)


@given(guests())
def test_each_length_is_decided_by_the_line_alone(guest: GuestCpu) -> None:
    told = options(write_command_line(guest).text)
    assert told.pop("sve") == ("on" if guest.sve else "off")
    lengths = {int(name[3:]) // 128: value for name, value in told.items() if name.startswith("sve")}
    assert lengths.keys() == (set(range(1, 17)) if guest.sve else set())
    assert {vq for vq, value in lengths.items() if value == "on"} == set(guest.sve)


@given(st.data())
def test_sysreg_properties_are_the_named_fields_that_some_host_has_otherwise(data: st.DataObject) -> None:
    guest = data.draw(guests())
    hosts = data.draw(st.lists(hosts_of(guest), max_size=2))
    told = options(write_command_line(guest, hosts, newer=(Newer.ID_FIELDS,)).text)
    wanted = {
        property_name(part): hex(part.extract(value))
        for reg, value in guest.id_registers.items()
        for part in named_fields(accessed(reg))
        if not hosts or any(part.extract(host[reg]) != part.extract(value) for host in hosts)
    }
    found = {name: value for name, value in told.items() if name.startswith("SYSREG_")}
    assert found == wanted
    assert all(re.fullmatch(r"SYSREG_\w+_EL[01]_\w+", name) for name in found)


def test_every_field_has_a_property_of_its_own() -> None:
    names = [property_name(part).upper() for reg in FIELDS for part in named_fields(reg)]
    assert len(names) == len(set(names))


# -- reading ---------------------------------------------------------------------------------------


def test_an_expansion_is_read_into_features_lengths_and_fields() -> None:
    props = {
        "sve": True,
        "sve128": True,
        "sve256": True,
        "sve384": False,
        "pauth": True,
        "pmu": True,
        "aarch64": True,
        "SYSREG_ID_AA64ISAR0_EL1_SM3": "0x1",
        "SYSREG_ID_AA64ISAR0_EL1_dp": 1,
        "kvm-steal-time": True,
        "kvm-psci-version": "1.1",
    }
    for document in (
        samples.expansion(props),
        json.dumps({"model": {"name": "host", "props": props}}).encode(),
        json.dumps({"name": "host", "props": props}).encode(),
    ):
        read = read_expansion(document, "host.json")
        assert read.model == "host"
        assert read.features == {F.PSCI_0_2, F.SVE, F.PMU_V3, F.PTRAUTH_ADDRESS, F.PTRAUTH_GENERIC}
        assert (read.sve, read.sme) == (VectorLengths([1, 2]), None)
        assert read.fields == {field("ID_AA64ISAR0_EL1", "SM3"): 1, field("ID_AA64ISAR0_EL1", "DP"): 1}
        assert read.others == {"kvm-steal-time": True, "kvm-psci-version": "1.1"}


def test_lengths_that_were_not_said_are_not_known() -> None:
    read = read_expansion(samples.expansion({"pmu": False}, "cortex-a53"), "a53.json")
    assert read.features == {F.PSCI_0_2}
    assert (read.sve, read.sme) == (None, None)
    assert read_expansion(samples.expansion({"sve": False}), "x").sve == VectorLengths()


def test_sme_lengths_are_read_from_where_qemu_has_them() -> None:
    read = read_expansion(samples.expansion({"sme": True, "sme128": True, "sme512": True}, "max"), "max.json")
    assert (read.sme, F.SME in read.features) == (VectorLengths([1, 4]), True)


@pytest.mark.parametrize(
    ("document", "faults"),
    [
        (b"{}", ["$: expected a CPU model with its name and props, got an object with 0 members"]),
        (b"[1]", ["$: expected a CPU model with its name and props, got an array of 1"]),
        (
            b'{"error": {"class": "GenericError", "desc": "not supported"}}',
            ['$.error: expected an expansion, QEMU said "not supported"'],
        ),
        (
            samples.expansion({"sve": True, "sve128": False}),
            ["$.return.model.props.sve: expected sve to agree with its lengths, got no length that is on"],
        ),
        (
            samples.expansion({"sve": False, "sve128": True}),
            ["$.return.model.props.sve: expected sve to agree with its lengths, got lengths 1 that is on"],
        ),
        (samples.expansion({"sve256": True}), ["$.return.model.props: expected sve beside sve256, got none"]),
        (
            samples.expansion(
                {
                    "pmu": "on",
                    "SYSREG_ID_AA64PFR0_EL1_WORDS": 1,
                    "SYSREG_ID_AA64PFR0_EL1_SVE": 16,
                    "SYSREG_ID_AA64PFR0_EL1_EL0": -1,
                    "SYSREG_ID_AA64PFR0_EL1_EL1": "0x" + "f" * 40,
                    "x": None,
                    "y": 0.5,
                }
            ),
            [
                '$.return.model.props.pmu: expected true or false, got "on"',
                (
                    "$.return.model.props.SYSREG_ID_AA64PFR0_EL1_WORDS: expected SYSREG_<REG>_<FIELD> of a "
                    'feature ID register, got "SYSREG_ID_AA64PFR0_EL1_WORDS"'
                ),
                (
                    "$.return.model.props.SYSREG_ID_AA64PFR0_EL1_SVE: ID_AA64PFR0_EL1.SVE has 4 bits; "
                    "0x10 does not fit"
                ),
                "$.return.model.props.SYSREG_ID_AA64PFR0_EL1_EL0: expected a field's value, got -1",
                (
                    "$.return.model.props.SYSREG_ID_AA64PFR0_EL1_EL1: expected a field's value, "
                    f'got "0x{"f" * 40}"'
                ),
                "$.return.model.props.x: expected a text, a whole number, true or false, got null",
                "$.return.model.props.y: expected a text, a whole number, true or false, got 0.5",
            ],
        ),
        (
            b'{"name": "host", "props": ' + b"[" * 20,
            ["line 1: expected at most 8 levels of nesting, got more"],
        ),
        (b"\x00", ["line 1 column 1: expected JSON, got '\\x00' (Expecting value)"]),
    ],
)
def test_what_is_no_expansion_is_refused_with_its_faults(document: bytes, faults: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        read_expansion(document, "reply.json")
    assert str(caught.value).splitlines() == [f"reply.json: {fault}" for fault in faults]


@given(samples.documents)
def test_any_reply_is_read_or_refused(tree: object) -> None:
    with suppress(InputError):
        read_expansion(json.dumps(tree).encode(), "any")


@given(st.dictionaries(st.text(max_size=12), st.one_of(st.text(max_size=8), st.integers(), st.booleans())))
def test_properties_that_are_read_are_fit_to_be_shown(props: dict[str, object]) -> None:
    with suppress(InputError):
        others = read_expansion(samples.expansion(props), "any").others
        assert all(word.isprintable() for item in others.items() for word in map(str, item))


@given(st.data())
def test_a_line_reads_back_as_its_vcpu(data: st.DataObject) -> None:
    guest = data.draw(guests())
    words: dict[str, object] = {"on": True, "off": False}
    told = options(write_command_line(guest, newer=(Newer.ID_FIELDS,)).text)
    read = read_expansion(samples.expansion({name: words.get(v, v) for name, v in told.items()}), "line")
    assert read.features == guest.features - {F.POWER_OFF}
    assert read.sve == guest.sve
    assert read.fields == {part: v for part, v in changes(guest, []) if part.kind is Kind.NAMED}


# -- QEMU's own word -------------------------------------------------------------------------------

# Under TCG "max" stands in for "host"; it refuses sets that lack a power of two below their largest.
TCG_SETS = ((1,), (1, 2), (1, 2, 3), (1, 2, 4), (1, 2, 4, 5), (1, 2, 4, 8, 16), tuple(range(1, 17)))
EXPAND = {"execute": "query-cpu-model-expansion", "arguments": {"type": "full", "model": {"name": "max"}}}


def guest_with(vqs: tuple[int, ...]) -> GuestCpu:
    sve = frozenset((F.SVE,)) if vqs else frozenset[F]()
    return GuestCpu(features=V1_LIKE.features - {F.SVE} | sve, sve=VectorLengths(vqs))


@needs_qemu
@pytest.mark.parametrize("vqs", [(), *TCG_SETS])
def test_qemu_starts_with_the_line_and_has_its_vcpu(vqs: tuple[int, ...]) -> None:
    guest = guest_with(vqs)
    (reply,) = qmp(write_command_line(guest, model="max").text.split(), EXPAND)
    read = read_expansion(json.dumps(reply).encode(), "qmp")
    assert (read.model, read.sve, read.features) == ("max", guest.sve, guest.features)


@needs_qemu
def test_qemu_starts_with_features_off() -> None:
    guest = GuestCpu(features=frozenset((F.PSCI_0_2,)))
    (reply,) = qmp(write_command_line(guest, model="max").text.split(), EXPAND)
    assert read_expansion(json.dumps(reply).encode(), "qmp").features == guest.features


@needs_qemu
@pytest.mark.parametrize("vqs", TCG_SETS)
def test_a_guest_finds_the_lengths_of_the_line(vqs: tuple[int, ...], tmp_path: Path) -> None:
    line = write_command_line(guest_with(vqs), model="max").text
    assert lengths_in_guest(line.split(), tmp_path) == set(vqs)


@needs_qemu
def test_what_qemu_refuses_it_would_have_refused_under_kvm_too() -> None:
    line = write_command_line(guest_with((1, 2)), model="max").text
    with pytest.raises(RuntimeError, match="sve128"):
        qmp(line.replace("sve128=on", "sve128=off").split())


@needs_qemu
def test_the_machine_takes_el2_from_the_line() -> None:
    guest = GuestCpu(features=frozenset((F.PSCI_0_2, F.HAS_EL2)))
    board = {"execute": "qom-get", "arguments": {"path": "/machine", "property": "virtualization"}}
    assert qmp(write_command_line(guest, model="max").text.split(), board) == [{"return": True}]


def test_midr_is_said_to_stay_the_hosts() -> None:
    guest = GuestCpu(features=frozenset((F.PSCI_0_2,)), id_registers={parse("MIDR_EL1"): 0x410FD0C1})
    assert write_command_line(guest).lost == ("MIDR_EL1 0x410fd0c1: QEMU leaves it as the host has it",)
