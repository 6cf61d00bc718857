"""Finding a host: built in by name, or in a file; and the kernel it is seen through.

Built-in hosts are resources, ``builtin/PROFILE/NAME.json``: one file for each kernel that a CPU was
recorded under. A host file is `armkvm.hosts.hostfile`'s form or a whole recording.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from armkvm.documents import Limits, parse_json, read_bounded
from armkvm.errors import Fault, InputError, MissingFacts, UnknownPlace
from armkvm.hosts import hostfile, recording
from armkvm.model.profile import PROFILES, KernelProfile, profile_named
from armkvm.state import HostFacts
from armkvm.value import replace

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = Limits(size=64 << 20, depth=16, items=4_000_000)


def is_file(text: str) -> bool:
    """Whether a host is named by a file: anything with a slash or ending in .json."""
    return "/" in text or text.endswith(".json")


def find(text: str, kernel: str | None = None) -> tuple[HostFacts, KernelProfile]:
    """A host by name or file, and the profile it is seen through.

    `kernel` is ``KERNEL[+BEHAVIOUR]...``; None takes the profile that the facts name, or the nearest
    older one, which a note of the facts then says. UnknownPlace for names that are none, InputError
    for a bad file, MissingFacts where the facts do not suffice for that kernel.
    """
    if is_file(text):
        from pathlib import Path

        return seen_through(read(Path(text)), kernel)
    return seen_through(builtin(text, None if kernel is None else _profile(kernel).release), kernel)


def seen_through(
    facts: HostFacts, kernel: str | None = None, *, assume: bool = False
) -> tuple[HostFacts, KernelProfile]:
    """Facts as `find` gives them: under a profile that exists, or the one asked for.

    `assume`: what only a newer kernel would tell is taken as not there, which a note says.
    """
    facts = at_home(facts)
    if kernel is None:
        try:
            return facts, PROFILES[facts.profile].as_seen(facts.behaviours)
        except ValueError as error:
            raise UnknownPlace(f"{facts.name}: what was seen of its kernel cannot be: {error}") from None
    from armkvm.hosts.derive import derive

    profile = _profile(kernel)
    return derive(facts, profile.release, assume=assume), profile


def _profile(kernel: str) -> KernelProfile:
    try:
        return profile_named(kernel)
    except ValueError as error:
        raise UnknownPlace(str(error)) from None


def at_home(facts: HostFacts) -> HostFacts:
    """The facts under a profile that exists: their own, or the nearest older one with a note."""
    if facts.profile in PROFILES:
        return facts
    asked = _version(facts.profile)
    older = [name for name in PROFILES if (known := _version(name)) and asked and known <= asked]
    if not older:
        raise MissingFacts(facts.name, "be modelled", [f"how kernel {facts.profile} behaves"])
    nearest = max(older, key=_version)
    note = (
        f"no profile of kernel {facts.profile} is known; the nearest older one, {nearest}, stands in for it"
    )
    return replace(facts, profile=nearest, notes=(*facts.notes, note))


def _version(profile: str) -> tuple[int, ...]:
    """A release as numbers that compare; () for a profile that is no release."""
    parts = profile.split(".")
    return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else ()


# -- built-in hosts --------------------------------------------------------------------------------


@cache
def names() -> dict[str, tuple[str, ...]]:
    """Built-in hosts, each with the profiles it has facts for, oldest first."""
    found: dict[str, list[str]] = {}
    for profile in _profiles():
        for path in sorted((_folder() / profile).glob("*.json")):
            found.setdefault(path.stem, []).append(profile)
    return {name: tuple(found[name]) for name in sorted(found)}


def _profiles() -> list[str]:
    folders = [path.name for path in _folder().iterdir() if path.is_dir()]
    return sorted(folders, key=lambda name: (_version(name) == (), _version(name), name))


def _folder() -> Path:
    from pathlib import Path

    return Path(__file__).with_name("builtin")


def is_builtin(name: str) -> bool:
    """Whether a built-in host is called so."""
    return name in names()


def builtin(name: str, profile: str | None = None) -> HostFacts:
    """A built-in host as recorded under `profile`, else the kernel that is modelled on, else the newest."""
    known = names()
    if name not in known:
        from difflib import get_close_matches

        near = get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "`armkvm hosts` lists them"
        raise UnknownPlace(
            f"no built-in host is called {name!r}; {hint} (a file has a slash or ends in .json)"
        )
    model = PROFILES[profile].id_table if profile in PROFILES else None
    recorded = next((kernel for kernel in (profile, model) if kernel in known[name]), known[name][-1])
    return read(_folder() / str(recorded) / f"{name}.json")


def updated(facts: HostFacts, kernel: str) -> HostFacts:
    """A host as it would be with a newer kernel: as recorded, if it is built in and was, else assumed."""
    profile = _profile(kernel).release
    if profile in names().get(facts.name, ()) and facts == builtin(facts.name, facts.profile):
        return builtin(facts.name, profile)
    return seen_through(facts, kernel, assume=True)[0]


def builtins() -> Iterator[HostFacts]:
    """Every built-in host under the newest kernel it has facts for."""
    return map(builtin, names())


# -- files -----------------------------------------------------------------------------------------


def read(path: Path) -> HostFacts:
    """The host in a file: distilled, or a recording. InputError with all that is wrong."""
    return from_tree(*load_tree(path), path.stem, str(path))


def load_tree(path: Path | str) -> tuple[object, list[Fault]]:
    """The document in a file, with the faults that every document can have."""
    return parse_json(read_bounded(path, LIMITS.size), str(path), LIMITS)


def from_tree(tree: object, faults: list[Fault], name: str, source: str) -> HostFacts:
    """The host in a parsed document."""
    if not isinstance(tree, dict) or not {"format", "schema"} & tree.keys():
        ours = f'"format": "{hostfile.FORMAT}" or "schema": "{recording.SCHEMA}"'
        expected = f'{ours}, or the "guest_cpu_config" of a Firecracker fingerprint'
        raise InputError(source, [*faults, Fault("$", f"expected an object with {expected}")])
    try:
        host = hostfile.decode(tree, source) if "format" in tree else recording.read(tree, name, source)
    except InputError as bad:
        raise InputError(source, [*faults, *bad.faults]) from None
    if faults:
        raise InputError(source, faults)
    return host
