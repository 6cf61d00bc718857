"""What a word on the command line names: a host, built in or in a file, a live place, or a snapshot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from armkvm.backends.locate import PLACES
from armkvm.backends.model import ModelSystem
from armkvm.cli.outcome import UsageError
from armkvm.cli.places import open_place, tell
from armkvm.errors import UnknownPlace
from armkvm.hosts import library
from armkvm.migration import codec, files

if TYPE_CHECKING:
    from armkvm.backends.base import System
    from armkvm.migration.snapshot import Snapshot
    from armkvm.model.profile import KernelProfile
    from armkvm.state import HostFacts

FORMS = (
    "a host (built in, or a host file, recording or Firecracker fingerprint; HOST?kernel=PROFILE sees it "
    "through another kernel) or a place's URI"
)


def host_or_place(word: str) -> System:
    """The place a word names: a URI's, or the model of a host."""
    scheme, colon, _ = word.partition(":")
    if colon and scheme in PLACES:
        return open_place(word)
    facts, profile = host(word)
    return tell(ModelSystem(facts, profile, word), word)


def snapshot(word: str) -> Snapshot | None:
    """The snapshot a word names, if it names one."""
    name, _ = _split(word)
    if not library.is_file(name) or not Path(name).is_file():
        return None
    tree, _ = library.load_tree(Path(name))
    if isinstance(tree, dict) and tree.get("format") == codec.FORMAT:
        return files.load(Path(name))
    return None


def host(word: str) -> tuple[HostFacts, KernelProfile]:
    """A host by name or file, seen through its own kernel or the one the word asks for."""
    name, kernel = _split(word)
    if not library.is_file(name):
        return library.find(name, kernel)
    path = Path(name)
    tree, faults = library.load_tree(path)
    if isinstance(tree, dict) and "guest_cpu_config" in tree:
        return _fingerprint(path, kernel)
    return library.seen_through(library.from_tree(tree, faults, path.stem, str(path)), kernel)


def _fingerprint(path: Path, kernel: str | None) -> tuple[HostFacts, KernelProfile]:
    from armkvm.exchange.assumed import host_facts
    from armkvm.exchange.firecracker import LIMITS, read_fingerprint

    with path.open("rb") as file:
        data = file.read(LIMITS.size + 1)
    try:
        facts = host_facts(read_fingerprint(data, str(path)), path.stem, treat_as=kernel)
    except ValueError as bad:
        raise UsageError(f"{path}: {bad}") from None
    return library.seen_through(facts)


def _split(word: str) -> tuple[str, str | None]:
    """``HOST?kernel=PROFILE`` in two."""
    name, mark, option = word.rpartition("?") if "?" in word else (word, "", "")
    if not mark:
        return word, None
    key, _, kernel = option.partition("=")
    if key != "kernel" or not kernel:
        raise UnknownPlace(f"{word!r}: after the ? comes kernel=PROFILE")
    return name, kernel
