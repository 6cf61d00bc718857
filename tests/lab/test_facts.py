"""Facts about real kernels that users rely on, seen through `kvm:`, the agent and the lab.

Source: Linux Documentation/virt/kvm/api.rst and arch/arm64/kvm, as recorded on 6.1 to 7.3.
"""

from __future__ import annotations

from errno import E2BIG, EBUSY, EINTR, EINVAL, ENOENT, ENOEXEC, EPERM
from pathlib import Path

import pytest
from tests.lab.conftest import OpenLab

from armkvm.abi import vls
from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.abi.structs import DeviceType, ExitReason
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.arch.sysregs import sysreg
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.base import Vcpu, Vm
from armkvm.backends.lab.commands import run
from armkvm.backends.lab.place import LabOptions, LabSystem
from armkvm.errors import KvmError
from armkvm.state import Mmio, SystemEvent

pytestmark = pytest.mark.lab
SVE = (VcpuFeature.SVE, VcpuFeature.PSCI_0_2)
PC, PSTATE = RegId.core(64), RegId.core(66)

# cpu, kernel, its vector lengths in quadwords
SVE_HOSTS = [
    ("max,sve-max-vq=4", "6.1", (1, 2, 3, 4)),
    ("max,sve512=on", "6.12", (1, 2, 4)),
    ("neoverse-v1", "7.3", (1, 2)),
    ("neoverse-n2", "7.2", (1,)),
    ("a64fx", "7.3", (1, 2, 4)),
    ("cortex-a710", "6.12", (1,)),
]
OTHER_HOSTS = [("neoverse-n1", "7.3"), ("cortex-a76", "6.12")]


def refused(errno: int, call: object, *arguments: object) -> KvmError:
    """The call is refused with exactly this errno."""
    assert callable(call)
    with pytest.raises(KvmError) as error:
        call(*arguments)
    assert error.value.errno == errno, error.value
    return error.value


def sve_vcpu(vm: Vm) -> Vcpu:
    vcpu = vm.create_vcpu(0)
    vcpu.init(SVE)
    return vcpu


@pytest.fixture(params=SVE_HOSTS, ids=lambda host: f"{host[0]}-{host[1]}")
def sve_host(request: pytest.FixtureRequest, lab: OpenLab) -> tuple[LabSystem, VectorLengths]:
    cpu, kernel, vqs = request.param
    return lab(cpu, kernel), VectorLengths(vqs)


def test_a_set_of_vector_lengths_is_all_the_host_has_up_to_its_greatest(
    sve_host: tuple[LabSystem, VectorLengths],
) -> None:
    """KVM_REG_ARM64_SVE_VLS: any other set is EINVAL, before FINALIZE as often as one likes, then EPERM."""
    system, host = sve_host
    assert system.check_extension(Cap.ARM_SVE) == 1
    with system.create_vm() as vm:
        vcpu = sve_vcpu(vm)
        assert vls.decode(vcpu.get_one_reg(RegId.sve_vls())) == host
        for bitmap in range(1 << 5):
            asked = VectorLengths.from_bitmap(bitmap)
            legal = bool(bitmap) and asked == VectorLengths(vq for vq in host if vq <= max(asked))
            if legal:
                vcpu.set_one_reg(RegId.sve_vls(), vls.encode(asked))
                assert vls.decode(vcpu.get_one_reg(RegId.sve_vls())) == asked
            else:
                refused(EINVAL, vcpu.set_one_reg, RegId.sve_vls(), vls.encode(asked))
        vcpu.finalize(VcpuFeature.SVE)
        refused(EPERM, vcpu.set_one_reg, RegId.sve_vls(), vcpu.get_one_reg(RegId.sve_vls()))
        refused(EPERM, vcpu.finalize, VcpuFeature.SVE)


def test_a_vector_register_keeps_as_many_bytes_as_the_length_allows(
    sve_host: tuple[LabSystem, VectorLengths],
) -> None:
    system, host = sve_host
    for vq in host:
        with system.create_vm() as vm:
            vcpu = sve_vcpu(vm)
            vcpu.set_one_reg(RegId.sve_vls(), vls.encode(VectorLengths(q for q in host if q <= vq)))
            vcpu.finalize(VcpuFeature.SVE)
            for reg, kept in ((RegId.z(0), 16 * vq), (RegId.p(0), 2 * vq), (RegId.ffr(), 2 * vq)):
                vcpu.set_one_reg(reg, b"\xff" * reg.size)
                assert vcpu.get_one_reg(reg) == b"\xff" * kept + bytes(reg.size - kept)
            refused(ENOENT, vcpu.get_one_reg, RegId.z(0, 1))


