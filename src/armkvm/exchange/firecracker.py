"""Firecracker's CPU templates and fingerprints for arm64.

A template says which bits of which registers Firecracker sets before a vCPU first runs, which vCPU
features it asks for and which capabilities it insists on. A fingerprint is a template in which
every bit is set: the registers of a fresh vCPU, with the versions of what was around it. Both hold
registers of 32, 64 and 128 bits only, so no vector lengths, and no Z, P, ZA.

Source: Firecracker's docs/cpu_templates and src/vmm/src/cpu_config (templates.rs,
aarch64/custom_cpu_template.rs), release 1.16.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegClass, RegId
from armkvm.abi.vcpu_features import BITS_7_3, VcpuFeature as F
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.base import Feature
from armkvm.catalog import id_of, name_of, parse
from armkvm.documents import Limits, parse_json, short, step
from armkvm.errors import Fault, InputError
from armkvm.exchange.bits import Bits
from armkvm.exchange.written import Initial, Written, changes, identity_changes
from armkvm.migration.snapshot import Origin, Snapshot, VcpuState, VmConfig, sorted_features
from armkvm.state import GuestCpu, RegisterSet

LIMITS = Limits(size=4 << 20, depth=6, items=40_000)
MOST_FAULTS = 200
MOST_REGISTERS = 4096
WIDTHS = (32, 64, 128)
FEATURE_WORDS = 7  # struct kvm_vcpu_init has features[7]

# What Firecracker asks for by itself (POWER_OFF for all vCPUs but the first), and what it can be made
# to ask for, with the capability to insist on.
_ALWAYS = frozenset((F.POWER_OFF, F.PSCI_0_2))
_CAP_OF = {
    F.SVE: Cap.ARM_SVE,
    F.PTRAUTH_ADDRESS: Cap.ARM_PTRAUTH_ADDRESS,
    F.PTRAUTH_GENERIC: Cap.ARM_PTRAUTH_GENERIC,
}
_PSCI_VERSION = parse("KVM_REG_ARM_PSCI_VERSION")
_NONE = VectorLengths()


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What Firecracker is to do to a vCPU.

    `demanded` and `waived` are capabilities to check besides its own, and not to check.
    `feature_words` are changes to the words of kvm_vcpu_init.features, `registers` to registers, in
    the order in which they are written.
    """

    demanded: tuple[int, ...] = ()
    waived: tuple[int, ...] = ()
    feature_words: Mapping[int, Bits] = field(default_factory=dict)
    registers: Mapping[RegId, Bits] = field(default_factory=dict)

    @property
    def features(self) -> tuple[Feature, ...]:
        """What the first vCPU is initialised with; mainline's bits by name, others as numbers."""
        words = [1 << BITS_7_3[F.PSCI_0_2], *[0] * (FEATURE_WORDS - 1)]
        for index, bits in self.feature_words.items():
            words[index] = bits.apply(words[index])
        names = {bit: feature for feature, bit in BITS_7_3.items()}
        bits_set = [32 * n + bit for n, word in enumerate(words) for bit in range(32) if word >> bit & 1]
        return sorted_features([names.get(bit, bit) for bit in bits_set])

    @property
    def beyond(self) -> tuple[RegId, ...]:
        """Registers that it changes and a `GuestCpu` has no place for."""
        return tuple(reg for reg in self.registers if not (_is_id(reg) or _is_bitmap(reg) or _is_psci(reg)))

    def guest_cpu(self, host: Initial, sve: VectorLengths = _NONE) -> GuestCpu:
        """The vCPU that a host gives under this template, as far as the template decides it.

        `sve` are the lengths that the host gives every vCPU with SVE. ValueError if the template asks
        for SVE and there are none, if it changes a part of a register that is not in `host`, or if it
        asks for a feature without a name.
        """
        unnamed = [feature for feature in self.features if not isinstance(feature, F)]
        if unnamed:
            raise ValueError(f"feature bits {unnamed} have no name in mainline's header")
        if F.SVE in self.features and not sve:
            raise ValueError("the template asks for SVE, and the host's vector lengths are not known")
        whole = {reg: _applied(reg, bits, host) for reg, bits in self.registers.items()}
        return GuestCpu(
            features=frozenset(feature for feature in self.features if isinstance(feature, F)),
            sve=sve if F.SVE in self.features else _NONE,
            id_registers={reg: value for reg, value in whole.items() if _is_id(reg)},
            bitmaps={reg: value for reg, value in whole.items() if _is_bitmap(reg)},
            psci_version=whole.get(_PSCI_VERSION),
        )


