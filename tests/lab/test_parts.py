"""The lab's parts that need no QEMU: URIs, the shelf, archives, the package client's answers."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from tests.lab.watching import processes, within

from armkvm.backends.lab import apt, cpio, guest, initramfs, setup
from armkvm.backends.lab.apt import Apt, Package
from armkvm.backends.lab.command import decode_file, decode_run, encode_file, encode_run
from armkvm.backends.lab.commands import ls
from armkvm.backends.lab.place import LabOptions, qemu_cpu
from armkvm.backends.lab.qemu import Boot, Qemu, find
from armkvm.backends.lab.shelf import Kernel, Shelf, matches, release_order
from armkvm.backends.remote.wire import WireError
from armkvm.errors import PlaceError, UnknownPlace


def parse_cpio(data: bytes) -> dict[str, tuple[int, bytes]]:
    """What Linux's unpacker reads: header fields in hexadecimal, name and data padded to 4."""
    found: dict[str, tuple[int, bytes]] = {}
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = data[at + 110 : at + 110 + name_size - 1].decode()
        at += 110 + name_size
        at += -at % 4
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, data[at : at + size])
        at += size
        at += -at % 4


NAMES = st.from_regex(r"[a-z]{1,6}(/[a-z]{1,6}){0,3}", fullmatch=True)


@given(st.dictionaries(NAMES, st.binary(max_size=50), max_size=6))
def test_an_archive_holds_files_and_every_folder_before_its_contents(files: dict[str, bytes]) -> None:
    names = set(files)
    if any(f"{name}/".startswith(f"{other}/") for name in names for other in names - {name}):
        return  # a file cannot be a folder as well
    read = parse_cpio(cpio.archive({name: cpio.file(data) for name, data in files.items()}))
    assert {name: data for name, (mode, data) in read.items() if stat.S_ISREG(mode)} == files
    seen = set()
    for name in read:
        parent = name.rpartition("/")[0]
        assert not parent or parent in seen
        seen.add(name)


def test_the_code_for_the_guest_is_compiled_for_it_or_left_as_source() -> None:
    read = parse_cpio(initramfs.code())
    suffix = ".pyc" if sys.version_info[:2] == initramfs.GUEST_PYTHON else ".py"
    name = f"usr/lib/python3.11/armkvm/backends/lab/guest{suffix}"
    assert stat.S_ISREG(read[name][0])
    assert not any("apt" in path or "place" in path for path in read), "the host's side stays outside"


def test_the_identity_of_the_code_changes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = initramfs.code_identity()
    assert before == initramfs.code_identity()
    monkeypatch.setattr(initramfs, "GUEST_SOURCES", initramfs.GUEST_SOURCES[:-1])
    assert initramfs.code_identity() != before


def test_a_clock_that_stands_still_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    guest._check_clock()
    monkeypatch.setattr(guest, "_CLOCK_WAIT", 0.05)
    monkeypatch.setattr(time, "clock_gettime", lambda _: 1.0)
    with pytest.raises(PlaceError, match="clock stands still"):
        guest._check_clock()


def test_a_uri_is_understood_whole() -> None:
    options = LabOptions.parse(
        "neoverse-v1,sve256=off",
        {"kernel": "7.2", "mode": "nested", "mte": "on", "memory": "1024", "fresh": "1"},
    )
    assert options.uri == "lab:neoverse-v1,sve256=off?kernel=7.2&mode=nested&mte=on&memory=1024&fresh=1"
    assert (options.mode, options.mte, options.memory, options.fresh) == ("nested", True, 1024, True)
    assert LabOptions.parse("max", {"mode": "vhe"}).mode == ""


