"""Fleets in a folder, JSON lines and Parquet: equal hosts are one kind, broken ones are named."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.exchange import samples

from armkvm.cli.main import run
from armkvm.documents import Limits, parse_json
from armkvm.errors import Fault, InputError
from armkvm.hosts import hostfile, inventory, library, patterns
from armkvm.hosts.hostfile import fingerprint
from armkvm.hosts.inventory import Inventory, is_inventory, read_into
from armkvm.value import replace

if TYPE_CHECKING:
    from collections.abc import Callable

V1, N2 = library.builtin("neoverse-v1", "7.3"), library.builtin("neoverse-n2", "7.3")
FLEET = {"a": V1, "b": N2, "c": V1, "d": V1}


def tree(label: str, **changes: object) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(hostfile.encode(replace(FLEET[label], name=label)))
    return {**made, **changes}


def folder(path: Path) -> Path:
    path.mkdir()
    for label in FLEET:
        (path / f"{label}.json").write_text(json.dumps(tree(label), indent=1))
    return path


def lines(path: Path) -> Path:
    path.write_text("".join(json.dumps(tree(label)) + "\n" for label in FLEET))
    return path


def parquet(path: Path) -> Path:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    texts = pa.array([json.dumps(tree(label)) for label in FLEET]).dictionary_encode()
    pq.write_table(pa.table({"name": pa.array(list(FLEET)), "host": texts}), path)
    return path


def nameless_parquet(path: Path) -> Path:
    """The form that a fleet's Parquet takes best: equal texts, which it keeps once."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    texts = []
    for label in FLEET:
        host = tree(label)
        del host["name"]
        texts.append(json.dumps(host))
    pq.write_table(pa.table({"name": list(FLEET), "host": texts}), path)
    return path


def read(path: Path) -> Inventory:
    found = Inventory()
    for _ in read_into(found, path):
        pass
    return found


@pytest.mark.parametrize(
    ("form", "name"),
    [(folder, "fleet"), (lines, "f.jsonl"), (parquet, "f.parquet"), (nameless_parquet, "n.parquet")],
)
def test_equal_hosts_are_one_kind(form: Callable[[Path], Path], name: str, tmp_path: Path) -> None:
    path = form(tmp_path / name)
    assert is_inventory(path)
    found = read(path)
    assert (found.broken, len(found)) == ([], 4)
    assert sorted(map(sorted, found.labels.values())) == [["a", "c", "d"], ["b"]]
    assert {fingerprint(facts) for facts in found.facts.values()} == {fingerprint(V1), fingerprint(N2)}


def test_equal_records_are_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def parse(data: bytes, source: str, limits: Limits) -> tuple[object, list[Fault]]:
        parsed.append(source)
        return parse_json(data, source, limits)

    monkeypatch.setattr(inventory, "parse_json", parse)
    monkeypatch.setattr(patterns, "parse_json", parse)
    assert len(read(lines(tmp_path / "f.jsonl"))) == 4
    assert len(parsed) == 2


def test_a_name_decides_nothing_and_a_kernel_does() -> None:
    assert fingerprint(V1) == fingerprint(replace(V1, name="other", origin="elsewhere", notes=("x",)))
    assert fingerprint(V1) != fingerprint(replace(V1, profile="7.2"))


def test_broken_hosts_are_named_with_their_faults(tmp_path: Path) -> None:
    """What is no JSON, a field outside its register, a name that comes twice."""
    bad = [
        json.dumps(tree("a")),
        "{",
        json.dumps(tree("b", cpus=[{"sve": "1-99"}])),
        json.dumps(tree("a", caps={})),
        json.dumps(tree("a")),
    ]
    path = tmp_path / "f.jsonl"
    path.write_text("\n".join(bad))
    found = read(path)
    assert len(found) == 1
    told = {broken.source: str(broken) for broken in found.broken}
    assert list(told) == [f"{path}:{number}" for number in (2, 3, 4, 5)]
    assert "expected JSON" in told[f"{path}:2"]
    assert "$.cpus[0].sve" in told[f"{path}:3"]
    assert "$.caps" in told[f"{path}:4"]
    assert f"also the host of {path}:1" in told[f"{path}:5"]


