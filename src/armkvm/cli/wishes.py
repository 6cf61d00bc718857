"""Options that say what VM to make, for the verbs that make one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from armkvm.abi.caps import Cap
from armkvm.abi.vcpu_features import FEATURE_BITS_MAX, VcpuFeature
from armkvm.arch.vectors import VectorLengths
from armkvm.cli.outcome import UsageError
from armkvm.migration.move import Wanted, usual_features
from armkvm.migration.snapshot import EnabledCap, VmConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from armkvm.backends.base import Feature, System


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    parser.add_argument(
        "--features",
        type=parse_features,
        metavar="F,F",
        help="vCPU features such as PSCI_0_2,SVE (default: PSCI_0_2 and the vectors the place has)",
    )
    parser.add_argument(
        "--vls", type=parse_lengths, metavar="VQS", help="SVE lengths in quadwords: 1,2,4 or 1-4"
    )
    parser.add_argument("--sme-vls", type=parse_lengths, metavar="VQS", help="SME lengths in quadwords")
    parser.add_argument(
        "--svcr", type=int, choices=range(4), metavar="0..3", help="streaming mode on (1), ZA on (2), or both"
    )
    parser.add_argument(
        "--vcpus", type=parse_count, default=1, metavar="N", help="how many vCPUs (default 1)"
    )
    parser.add_argument(
        "--cap",
        type=parse_cap,
        action="append",
        default=[],
        metavar="CAP",
        help="enable it on the VM: ARM_MTE",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="fills the registers (default 0)")


def wanted(args: argparse.Namespace, system: System) -> Wanted:
    """The VM that was asked for, on that place."""
    return Wanted(
        features=usual_features(system) if args.features is None else args.features,
        vls=args.vls,
        sme_vls=args.sme_vls,
        svcr=args.svcr,
        vcpus=args.vcpus,
        vm=VmConfig(caps=tuple(args.cap)),
    )


def parse_features(text: str) -> tuple[Feature, ...]:
    """``PSCI_0_2,SVE``: names, or bit numbers for what has none."""
    return tuple(_feature(word.strip()) for word in text.split(",") if word.strip())


def named_features(features: Sequence[Feature]) -> frozenset[VcpuFeature]:
    """Features for many hosts: those with a name, for a bit's meaning is one kernel's."""
    for feature in features:
        if not isinstance(feature, VcpuFeature):
            raise UsageError(f"bit {feature} is not the same feature under every kernel; name the feature")
    return frozenset(feature for feature in features if isinstance(feature, VcpuFeature))


def _feature(word: str) -> Feature:
    if word.isdecimal() and int(word) < FEATURE_BITS_MAX:
        return int(word)
    try:
        return VcpuFeature(word.upper().removeprefix("KVM_ARM_VCPU_"))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"no vCPU feature is called {word!r}; there are {', '.join(VcpuFeature)}, and bit numbers"
        ) from None


def parse_lengths(text: str) -> VectorLengths:
    """``1,2,4`` or ``1-4``, in quadwords."""
    try:
        parsed = VectorLengths.parse(text)
    except ValueError as bad:
        raise argparse.ArgumentTypeError(str(bad)) from None
    if not parsed:
        raise argparse.ArgumentTypeError("a set of vector lengths has at least one, such as 1,2,4")
    return parsed


def parse_cap(text: str) -> EnabledCap:
    """``ARM_MTE``, or a capability with arguments, ``HALT_POLL,0``."""
    name, *arguments_ = text.upper().removeprefix("KVM_CAP_").split(",")
    try:
        number = Cap[name] if name in Cap.__members__ else int(name, 0)
        return EnabledCap(number, tuple(int(word, 0) for word in arguments_))
    except ValueError:
        raise argparse.ArgumentTypeError(f"no capability, such as ARM_MTE or HALT_POLL,0: {text!r}") from None


def parse_count(text: str) -> int:
    """A number of vCPUs."""
    if not text.isdecimal() or not 1 <= int(text) <= 512:
        raise argparse.ArgumentTypeError(f"a number of vCPUs is 1..512, not {text!r}")
    return int(text)