@pytest.mark.parametrize(
    ("cpu", "options", "message"),
    [
        ("", {}, "needs a CPU"),
        ("-M none", {}, "needs a CPU"),
        ("max", {"kernal": "7.2"}, "has no option kernal; it has kernel, mode"),
        ("max", {"mode": "fast"}, "there are nested"),
        ("max", {"mte": "yes"}, "write on or off"),
        ("max", {"memory": "1"}, "from 128 to"),
        ("max", {"timeout": "soon"}, "give a number"),
        ("max", {"boot_timeout": "nan"}, "give a number"),
    ],
)
def test_a_uri_that_means_nothing_names_what_would(cpu: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(UnknownPlace, match=message):
        LabOptions.parse(cpu, options)


def test_max_gets_the_cheap_pointer_authentication_unless_told() -> None:
    assert qemu_cpu("max") == "max,pauth-impdef=on"
    assert qemu_cpu("max,sve-max-vq=4") == "max,pauth-impdef=on,sve-max-vq=4"
    assert qemu_cpu("max,pauth=off") == "max,pauth=off"
    assert qemu_cpu("neoverse-v1") == "neoverse-v1"


@pytest.mark.parametrize(
    ("release", "wanted", "fits"),
    [
        ("6.12.95+deb12-cloud-arm64", "6.12", True),
        ("6.12.95+deb12-cloud-arm64", "6.12.95", True),
        ("6.12.95+deb12-cloud-arm64", "6.1", False),
        ("6.12.95+deb12-cloud-arm64", "6.12.9", False),
        ("6.12.95+deb12-cloud-arm64", "6.12.95+deb12-cloud-arm64", True),
    ],
)
def test_a_version_names_the_releases_that_begin_with_its_numbers(
    release: str, wanted: str, fits: bool
) -> None:
    assert matches(release, wanted) is fits


def test_releases_are_ordered_by_number() -> None:
    releases = ["6.12.100+deb12-x", "6.12.95+deb12-x", "6.1.0-56-x", "7.2.12+deb13-x"]
    ordered = sorted(releases, key=release_order)
    assert ordered == ["6.1.0-56-x", "6.12.95+deb12-x", "6.12.100+deb12-x", "7.2.12+deb13-x"]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "lab")


def test_kernels_are_kept_with_their_origin_and_chosen_by_version(shelf: Shelf) -> None:
    for release in ("6.12.95+x", "6.12.117+x", "6.1.0-56-x"):
        shelf.put_kernel(release, release.encode(), {"0-a.ko": b"module"}, {"package": "p", "sha256": "s"})
    assert shelf.kernel("6.12").release == "6.12.117+x"
    assert shelf.kernel("").release == "6.12.117+x"
    kernel = shelf.kernel("6.1")
    assert (kernel.image.read_bytes(), [m.name for m in kernel.modules]) == (b"6.1.0-56-x", ["0-a.ko"])
    with pytest.raises(PlaceError, match=r"no kernel 7\.9 \(there: 6\.1\.0-56-x, .*armkvm lab setup"):
        shelf.kernel("7.9")


def test_an_interrupted_build_leaves_the_shelf_as_it_was(shelf: Shelf) -> None:
    shelf.put_kernel("6.1", b"good", {}, {"package": "p", "sha256": "s"})

    def half(folder: Path) -> None:
        (folder / "image").write_bytes(b"half")
        raise RuntimeError

    with pytest.raises(RuntimeError), shelf.building(shelf.path / "kernels" / "6.1") as folder:
        half(folder)
    assert shelf.kernel("6.1").image.read_bytes() == b"good"
    assert [path.name for path in (shelf.path / "kernels").iterdir()] == ["6.1"]


