"""The ordinary Debian package client with a state of its own.

Package lists, downloads and settings live in the lab's folder; the system's lists, its
configuration and its installed packages stay as they are. The system tells where it fetches
packages from (its mirror, its proxy) and which keys it trusts.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from armkvm.errors import PlaceError

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_TIMEOUT = 900.0
_RELEASE_OF_PYTHON = "bookworm"  # see `initramfs.GUEST_PYTHON`
_NEW_KERNELS = "trixie-backports"

_SETTINGS = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::Etc::sourcelist "{root}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "{root}/lists";
Dir::State::extended_states "{root}/extended_states";
Dir::Cache "{root}/cache";
Dir::Log "{root}/log";
Debug::NoLocking "true";
Acquire::Languages "none";
APT::Architectures {{ "{host}"; "arm64"; }};
APT::Sandbox::User "";
"""


@dataclass(frozen=True, slots=True)
class Package:
    """One package that would be fetched."""

    name: str
    architecture: str
    version: str
    size: int
    sha256: str

    @property
    def wanted(self) -> str:
        """How apt-get is asked for exactly this one."""
        return f"{self.name}:{self.architecture}={self.version}"


class Apt:
    """The client. `mirror` replaces the one the system uses."""

    def __init__(self, root: Path, mirror: str = "") -> None:
        self._root = root
        for program in ("apt-get", "apt-cache", "dpkg-deb", "dpkg"):
            if shutil.which(program) is None:
                raise PlaceError(
                    f"this machine has no {program}: the lab fetches Debian packages with Debian's client. "
                    "Elsewhere, set the lab up in a Debian container and copy its folder"
                )
        self.host = _output(["dpkg", "--print-architecture"]).strip()
        self.release = _release()
        self._mirror = mirror

    @property
    def downloads(self) -> Path:
        return self._root / "debs"

    def sources(self) -> list[str]:
        """The lines of the private sources list."""
        main, security = (self._mirror, "") if self._mirror else _mirrors()
        both = f"{self.host},arm64" if self.host != "arm64" else "arm64"
        suites = {
            _RELEASE_OF_PYTHON: (main, both),
            f"{_RELEASE_OF_PYTHON}-backports": (main, both),
            _NEW_KERNELS: (main, "arm64"),
        }
        if self.release != _RELEASE_OF_PYTHON:
            suites[self.release] = (main, self.host)
        if security:
            suites[f"{_RELEASE_OF_PYTHON}-security"] = (security, both)
        signed = f" signed-by={_KEYRING}" if Path(_KEYRING).exists() else ""
        return [f"deb [arch={arch}{signed}] {site} {suite} main" for suite, (site, arch) in suites.items()]

    def update(self) -> None:
        """Fetch the package lists, into the lab's folder."""
        for folder in ("lists", "cache/archives/partial", "log", "debs"):
            (self._root / folder).mkdir(parents=True, exist_ok=True)
        (self._root / "sources.list").write_text("\n".join(self.sources()) + "\n")
        (self._root / "apt.conf").write_text(_SETTINGS.format(root=self._root, host=self.host))
        self._run("apt-get", "update")

    def names(self, pattern: str) -> list[str]:
        """Names of known packages that a regular expression fits."""
        lines = self._run("apt-cache", "search", "--names-only", pattern).splitlines()
        return sorted(line.split(" ", 1)[0] for line in lines)

    def packages(self, names: Iterable[str], architecture: str) -> dict[str, Package]:
        """The newest version of each of `names` that is known."""
        asked = [f"{name}:{architecture}" for name in names]
        if not asked:
            return {}
        text = self._run("apt-cache", "show", "--no-all-versions", *asked)
        found = {}
        for paragraph in text.split("\n\n"):
            fields = dict(
                re.findall(r"^(Package|Version|Architecture|Size|SHA256): (.*)$", paragraph, re.MULTILINE)
            )
            if len(fields) == 5:
                package = Package(
                    fields["Package"],
                    fields["Architecture"],
                    fields["Version"],
                    int(fields["Size"]),
                    fields["SHA256"],
                )
                found[package.name] = package
        return found

    def missing_for(self, name: str, suite: str) -> list[Package]:
        """What installing `name` from `suite` would add to this machine; nothing is installed."""
        needed = set(self._depends(name))
        text = self._run("apt-get", "-s", "install", "--no-install-recommends", "-t", suite, name)
        found = []
        for line in text.splitlines():
            match = re.match(r"Inst (\S+) (?:\[\S+\] )?\((\S+) .*\[(\S+)\]\)", line)
            if match and match[1].split(":")[0] in needed:
                found.append((match[1].split(":")[0], match[2]))
        wanted = [f"{package}={version}" for package, version in found]
        sizes = self._run("apt-cache", "show", *wanted) if wanted else ""
        packages = []
        for paragraph in sizes.split("\n\n"):
            fields = dict(
                re.findall(r"^(Package|Version|Architecture|Size|SHA256): (.*)$", paragraph, re.MULTILINE)
            )
            if len(fields) == 5 and (fields["Package"], fields["Version"]) in found:
                found.remove((fields["Package"], fields["Version"]))
                packages.append(
                    Package(
                        fields["Package"],
                        self.host,
                        fields["Version"],
                        int(fields["Size"]),
                        fields["SHA256"],
                    )
                )
        return packages

    def _depends(self, name: str) -> list[str]:
        without = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
        switches = [f"--no-{kind}" for kind in without]
        text = self._run("apt-cache", "depends", "--recurse", *switches, name)
        return [line.split(":")[0] for line in text.splitlines() if line and not line.startswith((" ", "<"))]

    def download(self, packages: Sequence[Package]) -> list[Path]:
        """Fetch packages; their files, in order, sums compared."""
        from armkvm.backends.lab.debian import sha256

        folder = self.downloads
        absent = [package for package in packages if not _file(folder, package).exists()]
        if absent:
            self._run("apt-get", "download", *(package.wanted for package in absent), folder=folder)
        files = []
        for package in packages:
            path = _file(folder, package)
            if not path.exists() or sha256(path) != package.sha256:
                path.unlink(missing_ok=True)
                raise PlaceError(f"{package.wanted}: what was fetched is not what the package list announced")
            files.append(path)
        return files

    def _run(self, program: str, *words: str, folder: Path | None = None) -> str:
        command = [program, "-q", "-c", str(self._root / "apt.conf"), *words]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                timeout=_TIMEOUT,
                check=False,
                cwd=folder,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise PlaceError(f"{program} {words[0]} took more than {_TIMEOUT:g} seconds") from None
        if done.returncode:
            words_said = done.stderr.decode("utf-8", "replace").strip()[-1500:]
            raise PlaceError(f"{program} {words[0]} failed: {words_said}")
        return done.stdout.decode("utf-8", "replace")


