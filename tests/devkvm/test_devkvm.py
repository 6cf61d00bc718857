"""What of the /dev/kvm backend can be checked without KVM: structures, memory, descriptors, refusals."""

from __future__ import annotations

import os
import platform
import struct
import threading
import time
from errno import ENOTTY
from pathlib import Path

import pytest

from armkvm.abi import ioctls, structs
from armkvm.abi.ioctls import Ioctl
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import BITS_7_3, VcpuFeature
from armkvm.backends.devkvm import open_place, running, system as system_module
from armkvm.backends.devkvm.descriptor import AttributeDescriptor, Descriptor, Scratch
from armkvm.backends.devkvm.memory import MemorySlots
from armkvm.backends.devkvm.registers import RegisterBuffers
from armkvm.backends.devkvm.system import DevKvmSystem
from armkvm.backends.devkvm.vcpu import DevKvmVcpu
from armkvm.errors import KvmError, PlaceError, UnknownPlace


def open_files() -> set[Path]:
    return set(Path("/proc/self/fd").iterdir())


NOT_ARM64 = platform.machine() not in system_module.ARM64_MACHINES


@pytest.mark.skipif(not NOT_ARM64, reason="this machine could have KVM/arm64")
def test_on_another_architecture_one_sentence_says_what_to_use_instead() -> None:
    with pytest.raises(PlaceError) as error:
        open_place("", {})
    text = str(error.value)
    assert platform.machine() in text
    assert all(scheme in text for scheme in ("model:", "lab:", "ssh://"))
    assert "\n" not in text


@pytest.fixture
def as_arm64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")


@pytest.mark.usefixtures("as_arm64")
def test_without_the_device_one_sentence_says_what_to_use_instead(tmp_path: Path) -> None:
    with pytest.raises(PlaceError, match=r"has no .*kvm.*use model:HOST"):
        open_place(str(tmp_path / "kvm"), {})


@pytest.mark.usefixtures("as_arm64")
def test_a_file_that_is_not_kvm_is_said_to_be_none_and_is_closed() -> None:
    before = open_files()
    with pytest.raises(PlaceError, match=r"/dev/null is not KVM.*KVM_GET_API_VERSION: ENOTTY"):
        open_place("/dev/null", {})
    assert open_files() == before


@pytest.mark.usefixtures("as_arm64")
@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_device_one_may_not_open_names_the_group(tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    device.touch(mode=0)
    with pytest.raises(PlaceError, match="join the group"):
        open_place(str(device), {})


@pytest.mark.parametrize("options", [{"speed": "1"}, {"run_limit": "0"}, {"run_limit": "soon"}])
def test_options_that_mean_nothing_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(UnknownPlace, match="run_limit"):
        open_place("", options)


# ioctl -> the structure the code passes; the size is in the number the kernel dispatches on.
STRUCTURES = {
    Ioctl.KVM_GET_ONE_REG: structs.ONE_REG,
    Ioctl.KVM_SET_ONE_REG: structs.ONE_REG,
    Ioctl.KVM_ARM_VCPU_INIT: structs.VCPU_INIT,
    Ioctl.KVM_ARM_PREFERRED_TARGET: structs.VCPU_INIT,
    Ioctl.KVM_GET_REG_LIST: structs.REG_LIST_HEAD,
    Ioctl.KVM_GET_MP_STATE: structs.MP_STATE,
    Ioctl.KVM_SET_MP_STATE: structs.MP_STATE,
    Ioctl.KVM_SET_USER_MEMORY_REGION: structs.MEMORY_REGION,
    Ioctl.KVM_ENABLE_CAP: structs.ENABLE_CAP,
    Ioctl.KVM_HAS_DEVICE_ATTR: structs.DEVICE_ATTR,
    Ioctl.KVM_GET_DEVICE_ATTR: structs.DEVICE_ATTR,
    Ioctl.KVM_SET_DEVICE_ATTR: structs.DEVICE_ATTR,
    Ioctl.KVM_CREATE_DEVICE: structs.CREATE_DEVICE,
    Ioctl.KVM_ARM_GET_REG_WRITABLE_MASKS: structs.REG_MASK_RANGE,
    Ioctl.KVM_ARM_SET_COUNTER_OFFSET: structs.COUNTER_OFFSET,
    Ioctl.KVM_GET_VCPU_EVENTS: structs.VCPU_EVENTS,
    Ioctl.KVM_SET_VCPU_EVENTS: structs.VCPU_EVENTS,
}


@pytest.mark.parametrize("call", STRUCTURES)
def test_a_structure_is_as_large_as_its_ioctl_number_says(call: Ioctl) -> None:
    size = call >> 16 & 0x3FFF
    assert STRUCTURES[call].size == size
    assert call >> 8 & 0xFF == ioctls.KVMIO


def null() -> int:
    return os.open("/dev/null", os.O_RDWR)


def test_a_refusal_carries_errno_and_operation() -> None:
    with AttributeDescriptor(null()) as descriptor:
        for attempt in (
            lambda: descriptor.number(Ioctl.KVM_CREATE_VM),
            lambda: descriptor.structure(Ioctl.KVM_CREATE_VM, bytes(16)),
        ):
            with pytest.raises(KvmError) as error:
                attempt()
            assert (error.value.errno, error.value.operation) == (ENOTTY, "KVM_CREATE_VM")
        with pytest.raises(KvmError, match="KVM_HAS_DEVICE_ATTR: ENOTTY"):
            descriptor.has_attr(0, 0)
        with pytest.raises(ValueError, match="do not fit"):
            descriptor.has_attr(1 << 32, 0)


def test_a_descriptor_is_closed_once_and_then_says_so() -> None:
    fd = null()
    descriptor = Descriptor(fd)
    with descriptor:
        assert descriptor.fd == fd
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)
    other = null()
    try:
        descriptor.close()
        os.fstat(other)
    finally:
        os.close(other)
    with pytest.raises(ValueError, match="this Descriptor is closed"):
        descriptor.number(Ioctl.KVM_RUN)