def test_a_saved_machine_appears_whole_or_not_at_all(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("armkvm.backends.lab.shelf.MAX_MACHINES", 2)

    def half(fd: int) -> None:
        os.write(fd, b"half")
        assert list(shelf.machines.iterdir()) == []
        raise RuntimeError

    with pytest.raises(RuntimeError), shelf.saving_machine("a") as fd:
        half(fd)
    assert list(shelf.machines.iterdir()) == []
    assert shelf.open_machine("a") is None
    for number, key in enumerate("abc"):
        with shelf.saving_machine(key) as fd:
            os.write(fd, key.encode() * 3)
        os.utime(shelf.machines / f"{key}.image", (number, number))
    assert [path.name for path, _ in shelf.saved_machines()] == ["b.image", "c.image"], "the oldest made room"
    with shelf.saving_machine("c") as fd:
        os.write(fd, b"another process was first")
    opened = shelf.open_machine("c")
    assert opened is not None
    assert os.read(opened, 100) == b"ccc"
    os.close(opened)


def test_machines_are_the_same_only_if_everything_is(tmp_path: Path) -> None:
    program, image = tmp_path / "qemu", tmp_path / "image"
    for path in (program, image):
        path.write_bytes(b"x")

    def key(cpu: str = "max", append: str = "quiet", code: bytes = b"code") -> str:
        boot = Boot(Qemu((str(program),), program), Kernel("6.1", image), cpu, "virt", 512, append)
        return boot.key(code)

    keys = [key(), key(cpu="a64fx"), key(append="loud"), key(code=b"other")]
    program.write_bytes(b"a newer build")
    keys.append(key())
    image.write_bytes(b"another kernel")
    keys.append(key())
    assert len(set(keys)) == len(keys)
    assert key() == key()


def test_without_anything_ls_says_so_and_opening_says_how_to_get_it(shelf: Shelf) -> None:
    state = ls(shelf)
    assert (state.kernels, state.runtime, state.machines) == ((), False, ())
    with pytest.raises(PlaceError, match="armkvm lab setup"):
        LabOptions.parse("max", {"cache": str(shelf.path)}).boot(shelf)


def test_a_qemu_of_ones_own_must_exist(shelf: Shelf) -> None:
    with pytest.raises(PlaceError, match="no such program"):
        find(shelf, "/nonexistent/qemu")
    assert find(shelf, sys.executable).command == (sys.executable,)


@given(st.text(max_size=50), st.booleans(), st.binary(max_size=100), st.lists(st.text(max_size=20)))
def test_pieces_for_the_guest_are_read_back(path: str, append: bool, data: bytes, words: list[str]) -> None:
    assert decode_file(encode_file(path, append, data)) == (path, append, data)
    assert decode_run(encode_run(words, data)) == (words, data)
    with pytest.raises(WireError):
        decode_file(encode_file(path, append, data)[:-1] if data else b"")


def supervise(*command: str) -> subprocess.Popen[bytes]:
    from armkvm.backends.lab import supervisor

    read_end, write_end = os.pipe()
    words = [sys.executable, "-I", "-S", supervisor.__file__, str(os.getpid()), str(read_end), *command]
    process = subprocess.Popen(words, pass_fds=(read_end,), stderr=subprocess.PIPE)
    os.close(read_end)
    process.lifeline = write_end  # type: ignore[attr-defined]
    return process


def test_the_supervisor_hands_on_how_its_command_ended() -> None:
    process = supervise("sh", "-c", "exit 5")
    process.communicate(timeout=20)
    assert process.returncode == 5
    os.close(process.lifeline)  # type: ignore[attr-defined]
    process = supervise("/nonexistent")
    _, words = process.communicate(timeout=20)
    assert process.returncode == 127
    assert b"/nonexistent: " in words
    os.close(process.lifeline)  # type: ignore[attr-defined]


def test_the_supervisor_kills_its_command_when_the_lifeline_ends() -> None:
    process = supervise("sleep", "600")
    os.close(process.lifeline)  # type: ignore[attr-defined]
    process.communicate(timeout=20)
    assert process.returncode == -9 & 0xFF


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="without setpriv nothing ties a command to it")
@pytest.mark.parametrize("delay", [0.0, 0.01, 0.02, 0.03, 0.05, 0.1, 0.3])
def test_the_supervisors_command_dies_with_it_at_any_moment(delay: float) -> None:
    word = f"600.{os.getpid()}{round(delay * 1000)}"
    process = supervise("sleep", word)
    time.sleep(delay)
    process.kill()
    process.communicate(timeout=20)

    assert within(10, lambda: not processes(word))
    os.close(process.lifeline)  # type: ignore[attr-defined]


SHOW = """\
Package: linux-binary-7.2.12+deb13-cloud-arm64
Version: 7.2.12-1~bpo13+1
Architecture: arm64
Size: 10175692
SHA256: 3666

Package: linux-image-6.19.14+deb13-cloud-arm64
Version: 6.19.14-1
Architecture: arm64
Size: 2048
SHA256: aaaa

Package: linux-image-6.12.95+deb12-cloud-arm64-unsigned
Version: 6.12.95-1
Architecture: arm64
Size: 27949208
SHA256: bbbb

Package: linux-image-6.1.0-56-cloud-arm64
Version: 6.1.192-2
Architecture: arm64
Size: 21356916
SHA256: cccc
"""


class Archive(Apt):
    """The package client with the archive's answers at hand."""

    def __init__(self, root: Path) -> None:
        self._root, self.host, self.release, self._mirror = root, "amd64", "bookworm", "MIRROR"

    def update(self) -> None:
        return

    def _run(self, program: str, *words: str, folder: Path | None = None) -> str:
        assert program == "apt-cache"
        assert folder is None
        if words[0] == "search":
            names = [line.split(": ")[1] for line in SHOW.splitlines() if line.startswith("Package")]
            return "\n".join(
                f"{name} - a kernel" for name in [*names, "linux-image-6.1.0-56-cloud-arm64-dbg"]
            )
        if words[0] == "show":
            return SHOW
        raise AssertionError(words)


