"""Call sequences with a bias to the edges: phases, sizes, offsets, vector lengths, ID fields, several vCPUs.

A sequence is a pure function of a seed, its number and the ground, so that a campaign can be spread,
interrupted and repeated. Nothing is assumed of what calls answer: a step whose vCPU came to nothing
is left out when the sequence is carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from armkvm.abi import vls
from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegClass, RegId
from armkvm.abi.structs import VCPU_EVENTS, DeviceType, VcpuAttr
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.encoding import SysReg
from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import parse
from armkvm.fuzzing.ground import Ground
from armkvm.traces.stage import REGISTERS

Step = dict[str, Any]

_PSTATE, _VLS = parse("PSTATE"), RegId.sve_vls()
_MODES = (0x3C5, 0x3C9, 0x3C4, 0x0, 0x10, 0x13, 0x1D3, 0x3CD, 0x1F, 0x4)
_FLIPPED_BITS = (0, 1, 2, 5, 16, 17, 28, 32, 52, 53, 54, 55, 61)
_CAPS = (Cap.ARM_MTE, Cap.ARM_WRITABLE_IMP_ID_REGS, Cap.ARM_NISV_TO_USER, Cap.ARM_SYSTEM_SUSPEND, 199, 1000)
_VCPU_IDS = (0, 1, 2, 7, 511, 512, 1 << 31)
_VM_TYPES = (0, 0, 0, 31, 32, 40, 48, 52, 53, 1 << 8, 1 << 31)
_MP_STATES = (0, 3, 10, 1, 255)
_MOST_VCPUS = 3


class Generator:
    """Makes sequences for one ground."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._core = ground.of_class(RegClass.CORE)
        self._system = ground.of_class(RegClass.SYSREG)
        self._all = list(ground.initial)
        self._feature_sets = _feature_sets(ground.features)

    def sequence(self, seed: int, number: int) -> list[Step]:
        """The steps of one sequence, without answers."""
        return _Writer(self._ground, self, Random(f"{seed}/{number}")).write()

    # -- what calls are made of ------------------------------------------------------------------

    def features(self, random: Random) -> list[str | int]:
        return list(random.choice(self._feature_sets))

    def reg(self, random: Random) -> RegId:
        """A register: mostly one there is, sometimes its neighbour in size, slice, number or class."""
        pick = random.choice
        choices: tuple[tuple[float, Callable[[], int]], ...] = (
            (0.15, lambda: pick(self._core)),
            (0.15, lambda: pick(self._system)),
            (0.16, lambda: pick(self._ground.writable_ids)),
            (
                0.05,
                lambda: RegId.sysreg(
                    SysReg.of(3, pick((0, 0, 0, 1, 3)), 0, _below(random, 8), _below(random, 8))
                ),
            ),
            (0.06, lambda: pick((RegId.firmware, RegId.bitmap))(_below(random, 5))),
            (0.04, lambda: RegId.ccsidr(_below(random, 14)) ^ pick((0, 0, 0, 1 << 8, 1 << 52))),
            (0.10, lambda: _resized(RegId.z(_below(random, 32), pick((0, 0, 0, 0, 1, 31))), random)),
            (0.08, lambda: _resized(RegId.p(_below(random, 16), pick((0, 0, 0, 1))), random)),
            (0.03, lambda: RegId.ffr(pick((0, 0, 0, 1)))),
            (0.06, lambda: _VLS),
            (0.05, lambda: RegId.v(_below(random, 32))),
            (0.03, lambda: _PSTATE),
            (0.04, lambda: pick(self._all) ^ 1 << pick(_FLIPPED_BITS)),
        )
        return RegId(random.choices([make for _, make in choices], [weight for weight, _ in choices])[0]())

    def value(self, reg: RegId, random: Random) -> bytes:
        """Contents to write: near what the register holds at first, or at the ends of its range."""
        now = self._ground.initial.get(reg, bytes(reg.size))
        if reg == _VLS:
            return self._lengths(random)
        if reg == _PSTATE and random.random() < 0.8:
            return random.choice(_MODES).to_bytes(8, "little")
        return _mutated(now, random)

    def _lengths(self, random: Random) -> bytes:
        have, kind = self._ground.sve, random.random()
        most = random.choice(list(have)) if have else 1
        if kind < 0.5:
            return vls.encode(VectorLengths(vq for vq in have if vq <= most) if have else VectorLengths((1,)))
        if kind < 0.7:
            return vls.encode(VectorLengths(random.sample(range(1, 17), _below(random, 6))))
        if kind < 0.85:
            return vls.encode(VectorLengths((1, 2, 4, 8, 16)[: _below(random, 6)]))
        number = int.from_bytes(vls.encode(have), "little")
        return (number ^ 1 << random.choice((0, 1, 2, 3, 15, 16, 63, 64, 511))).to_bytes(64, "little")