def test_a_forgotten_descriptor_is_closed_with_a_warning() -> None:
    fd = null()
    with pytest.warns(ResourceWarning, match="unclosed Descriptor"):
        Descriptor(fd)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)


def test_scratch_memory_is_zeroed_and_goes_away() -> None:
    scratch = Scratch(100)
    assert scratch.memory[:100] == bytes(100)
    assert scratch.address % 4096 == 0
    scratch.close()
    with pytest.raises(ValueError, match="closed"):
        scratch.memory[:1]


def a_vcpu() -> DevKvmVcpu:
    return DevKvmVcpu(
        null(),
        0,
        preferred_target=lambda: 5,
        feature_bit=lambda f, _: f if isinstance(f, int) else BITS_7_3[f],
        run_page_size=8192,
        run_limit=1.0,
    )


def test_wrong_arguments_are_refused_before_any_call() -> None:
    with a_vcpu() as vcpu:
        with pytest.raises(ValueError, match="holds 8 bytes, not 4"):
            vcpu.set_one_reg(RegId.x(0), b"four")
        with pytest.raises(ValueError, match="holds 256 bytes, not 8"):
            vcpu.set_regs([(RegId.x(0), bytes(8)), (RegId.z(0), bytes(8)), (RegId.x(1), bytes(256))])
        with pytest.raises(ValueError, match=r"0\.\.223, not 224"):
            vcpu.init([224])
        with pytest.raises(ValueError, match="64 bytes, not 3"):
            vcpu.set_vcpu_events(b"abc")
        for call, argument in (
            (vcpu.set_mp_state, 1 << 32),
            (vcpu.finalize, 1 << 31),
            (vcpu.get_one_reg, -1),
            (vcpu.get_one_reg_null, 1 << 64),
            (vcpu.reg_list, -1),
        ):
            with pytest.raises(ValueError, match="do not fit"):
                call(argument)
        with pytest.raises(ValueError, match="do not fit"):
            vcpu.get_regs([1 << 64])


def test_a_refused_register_is_named_alone_and_in_a_list() -> None:
    regs = [RegId.x(0), RegId.z(3)]
    with a_vcpu() as vcpu:
        for attempt in (
            lambda: vcpu.get_one_reg(regs[0]),
            lambda: vcpu.get_regs(regs),
            lambda: vcpu.set_regs([(reg, bytes(reg.size)) for reg in regs]),
        ):
            with pytest.raises(KvmError) as error:
                attempt()
            assert (error.value.errno, error.value.reg, error.value.reg_name) == (ENOTTY, RegId.x(0), "X0")
        with pytest.raises(KvmError, match="KVM_GET_REG_LIST: ENOTTY"):
            vcpu.reg_list()
        assert vcpu.get_regs([]) == []


def test_the_table_of_calls_points_at_each_value() -> None:
    """The kernel follows (id, address) pairs; here they are followed by hand."""
    import ctypes

    regs: list[int] = [RegId.x(0), RegId.z(31), RegId(0), RegId.sve_vls(), RegId(15 << 52)]
    values = [bytes([n + 1]) * RegId(reg).size for n, reg in enumerate(regs)]
    buffers = RegisterBuffers(regs)
    seen = []

    def follow(fd: int, request: int) -> None:
        for call in buffers._calls:
            reg, address = struct.unpack("<QQ", call)
            seen.append((fd, request, RegId(reg), ctypes.string_at(address, RegId(reg).size)))

    buffers._issue = follow  # type: ignore[method-assign]
    buffers.write(9, values)
    assert seen == [(9, Ioctl.KVM_SET_ONE_REG, reg, value) for reg, value in zip(regs, values, strict=True)]
    assert buffers.read(9) == values
    buffers.close()