def test_kernels_with_an_image_are_found_under_all_their_package_names(tmp_path: Path) -> None:
    found = setup.available_kernels(Archive(tmp_path))
    assert {release: package.name for release, package in found.items()} == {
        "7.2.12+deb13-cloud-arm64": "linux-binary-7.2.12+deb13-cloud-arm64",
        "6.12.95+deb12-cloud-arm64": "linux-image-6.12.95+deb12-cloud-arm64-unsigned",
        "6.1.0-56-cloud-arm64": "linux-image-6.1.0-56-cloud-arm64",
    }


def test_a_plan_says_what_it_will_fetch_and_does_nothing(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "_plan_qemu", lambda *_: ())
    shelf.path.mkdir()
    shelf.runtime.touch()
    archive = Archive(shelf.apt)
    plan = setup.plan(shelf, archive, ("newest", "newest-1", "6.1", "6.12"))
    assert [kernel.release.split("+")[0] for kernel in plan.kernels] == [
        "7.2.12",
        "6.12.95",
        "6.1.0-56-cloud-arm64",
    ]
    assert plan.download_bytes == 10175692 + 27949208 + 21356916
    text = "\n".join(plan.describe())
    assert "59 MB to fetch" in text
    assert str(shelf.path) in text
    assert [path.name for path in shelf.path.iterdir()] == ["runtime.cpio"]
    with pytest.raises(PlaceError, match=r"no kernel 5\.10 for the lab; it has 6\.1, 6\.12, 7\.2"):
        setup.plan(shelf, archive, ("5.10",))
    shelf.put_kernel("6.1.0-56-cloud-arm64", b"", {}, {"package": "", "sha256": ""})
    nothing = setup.plan(shelf, archive, ("6.1",))
    assert nothing.is_empty
    assert "nothing to do" in nothing.describe()[-1]


def test_what_is_there_already_needs_no_package_list(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "find", lambda _: None)
    monkeypatch.setattr(setup, "lacking_cpus", lambda _: [])
    monkeypatch.setattr(setup, "_plan_qemu", lambda *_: ())
    shelf.put_kernel("6.1.0-56-cloud-arm64", b"", {}, {"package": "", "sha256": ""})
    shelf.runtime.touch()

    class Offline(Archive):
        def update(self) -> None:
            raise PlaceError("no network")

    archive = Offline(shelf.apt)
    assert setup.plan(shelf, archive, ("6.1",)).is_empty
    for wanted in ("6.12", "newest"):
        with pytest.raises(PlaceError, match="no network"):
            setup.plan(shelf, archive, (wanted,))


def test_the_sources_are_the_lab_s_own_and_name_the_mirror(tmp_path: Path) -> None:
    lines = Archive(tmp_path).sources()
    assert all(line.startswith("deb [arch=") and " MIRROR " in line for line in lines)
    assert any("trixie-backports" in line for line in lines)


def test_a_download_that_is_not_what_was_announced_is_refused(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.downloads.mkdir()
    package = Package("name", "arm64", "1:2.3", 4, "0" * 64)
    file = archive.downloads / "name_1%3a2.3_arm64.deb"
    file.write_bytes(b"evil")
    with pytest.raises(PlaceError, match=r"name:arm64=1:2\.3: what was fetched is not what"):
        archive.download([package])
    assert not file.exists()


@pytest.mark.parametrize("has_lists", [True, False])
def test_the_mirror_is_the_systems_with_or_without_its_package_lists(
    monkeypatch: pytest.MonkeyPatch, has_lists: bool
) -> None:
    """A machine that never ran `apt-get update` has no lists, and no lists say whose an archive is."""
    targets = (
        "Other|main|bookworm|OTHER/\nDebian|main|bookworm-security|SECURITY/\nDebian|main|bookworm|MAIN/\n"
    )
    uris = (
        "'OTHER/dists/stable/InRelease' a 0 \n'MAIN/dists/bookworm/InRelease' b 0 \n"
        "'MAIN/dists/bookworm/main/binary-amd64/Packages.xz' b 0 \n"
        "'SECURITY/dists/bookworm-security/InRelease' c 0 \n"
    )
    answers = {"indextargets": targets if has_lists else "", "update": uris}
    monkeypatch.setattr(apt, "_release", lambda: "bookworm")
    monkeypatch.setattr(
        apt, "_output", lambda command: next(text for word, text in answers.items() if word in command)
    )
    assert apt._mirrors() == ("MAIN", "SECURITY")
    answers |= {"indextargets": "", "update": ""}
    with pytest.raises(PlaceError, match="--mirror"):
        apt._mirrors()
