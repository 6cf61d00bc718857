"""``armkvm pools HOST...``."""

from __future__ import annotations

import argparse

from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.backends.model import ModelSystem
from armkvm.cli import fleet, given, page, spread, wishes
from armkvm.cli.outcome import DONE, FINDINGS, Outcome, UsageError
from armkvm.cli.terminal import progress
from armkvm.migration.check import check_states
from armkvm.migration.pools import Kind, Partition, admit, partition
from armkvm.migration.snapshot import Snapshot
from armkvm.model.host import Platform
from armkvm.report import pooling, verdicts
from armkvm.report.pooling import Admitted, Takers


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.epilog = "exit codes: 0 one pool holds all, 1 it takes several, or what was asked for has no place"
    fleet.arguments(parser)
    page.arguments(parser)
    parser.add_argument(
        "--kernel",
        type=_reseated,
        action="append",
        default=[],
        metavar="HOST=PROFILE",
        help="what if this host, or all that a pattern such as 'web-*' names, got that kernel",
    )
    parser.add_argument(
        "--admit",
        action="append",
        default=[],
        metavar="HOST",
        help="what if this host, not one of the others, joined each pool",
    )
    parser.add_argument(
        "--keep",
        type=wishes.parse_features,
        default=(),
        metavar="F,F",
        help="never lose these features to a pool: SVE,SME",
    )
    parser.add_argument(
        "--vm", action="append", default=[], metavar="FILE", help="which hosts can take this snapshot's VM"
    )
    parser.add_argument(
        "--moves",
        action="store_true",
        help="between which kinds of hosts VMs can move that have all there is",
    )
    spread.arguments(parser)


def _reseated(text: str) -> tuple[str, str]:
    host, equals, profile = text.rpartition("=")
    if not equals or not host or not profile:
        raise argparse.ArgumentTypeError(f"say HOST=PROFILE, such as web-7=7.3, not {text!r}")
    return host, profile


def run(args: argparse.Namespace) -> Outcome:
    """Divide; findings if one pool does not do."""
    keep = wishes.named_features(args.keep)
    now = fleet.gather(args.hosts, skip_broken=args.skip_broken)
    before: Partition | None = None
    if args.kernel:
        before = _divided(now, keep)
        now = fleet.gather(args.hosts, skip_broken=args.skip_broken, kernels=dict(args.kernel))
    fleet.tell(now)
    pools = _divided(now, keep)
    admitted = [_admitted(host, now, pools) for host in args.admit]
    takers = [_takers(name, now) for name in args.vm]
    placed = all(any(each.possible for _, each in one.to) for one in admitted)
    placed = placed and all(one.hosts for one in takers)
    parts = pooling.text(pools, now.sizes, before, admitted, takers)
    tree = pooling.tree(pools, before, admitted, takers)
    arrived: dict[str, frozenset[str]] = {}
    if args.moves:
        arrived = spread.arrived(now, workers=args.workers, dask=args.dask)
        parts += verdicts.text(arrived, now.sizes)
        tree["moves"] = verdicts.tree(arrived)
    if args.html is not None:
        from armkvm.report.page import fleet as told

        drawn = page.fleet(now, pools, arrived)
        page.write(args.html, told.pools(drawn, pools, before, admitted, takers))
    return Outcome(DONE if len(pools.pools) == 1 and placed and not pools.unkept else FINDINGS, parts, tree)


def _divided(hosts: fleet.Fleet, keep: frozenset[VcpuFeature]) -> Partition:
    return partition(hosts.kinds, hosts.offers, hosts.accepts, keep)


def _admitted(word: str, hosts: fleet.Fleet, pools: Partition) -> Admitted:
    """What each pool says to a newcomer."""
    facts, profile = given.host(word)
    if word in hosts.offers:
        raise UsageError(f"{word} is one of the hosts; --admit asks about another")
    wider = hosts.joined_by(word, Platform(facts, profile))
    newcomer = Kind(speaker=word, hosts=(word,))
    return Admitted(
        word,
        tuple(
            (number, admit(pool, newcomer, wider.offers, wider.accepts))
            for number, pool in enumerate(pools.pools, start=1)
        ),
    )


def _takers(name: str, hosts: fleet.Fleet) -> Takers:
    """The hosts on which a restore of the snapshot succeeds in the model."""
    saved: Snapshot | None = given.snapshot(name)
    if saved is None:
        raise UsageError(f"{name} is no snapshot file; armkvm save writes one")
    able: list[str] = []
    for kind in progress(hosts.kinds, f"trying {name}"):
        platform = hosts.platforms[kind.speaker]
        if check_states(saved.vcpus, saved.vm, ModelSystem(platform.facts, platform.profile)).moves:
            able.extend(kind.hosts)
    return Takers(name, tuple(sorted(able)))
