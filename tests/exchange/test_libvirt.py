"""libvirt: what it accepts by its own schema and its own list of CPU features, and what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from tests.exchange.programs import (
    libvirt_cpu_features,
    needs_libvirt_cpu_map,
    needs_libvirt_schema,
    needs_qemu,
    qmp,
    schema_faults,
)
from tests.exchange.samples import N1_LIKE, V1_HOST, V1_LIKE, guests

if TYPE_CHECKING:
    from pathlib import Path

    from armkvm.exchange.written import Written

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.exchange.libvirt import CPU_FEATURES, QEMU_NAMESPACE, write_domain
from armkvm.exchange.qemu import Newer, write_command_line
from armkvm.state import GuestCpu

BARE = GuestCpu(features=frozenset((F.PSCI_0_2, F.HAS_EL2)))


def domain(written: Written) -> str:
    """A whole domain around the elements, for the schema."""
    return (
        "<domain type='kvm'><name>vm</name><memory>1048576</memory><vcpu>2</vcpu>"
        f"<os><type arch='aarch64' machine='virt'>hvm</type></os>{written.text}</domain>"
    )


def features(written: Written) -> dict[str, str]:
    return {
        element.attrib["name"]: element.attrib["policy"]
        for element in ET.fromstring(domain(written)).iterfind("cpu/feature")  # noqa: S314  (our own)
    }


def test_a_cpu_without_sve() -> None:
    written = write_domain(N1_LIKE)
    assert written.text == (
        '<cpu mode="host-passthrough" check="none">\n'
        '  <feature policy="disable" name="sve" />\n'
        "</cpu>\n"
        "<features>\n"
        '  <pmu state="on" />\n'
        "</features>\n"
    )
    assert written.lost == ("pauth=off: libvirt has no words for it; QEMU's command line has",)


def test_a_cpu_with_sve_names_every_length() -> None:
    assert features(write_domain(V1_LIKE)) == {
        "sve": "require",
        **{f"sve{bits}": "require" if bits <= 256 else "disable" for bits in range(128, 2049, 128)},
    }


def test_what_libvirt_has_no_words_for_goes_to_qemu_if_wanted() -> None:
    written = write_domain(BARE, command_line=True, newer=tuple(Newer))
    assert written.text.endswith(
        f'<qemu:commandline xmlns:qemu="{QEMU_NAMESPACE}">\n'
        '  <qemu:arg value="-global" />\n'
        '  <qemu:arg value="host-arm-cpu.pauth=off" />\n'
        '  <qemu:arg value="-machine" />\n'
        '  <qemu:arg value="virtualization=on" />\n'
        "</qemu:commandline>\n"
    )
    assert written.lost == ()
    assert written.needs == ("leave to pass arguments to QEMU, which taints the domain",)


def test_what_libvirt_has_no_words_for_is_said() -> None:
    assert write_domain(BARE).lost == (
        "pauth=off, virtualization=on: libvirt has no words for it; QEMU's command line has",
    )
    assert write_domain(V1_LIKE, [V1_HOST], newer=tuple(Newer)).lost == (
        "KVM_REG_ARM_STD_BMAP 0x1: QEMU leaves it as the host has it",
        "PSCI version: each host gives its newest; kvm-psci-version would set it",
        "ID register fields: each host gives its own; SYSREG_ID_AA64ISAR0_EL1_SHA3 would set it",
    )


@given(guests())
def test_libvirt_tells_qemu_the_lengths_that_the_command_line_would(guest: GuestCpu) -> None:
    words = {"require": "on", "disable": "off"}
    told = [f"{name}={words[policy]}" for name, policy in features(write_domain(guest)).items()]
    line = write_command_line(guest).text.split()[1].split(",")[1:]
    assert told == [item for item in line if item.startswith("sve")]


@needs_libvirt_cpu_map
def test_libvirt_knows_the_cpu_features_it_is_told() -> None:
    assert libvirt_cpu_features() >= CPU_FEATURES
    assert not libvirt_cpu_features() & {"pauth", "pmu", "aarch64"}


@needs_libvirt_schema
@pytest.mark.parametrize("guest", [N1_LIKE, V1_LIKE, BARE])
@pytest.mark.parametrize("command_line", [False, True])
def test_libvirts_schema_has_nothing_against_it(guest: GuestCpu, command_line: bool, tmp_path: Path) -> None:
    written = write_domain(guest, command_line=command_line, newer=tuple(Newer))
    assert schema_faults("domain.rng", domain(written), tmp_path) == ""


@needs_libvirt_schema
def test_libvirts_schema_would_have_something_against_other_words(tmp_path: Path) -> None:
    document = domain(write_domain(V1_LIKE)).replace('policy="require"', 'policy="on"')
    assert "fails to validate" in schema_faults("domain.rng", document, tmp_path)


@needs_qemu
def test_qemu_takes_what_libvirt_passes_on() -> None:
    written = write_domain(BARE, command_line=True, model="max")
    elements = ET.fromstring(domain(written)).iter(f"{{{QEMU_NAMESPACE}}}arg")  # noqa: S314  (our own)
    where = "/machine/unattached/device[0]"
    ask = {"execute": "qom-get", "arguments": {"path": where, "property": "pauth"}}
    arguments = ["-cpu", "max", *(element.attrib["value"] for element in elements)]
    assert qmp(arguments, ask) == [{"return": False}]
    assert qmp(["-cpu", "max"], ask) == [{"return": True}]
