"""Firecracker's templates and fingerprints: what is read, what is refused, what is written."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from tests.exchange import samples
from tests.exchange.samples import V1_HOST, V1_LIKE, VCPU, guests, hosts_of
from tests.recordings import recordings

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import parse
from armkvm.errors import InputError
from armkvm.exchange.bits import Bits
from armkvm.exchange.firecracker import (
    FEATURE_WORDS,
    LIMITS,
    Template,
    read_fingerprint,
    read_template,
    write_template,
)
from armkvm.state import GuestCpu

ISAR0 = parse("ID_AA64ISAR0_EL1")

# -- bit patterns ----------------------------------------------------------------------------------


@given(st.sampled_from((32, 64, 128)), st.data())
def test_a_bit_pattern_reads_back(width: int, data: st.DataObject) -> None:
    mask = data.draw(st.integers(0, (1 << width) - 1))
    pattern = Bits(width, mask, data.draw(st.integers(0, (1 << width) - 1)) & mask)
    assert Bits.parse(str(pattern), width) == pattern
    assert len(str(pattern)) == width + 2


@given(st.integers(0, (1 << 64) - 1), st.text("01x", min_size=1, max_size=64))
def test_a_pattern_decides_its_bits_and_keeps_the_rest(before: int, text: str) -> None:
    after = f"{Bits.parse('0b' + text, 64).apply(before):064b}"
    expected = [
        old if new == "x" else new for old, new in zip(f"{before:064b}", text.rjust(64, "x"), strict=True)
    ]
    assert after == "".join(expected)


@pytest.mark.parametrize("text", ["", "0b", "0b2", "0xf", "0b1 0", "0b\u0660"])
def test_a_pattern_of_other_characters_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a bit pattern of 0, 1 and x"):
        Bits.parse(text, 64)


def test_a_pattern_is_no_longer_than_its_register() -> None:
    assert Bits.parse("0b" + "x" * 64 + "1" * 64, 64).is_whole
    with pytest.raises(ValueError, match="sets the low 64 bits, got one of 128"):
        Bits.parse("0b" + "0" * 128, 64)
    assert Bits.parse("0b" + "0" * 128, 64, padded=True) == Bits(64, (1 << 64) - 1, 0)
    with pytest.raises(ValueError, match="sets the low 64 bits, got one of 65"):
        Bits.parse("0b1" + "0" * 64, 64, padded=True)


# -- templates -------------------------------------------------------------------------------------


def test_a_template_says_what_is_demanded_and_what_is_set() -> None:
    read = read_template(
        samples.template(
            kvm_capabilities=["170", "!81"],
            vcpu_features=[{"index": 0, "bitmap": "0b1xxxx"}],
            reg_modifiers=[
                {"addr": "0x603000000013c030", "bitmap": "0b0000_xxxx"},
                {"addr": "0b110000000110000000000000000000000000000000100111100000000110001", "bitmap": "1"},
            ],
        ),
        "a template",
    )
    assert (read.demanded, read.waived) == ((170,), (81,))
    assert read.features == (F.PSCI_0_2, F.SVE)
    assert read.registers == {ISAR0: Bits(64, 0xF0, 0), parse("ID_AA64ISAR1_EL1"): Bits(64, 1, 1)}


def test_a_template_may_be_empty() -> None:
    assert read_template(b"{}", "a template") == Template()


def test_feature_bits_without_a_name_stay_numbers() -> None:
    rows = [{"index": 0, "bitmap": "0b0xx"}, {"index": 1, "bitmap": "0b1000"}]
    read = read_template(samples.template(vcpu_features=rows), "a template")
    assert read.features == (35,)
    with pytest.raises(ValueError, match=r"feature bits \[35\] have no name"):
        read.guest_cpu({})


def test_every_fault_of_a_template_is_told_at_once() -> None:
    wide, narrow = "0x606000000015ffff", "0x6020000000100000"
    document = samples.template(
        kvm_capabilities=["x", "4294967296", 170],
        vcpu_features=[{"index": FEATURE_WORDS, "bitmap": "0b1"}, {"index": 0, "bitmap": "0b" + "1" * 33}],
        reg_modifiers=[
            {"addr": wide, "bitmap": "0b1"},
            {"addr": narrow, "bitmap": "0b" + "0" * 64},
            {"addr": "603000000013c030", "bitmap": "0b1"},
            {"addr": "0x3030000000000000", "bitmap": "0b1"},
            {"addr": ISAR0.hex},
            {"addr": ISAR0.hex, "bitmap": "0b1x"},
            {"addr": ISAR0.hex, "bitmap": "0b1x"},
            {"addr": ISAR0.hex, "bitmap": 5},
            None,
        ],
        msr_modifiers=[],
        notes=1.5,
    )
    with pytest.raises(InputError) as caught:
        read_template(document, "pool.json")
    capability = 'expected a capability such as "170" or "!170", got'
    only = "expected only kvm_capabilities, vcpu_features, reg_modifiers;"
    arm64 = "expected an arm64 register of 32, 64 or 128 bits, got"
    assert {fault.path: fault.message for fault in caught.value.faults} == {
        "$.msr_modifiers": f"{only} it is for x86",
        "$.notes": f'{only} got "notes"',
        "$.kvm_capabilities[0]": f'{capability} "x"',
        "$.kvm_capabilities[1]": f'{capability} "4294967296"',
        "$.kvm_capabilities[2]": f"{capability} 170",
        "$.vcpu_features[0]": "expected an index 0..6, got 7",
        "$.vcpu_features[1]": "expected a pattern that sets the low 32 bits, got one of 33",
        "$.reg_modifiers[0]": f"{arm64} {wide}",
        "$.reg_modifiers[1]": f"{narrow}: expected a pattern that sets the low 32 bits, got one of 64",
        "$.reg_modifiers[2]": 'expected an id such as 0x603000000013c020 as addr, got "603000000013c030"',
        "$.reg_modifiers[3]": f"{arm64} 0x3030000000000000",
        "$.reg_modifiers[4]": 'expected an object with addr and bitmap, got members "addr"',
        "$.reg_modifiers[7]": "ID_AA64ISAR0_EL1: expected a bit pattern such as 0b01xx, got 5",
        "$.reg_modifiers[8]": "expected an object with addr and bitmap, got null",
        "$.reg_modifiers[6]": "expected ID_AA64ISAR0_EL1 once, got it twice",
    }


def test_a_template_that_changes_part_of_a_register_needs_the_rest() -> None:
    read = Template(registers={ISAR0: Bits(64, 0xF0, 0x10)})
    assert read.guest_cpu({ISAR0: 0x222}).id_registers == {ISAR0: 0x212}
    with pytest.raises(ValueError, match="ID_AA64ISAR0_EL1 is changed in part"):
        read.guest_cpu({})


def test_a_template_with_sve_needs_the_hosts_lengths() -> None:
    read = Template(feature_words={0: Bits(32, 0x10, 0x10)})
    assert read.guest_cpu({}, VectorLengths([1, 2])).sve == VectorLengths([1, 2])
    with pytest.raises(ValueError, match="asks for SVE, and the host's vector lengths are not known"):
        read.guest_cpu({})


def test_registers_that_are_no_part_of_a_guest_cpu_are_told() -> None:
    read = Template(registers={parse("SCTLR_EL1"): Bits(64, 1, 1), ISAR0: Bits(64, 1, 1)})
    assert read.beyond == (parse("SCTLR_EL1"),)


# -- fingerprints ----------------------------------------------------------------------------------


def test_a_fingerprint_is_the_registers_of_a_vcpu() -> None:
    read = read_fingerprint(samples.fingerprint(), "host.json")
    assert {name: read.number(name) for name in VCPU} == VCPU
    assert (read.firecracker, read.kernel, read.features) == ("1.16.0", "6.18.7", (F.PSCI_0_2,))


def test_a_fingerprint_is_also_a_snapshot_of_its_vcpu() -> None:
    read = read_fingerprint(samples.fingerprint(), "host.json")
    snapshot = read.snapshot("host.json")
    assert snapshot.vcpus[0].registers == read.registers
    assert snapshot.vcpus[0].features == (F.PSCI_0_2,)
    assert snapshot.origin.uri == "firecracker:host.json"


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        (b"[]", "$.guest_cpu_config: expected an object"),
        (b"{", "line 1 column 2: expected JSON"),
        (b"\xff", "byte 0: expected UTF-8"),
        (b"[" * 7, "line 1: expected at most 6 levels of nesting"),
        (b"[" + b"1," * LIMITS.items + b"1]", "$: expected at most 40,000 items"),
        (b" " * (LIMITS.size + 1), "file: expected at most 4,194,304 bytes"),
        (b'{"a": 1, "a": 2}', '$: expected each key once, got "a" twice'),
        (
            samples.fingerprint(registers={}),
            "$.guest_cpu_config.reg_modifiers: expected the registers of an arm64 vCPU, MIDR_EL1, ",
        ),
        (
            samples.fingerprint(guest_cpu_config={"cpuid_modifiers": [], "msr_modifiers": []}),
            "$.guest_cpu_config.cpuid_modifiers: expected only kvm_capabilities, vcpu_features, ",
        ),
        (samples.fingerprint(kernel_version=6.18), "$.kernel_version: expected at most 200 printable"),
        (samples.fingerprint(kernel_version="6.1\n"), "$.kernel_version: expected at most 200 printable"),
        (
            samples.fingerprint(registers=VCPU | {"CTR_EL0": 1 << 64}),
            "$.guest_cpu_config.reg_modifiers[12]: CTR_EL0: expected a pattern that sets the low 64 bits",
        ),
    ],
)
def test_what_is_no_fingerprint_is_refused_with_its_faults(document: bytes, fault: str) -> None:
    with pytest.raises(InputError) as caught:
        read_fingerprint(document, "host.json")
    assert f"host.json: {fault}" in str(caught.value)


def test_a_fingerprint_leaves_no_bit_open() -> None:
    tree = json.loads(samples.fingerprint())
    tree["guest_cpu_config"]["reg_modifiers"][3]["bitmap"] = "0bx1"
    with pytest.raises(InputError, match="expected 64 bits, 63 are not given") as caught:
        read_fingerprint(json.dumps(tree).encode(), "host.json")
    assert caught.value.faults[0].path == "$.guest_cpu_config.reg_modifiers[3].bitmap"


def test_only_so_many_faults_are_told() -> None:
    rows = [{"addr": "?", "bitmap": "0b1"}] * 1000
    with pytest.raises(InputError) as caught:
        read_template(samples.template(reg_modifiers=rows), "pool.json")
    assert len(caught.value.faults) == 201
    assert str(caught.value.faults[-1]) == "$: and 800 more faults"


@given(samples.documents)
def test_any_document_is_read_or_refused(tree: object) -> None:
    document = json.dumps(tree).encode()
    with pytest.raises(InputError):
        read_fingerprint(document, "any")
    with suppress(InputError):
        read_template(document, "any")


# peers.md, section 3: what sets the generations apart, and the kernels.
GRAVITONS = {
    "N1_5.10": {"registers": 312, "KVM_REG_ARM_PSCI_VERSION": 0x10000, "MIDR_EL1": 0x413FD0C1},
    "N1_6.18": {"registers": 254, "KVM_REG_ARM_PSCI_VERSION": 0x10003, "MIDR_EL1": 0x413FD0C1},
    "V1_6.1": {"registers": 242, "KVM_REG_ARM_PSCI_VERSION": 0x10001, "MIDR_EL1": 0x411FD401},
    "V1_6.18": {"registers": 254, "KVM_REG_ARM_PSCI_VERSION": 0x10003, "MIDR_EL1": 0x411FD401},
    "V2_5.10": {"registers": 312, "KVM_REG_ARM_PSCI_VERSION": 0x10000, "MIDR_EL1": 0x410FD4F1},
    "V2_6.1": {"registers": 242, "KVM_REG_ARM_PSCI_VERSION": 0x10001, "MIDR_EL1": 0x410FD4F1},
}


@pytest.mark.parametrize("path", recordings("firecracker/*.json"))
def test_public_fingerprints_are_read_whole(path: Path) -> None:
    read = read_fingerprint(path.read_bytes(), path.name)
    expected = GRAVITONS[path.stem.removeprefix("fingerprint_ARM_NEOVERSE_").removesuffix("host")]
    assert len(read.registers) == expected["registers"]
    assert {name: read.number(name) for name in expected if name != "registers"} == {
        name: value for name, value in expected.items() if name != "registers"
    }
    assert read.features == (F.PSCI_0_2,)
    assert read.firecracker == "1.16.0-dev"


# -- writing ---------------------------------------------------------------------------------------


def test_a_template_sets_what_hosts_start_otherwise() -> None:
    written = write_template(V1_LIKE, [V1_HOST])
    keeps = "x" * 28
    assert json.loads(written.text) == {
        "kvm_capabilities": ["170", "171", "172"],
        "vcpu_features": [{"index": 0, "bitmap": "0b" + "x" * 25 + "111" + "xxxx"}],
        "reg_modifiers": [
            {"addr": "0x603000000013c030", "bitmap": f"0b{keeps}0000{'x' * 32}"},
            {"addr": "0x6030000000140000", "bitmap": f"0b{0x10001:064b}"},
            {"addr": "0x6030000000160000", "bitmap": f"0b{1:064b}"},
        ],
    }
    assert written.lost == (
        "PMU_V3: Firecracker does not set up what this feature needs",
        (
            "SVE vector lengths 1,2: a template holds no register wider than 128 bits, so each host gives "
            "all that it has"
        ),
    )
    assert written.needs == (
        "a host kernel that lets a VM have these ID register values: Firecracker does not read them back",
    )


def test_a_template_for_no_host_in_particular_sets_every_bit() -> None:
    rows = json.loads(write_template(V1_LIKE).text)["reg_modifiers"]
    assert [row["addr"] for row in rows] == sorted(row["addr"] for row in rows)
    assert {int(row["addr"], 0): row["bitmap"] for row in rows} == {
        reg: f"0b{value:064b}"
        for reg, value in {
            **V1_LIKE.id_registers,
            **V1_LIKE.bitmaps,
            parse("KVM_REG_ARM_PSCI_VERSION"): V1_LIKE.psci_version,
        }.items()
    }


def test_a_template_that_sets_midr_says_what_that_takes() -> None:
    guest = GuestCpu(features=frozenset((F.PSCI_0_2,)), id_registers={parse("MIDR_EL1"): 1})
    assert write_template(guest, [{parse("MIDR_EL1"): 2}]).needs == (
        "a Firecracker that enables KVM_CAP_ARM_WRITABLE_IMP_ID_REGS (#6116): MIDR_EL1",
    )
    assert write_template(guest, [{parse("MIDR_EL1"): 1}]).needs == ()


@given(st.data())
def test_a_written_template_makes_any_of_its_hosts_give_the_vcpu(data: st.DataObject) -> None:
    guest = data.draw(guests())
    hosts = data.draw(st.lists(hosts_of(guest), max_size=3))
    read = read_template(write_template(guest, hosts).text.encode(), "written")
    for host in hosts or [{}]:
        made = read.guest_cpu(host, guest.sve)
        assert made.sve == guest.sve
        assert {**host, **made.id_registers} == {**host, **guest.id_registers}
        assert made.bitmaps == guest.bitmaps
        assert made.psci_version == guest.psci_version
        assert made.features == guest.features - {F.POWER_OFF, F.PMU_V3}


@given(st.data())
def test_a_written_template_leaves_alone_what_needs_no_change(data: st.DataObject) -> None:
    guest = data.draw(guests())
    read = read_template(write_template(guest, [guest.id_registers]).text.encode(), "written")
    assert not read.registers.keys() & guest.id_registers.keys()


def test_what_a_template_carries_is_what_firecracker_sets_up() -> None:
    everything = GuestCpu(features=frozenset(F), sve=VectorLengths([1]))
    lost = [line.partition(":")[0] for line in write_template(everything).lost]
    assert lost == [
        *("EL1_32BIT", "PMU_V3", "HAS_EL2", "HAS_EL2_E2H0", "PMU_V3_STRICT", "SME", "VEC"),
        "SVE vector lengths 1",
    ]
