"""The programs that our output is meant for, where this machine has them."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

from armkvm.backends.lab.qemu import find
from armkvm.backends.lab.shelf import Shelf
from armkvm.errors import PlaceError

try:
    QEMU = [*find(Shelf(), os.environ.get("ARMKVM_QEMU", "")).command]
except PlaceError:
    QEMU = []
LIBVIRT = Path(os.environ.get("ARMKVM_LIBVIRT") or "/usr/share/libvirt")

needs_qemu = pytest.mark.skipif(
    not QEMU,
    reason="needs qemu-system-aarch64 (Debian: qemu-system-arm, or the lab's); ARMKVM_QEMU may name another",
)
needs_libvirt_schema = pytest.mark.skipif(
    not (LIBVIRT / "schemas/domain.rng").exists() or shutil.which("xmllint") is None,
    reason=f"needs xmllint and {LIBVIRT}/schemas (Debian: libxml2-utils, libvirt0)",
)
needs_libvirt_cpu_map = pytest.mark.skipif(
    not (LIBVIRT / "cpu_map/arm_features.xml").exists(),
    reason=f"needs {LIBVIRT}/cpu_map (Debian: libvirt0); ARMKVM_LIBVIRT may name another folder",
)
needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="needs kubectl (Debian: kubernetes-client)"
)

_BOARD = ("-M", "virt", "-m", "128", "-nic", "none", "-display", "none", "-no-user-config")


def qmp(arguments: Sequence[str], *commands: dict[str, Any]) -> list[dict[str, Any]]:
    """Start QEMU with these arguments, halted, and return its replies to some commands.

    RuntimeError with its own words if it does not start.
    """
    words = [{"execute": "qmp_capabilities"}, *commands, {"execute": "quit"}]
    done = subprocess.run(
        [*QEMU, *_BOARD, "-S", "-monitor", "none", "-qmp", "stdio", *arguments],
        input="".join(json.dumps(word) + "\n" for word in words),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    replies = [line for line in lines if line.keys() & {"return", "error"}]
    if done.returncode or len(replies) != len(words):
        raise RuntimeError(done.stderr)
    return replies[1:-1]


# A guest that asks for each vector length in turn and writes the quadwords that it got to the serial
# port, one byte each: rdvl after ZCR_EL1.LEN = 0..15.
_GUEST = struct.pack(
    "<17I",
    *(0xD2A00660, 0xD5181040, 0xD5033FDF),  # CPACR_EL1.{ZEN, FPEN} = 3
    *(0xD2A12003, 0xD2800001),  # x3 = PL011, x1 = 0
    *(0xD5181201, 0xD5033FDF),  # ZCR_EL1 = x1
    *(0x04BF5022, 0xD344FC42, 0xB9000062),  # [x3] = rdvl(1) / 16
    *(0x91000421, 0xF100403F, 0x54FFFF21),  # x1 += 1, until it is 16
    *(0xD2800100, 0xF2B08000, 0xD4000002),  # PSCI SYSTEM_OFF
    0x14000000,
)


def lengths_in_guest(arguments: Sequence[str], folder: Path) -> set[int]:
    """The SVE vector lengths, in quadwords, that a guest finds when QEMU is started so."""
    program, serial = folder / "guest.bin", folder / "serial"
    program.write_bytes(_GUEST)
    command = [*QEMU, *_BOARD, *arguments, "-no-reboot", "-serial", f"file:{serial}"]
    command += ["-device", f"loader,file={program},addr=0x40200000,cpu-num=0"]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    return set(serial.read_bytes())


@cache
def libvirt_cpu_features() -> frozenset[str]:
    """The CPU features that libvirt knows on aarch64."""
    from xml.etree import ElementTree as ET

    tree = ET.parse(LIBVIRT / "cpu_map/arm_features.xml")  # noqa: S314  (libvirt's own file)
    return frozenset(element.attrib["name"] for element in tree.iter("feature"))


def schema_faults(schema: str, document: str, folder: Path) -> str:
    """What libvirt's own schema has against a document; "" if nothing."""
    path = folder / "document.xml"
    path.write_text(document)
    command = ["xmllint", "--noout", "--nonet", "--relaxng", str(LIBVIRT / "schemas" / schema), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stderr if done.returncode else ""


def kubectl_label(labels: dict[str, str]) -> dict[str, str]:
    """The labels of a node after kubectl has put them there; RuntimeError with its words if it refuses."""
    node = json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"}})
    command = ["kubectl", "label", "--local", "-f", "-", "-o", "json"]
    command += [f"{name}={value}" for name, value in labels.items()]
    done = subprocess.run(command, input=node, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, str] = json.loads(done.stdout)["metadata"]["labels"]
    return found
