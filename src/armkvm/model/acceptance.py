"""What a modelled host accepts for a vCPU, as one value: the input of checks over whole fleets."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.fields import Field
from armkvm.arch.sysregs import sysreg
from armkvm.catalog import id_of
from armkvm.errors import KvmError, MissingFacts
from armkvm.model import firmware, machine, reglist, setup
from armkvm.model.host import Platform
from armkvm.model.lifecycle import INIT
from armkvm.model.outcome import Refused
from armkvm.model.profile import WRITABLE_IMP_ID
from armkvm.model.sysregs import idrules
from armkvm.model.sysregs.idregs import ID_SPACE, IMPLEMENTATION
from armkvm.model.vcpu import Vcpu
from armkvm.state import Acceptance

_COMPARED = [*ID_SPACE, sysreg("CTR_EL0")]
_IDENTITY = [id_of(sysreg(name)) for name in IMPLEMENTATION]


def offered(platform: Platform) -> frozenset[F]:
    """Every feature KVM_ARM_VCPU_INIT accepts on a host, taken one by one."""
    always = frozenset((F.POWER_OFF, F.PSCI_0_2))
    return always | frozenset(f for f in F if f not in always and f is not F.VEC and platform.offers(f))


def accepts(platform: Platform, features: Iterable[F]) -> Acceptance:
    """What the host accepts for a vCPU with these features; KvmError if not even those."""
    wanted = frozenset(features) - {F.POWER_OFF}
    vcpu = _scratch(platform, wanted)
    initial = {RegId(reg): value for reg, value in vcpu.id_limits.items()}
    guest = idrules.guest_on(platform, wanted)
    fields: dict[Field, int] = {}
    for reg in _COMPARED:
        fields.update(idrules.accepted(guest, reg, initial[id_of(reg)]))
    return Acceptance(
        host=platform.facts.name,
        kernel=platform.profile.name,
        features=wanted,
        sve=platform.sve if F.SVE in wanted else type(platform.sve)(),
        sme=platform.sme if F.SME in wanted else type(platform.sme)(),
        initial=initial,
        fields=fields,
        identity={reg: initial[reg] for reg in _IDENTITY if reg in initial},
        identity_is_writable=WRITABLE_IMP_ID in platform.profile
        and machine.check_extension(platform, Cap.ARM_WRITABLE_IMP_ID_REGS, on_vm=True) > 0,
        bitmaps=firmware.supported_bitmaps(platform.profile),
        psci_versions=firmware.psci_versions(vcpu),
        workarounds={RegId(reg): firmware.workaround_level(vcpu, reg) for reg in firmware.WORKAROUNDS},
        listed=_named(tuple(reglist.listed(vcpu))),
    )


@lru_cache(maxsize=256)  # few lists for many hosts
def _named(listed: tuple[int, ...]) -> frozenset[RegId]:
    return frozenset(map(RegId, listed))


def _scratch(platform: Platform, features: frozenset[F]) -> Vcpu:
    vm = machine.create_vm(platform, 0)
    if isinstance(vm, Refused):
        raise KvmError(vm.errno, "KVM_CREATE_VM", rule=vm.rule, detail=vm.detail)
    vcpu = Vcpu(vm, 0)
    vm.vcpus[0] = vcpu
    missing = [f for f in sorted(features) if platform.profile.bit_of(f) is None]
    if missing:
        raise MissingFacts(
            platform.facts.name, "give a vCPU " + missing[0], ["the kernel has no such feature"]
        )
    bits = [platform.profile.feature_bits[f] for f in features]
    refused = setup.init(vcpu, bits, platform.facts.preferred_target)
    if refused is not None:
        raise KvmError(refused.errno, INIT, rule=refused.rule, detail=refused.detail)
    return vcpu
