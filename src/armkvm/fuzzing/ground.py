"""What the generator is told of a place: its registers and lengths, so that it can aim at their edges."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from armkvm.abi import vls
from armkvm.abi.regid import RegId
from armkvm.abi.structs import is_feature_id
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.base import System
from armkvm.catalog import MOVING
from armkvm.errors import KvmError

_GROUPS = (
    (F.PMU_V3,),
    (F.SVE,),
    (F.SME,),
    (F.PTRAUTH_ADDRESS, F.PTRAUTH_GENERIC),
)


@dataclass(frozen=True, slots=True)
class Ground:
    """A place as far as generated calls depend on it."""

    features: tuple[F, ...]
    initial: Mapping[RegId, bytes]
    writable_ids: tuple[RegId, ...]
    sve: VectorLengths
    sme: VectorLengths

    def of_class(self, *classes: int) -> list[RegId]:
        """Listed registers of some classes, in the order of the list."""
        return [reg for reg in self.initial if reg.reg_class in classes]


def survey(system: System) -> Ground:
    """Look at a place: the registers of a vCPU with every feature it takes, as they are initialised."""
    features = [F.PSCI_0_2]
    for group in _GROUPS:
        if _accepts(system, (*features, *group)):
            features += group
    with system.create_vm() as vm, vm.create_vcpu(0) as vcpu:
        vcpu.init(features)
        if {F.SVE, F.SME} & set(features):
            with suppress(KvmError):  # where there is no such call the list is granted without it
                vcpu.finalize(F.SVE)
        listed = [reg for reg in vcpu.reg_list() if reg not in MOVING]
        initial = dict(zip(listed, vcpu.get_regs(listed), strict=True))
        writable: tuple[RegId, ...] = ()
        with suppress(KvmError):
            writable = tuple(map(RegId, sorted(vm.writable_masks())))
    return Ground(
        features=tuple(features),
        initial=initial,
        writable_ids=writable or tuple(filter(is_feature_id, listed)),
        sve=_lengths(initial, RegId.sve_vls()),
        sme=_lengths(initial, RegId.sme_vls()),
    )


def _accepts(system: System, features: tuple[F, ...]) -> bool:
    with system.create_vm() as vm, vm.create_vcpu(0) as vcpu:
        try:
            vcpu.init(features)
        except (KvmError, ValueError):  # ValueError: the kernel's header has no number for it
            return False
    return True


def _lengths(initial: Mapping[RegId, bytes], reg: RegId) -> VectorLengths:
    return vls.decode(initial[reg]) if reg in initial else VectorLengths()
