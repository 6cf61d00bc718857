"""``armkvm baseline HOST...``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from armkvm.cli import fleet, page, wishes
from armkvm.cli.outcome import DONE, FINDINGS, Outcome
from armkvm.cli.terminal import progress, say
from armkvm.migration.baseline import baseline
from armkvm.report import baselines

if TYPE_CHECKING:
    from armkvm.exchange.written import Written
    from armkvm.migration.baseline import Baseline
    from armkvm.migration.journeys import Difference
    from armkvm.state import GuestCpu

WRITERS = ("qemu", "libvirt", "kubevirt", "firecracker")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.epilog = (
        "exit codes: 0 there is a baseline, 1 there is none: obstacles and hosts to leave out follow"
    )
    fleet.arguments(parser)
    page.arguments(parser)
    parser.add_argument(
        "--features",
        type=wishes.parse_features,
        metavar="F,F",
        help="keep to these vCPU features (default: every one that all hosts offer)",
    )
    parser.add_argument(
        "--moves",
        action="store_true",
        help="make a VM to it on every kind of host, move it to every other, and tell what is in the way",
    )
    parser.add_argument(
        "--write", choices=WRITERS, metavar="FOR", help=f"print it for another program: {', '.join(WRITERS)}"
    )


def run(args: argparse.Namespace) -> Outcome:
    """Compute the baseline; findings if there is none."""
    hosts = fleet.gather(args.hosts, skip_broken=args.skip_broken)
    fleet.tell(hosts)
    wanted = None if args.features is None else wishes.named_features(args.features)
    found = baseline(hosts.offers, hosts.accepts, wanted, hosts.sizes)
    if args.html is not None:
        from armkvm.report.page import fleet as told

        page.write(args.html, told.baseline(page.fleet(hosts, None), found))
    status = DONE if found.guest is not None else FINDINGS
    alike = {kind.speaker: kind.hosts for kind in hosts.kinds}
    tree = {**baselines.tree(found), "alike": {name: list(members) for name, members in alike.items()}}
    parts = baselines.text(found, hosts.sizes)
    if args.moves and found.guest is not None:
        met = _journeys(found.guest, hosts)
        parts += baselines.journeys_text(met, hosts.sizes)
        tree["moves"] = baselines.journeys_tree(met)
    if args.write is None or found.guest is None:
        return Outcome(status, parts, tree)
    written = _written(args.write, found, hosts)
    for line in written.lost:
        say(f"not in it: {line}")
    for line in written.needs:
        say(f"needs {line}")
    tree["written"] = {"text": written.text, "lost": list(written.lost), "needs": list(written.needs)}
    return Outcome(status, [written.text.rstrip("\n")], tree)


def _journeys(guest: GuestCpu, hosts: fleet.Fleet) -> tuple[Difference, ...]:
    from armkvm.backends.model import ModelSystem
    from armkvm.migration.journeys import journeys

    places = {label: ModelSystem(host.facts, host.profile, label) for label, host in hosts.platforms.items()}
    return journeys(guest, places, lambda labels: progress(labels, "moving VMs"))


def _written(program: str, found: Baseline, hosts: fleet.Fleet) -> Written:
    from armkvm.exchange import firecracker, kubevirt, libvirt, qemu

    guest = found.guest
    assert guest is not None  # noqa: S101 - the caller looked
    initials = [hosts.accepts(speaker, guest.features).initial for speaker in hosts.offers]
    offered = frozenset.intersection(*hosts.offers.values())
    match program:
        case "qemu":
            return qemu.write_command_line(guest, initials, offered=offered)
        case "libvirt":
            return libvirt.write_domain(guest, initials, offered=offered)
        case "kubevirt":
            return kubevirt.write_vm(guest, initials)
        case _:
            return firecracker.write_template(guest, initials)