def test_equal_broken_records_are_each_named(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text("".join(json.dumps(tree("a", name=name, caps={})) + "\n" for name in "xyz"))
    assert [broken.source for broken in read(path).broken] == [f"{path}:{number}" for number in (1, 2, 3)]


def test_a_line_without_end_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(b" " * (inventory.LINE_LIMITS.size + 2))
    with pytest.raises(InputError, match="at most"):
        read(path)


def test_a_broken_host_is_left_out_only_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = lines(tmp_path / "f.jsonl")
    path.write_text(path.read_text() + "{\n")
    assert run(["baseline", str(path)]) == 3
    told = capsys.readouterr()
    assert (told.out, f"{path}:5" in told.err) == ("", True)
    assert run(["baseline", str(path), "--skip-broken", "--json"]) == 0
    told = capsys.readouterr()
    assert f"left out: {path}:5" in told.err
    answer = json.loads(told.out)
    assert answer["alike"] == {"a": ["a", "c", "d"], "b": ["b"]}
    assert answer["guest"]["sve_vqs"] == [1]


def test_the_same_host_named_twice_counts_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A fleet is a set: repeating a word of the command line changes nothing."""
    assert run(["baseline", "max", "max", "max-vq4", "--json"]) == 0
    repeated = capsys.readouterr().out
    assert run(["baseline", "max", "max-vq4", "--json"]) == 0
    assert capsys.readouterr().out == repeated


def test_a_pattern_gives_many_hosts_another_kernel(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A label is taken as it is before it is taken for a pattern."""
    path = tmp_path / "fleet.jsonl"
    old = library.builtin("neoverse-v1", "6.18")
    lines = [
        json.dumps({**json.loads(hostfile.encode(old)), "name": name}) for name in ("web-1", "web-2", "db-1")
    ]
    path.write_text("\n".join(lines))
    assert run(["pools", str(path), "--kernel", "web-*=6.18+non-id-masks", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["pools"][0]["hosts"]) == 3
    assert run(["pools", str(path), "--kernel", "web-*=7.3"]) in (0, 1, 4)
    capsys.readouterr()
    assert run(["pools", str(path), "--kernel", "mail-*=6.18"]) == 2
    assert "no host of the fleet is called 'mail-*'" in capsys.readouterr().err


@pytest.mark.parametrize("column", ["name", "host"])
def test_a_parquet_file_without_a_column_says_which(column: str, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"name": ["a"], "host": ["{}"], "else": [1]}).drop([column]), path)
    with pytest.raises(InputError, match=f"there is no column {column}"):
        read(path)


@pytest.mark.parametrize("rows", [1, 20])
def test_a_parquet_file_that_would_fill_the_memory_is_refused_by_its_footer(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the size of a host file where rows are few, by that of a row group where they are many."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(library, "LIMITS", replace(library.LIMITS, size=1 << 20))
    monkeypatch.setattr(inventory, "MOST_IN_COLUMN", 2 << 20)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)
    path = tmp_path / "f.parquet"
    names = [f"h{number}" for number in range(rows)]
    texts = [bytes(3 << 20), *(b"{}" for _ in names[1:])]
    pq.write_table(pa.table({"name": names, "host": texts}), path, compression="zstd")
    assert path.stat().st_size < 1 << 20
    with pytest.raises(InputError, match=r"row group 0, column host: expected at most [0-9,]* bytes"):
        read(path)