def test_what_each_phase_refuses(sve_host: tuple[LabSystem, VectorLengths]) -> None:
    system, _ = sve_host
    with system.create_vm() as vm:
        vcpu = vm.create_vcpu(0)
        for call, *arguments in (
            (vcpu.get_one_reg, PC),
            (vcpu.set_one_reg, PC, bytes(8)),
            (vcpu.reg_list,),
            (vcpu.finalize, VcpuFeature.SVE),
            (vcpu.run, True),
        ):
            refused(ENOEXEC, call, *arguments)
        vcpu.init(SVE)
        for call, *arguments in (
            (vcpu.get_one_reg, RegId.z(0)),
            (vcpu.set_one_reg, RegId.ffr(), bytes(32)),
            (vcpu.reg_list,),
            (vcpu.run, True),
        ):
            refused(EPERM, call, *arguments)
        refused(EINVAL, vcpu.get_one_reg, RegId.v(0))
        vcpu.finalize(VcpuFeature.SVE)
        regs = vcpu.reg_list()
        assert len(set(regs)) == len(regs)
        assert refused(E2BIG, vcpu.reg_list, len(regs) - 1).count == len(regs)
        assert vcpu.reg_list(len(regs)) == regs
        assert all(len(value) == reg.size for reg, value in zip(regs, vcpu.get_regs(regs), strict=True))
        refused(EINTR, vcpu.run, True)


def test_a_whole_vcpu_is_written_into_another_and_reads_the_same(
    sve_host: tuple[LabSystem, VectorLengths],
) -> None:
    """All but the vector lengths, which are fixed by then; the two counters run on."""
    system, _ = sve_host
    counters = {RegId.sysreg(sysreg("CNTV_CVAL_EL0")), RegId.sysreg(sysreg("CNTPCT_EL0"))}
    with system.create_vm() as one, system.create_vm() as two:
        source, target = sve_vcpu(one), sve_vcpu(two)
        for vcpu in (source, target):
            vcpu.finalize(VcpuFeature.SVE)
        regs = source.reg_list()
        for n in range(32):
            source.set_one_reg(RegId.z(n), bytes([n + 1]) * 256)
        values = dict(zip(regs, source.get_regs(regs), strict=True))
        error = refused(EPERM, target.set_regs, values.items())
        assert (error.reg, error.reg_name) == (RegId.sve_vls(), "KVM_REG_ARM64_SVE_VLS")
        rest = [reg for reg in regs if reg != RegId.sve_vls()]
        target.set_regs([(reg, values[reg]) for reg in rest])
        after = dict(zip(regs, target.get_regs(regs), strict=True))
        assert {reg for reg in regs if after[reg] != values[reg]} <= counters


def test_vector_state_moves_between_unlike_hosts_and_kernels(lab: OpenLab) -> None:
    """With vector lengths both have, every Z, P and FFR arrives as it left, and can leave again."""
    common = VectorLengths([1, 2])
    regs = [RegId.z(n) for n in range(32)] + [RegId.p(n) for n in range(16)] + [RegId.ffr()]
    values: list[bytes] = []
    for cpu, kernel in (("max,sve512=on", "6.12"), ("neoverse-v1", "7.3"), ("max,sve-max-vq=4", "6.1")):
        with lab(cpu, kernel).create_vm() as vm:
            vcpu = sve_vcpu(vm)
            vcpu.set_one_reg(RegId.sve_vls(), vls.encode(common))
            vcpu.finalize(VcpuFeature.SVE)
            if values:
                vcpu.set_regs(zip(regs, values, strict=True))
                assert vcpu.get_regs(regs) == values
            else:
                vcpu.set_regs((reg, bytes([n + 1]) * reg.size) for n, reg in enumerate(regs))
                values = vcpu.get_regs(regs)
                assert values[0] == b"\1" * 32 + bytes(224)


@pytest.mark.parametrize(("cpu", "kernel"), OTHER_HOSTS)
def test_a_host_without_sve_has_none_of_it(lab: OpenLab, cpu: str, kernel: str) -> None:
    system = lab(cpu, kernel)
    assert system.check_extension(Cap.ARM_SVE) == 0
    with system.create_vm() as vm:
        vcpu = vm.create_vcpu(0)
        refused(EINVAL, vcpu.init, SVE)
        vcpu.init([VcpuFeature.PSCI_0_2])
        for reg in (RegId.sve_vls(), RegId.z(0), RegId.ffr()):
            refused(ENOENT, vcpu.get_one_reg, reg)
        assert RegId.v(0) in vcpu.reg_list()


def test_an_id_register_is_frozen_once_the_vm_has_run(lab: OpenLab) -> None:
    system = lab("max,sve512=on", "6.12")
    reg = RegId.sysreg(sysreg("ID_AA64ISAR0_EL1"))
    with system.create_vm() as vm:
        assert vm.writable_masks()[reg]
        vcpu = vm.create_vcpu(0)
        vcpu.init([VcpuFeature.PSCI_0_2])
        value = int.from_bytes(vcpu.get_one_reg(reg), "little")
        lowered = (value & ~(15 << 4)).to_bytes(8, "little")
        vcpu.set_one_reg(reg, lowered)
        refused(EINTR, vcpu.run, True)
        vcpu.set_one_reg(reg, lowered)
        refused(EBUSY, vcpu.set_one_reg, reg, value.to_bytes(8, "little"))
    lab("max,sve-max-vq=4", "6.1")
    with lab("max,sve-max-vq=4", "6.1").create_vm() as vm:
        refused(EINVAL, vm.writable_masks)


