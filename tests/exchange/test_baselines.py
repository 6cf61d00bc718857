"""What is written for a pool's baseline makes each of its hosts, in the model, give the same vCPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.exchange.programs import lengths_in_guest, needs_libvirt_schema, needs_qemu, qmp, schema_faults

from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.backends.base import Vm
from armkvm.backends.model import ModelSystem
from armkvm.cli.main import run
from armkvm.exchange.firecracker import Template, read_template, write_template
from armkvm.exchange.kubevirt import baseline_name
from armkvm.exchange.qemu import read_expansion, write_command_line
from armkvm.exchange.written import Initial
from armkvm.hosts import library
from armkvm.migration.baseline import baseline
from armkvm.model.acceptance import accepts, offered
from armkvm.model.host import Platform
from armkvm.state import GuestCpu

POOLS = [
    ("max?7.3", "neoverse-v1?7.3"),
    ("neoverse-v1?7.3", "neoverse-n2?7.3"),
    ("neoverse-n1?7.3", "cortex-a76?7.3"),
    ("neoverse-v1?6.18", "max?6.18", "max?7.2"),
]
FIRECRACKER_HAS = frozenset((F.SVE, F.PTRAUTH_ADDRESS, F.PTRAUTH_GENERIC))


def platform(name: str) -> Platform:
    return Platform(*library.find(*name.split("?")))


def pool(names: tuple[str, ...], wanted: frozenset[F] | None = None) -> tuple[GuestCpu, list[Initial]]:
    """The baseline of some built-in hosts, and their initial values for it."""
    hosts = {name: platform(name) for name in names}
    offers = {name: offered(host) for name, host in hosts.items()}
    found = baseline(offers, lambda name, features: accepts(hosts[name], features), wanted)
    assert found.guest is not None
    return found.guest, [accepts(host, found.guest.features).initial for host in hosts.values()]


@pytest.mark.parametrize("names", POOLS)
@pytest.mark.parametrize("relative", [True, False])
def test_every_host_takes_the_template_and_gives_the_baseline(names: tuple[str, ...], relative: bool) -> None:
    guest, initials = pool(names, FIRECRACKER_HAS)
    written = write_template(guest, initials if relative else ())
    template = read_template(written.text.encode(), "written")
    assert any(host[reg] != value for reg, value in guest.id_registers.items() for host in initials)
    for name in names:
        host = platform(name)
        with ModelSystem(host.facts, host.profile).create_vm() as vm:
            if "KVM_CAP_ARM_WRITABLE_IMP_ID_REGS" in " ".join(written.needs):
                vm.enable_cap(Cap.ARM_WRITABLE_IMP_ID_REGS)
            made = as_firecracker_does(vm, template)
            assert {reg: made[reg] for reg in guest.id_registers} == guest.id_registers


def as_firecracker_does(vm: Vm, template: Template) -> dict[RegId, int]:
    """A vCPU's registers after INIT, FINALIZE, and the template's changes in their order."""
    with vm.create_vcpu(0) as vcpu:
        vcpu.init(template.features)
        if F.SVE in template.features:
            vcpu.finalize(F.SVE)
        for reg, bits in template.registers.items():
            before = int.from_bytes(vcpu.get_one_reg(reg), "little")
            vcpu.set_one_reg(reg, bits.apply(before).to_bytes(reg.size, "little"))
        return {reg: int.from_bytes(vcpu.get_one_reg(reg), "little") for reg in vcpu.reg_list()}


@needs_qemu
@pytest.mark.parametrize("names", POOLS[:3])
def test_qemu_starts_with_a_pools_line(names: tuple[str, ...]) -> None:
    guest, initials = pool(names)
    line = write_command_line(guest, initials, model="max").text
    (reply,) = qmp(
        line.split(),
        {
            "execute": "query-cpu-model-expansion",
            "arguments": {"type": "full", "model": {"name": "max"}},
        },
    )
    read = read_expansion(json.dumps(reply).encode(), "qmp")
    assert (read.features, read.sve) == (guest.features, guest.sve)


@needs_qemu
def test_a_guest_finds_the_lengths_of_the_commands_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What ``baseline --write qemu`` prints, with the emulator's `max` in place of `host`."""
    assert run(["baseline", "max?kernel=7.3", "neoverse-v1?kernel=7.3", "--write", "qemu"]) == 0
    words = capsys.readouterr().out.replace("host,", "max,", 1).split()
    assert lengths_in_guest(words, tmp_path) == {1, 2}


@needs_libvirt_schema
def test_libvirts_schema_takes_what_the_command_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["baseline", "max?kernel=7.3", "neoverse-v1?kernel=7.3", "--write", "libvirt"]) == 0
    document = (
        "<domain type='kvm'><name>vm</name><memory>1048576</memory><vcpu>2</vcpu>"
        f"<os><type arch='aarch64' machine='virt'>hvm</type></os>{capsys.readouterr().out}</domain>"
    )
    assert schema_faults("domain.rng", document, tmp_path) == ""


def test_pools_in_any_order_have_one_name() -> None:
    names = POOLS[3]
    assert baseline_name(pool(names)[0]) == baseline_name(pool(names[::-1])[0])
