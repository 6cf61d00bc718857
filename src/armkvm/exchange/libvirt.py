"""libvirt: the elements of a domain that describe its vCPUs.

For aarch64 libvirt's QEMU driver takes host-passthrough and, as CPU features, the names in its
``arm_features.xml``: sve and the sixteen lengths, each passed to QEMU as ``=on`` or ``=off``. The
PMU is a feature of the domain. What QEMU has beyond that can be said on its command line only.

Source: libvirt 9.0 (src/cpu_map/arm_features.xml, src/cpu/cpu_arm.c, schemas/domaincommon.rng).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from xml.etree import ElementTree as ET

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.exchange.qemu import SVE_LENGTHS, Newer, properties
from armkvm.exchange.written import Initial, Written
from armkvm.state import GuestCpu

QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
CPU_FEATURES = frozenset(("sve", *(f"sve{vq.bits}" for vq in SVE_LENGTHS)))
"""What libvirt knows as a CPU feature on aarch64."""

_POLICY = {"on": "require", "off": "disable"}


def write_domain(
    guest: GuestCpu,
    hosts: Sequence[Initial] = (),
    *,
    command_line: bool = False,
    model: str = "host",
    offered: frozenset[F] | None = None,
    newer: Collection[Newer] = (),
) -> Written:
    """The elements to put into a <domain>, one after the other: <cpu>, and what goes with it.

    `command_line` also passes on what only QEMU has words for, which libvirt calls a tainted
    domain; `model` is the CPU that QEMU gives those to. The rest is as in `qemu.write_command_line`.
    """
    told = properties(guest, hosts, offered=offered, newer=newer if command_line else ())
    cpu = ET.Element("cpu", mode="host-passthrough", check="none")
    beyond: list[tuple[str, str]] = []
    elements = [cpu]
    for name, value in told.cpu:
        if name in CPU_FEATURES:
            ET.SubElement(cpu, "feature", policy=_POLICY[value], name=name)
        elif name == "pmu":
            elements.append(_pmu(value))
        elif (name, value) != ("pauth", "on"):  # which is QEMU's default where the host has it
            beyond.append((name, value))
    words = [word for name, value in beyond for word in ("-global", f"{model}-arm-cpu.{name}={value}")]
    words += [word for name, value in told.machine for word in ("-machine", f"{name}={value}")]
    lost, needs = list(told.lost), list(told.needs)
    if words and command_line:
        elements.append(_command_line(words))
        needs.append("leave to pass arguments to QEMU, which taints the domain")
    elif words:
        said = ", ".join(f"{name}={value}" for name, value in (*beyond, *told.machine))
        lost.append(f"{said}: libvirt has no words for it; QEMU's command line has")
    return Written(text=_text(elements), lost=tuple(lost), needs=tuple(needs))


def _pmu(state: str) -> ET.Element:
    features = ET.Element("features")
    ET.SubElement(features, "pmu", state=state)
    return features


def _command_line(words: Iterable[str]) -> ET.Element:
    element = ET.Element("qemu:commandline", {"xmlns:qemu": QEMU_NAMESPACE})
    for word in words:
        ET.SubElement(element, "qemu:arg", value=word)
    return element


def _text(elements: Iterable[ET.Element]) -> str:
    texts = []
    for element in elements:
        ET.indent(element)
        texts.append(ET.tostring(element, encoding="unicode") + "\n")
    return "".join(texts)