def test_el2_for_guests_needs_nested_mode(lab: OpenLab) -> None:
    features = (*SVE, VcpuFeature.HAS_EL2)
    for mode, offered in (("nested", 1), ("vhe", 0)):
        system = lab("max", "7.3", mode=mode)
        assert system.check_extension(Cap.ARM_EL2) == offered
        with system.create_vm() as vm:
            vcpu = vm.create_vcpu(0)
            if offered:
                vcpu.init(features)
                vcpu.finalize(VcpuFeature.SVE)
                assert RegId.sysreg(sysreg("HCR_EL2")) in vcpu.reg_list()
            else:
                refused(EINVAL, vcpu.init, features)


def test_devices_and_their_attributes(lab: OpenLab) -> None:
    system = lab("neoverse-v1", "7.3")
    with system.create_vm() as vm:
        vm.create_vcpu(0).init([VcpuFeature.PSCI_0_2])
        assert vm.create_device(DeviceType.ARM_VGIC_V3, test=True) is None
        device = vm.create_device(DeviceType.ARM_VGIC_V3)
        assert device is not None
        device.has_attr(0, 2)  # KVM_DEV_ARM_VGIC_GRP_ADDR, distributor
        with pytest.raises(KvmError, match="KVM_HAS_DEVICE_ATTR: ENXIO"):
            device.has_attr(0, 99)
        with pytest.raises(KvmError, match="KVM_SET_DEVICE_ATTR: EFAULT"):
            device.set_attr_null(0, 2)
        device.set_attr(0, 2, (0x8000000).to_bytes(8, "little"))
        assert device.get_attr(0, 2) == (0x8000000).to_bytes(8, "little")
        with pytest.raises(KvmError, match="KVM_CREATE_DEVICE: EEXIST"):
            vm.create_device(DeviceType.ARM_VGIC_V3)
        with pytest.raises(KvmError, match="KVM_CREATE_DEVICE: ENODEV"):
            vm.create_device(99)


# Stores a byte to a place without memory, loads a word from there, stores it beside, switches off.
GUEST = b"".join(
    word.to_bytes(4, "little")
    for word in (
        0x52800840,  # mov  w0, #0x42
        0xD2A20001,  # mov  x1, #0x10000000
        0x39000020,  # strb w0, [x1]
        0xB9400022,  # ldr  w2, [x1]
        0xB9000422,  # str  w2, [x1, #4]
        0xD2B08000,  # mov  x0, #0x84000000
        0xF2800100,  # movk x0, #8             PSCI SYSTEM_OFF
        0xD4000002,  # hvc  #0
        0x14000000,  # b    .
    )
)


@pytest.mark.parametrize(("cpu", "kernel"), [("max", "6.12"), ("neoverse-v1", "7.3"), ("cortex-a76", "6.12")])
def test_a_guest_runs_and_its_exits_are_told(lab: OpenLab, cpu: str, kernel: str) -> None:
    with lab(cpu, kernel).create_vm() as vm:
        vm.set_memory(0, 0x40000000, 0x10000)
        vm.write_memory(0x40000000, GUEST)
        vcpu = vm.create_vcpu(0)
        vcpu.init([VcpuFeature.PSCI_0_2])
        vcpu.set_one_reg(PC, (0x40000000).to_bytes(8, "little"))
        exits = [vcpu.run() for _ in range(4)]
        assert [exit_.mmio for exit_ in exits[:3]] == [
            Mmio(0x10000000, b"\x42", is_write=True),
            Mmio(0x10000000, bytes(4), is_write=False),
            Mmio(0x10000004, bytes(4), is_write=True),
        ]
        assert exits[3].reason == ExitReason.SYSTEM_EVENT
        assert exits[3].system_event in (SystemEvent(1, ()), SystemEvent(1, (0,)))
        assert vm.read_memory(0x40000000, len(GUEST)) == GUEST


def test_runs_are_bounded_and_nothing_leaks_beside_the_kernel(lab: OpenLab) -> None:
    lab("max", "6.12")
    out, err = bytearray(), bytearray()
    program = Path(__file__).with_name("inside_devkvm.py").read_bytes()
    code = run(
        LabOptions.parse("max", {"kernel": "6.12"}),
        ["python3", "-X", "dev", "-W", "error::ResourceWarning", "/inside.py"],
        files={"/inside.py": program},
        out=out.extend,
        err=err.extend,
        limit=300,
    )
    assert (code, err.decode()) == (0, "")
    checks = {line.split()[1].removeprefix("check_") for line in out.decode().splitlines()}
    assert checks == {"limit", "signal", "stopped", "leaks", "interrupted_calls"}
