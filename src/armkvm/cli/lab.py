"""``armkvm lab setup|ls|run|shell|clear``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from armkvm.backends.lab import commands
from armkvm.backends.lab.place import LabOptions
from armkvm.backends.lab.setup import DEFAULT_KERNELS, apply, intention, plan
from armkvm.backends.lab.shelf import Shelf
from armkvm.backends.locate import parse
from armkvm.cli.outcome import DONE, Outcome, UsageError
from armkvm.cli.terminal import say
from armkvm.report import laboratory

_URI = "lab:max"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's words and options."""
    words = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, says, declare in (
        ("setup", "fetch kernels, a runtime and, if the system's will not do, QEMU; says first what", _setup),
        ("ls", "list what is there", _shelf),
        ("run", "run a command inside a lab; its exit code becomes armkvm's", _run),
        ("shell", "boot a lab whose console is this terminal", _place),
        ("clear", "forget the booted machines that were saved", _shelf),
    ):
        own = words.add_parser(name, help=says, description=f"{says[0].upper()}{says[1:]}.")
        own.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print the result as JSON"
        )
        declare(own)


def _shelf(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cache", type=Path, metavar="DIR", help="the lab's folder, if not the usual one")


def _setup(parser: argparse.ArgumentParser) -> None:
    _shelf(parser)
    parser.add_argument(
        "--kernel",
        action="append",
        metavar="VERSION",
        help=f"a kernel to fetch, as 6.12 or newest-1; may be repeated ({', '.join(DEFAULT_KERNELS)})",
    )
    parser.add_argument("--mirror", default="", metavar="URL", help="a Debian mirror, if not the system's")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be fetched")


def _place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--on", default=_URI, metavar="URI", help=f"which lab ({_URI})")


def _run(parser: argparse.ArgumentParser) -> None:
    _place(parser)
    parser.add_argument(
        "--put", action="append", default=[], metavar="FILE=PATH", help="copy a file there first; repeatable"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="what to run")


def run(args: argparse.Namespace) -> Outcome:
    """Do what was asked of the lab."""
    if args.action == "setup":
        return _set_up(args)
    if args.action == "ls":
        state = commands.ls(Shelf(args.cache))
        return Outcome(DONE, laboratory.text(state), laboratory.tree(state))
    if args.action == "clear":
        freed = commands.clear(Shelf(args.cache))
        return Outcome(DONE, [f"freed {freed / 1e6:,.0f} MB"], {"freed_bytes": freed})
    options = _options(args.on)
    if args.action == "shell":
        status = commands.shell(options)
        return Outcome(status, [], {"status": status})
    return _command(args, options)


def _options(uri: str) -> LabOptions:
    scheme, cpu, options = parse(uri)
    if scheme != "lab":
        raise UsageError(f"--on {uri}: this needs a lab, as {_URI}?kernel=6.12")
    return LabOptions.parse(cpu, options)


def _set_up(args: argparse.Namespace) -> Outcome:
    from armkvm.backends.lab.apt import Apt

    shelf = Shelf(args.cache)
    apt = Apt(shelf.apt, args.mirror)
    for line in intention(shelf, apt):
        say(line)
    steps = plan(shelf, apt, args.kernel or DEFAULT_KERNELS)
    lines = steps.describe()
    tree = {"plan": lines, "download_bytes": steps.download_bytes, "folder": str(shelf.path)}
    if args.dry_run:
        return Outcome(DONE, lines, {**tree, "done": False})
    for line in lines:
        say(line)
    apply(steps, say)
    return Outcome(DONE, [f"the lab is ready in {shelf.path}"], {**tree, "done": True})


def _command(args: argparse.Namespace, options: LabOptions) -> Outcome:
    words = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not words:
        raise UsageError("lab run needs a command, as in `armkvm lab run uname -r`")
    files = {}
    for pair in args.put:
        source, equals, target = pair.rpartition("=")
        if not equals or not source or not target.startswith("/"):
            raise UsageError(f"--put {pair}: write FILE=PATH, with an absolute path inside the lab")
        files[target] = Path(source).read_bytes()
    if not args.json:
        status = commands.run(options, words, files=files, out=_to(1), err=_to(2))
        return Outcome(status, [], {})
    out, err = bytearray(), bytearray()
    status = commands.run(options, words, files=files, out=out.extend, err=err.extend)
    tree = {"status": status, "out": out.decode("utf-8", "replace"), "err": err.decode("utf-8", "replace")}
    return Outcome(status, [], tree)


def _to(fd: int) -> commands.Output:
    stream = sys.stdout if fd == 1 else sys.stderr

    def write(data: bytes) -> None:
        stream.buffer.write(data)
        stream.flush()

    return write