class NoKernel(Descriptor):
    """Accepts every memory region, or none."""

    def __init__(self) -> None:
        super().__init__(null())
        self.refuse = False
        self.regions: list[tuple[int, ...]] = []

    def structure(self, call: Ioctl, data: bytes | bytearray) -> bytes:
        if self.refuse:
            raise KvmError(22, call.name)
        self.regions.append(structs.MEMORY_REGION.unpack(data))
        return bytes(data)


def test_guest_memory_spans_neighbouring_slots_and_nothing_else() -> None:
    slots = MemorySlots()
    with NoKernel() as vm:
        slots.set(vm, 0, 0x10000, 0x1000, 0)
        slots.set(vm, 1, 0x11000, 0x1000, 2)
        slots.write(0x10FF0, bytes(range(32)))
        assert slots.read(0x10FF0, 32) == bytes(range(32))
        assert slots.read(0x12000, 0) == b""
        for address, size in ((0x11FFF, 2), (0xFFFF, 1), (0, 0), (0x12000, 1), (-1, 1)):
            with pytest.raises(ValueError, match="guest address"):
                slots.read(address, size)
        vm.refuse = True
        with pytest.raises(KvmError):
            slots.set(vm, 0, 0x10000, 0, 0)
        assert slots.read(0x10FF0, 4) == bytes(range(4)), "a refused change leaves the slot"
        vm.refuse = False
        slots.set(vm, 0, 0x10000, 0, 0)
        with pytest.raises(ValueError, match="0x10ff0 is in no memory slot"):
            slots.read(0x10FF0, 1)
        slots.set(vm, 3, 0x40000000, 1 << 40, 0)
        slots.write(0x40000000 + (1 << 39), b"lazily")
        assert vm.regions[-1][:4] == (3, 0, 0x40000000, 1 << 40)
        slots.set(vm, 4, 0, 1 << 63, 0)
        assert vm.regions[-1][4] == 0, "what no address space holds has no address"
        slots.close()


def test_a_run_is_ended_after_its_limit_from_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that would never return stands in for KVM_RUN: pause() with the stop signal let through."""
    import ctypes
    import signal

    class Libc:
        @staticmethod
        def ioctl(*_: int) -> int:
            libc = ctypes.CDLL(None, use_errno=True)
            result = libc.sigsuspend(mask)  # as KVM_RUN does with KVM_SET_SIGNAL_MASK's set
            ctypes.set_errno(ctypes.get_errno())
            return int(result)

    mask = bytes(128)
    handled = []
    old = signal.signal(running._STOP, lambda *_: handled.append(1))
    monkeypatch.setattr(running, "_libc", Libc)
    monkeypatch.setattr(running, "_unblock_inside", lambda *_: None)
    answers = []

    def work() -> None:
        with Descriptor(null()) as descriptor:
            start = time.monotonic()
            answers.append((running._run_limited(descriptor, 0.1), time.monotonic() - start))

    try:
        work()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(10)
    finally:
        signal.signal(running._STOP, old)
    assert [error for error, _ in answers] == [4, 4]
    assert all(0.05 < seconds < 5 for _, seconds in answers)
    assert running._STOP not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


class FakeKernel(DevKvmSystem):
    """Answers for capability numbers and for whether KVM_REG_ARM64_SME_VLS exists."""

    def __init__(self, caps: set[int], sme_bit: int | None) -> None:
        Descriptor.__init__(self, null())
        self._caps, self._sme_bit, self._bits = caps, sme_bit, None

    def check_extension(self, cap: int) -> int:
        return int(cap in self._caps)

    def _has_sme_vls(self, sme_bit: int) -> bool:
        return sme_bit == self._sme_bit


@pytest.mark.parametrize(
    ("caps", "sme_bit", "expected"),
    [
        ({250, 251}, None, {"PMU_V3_STRICT": 9, "SVE": 4}),
        ({239, 240, 241}, None, {"PMU_V3_STRICT": 9, "HAS_EL2_E2H0": 8}),
        ({250}, 9, {"SME": 9, "VEC": 4, "SVE": 4}),
        ({239}, 8, {"SME": 8, "VEC": 4}),
    ],
)
def test_feature_numbers_follow_what_the_kernel_does(
    caps: set[int], sme_bit: int | None, expected: dict[str, int]
) -> None:
    with FakeKernel(caps, sme_bit) as kernel:
        for name, bit in expected.items():
            assert kernel.feature_bit(VcpuFeature(name), "KVM_ARM_VCPU_INIT") == bit
        assert kernel.feature_bit(77, "KVM_ARM_VCPU_INIT") == 77


@pytest.mark.parametrize(
    ("operation", "errno"), [("KVM_ARM_VCPU_INIT", "ENOENT"), ("KVM_ARM_VCPU_FINALIZE", "EINVAL")]
)
def test_a_feature_the_kernel_has_not_is_named(operation: str, errno: str) -> None:
    """With the errno that the kernel has for a number it does not know."""
    with (
        FakeKernel(set(), None) as kernel,
        pytest.raises(KvmError, match=rf"{errno}: .* has no vCPU feature SME"),
    ):
        kernel.feature_bit(VcpuFeature.SME, operation)
