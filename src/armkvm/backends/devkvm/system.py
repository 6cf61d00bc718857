"""/dev/kvm itself, and which number this kernel gives to a vCPU feature."""

from __future__ import annotations

import contextlib
import errno
import os
import platform

from armkvm.abi.caps import SME_CAPS, Cap
from armkvm.abi.ioctls import Ioctl
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import BITS_7_3, BITS_SME_V4, BITS_SME_V12, VcpuFeature
from armkvm.backends.base import Feature
from armkvm.backends.devkvm.descriptor import Descriptor
from armkvm.backends.devkvm.vm import DevKvmVm
from armkvm.backends.run_calls import RUN_LIMIT
from armkvm.errors import KvmError, PlaceError

DEVICE = "/dev/kvm"
KVM_API_VERSION = 12
ARM64_MACHINES = ("aarch64", "arm64")
_INSTEAD = (
    "use model:HOST for the model, lab:CPU for a real kernel under QEMU, or ssh://HOST for an arm64 host"
)


class DevKvmSystem(Descriptor):
    """This machine's KVM."""

    def __init__(self, path: str = DEVICE, run_limit: float = RUN_LIMIT) -> None:
        super().__init__(_open(path))
        self.run_limit = run_limit
        self._path = path
        self._bits: dict[VcpuFeature, int] | None = None
        try:
            if (version := self.api_version()) != KVM_API_VERSION:
                raise PlaceError(
                    f"{path} speaks KVM API version {version}, not {KVM_API_VERSION}; {_INSTEAD}"
                )
            self.run_page_size = self.number(Ioctl.KVM_GET_VCPU_MMAP_SIZE)
        except KvmError as error:
            self.close()
            raise PlaceError(f"{path} is not KVM ({error}); {_INSTEAD}") from None
        except PlaceError:
            self.close()
            raise

    @property
    def uri(self) -> str:
        return "kvm:" if self._path == DEVICE else f"kvm:{self._path}"

    @property
    def kernel(self) -> str:
        return platform.release()

    def api_version(self) -> int:
        return self.number(Ioctl.KVM_GET_API_VERSION)

    def check_extension(self, cap: Cap | int) -> int:
        return self.number(Ioctl.KVM_CHECK_EXTENSION, cap)

    def create_vm(self, machine_type: int = 0) -> DevKvmVm:
        return DevKvmVm(self.number(Ioctl.KVM_CREATE_VM, machine_type), self)

    def feature_bit(self, feature: Feature, operation: str) -> int:
        """The number of a feature in this kernel's header. Asks the kernel, never its version.

        Where it has none, KvmError as the kernel has it for a number that it does not know: ENOENT,
        and EINVAL for KVM_ARM_VCPU_FINALIZE.
        """
        if not isinstance(feature, VcpuFeature):
            return feature
        bit = BITS_7_3.get(feature)
        if bit is None or feature is VcpuFeature.PMU_V3_STRICT:
            if self._bits is None:
                self._bits = self._probe_bits()
            bit = self._bits.get(feature)
        if bit is None:
            raise KvmError(
                errno.EINVAL if operation == Ioctl.KVM_ARM_VCPU_FINALIZE.name else errno.ENOENT,
                operation,
                detail=f"the kernel here ({self.kernel}) has no vCPU feature {feature}",
            )
        return bit

    def _probe_bits(self) -> dict[VcpuFeature, int]:
        """Mainline's numbers, unless the kernel behaves as one with an SME series does.

        Both series reuse numbers that mainline gave to something else, so a capability alone
        proves nothing: a vCPU that has the feature must also have a KVM_REG_ARM64_SME_VLS.
        """
        for bits, cap in ((BITS_SME_V12, SME_CAPS["sme-v12"]), (BITS_SME_V4, SME_CAPS["sme-v4"])):
            if self.check_extension(cap) > 0 and self._has_sme_vls(bits[VcpuFeature.SME]):
                return bits
        return BITS_7_3

    def _has_sme_vls(self, sme_bit: int) -> bool:
        with self.create_vm() as vm, vm.create_vcpu(0) as vcpu:
            try:
                vcpu.init([sme_bit])
            except KvmError:
                return False
            low = RegId.sme_vls()
            for reg in (low, RegId(low | 0xFFFF)):  # the two places revisions put it
                with contextlib.suppress(KvmError):
                    return bool(vcpu.get_one_reg(reg))
            return False


def _open(path: str) -> int:
    machine = platform.machine()
    if machine not in ARM64_MACHINES:
        raise PlaceError(f"kvm: needs an arm64 machine, and this one is {machine}; {_INSTEAD}")
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise PlaceError(
            f"this machine has no {path} (no KVM in its kernel, or no EL2 for it); {_INSTEAD}"
        ) from None
    except PermissionError:
        raise PlaceError(
            f"{path} may not be opened by this user; join the group that owns it (often `kvm`), or {_INSTEAD}"
        ) from None
    except OSError as error:
        raise PlaceError(f"{path} cannot be opened: {error.strerror}; {_INSTEAD}") from None