def _is_bitmap(reg: RegId) -> bool:
    return reg.reg_class == RegClass.FW_FEAT_BMAP


def _is_psci(reg: RegId) -> bool:
    return reg == _PSCI_VERSION


def _is_id(reg: RegId) -> bool:
    encoding = reg.encoding
    return encoding is not None and encoding.op0 == 3 and encoding.crn == 0


def _applied(reg: RegId, bits: Bits, host: Initial) -> int:
    if not bits.is_whole and reg not in host:
        raise ValueError(f"{name_of(reg) or reg.hex} is changed in part, and the host's value is not known")
    return bits.apply(host.get(reg, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """A fresh vCPU's registers on some host, ascending by id, and the versions of what was around it.

    KVM_REG_ARM_TIMER_CNT and PC are left out by Firecracker.
    """

    firecracker: str
    kernel: str
    microcode: str
    bios_version: str
    bios_revision: str
    features: tuple[Feature, ...]
    registers: RegisterSet

    def number(self, name: str) -> int:
        """A register's value by name; KeyError if it is not in the fingerprint."""
        return int.from_bytes(self.registers[parse(name)], "little")

    def snapshot(self, label: str) -> Snapshot:
        """The vCPU as a snapshot of one that was never run, to be checked against other hosts."""
        state = VcpuState(id=0, features=self.features, registers=self.registers)
        return Snapshot(Origin(f"firecracker:{label}", self.kernel), VmConfig(), (state,))


# -- reading ---------------------------------------------------------------------------------------

_T = TypeVar("_T")
_VERSIONS = ("firecracker_version", "kernel_version", "microcode_version", "bios_version", "bios_revision")
_TEMPLATE_MEMBERS = ("kvm_capabilities", "vcpu_features", "reg_modifiers")
_X86_MEMBERS = ("cpuid_modifiers", "msr_modifiers")
_ADDRESS = re.compile("0x[0-9a-fA-F]{1,16}|0b[01]{1,64}", re.ASCII)
_CAPABILITY = re.compile("!?([0-9]{1,10})", re.ASCII)

EVERY_VCPU_HAS = (
    *map(parse, ("MIDR_EL1", "CLIDR_EL1", "CTR_EL0", "KVM_REG_ARM_PSCI_VERSION")),
    *(parse(f"ID_AA64{name}_EL1") for name in ("PFR0", "PFR1", "DFR0", "ISAR0", "ISAR1")),
    *(parse(f"ID_AA64{name}_EL1") for name in ("MMFR0", "MMFR1", "MMFR2")),
)
"""Registers in the list of every vCPU under every kernel: without them a fingerprint is a torso."""


def read_template(data: bytes, source: str) -> Template:
    """The CPU template in a document; InputError with every fault of it. `source` names it."""
    tree, faults = parse_json(data, source, LIMITS)
    template = _template(tree, "$", faults)
    _raise_if(faults, source)
    return template


def read_fingerprint(data: bytes, source: str) -> Fingerprint:
    """The fingerprint in a document; InputError with every fault of it."""
    tree, faults = parse_json(data, source, LIMITS)
    versions = {name: _version(tree, name, faults) for name in _VERSIONS}
    path = "$.guest_cpu_config"
    inner = tree.get("guest_cpu_config") if isinstance(tree, dict) else None
    template = _template(inner, path, faults, padded=True)
    if not faults:
        faults += _not_whole(template, path)
    _raise_if(faults, source)
    registers = [(reg, bits.value.to_bytes(reg.size, "little")) for reg, bits in template.registers.items()]
    return Fingerprint(
        firecracker=versions["firecracker_version"],
        kernel=versions["kernel_version"],
        microcode=versions["microcode_version"],
        bios_version=versions["bios_version"],
        bios_revision=versions["bios_revision"],
        features=template.features,
        registers=RegisterSet(sorted(registers)),
    )


def _raise_if(faults: Sequence[Fault], source: str) -> None:
    if len(faults) > MOST_FAULTS:
        rest = Fault("$", f"and {len(faults) - MOST_FAULTS:,} more faults")
        faults = [*faults[:MOST_FAULTS], rest]
    if faults:
        raise InputError(source, faults)


def _version(tree: object, name: str, faults: list[Fault]) -> str:
    value = tree.get(name) if isinstance(tree, dict) else None
    if isinstance(value, str) and len(value) <= 200 and value.isprintable():
        return value
    faults.append(Fault(step("$", name), f"expected at most 200 printable characters, got {short(value)}"))
    return ""


def _not_whole(template: Template, path: str) -> Iterator[Fault]:
    """Why a template is not the state of a vCPU."""
    path = step(path, "reg_modifiers")
    for index, bits in enumerate(template.registers.values()):
        if not bits.is_whole:
            kept = bits.width - bits.mask.bit_count()
            yield Fault(
                step(step(path, index), "bitmap"), f"expected {bits.width} bits, {kept} are not given"
            )
    missing = [name_of(reg) for reg in EVERY_VCPU_HAS if reg not in template.registers]
    if missing:
        yield Fault(path, f"expected the registers of an arm64 vCPU, {', '.join(missing)} missing")


def _template(tree: object, path: str, faults: list[Fault], *, padded: bool = False) -> Template:
    """The template at `path`; `padded` where registers are written as 128 bits whatever they have."""
    if not isinstance(tree, dict):
        faults.append(
            Fault(path, f"expected an object with {', '.join(_TEMPLATE_MEMBERS)}, got {short(tree)}")
        )
        return Template()
    for name in (name for name in tree if name not in _TEMPLATE_MEMBERS):
        why = "it is for x86" if name in _X86_MEMBERS else f"got {short(name)}"
        faults.append(Fault(step(path, name), f"expected only {', '.join(_TEMPLATE_MEMBERS)}; {why}"))
    modifier = partial(_modifier, padded=padded)
    caps = [*_rows(tree, path, "kvm_capabilities", _capability, faults)]
    return Template(
        demanded=tuple(number for _, (number, demanded) in caps if demanded),
        waived=tuple(number for _, (number, demanded) in caps if not demanded),
        feature_words=_unique(_rows(tree, path, "vcpu_features", _feature_word, faults), faults),
        registers=_unique(_rows(tree, path, "reg_modifiers", modifier, faults), faults),
    )


def _rows(
    tree: Mapping[str, object], path: str, name: str, read: Callable[[object], _T], faults: list[Fault]
) -> Iterator[tuple[str, _T]]:
    """The members of an array with their paths; those that `read` refuses are faults."""
    rows = tree.get(name, [])
    path = step(path, name)
    if not isinstance(rows, list) or len(rows) > MOST_REGISTERS:
        faults.append(Fault(path, f"expected an array of at most {MOST_REGISTERS}, got {short(rows)}"))
        return
    for index, row in enumerate(rows):
        try:
            yield step(path, index), read(row)
        except ValueError as bad:
            faults.append(Fault(step(path, index), str(bad)))


_K = TypeVar("_K", bound=int)


def _unique(rows: Iterable[tuple[str, tuple[_K, Bits]]], faults: list[Fault]) -> dict[_K, Bits]:
    found: dict[_K, Bits] = {}
    for path, (key, bits) in rows:
        if key in found:
            what = name_of(key) or key.hex if isinstance(key, RegId) else f"index {key}"
            faults.append(Fault(path, f"expected {what} once, got it twice"))
        found[key] = bits
    return found


def _capability(row: object) -> tuple[int, bool]:
    match = _CAPABILITY.fullmatch(row) if isinstance(row, str) else None
    if match is None or int(match[1]) >> 32:
        raise ValueError(f'expected a capability such as "170" or "!170", got {short(row)}')
    return int(match[1]), not match[0].startswith("!")


def _feature_word(row: object) -> tuple[int, Bits]:
    index, bitmap = _members(row, "index", "bitmap")
    if type(index) is not int or not 0 <= index < FEATURE_WORDS:
        raise ValueError(f"expected an index 0..{FEATURE_WORDS - 1}, got {short(index)}")
    return index, _bits(bitmap, 32, padded=False)


def _modifier(row: object, *, padded: bool) -> tuple[RegId, Bits]:
    address, bitmap = _members(row, "addr", "bitmap")
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        raise ValueError(f"expected an id such as 0x603000000013c020 as addr, got {short(address)}")
    reg = RegId(int(address, 0))
    if 8 * reg.size not in WIDTHS or not reg.is_arm64:
        raise ValueError(f"expected an arm64 register of 32, 64 or 128 bits, got {reg.hex}")
    try:
        return reg, _bits(bitmap, 8 * reg.size, padded=padded)
    except ValueError as bad:
        raise ValueError(f"{name_of(reg) or reg.hex}: {bad}") from None


def _members(row: object, *names: str) -> list[object]:
    if not isinstance(row, dict) or row.keys() != set(names):
        raise ValueError(f"expected an object with {' and '.join(names)}, got {_shown(row)}")
    return [row[name] for name in names]


def _shown(row: object) -> str:
    return f"members {', '.join(map(short, row))}"[:200] if isinstance(row, dict) else short(row)


def _bits(text: object, width: int, *, padded: bool) -> Bits:
    if not isinstance(text, str) or len(text) > 400:
        raise ValueError(f"expected a bit pattern such as 0b01xx, got {short(text)}")
    return Bits.parse(text, width, padded=padded)


# -- writing ---------------------------------------------------------------------------------------


def write_template(guest: GuestCpu, hosts: Sequence[Initial] = ()) -> Written:
    """The template under which every one of `hosts` gives this vCPU.

    It sets the ID fields in which some host starts differently, and keeps the rest; given no
    hosts it sets every bit of every register that `guest` has a value for.
    """
    words = _wanted_word(guest)
    registers = _wanted_registers(guest, hosts)
    template = {
        "kvm_capabilities": [str(int(cap)) for feature, cap in _CAP_OF.items() if feature in guest.features],
        "vcpu_features": [{"index": index, "bitmap": str(bits)} for index, bits in words.items()],
        "reg_modifiers": [
            {"addr": reg.hex, "bitmap": str(bits)} for reg, bits in sorted(registers.items()) if bits.mask
        ],
    }
    lost, needs = _fine_print(guest, registers)
    return Written(text=json.dumps(template, indent=2) + "\n", lost=lost, needs=needs)


def _wanted_word(guest: GuestCpu) -> dict[int, Bits]:
    wanted = sum(1 << BITS_7_3[feature] for feature in _CAP_OF if feature in guest.features)
    unwanted = 0 if F.PSCI_0_2 in guest.features else 1 << BITS_7_3[F.PSCI_0_2]
    return {0: Bits(32, wanted | unwanted, wanted)} if wanted | unwanted else {}


def _wanted_registers(guest: GuestCpu, hosts: Sequence[Initial]) -> dict[RegId, Bits]:
    registers = {reg: Bits(64, _ALL, value) for reg, value in identity_changes(guest, hosts).items()}
    for part, value in changes(guest, hosts):
        reg = id_of(part.register)
        before = registers.get(reg, Bits(64, 0, 0))
        registers[reg] = Bits(64, before.mask | part.mask, part.insert(before.value, value))
    registers |= {reg: Bits(64, _ALL, value) for reg, value in guest.bitmaps.items()}
    if guest.psci_version is not None:
        registers[_PSCI_VERSION] = Bits(64, _ALL, guest.psci_version)
    return registers


_ALL = (1 << 64) - 1


def _fine_print(guest: GuestCpu, registers: Mapping[RegId, Bits]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    lost = [
        f"{feature}: Firecracker does not set up what this feature needs"
        for feature in F
        if feature in guest.features - _ALWAYS - _CAP_OF.keys()
    ]
    if guest.sve:
        lost.append(
            f"SVE vector lengths {guest.sve}: a template holds no register wider than 128 bits, so each host "
            "gives all that it has"
        )
    needs = []
    identity = [name_of(reg) for reg in identity_changes(guest, ()) if reg in registers]
    if identity:
        needs.append(
            f"a Firecracker that enables KVM_CAP_ARM_WRITABLE_IMP_ID_REGS (#6116): {', '.join(identity)}"
        )
    if registers.keys() - identity_changes(guest, ()).keys() - guest.bitmaps.keys() - {_PSCI_VERSION}:
        needs.append(
            "a host kernel that lets a VM have these ID register values: Firecracker does not read them back"
        )
    return tuple(lost), tuple(needs)
