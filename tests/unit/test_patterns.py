"""Records alike but for their numbers: what is filled in is what reading each by itself gives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, strategies as st

from armkvm.abi.regid import RegId
from armkvm.documents import parse_json
from armkvm.errors import InputError
from armkvm.hosts import hostfile, library
from armkvm.hosts.inventory import Inventory
from armkvm.hosts.patterns import Patterns
from armkvm.state import HostFacts
from armkvm.value import replace

V1: dict[str, Any] = json.loads(hostfile.encode(library.builtin("neoverse-v1", "7.3")))
MAX: dict[str, Any] = json.loads(hostfile.encode(library.builtin("max", "7.3")))  # has EL2 variants


def plainly(record: bytes, name: str) -> HostFacts:
    return library.from_tree(*parse_json(record, name, library.LIMITS), name, name)


def record(tree: dict[str, Any], name: str = "host", indent: int | None = None) -> bytes:
    named = {"name": name, **{key: tree[key] for key in tree if key != "name"}}
    return json.dumps(named, indent=indent).encode()


def lowered(tree: dict[str, Any], **values: str) -> dict[str, Any]:
    """The host with other values in its plain registers."""
    changed: dict[str, Any] = json.loads(json.dumps(tree))
    changed["registers"]["plain"] |= values
    return changed


def all_alike(records: list[bytes]) -> list[HostFacts | str]:
    """What an inventory makes of each of these; for broken ones, their faults."""
    fleet = Inventory()
    said: list[HostFacts | str] = []
    for number, each in enumerate(records):
        broken = len(fleet.broken)
        fleet.add_record((f"r{number}", "", 0), each)
        if len(fleet.broken) > broken:
            said.append("; ".join(map(str, fleet.broken[-1].faults)))
        else:
            said.append(
                next(
                    replace(fleet.facts[kind], name=f"h{number}")
                    for kind, names in fleet.labels.items()
                    if f"h{number}" in names
                )
            )
    return said


def one_by_one(records: list[bytes]) -> list[HostFacts | str]:
    said: list[HostFacts | str] = []
    for number, each in enumerate(records):
        try:
            said.append(plainly(each, f"r{number}"))
        except InputError as bad:
            said.append("; ".join(map(str, bad.faults)))
    return said


def hexadecimal(most: int) -> st.SearchStrategy[str]:
    return st.integers(0, most).map(hex)


registers = st.fixed_dictionaries(
    {},
    optional={
        "ID_AA64ISAR0_EL1": hexadecimal((1 << 64) - 1),
        "ID_AA64PFR0_EL1": hexadecimal((1 << 64) - 1),  # SVE must agree with the features
        "MIDR_EL1": st.sampled_from(["0x411fd402", "0x410fd034", "0x0"]),  # the target must be this CPU's
        "CCSIDR_EL1(0)": st.one_of(hexadecimal((1 << 32) - 1), st.just("0x100000000")),  # has 32 bits
        "REVIDR_EL1": st.sampled_from(["0x0", "0x00000000000000000001", "0x" + "f" * 17, "0xF", "1", ""]),
    },
)


@given(st.lists(registers, min_size=3, max_size=8), st.sampled_from([V1, MAX]), st.sampled_from([None, 1]))
def test_a_fleet_reads_as_its_hosts_do_one_by_one(
    changes: list[dict[str, str]], host: dict[str, Any], indent: int | None
) -> None:
    records = [record(lowered(host, **each), f"h{n}", indent=indent) for n, each in enumerate(changes)]
    for alike, single in zip(all_alike(records), one_by_one(records), strict=True):
        if isinstance(alike, HostFacts) and isinstance(
            single, HostFacts
        ):  # equal hosts are one, by the first
            assert hostfile.fingerprint(alike) == hostfile.fingerprint(single)
        else:
            assert alike == single


def unnamed(data: bytes, name: str) -> tuple[bytes, int, str]:
    """A record as `Patterns` takes it."""
    at = data.index(name.encode())
    return data[:at] + data[at + len(name) :], at, name


@pytest.mark.parametrize("host", [V1, MAX], ids=["v1", "max"])
def test_a_pattern_reads_what_differs_in_numbers(host: dict[str, Any]) -> None:
    patterns = Patterns()
    for number in range(5):
        each = record(lowered(host, ID_AA64ISAR0_EL1=hex(number)), "n-0")
        read = patterns.read(*unnamed(each, "n-0"))
        assert read is not None
        facts, known_by = read
        assert facts == plainly(each, "n-0")
        assert known_by == hostfile.fingerprint(facts)
    assert patterns._count == 1


class Watched(dict[RegId, int]):
    """Registers that remember which of them were looked at."""

    def __init__(self, held: Mapping[RegId, int]) -> None:
        super().__init__(held)
        self.seen: set[RegId] = set()

    def get(self, reg: RegId, default: Any = None) -> Any:  # noqa: ANN401
        self.seen.add(reg)
        return super().get(reg, default)

    def __getitem__(self, reg: RegId) -> int:
        self.seen.add(reg)
        return super().__getitem__(reg)


@pytest.mark.parametrize("name", library.names())
def test_facts_contradict_each_other_in_telling_registers_alone(name: str) -> None:
    """So that a pattern need not look for contradictions where others differ."""
    facts = library.builtin(name)
    plain = Watched(facts.values["plain"])
    assert not list(hostfile.contradictions(replace(facts, values={**facts.values, "plain": plain})))
    assert plain.seen == hostfile.TELLING


def test_long_records_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("armkvm.hosts.patterns.LONGEST", 100)
    patterns = Patterns()
    assert patterns.read(*unnamed(record(V1, "n-0"), "n-0")) is None
    assert not patterns._known


def test_an_odd_record_keeps_no_others_from_being_told_apart() -> None:
    """It begins as they do, with as many numbers."""
    plain = V1["registers"]["plain"]
    odd = {**V1, "registers": {"plain": dict(sorted(plain.items(), reverse=True))}}
    first = next(iter(plain))
    odd["registers"]["plain"] = {first: plain[first], **odd["registers"]["plain"]}
    patterns = Patterns()
    for host in (odd, V1, odd, V1, lowered(V1, REVIDR_EL1="0x9")):
        read = patterns.read(*unnamed(record(host, "n-0"), "n-0"))
        assert read is not None
        assert read[0] == plainly(record(host, "n-0"), "n-0")
    assert patterns._count == 2


BODY = record(V1, "h0").removeprefix(b'{"name": "h0", ').removesuffix(b"}")


@pytest.mark.parametrize(
    "text",
    [
        b'"name": "h0", ' + BODY + b"}",
        b'"name": "h0", {' + BODY + b"}",
        b"{" + BODY + b'}, "name": "h0"',
        b'{"name": "h0" ' + BODY + b"}",
        b'{"name": "h0",\v' + BODY + b"}",
        b'{"name":\f"h0",' + BODY + b"}",
        b"{" + BODY.replace(b'"caps": {', b'"caps": {"name": "zz", ') + b"}",
        b"{" + BODY.replace(b'"plain": {', b'"plain": {"name": "0x1", ') + b"}",
        b"{" + BODY.replace(b'"vgic": {', b'"vgic": {"name": "0x1"') + b"}",
        b"{" + BODY.replace(b'"notes": [', b'"notes": ["name": "0x1"') + b"}",
        b"{" + BODY.replace(b'"preferred_target": ', b'"preferred_target": "name": "x"') + b"}",
    ],
    ids=lambda text: str(text[:40]) if text[1:2] == b'"' else "",
)
def test_a_name_in_another_place_is_no_name(text: bytes) -> None:
    """However many alike there are, and whatever was read before."""
    records = [text, text.replace(b"h0", b"h1").replace(b"zz", b"zy"), record(V1, "h2"), text]
    assert all_alike(records) == one_by_one(records)
    assert isinstance(all_alike([text])[0], str)


def test_records_are_alike_only_where_the_name_is_the_hosts() -> None:
    vgic = [
        b"{" + BODY.replace(b'"vgic": {', b'"vgic": {"name": "0x%d"' % n) + b', "name": "h%d"}' % n
        for n in range(3)
    ]
    assert all_alike(vgic) == one_by_one(vgic)
    trailing = [b"{" + BODY + b', "name": "h%d"%b}' % (n, b"," * (n % 2)) for n in range(4)]
    assert all_alike(trailing) == one_by_one(trailing)
    empty = [record(V1, "h0"), record(V1, "h0").replace(b'"h0"', b'""'), record(V1, "h2")]
    assert all_alike(empty) == one_by_one(empty)
    nameless = [record(V1, "h0"), b"{" + BODY + b"}", record(V1, "h2")]
    assert all_alike(nameless) == one_by_one(nameless)
    before = [b"{" + BODY + b"}", record(V1, "h1")]
    assert all_alike(before) == one_by_one(before)


@pytest.mark.parametrize(
    "change",
    [
        {"origin": "0x1"},
        {"cpu": "0xd40"},
        {"notes": ["0x5", "a"]},
        {"notes": ['said "0x5", and']},
        {"notes": ['"0x5"']},
        {"notes": ['"0x5', "0x6"]},
    ],
    ids=str,
)
def test_what_only_looks_like_a_number_is_no_place_for_one(change: dict[str, Any]) -> None:
    """Text is kept as it is, in records whose texts differ where others' numbers do."""
    other = json.loads(
        json.dumps(change).replace("0x5", "0x7").replace("0x1", "0x3").replace("0xd40", "0xd49")
    )
    hosts = [lowered({**V1, **each}, REVIDR_EL1=hex(n)) for n, each in enumerate([change, other] * 3)]
    records = [record(host, f"h{n}") for n, host in enumerate(hosts)]
    assert all_alike(records) == one_by_one(records)