def test_a_long_value_in_every_row_of_a_parquet_file_is_held_once(tmp_path: Path) -> None:
    """A dictionary has it once, however many rows there are; each row is a fault of its own."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "f.parquet"
    names = pa.array(["x" * (1 << 19)]).dictionary_encode().take(pa.array([0] * 3000))
    pq.write_table(pa.table({"name": names, "host": ["{}"] * 3000}), path, compression="zstd")
    found = read(path)
    assert (len(found), len(found.broken)) == (0, 3000)


def test_what_is_no_file_in_a_folder_is_a_fault_at_once(tmp_path: Path) -> None:
    """A pipe without a writer would be waited for without end."""
    folder(tmp_path / "fleet")
    os.mkfifo(tmp_path / "fleet" / "pipe.json")
    (tmp_path / "fleet" / "device.json").symlink_to("/dev/zero")
    (tmp_path / "fleet" / "gone.json").symlink_to("nowhere")
    found = read(tmp_path / "fleet")
    assert len(found) == 4
    told = {Path(broken.source).stem: str(broken) for broken in found.broken}
    assert told.keys() == {"pipe", "device", "gone"}
    assert "expected a regular file" in told["pipe"]
    assert "expected a regular file" in told["device"]
    assert "cannot be read: No such file" in told["gone"]


@pytest.mark.parametrize("word", ["", "?kernel=7.3"])
def test_nothing_is_not_the_current_folder(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["pools", word]) == 2
    assert "names no host and no inventory" in capsys.readouterr().err


def told_by(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_an_inventory_without_hosts_says_where_none_were_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.jsonl").write_text("\n\n")
    for path in (tmp_path, tmp_path / "f.jsonl"):
        assert run(["pools", str(path)]) == 2
        (line,) = told_by(capsys)
        assert line == f"armkvm: {path}: no host is left; no file *.json and no line with a host is there"
    (tmp_path / "f.jsonl").write_text("{")
    assert run(["pools", str(tmp_path / "f.jsonl"), "--skip-broken"]) == 2
    assert told_by(capsys)[-1] == f"armkvm: {tmp_path}/f.jsonl: no host is left; all are left out"


def test_the_number_of_broken_hosts_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text("".join(json.dumps(tree("a", name=f"h{n}", kernel=7, cpus=[])) + "\n" for n in range(3)))
    assert run(["pools", str(path)]) == 3
    *faults, last = told_by(capsys)
    assert last == "armkvm: 3 of 3 hosts: cannot be used: --skip-broken leaves them out"
    assert [line.split(": ")[1:3] for line in faults] == [
        [f"{path}:{number}", member] for number in (1, 2, 3) for member in ("$.kernel", "$.cpus")
    ]
    assert run(["pools", str(path), "max", "--skip-broken"]) == 0
    assert all(line.startswith("armkvm: ") for line in told_by(capsys))


def test_a_broken_host_named_by_itself_is_left_out_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "h.json"
    path.write_text(json.dumps(tree("a", preferred_target=3)))
    assert run(["pools", str(path), "max"]) == 3
    assert f"{path}: $.preferred_target: expected 5" in capsys.readouterr().err
    assert run(["pools", str(path), "max", "--skip-broken"]) == 0
    assert f"left out: {path}: $.preferred_target" in capsys.readouterr().err


def test_a_host_whose_vms_have_fewer_than_40_bits_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There are such hosts; the VMs that fleets are divided for have the default type."""
    small = tree("a", name="small")
    small["caps"]["ARM_VM_IPA_SIZE"] = 36
    path = tmp_path / "f.jsonl"
    path.write_text(json.dumps(small) + "\n" + json.dumps(tree("b")))
    assert run(["pools", str(path)]) == 3
    assert "armkvm: small: facts: no VM can be made there: KVM_CREATE_VM: EINVAL" in capsys.readouterr().err
    assert run(["pools", str(path), "--skip-broken", "--json"]) == 0
    told = capsys.readouterr()
    assert "left out: small: facts: no VM can be made there: KVM_CREATE_VM: EINVAL" in told.err
    assert json.loads(told.out)["pools"][0]["hosts"] == ["b"]


def test_a_snapshot_is_no_destination(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "vm.json"
    assert run(["save", "model:max", str(path)]) == 0
    capsys.readouterr()
    assert run(["check", "max", str(path)]) == 2
    assert told_by(capsys) == [f"armkvm: {path} is a snapshot, which can only be SRC; DST is a host or place"]


@pytest.mark.parametrize("page", ["missing/page.html", "."])
def test_a_page_that_cannot_be_is_refused_before_the_work(
    page: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(["check", "max", "max", "--html", str(tmp_path / page)])
    assert "folder" in capsys.readouterr().err


def test_a_fingerprint_of_an_unknown_kernel_says_how_to_see_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "f.json"
    path.write_bytes(samples.fingerprint("5.10.255-253.1008.amzn2.aarch64"))
    assert run(["check", str(path), "max"]) == 4
    (line,) = told_by(capsys)
    assert line.startswith(f"armkvm: {path}: cannot be modelled; not known: how kernel 5.10 behaves")
    assert "FILE?kernel=PROFILE" in line


@pytest.mark.parametrize("verb", ["baseline", "pools"])
def test_a_kernel_asked_for_of_many_hosts_is_refused(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = lines(tmp_path / "fleet.jsonl")
    assert run([verb, f"{path}?kernel=7.2"]) == 2
    assert "?kernel= goes with one host, and " in capsys.readouterr().err
