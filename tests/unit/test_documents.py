"""Documents from outside are read within bounds, and files are replaced whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from armkvm import documents
from armkvm.documents import Limits, NotAllowed, parse_json, read_bounded, write_whole
from armkvm.errors import InputError

LIMITS = Limits(size=1 << 20, depth=4, items=1000)


def refusal(data: bytes, limits: Limits = LIMITS) -> str:
    with pytest.raises(InputError) as caught:
        parse_json(data, "x", limits)
    assert len(caught.value.faults) == 1
    return str(caught.value.faults[0])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"a": \xff}', "byte 6: expected UTF-8, got byte 0xff"),
        (b'{"a": 1', "line 1 column 8: expected JSON, got the end of the file"),
        (b"", "expected JSON, got the end of the file"),
        (b'{"a": 1} {}', "line 1 column 10: expected JSON, got '{}' (Extra data)"),
        (b'{"a": 1}\0', "expected JSON, got"),
        (b'\xef\xbb\xbf{"a": 1}', "expected JSON"),
        (b'{"a": 01}', "expected JSON"),
        (b"[[[[[1]]]]]", "line 1: expected at most 4 levels of nesting, got more"),
        (b'["]]]]", [[[[', "expected at most 4 levels of nesting"),
        (b'["\\"", [[[[', "expected at most 4 levels of nesting"),
        (b"[" + b"1," * 2000 + b"1]", "expected at most 1,000 items in all, got more"),
        (b"\x22" * 5000, "expected at most 1,000 items in all, got more"),
        (b'"' + b"x" * (1 << 20) + b'"', "expected at most 1,048,576 bytes, got 1,048,578"),
    ],
)
def test_what_is_no_bounded_json_is_one_fault_with_its_place(data: bytes, says: str) -> None:
    assert says in refusal(data)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1.5", "1e3", "1e999", "1" * 5000])
def test_numbers_that_no_format_of_ours_has_are_left_for_the_reader_to_refuse(text: str) -> None:
    tree, faults = parse_json(b'{"a": %s}' % text.encode(), "x", LIMITS)
    assert isinstance(tree, dict)
    assert isinstance(tree["a"], NotAllowed)
    assert len(repr(tree["a"])) < 60
    assert not faults


def test_brackets_inside_texts_are_not_nesting() -> None:
    tree, faults = parse_json(b'["[[[[[[{{{{", "\\"[[[[[["]', "x", LIMITS)
    assert tree == ["[[[[[[{{{{", '"[[[[[[']
    assert not faults


def test_every_repeated_key_is_a_fault_with_the_path_of_its_object() -> None:
    _, faults = parse_json(b'{"a": [{"b": 1, "b": 2, "b": 3}], "c": 1, "c": 2}', "x", LIMITS)
    assert [str(fault) for fault in faults] == [
        '$: expected each key once, got "c" twice',
        '$.a[0]: expected each key once, got "b" twice',
    ]


@pytest.mark.parametrize("hostile", [b'"\\"' * 300_000, b"[" * 900_000, b'{"":' * 200_000, b'["' * 400_000])
def test_hostile_documents_are_refused_in_a_time_that_grows_with_their_size_only(hostile: bytes) -> None:
    """Quadratic scanning would take minutes here; the bound is far from both."""
    began = time.process_time()
    refusal(hostile, Limits(size=2 << 20, depth=8, items=1_000_000))
    assert time.process_time() - began < 10


def test_a_file_is_measured_before_it_is_read(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(1 << 40)  # a sparse terabyte: reading it would not come back
    with pytest.raises(InputError, match="expected at most 1,000 bytes, got 1,099,511,627,776"):
        read_bounded(large, 1000)


def test_a_stream_without_a_size_is_read_to_the_limit_only() -> None:
    with pytest.raises(InputError, match="expected at most 1,000 bytes, got more"):
        read_bounded(Path("/dev/zero"), 1000)


@pytest.mark.parametrize("name", ["absent", ".", "a\0b"])
def test_a_file_that_cannot_be_read_is_an_input_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_bounded(tmp_path / name, 1000)


def test_writing_replaces_contents_and_keeps_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o640)
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_writing_through_a_symbolic_link_keeps_the_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os if broken == "fsync" else Path, broken, fail)
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_write_that_is_killed_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from armkvm import documents\n"
        "documents.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "documents.write_whole(Path(sys.argv[1]), b'new' * 100000)\n"
    )
    source = Path(documents.__file__).parent.parent
    killed = subprocess.run(
        [sys.executable, "-c", program, str(path)], env={"PYTHONPATH": str(source)}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