def test_a_number_that_is_written_with_escapes_is_no_place_for_another() -> None:
    """It reads as a number of the record's places, and is none."""
    records = [record(lowered(V1, REVIDR_EL1=hex(n), ID_AA64ISAR0_EL1=hex(n + 7)), f"h{n}") for n in range(4)]
    escaped = [each.replace(b'"REVIDR_EL1": "0x', b'"REVIDR_EL1": "\\u0030x') for each in records]
    assert b"\\u0030x3" in escaped[3]
    assert all_alike(escaped) == one_by_one(records)


def test_a_register_under_two_names_is_told_each_time() -> None:
    hosts = [lowered(V1, **{"ID_AA64PFR0_EL1": hex(n), "0x603000000013c020": hex(n)}) for n in range(4)]
    records = [record(host, f"h{n}") for n, host in enumerate(hosts)]
    assert all("got ID_AA64PFR0_EL1 under two names" in str(said) for said in all_alike(records))


def test_a_record_without_a_name_is_told_even_if_it_is_like_others() -> None:
    records = [record(lowered(V1, REVIDR_EL1=hex(n)), f"h{n}") for n in range(4)]
    nameless = records[3].replace(b'"name": "h3", ', b"").replace(b'"0x3"', b'"0x4"')
    assert "name" in str(all_alike([*records, nameless])[-1])