def _file(folder: Path, package: Package) -> Path:
    """Where apt-get puts a package; those for every architecture are named so."""
    stem = f"{package.name}_{package.version.replace(':', '%3a')}"
    for_all = folder / f"{stem}_all.deb"
    return for_all if for_all.exists() else folder / f"{stem}_{package.architecture}.deb"


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout.decode()


def _release() -> str:
    match = re.search(r"^VERSION_CODENAME=\"?(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    return match[1] if match else _RELEASE_OF_PYTHON


def _mirrors() -> tuple[str, str]:
    """(main, security): where the system's own client fetches Debian from."""
    sites: dict[bool, str] = {}
    for suite, site in [*_known_suites(), *_configured_suites()]:
        sites.setdefault(suite.endswith("-security"), site.rstrip("/"))
    if False not in sites:
        raise PlaceError("the system's package client names no Debian mirror; name one (--mirror URL)")
    return sites[False], sites.get(True, "")


def _known_suites() -> list[tuple[str, str]]:
    """(suite, site) of what is Debian's according to the system's package lists."""
    lines = _output(["apt-get", "indextargets", "--format", "$(ORIGIN)|$(COMPONENT)|$(CODENAME)|$(REPO_URI)"])
    targets = [line.split("|", 3) for line in lines.splitlines()]
    return [(suite, site) for origin, part, suite, site in targets if (origin, part) == ("Debian", "main")]


def _configured_suites() -> list[tuple[str, str]]:
    """The same where there are no lists yet: what is configured under Debian's names for this release."""
    names = (_release(), f"{_release()}-security")
    lines = _output(["apt-get", "-o", "Debug::NoLocking=1", "--print-uris", "update"])
    found = re.findall(r"^'(\S+)/dists/(\S+)/InRelease'", lines, re.MULTILINE)
    return [(suite, site) for site, suite in found if suite in names]