def _below(random: Random, limit: int) -> int:
    return random.randrange(limit)


def _in_id_space(random: Random) -> RegId:
    return RegId.sysreg(SysReg.of(3, random.choice((0, 0, 0, 1, 3)), 0, _below(random, 8), _below(random, 8)))


def _resized(reg: RegId, random: Random) -> int:
    """The id, one in five times with another size in it."""
    return reg if random.random() < 0.8 else reg & ~(0xF << 52) | random.choice((3, 4, 5, 7, 8)) << 52


def _mutated(now: bytes, random: Random) -> bytes:
    number, size, kind = int.from_bytes(now, "little"), len(now), random.random()
    if kind < 0.25:
        return now
    if kind < 0.75:  # one field of four bits, up, down or to an end
        shift = 4 * _below(random, 2 * size)
        old = number >> shift & 15
        new = random.choice((0, 15, old + 1 & 15, old - 1 & 15, _below(random, 16)))
        return (number & ~(15 << shift) | new << shift).to_bytes(size, "little")
    if kind < 0.82:
        return bytes(size)
    if kind < 0.87:
        return b"\xff" * size
    return bytes((_below(random, 256),)) * size if kind < 0.93 else random.randbytes(size)


def _feature_sets(offered: Sequence[F]) -> list[list[str | int]]:
    """Sets to initialise with: what the place has, in parts and whole; and what no place takes."""
    base: list[str | int] = [F.PSCI_0_2.value]
    sets: list[list[str | int]] = [[], base, base, [f.value for f in offered]]
    vectors = [f.value for f in (F.SVE, F.SME) if f in offered]
    for vector in vectors:
        own = [*base, vector]
        sets += [own] * 3 + [[vector], [*own, F.PMU_V3.value], [*own, F.POWER_OFF.value]]
    pointer = [F.PTRAUTH_ADDRESS.value, F.PTRAUTH_GENERIC.value]
    sets += [[*base, more] for more in (F.PMU_V3.value, F.POWER_OFF.value, F.EL1_32BIT.value, 9, 31)]
    sets += [[*base, *pointer], [*base, pointer[0]], [*base, F.HAS_EL2.value], [F.SVE.value, *base]]
    return sets


