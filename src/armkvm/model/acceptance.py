"""What a modelled host accepts for a vCPU, as one value: the input of checks over whole fleets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import cast

from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.idfields import narrow_fields
from armkvm.arch.sysregs import sysreg
from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import id_of
from armkvm.errors import KvmError, MissingFacts
from armkvm.model import firmware, machine, setup
from armkvm.model.host import Platform
from armkvm.model.lifecycle import INIT
from armkvm.model.sysregs import idrules
from armkvm.model.sysregs.idregs import ID_SPACE, IMPLEMENTATION
from armkvm.model.vcpu_behaviours import WRITABLE_IMP_ID
from armkvm.state import Acceptance, FieldRules

_COMPARED = {id_of(reg): reg for reg in (*ID_SPACE, sysreg("CTR_EL0")) if narrow_fields(reg)}
_COMPARED_IDS = tuple(_COMPARED)
_IDENTITY = [id_of(sysreg(name)) for name in IMPLEMENTATION]
_NO_LENGTHS = VectorLengths()
_ALWAYS = frozenset((F.POWER_OFF, F.PSCI_0_2))
_NEVER = frozenset((F.VEC,))  # only finalized


def offered(platform: Platform) -> frozenset[F]:
    """Every feature KVM_ARM_VCPU_INIT accepts on a host, taken one by one."""
    return _ALWAYS | platform.ground.offered - _NEVER


def accepts(platform: Platform, features: Iterable[F]) -> Acceptance:
    """What the host accepts for a vCPU with these features; KvmError if not even those."""
    wanted = frozenset(features) - {F.POWER_OFF}
    _refuse_what_init_refuses(platform, wanted)
    profile, ground = platform.profile, platform.ground
    initial = cast("Mapping[RegId, int]", platform.limits(wanted, mte=False))
    return Acceptance(
        host=platform.facts.name,
        kernel=profile.name,
        features=wanted,
        sve=ground.sve if F.SVE in wanted else _NO_LENGTHS,
        sme=ground.sme if F.SME in wanted else _NO_LENGTHS,
        initial=initial,
        compared=_COMPARED_IDS,
        rules=_rules(idrules.guest_on(platform, wanted)),
        identity={reg: initial[reg] for reg in _IDENTITY if reg in initial},
        identity_is_writable=WRITABLE_IMP_ID in profile
        and machine.check_extension(platform, Cap.ARM_WRITABLE_IMP_ID_REGS, on_vm=True) > 0,
        bitmaps=firmware.supported_bitmaps(profile),
        psci_versions=firmware.psci_versions(wanted, profile),
    )


@lru_cache(maxsize=1024)
def _rules(guest: idrules.Guest) -> FieldRules:
    """The rules for one kind of guest, which answer the same question once."""

    @lru_cache(maxsize=16384)
    def accepted(reg: RegId, limit: int) -> tuple[int, ...]:
        return idrules.accepted(guest, _COMPARED[reg], limit)

    return accepted


def check_plain_vm(platform: Platform) -> None:
    """KvmError if the host can make no VM of the default type, or initialise no vCPU as it prefers."""
    refused = machine.check_machine_type(platform, 0)
    if refused is not None:
        raise KvmError(refused.errno, "KVM_CREATE_VM", rule=refused.rule, detail=refused.detail)
    refused = setup.check_target(platform, platform.facts.preferred_target)
    if refused is not None:
        raise KvmError(refused.errno, INIT, rule=refused.rule, detail=refused.detail)


def _refuse_what_init_refuses(platform: Platform, features: frozenset[F]) -> None:
    check_plain_vm(platform)
    missing = [f for f in sorted(features) if platform.profile.bit_of(f) is None]
    if missing:
        raise MissingFacts(
            platform.facts.name, "give a vCPU " + missing[0], ["the kernel has no such feature"]
        )
    refused = setup.check_features(platform, features, has_mte=False)
    if refused is not None:
        raise KvmError(refused.errno, INIT, rule=refused.rule, detail=refused.detail)