class _Writer:
    """One sequence in the making."""

    def __init__(self, ground: Ground, generator: Generator, random: Random) -> None:
        self._ground, self._make, self._random = ground, generator, random
        self._steps: list[Step] = []
        self._vcpus: list[int] = []  # by VM: how many it would have
        self._features: list[str | int] = generator.features(random)

    def write(self) -> list[Step]:
        self._vm()
        for _ in range(self._random.randrange(4, 20)):
            self._call()
        for vm, count in enumerate(self._vcpus):
            for vcpu in range(count):
                self._add("KVM_GET_REG_LIST", {"vm": vm, "vcpu": vcpu})
                self._add(REGISTERS, {"vm": vm, "vcpu": vcpu})
        return self._steps

    def _add(self, ioctl: str, about: Step, **arguments: object) -> None:
        self._steps.append({"ioctl": ioctl, **about, **arguments})

    def _vm(self) -> None:
        """A VM with a vCPU, mostly initialised, and where it has vectors often finalized."""
        random, vm = self._random, {"vm": len(self._vcpus)}
        self._add("KVM_CREATE_VM", {}, type=random.choice(_VM_TYPES) if random.random() < 0.1 else 0)
        self._vcpus.append(0)
        if random.random() < 0.06:
            self._add("KVM_ENABLE_CAP", vm, cap=int(random.choice(_CAPS)), args=[])
        if random.random() < 0.05:
            self._add("KVM_CREATE_DEVICE", vm, type=int(DeviceType.ARM_VGIC_V3), flags=0)
        self._vcpu(vm["vm"], 0)
        about = {**vm, "vcpu": 0}
        if {F.SVE.value, F.SME.value} & set(self._features) and random.random() < 0.6:
            if random.random() < 0.5:
                self._set(about, _VLS)
            if random.random() < 0.8:
                self._add("KVM_ARM_VCPU_FINALIZE", about, feature=F.SVE.value)

    def _vcpu(self, vm: int, number: int) -> None:
        self._add("KVM_CREATE_VCPU", {"vm": vm}, id=number)
        self._vcpus[vm] += 1
        if self._random.random() < 0.95:
            about = {"vm": vm, "vcpu": self._vcpus[vm] - 1}
            self._add("KVM_ARM_VCPU_INIT", about, features=self._features)

    def _set(self, about: Step, reg: RegId) -> None:
        value = self._make.value(reg, self._random).hex()
        self._add("KVM_SET_ONE_REG", about, id=reg.hex, value=value)

    def _call(self) -> None:
        random = self._random
        vm = random.randrange(len(self._vcpus))
        about = {"vm": vm, "vcpu": random.randrange(max(1, self._vcpus[vm]))}
        weights, calls = zip(*_CALLS, strict=True)
        random.choices(calls, weights)[0](self, about)

    # -- one call each ---------------------------------------------------------------------------

    def get_reg(self, about: Step) -> None:
        self._add("KVM_GET_ONE_REG", about, id=self._make.reg(self._random).hex)

    def set_reg(self, about: Step) -> None:
        self._set(about, self._make.reg(self._random))

    def null(self, about: Step) -> None:
        ioctl = self._random.choice(("KVM_GET_ONE_REG", "KVM_SET_ONE_REG"))
        self._add(ioctl, about, id=self._make.reg(self._random).hex, addr="0x0")

    def list(self, about: Step) -> None:
        self._add("KVM_GET_REG_LIST", about, n=self._random.choice((4096, 4096, 0, 10)))

    def finalize(self, about: Step) -> None:
        features = (F.SVE.value, F.SVE.value, F.SVE.value, 0, 5, 9, -1)
        self._add("KVM_ARM_VCPU_FINALIZE", about, feature=self._random.choice(features))

    def init(self, about: Step) -> None:
        again = self._random.random() < 0.7
        features = self._features if again else self._make.features(self._random)
        self._add("KVM_ARM_VCPU_INIT", about, features=features)

    def run(self, about: Step) -> None:
        self._add("KVM_RUN", about, immediate_exit=True)

    def state(self, about: Step) -> None:
        random = self._random
        if random.random() < 0.5:
            self._add(random.choice(("KVM_GET_MP_STATE", "KVM_GET_VCPU_EVENTS")), about)
        elif random.random() < 0.5:
            state = random.choice(_MP_STATES)
            self._add("KVM_SET_MP_STATE", about, value=state.to_bytes(4, "little").hex())
        else:
            events = bytearray(VCPU_EVENTS.size)
            events[:3] = bytes(random.choice((0, 1)) for _ in range(3))
            if random.random() < 0.2:  # reserved, or a syndrome
                events[random.randrange(20)] = random.choice((1, 255))
            self._add("KVM_SET_VCPU_EVENTS", about, value=bytes(events).hex())

    def another_vcpu(self, about: Step) -> None:
        count = self._vcpus[about["vm"]]
        if count < _MOST_VCPUS:
            edge = self._random.random() < 0.2
            if self._random.random() < 0.2:
                self._features = self._make.features(self._random)
            self._vcpu(about["vm"], self._random.choice(_VCPU_IDS) if edge else count)

    def another_vm(self, _: Step) -> None:
        if len(self._vcpus) < 2:
            self._vm()

    def enable_cap(self, about: Step) -> None:
        self._add("KVM_ENABLE_CAP", {"vm": about["vm"]}, cap=int(self._random.choice(_CAPS)), args=[])

    def masks(self, about: Step) -> None:
        range_ = self._random.choice((0, 0, 1))
        self._add("KVM_ARM_GET_REG_WRITABLE_MASKS", {"vm": about["vm"]}, range=range_)

    def attribute(self, about: Step) -> None:
        group = self._random.choice((VcpuAttr.PMU_V3, VcpuAttr.TIMER, VcpuAttr.PVTIME, 3))
        self._add("KVM_HAS_DEVICE_ATTR", about, group=group, attr=hex(self._random.randrange(6)))


_CALLS: tuple[tuple[float, Callable[[_Writer, Step], None]], ...] = (
    (0.28, _Writer.get_reg),
    (0.35, _Writer.set_reg),
    (0.02, _Writer.null),
    (0.05, _Writer.list),
    (0.06, _Writer.finalize),
    (0.06, _Writer.init),
    (0.05, _Writer.run),
    (0.04, _Writer.state),
    (0.04, _Writer.another_vcpu),
    (0.01, _Writer.another_vm),
    (0.01, _Writer.enable_cap),
    (0.01, _Writer.masks),
    (0.02, _Writer.attribute),
)
