"""Pages: strangers' names are text, nothing is fetched, and size depends on kinds of hosts alone."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from tests.browser import fleets

from armkvm.backends.model import ModelSystem
from armkvm.cli.main import run
from armkvm.hosts import library
from armkvm.migration.drift import drift
from armkvm.report.page import fleet, kernels, parts, reasons
from armkvm.report.page.render import render

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    PageOf = Callable[..., str]

MOST_BYTES = 4_000_000


class Read(HTMLParser):
    """Every tag with its attributes, the text of each, and nothing left open."""

    VOID = frozenset({"meta", "link", "br", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        last = self._open[-1] if self._open else ""
        self.raw.get(last, self.texts).append(data)


@pytest.fixture
def page_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> PageOf:
    def made(*words: str) -> str:
        path = tmp_path / "page.html"
        run([*words, "--html", str(path)])
        capsys.readouterr()
        return path.read_text()

    return made


VERBS = [
    ("pools", "neoverse-v1", "neoverse-n1", "max", "--admit", "neoverse-n2", "--kernel", "max=7.3"),
    ("baseline", "neoverse-v1", "neoverse-n2"),
    ("baseline", "neoverse-v1", "neoverse-n1"),
    ("check", "neoverse-v1", "neoverse-n2"),
    ("check", "neoverse-v1", "neoverse-v1"),
    ("drift", "max?kernel=6.1", "max"),
    ("drift", "max?kernel=6.1", "max?kernel=6.1"),
]


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_a_page_is_whole_and_asks_for_nothing(words: tuple[str, ...], page_of: PageOf) -> None:
    """Balanced tags, unique ids, links that lead somewhere, and no address of anything outside."""
    text = page_of(*words)
    read = Read(text)
    ids = [attrs["id"] for _, attrs in read.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["href"] for tag, attrs in read.tags if tag == "a"} <= {f"#{one}" for one in ids}
    for tag, attrs in read.tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base"}
        assert not {"src", "style", "srcset", "action"} & attrs.keys(), tag
        assert not any(name.startswith("on") for name in attrs), tag
    assert "url(" not in "".join(read.raw["style"])
    assert "@import" not in "".join(read.raw["style"])


@pytest.mark.parametrize("words", VERBS[:1], ids=" ".join)
def test_the_policy_allows_exactly_what_is_there(words: tuple[str, ...], page_of: PageOf) -> None:
    read = Read(page_of(*words))
    (policy,) = (
        attrs["content"] for _, attrs in read.tags if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    (style,), (data, script) = read.raw["style"], read.raw["script"]
    for kind, text in (("style", style), ("script", script)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    json.loads(data)


def test_names_and_notes_of_strangers_are_text(tmp_path: Path, page_of: PageOf) -> None:
    """A host called like a tag adds no tag, no attribute and no script."""
    folder = fleets.hostile(tmp_path / "fleet")
    read = Read(page_of("pools", str(folder)))
    assert len(read.raw["script"]) == 2
    assert not any(tag in {"img", "b"} for tag, _ in read.tags)
    assert any(fleets.HOSTILE in text for text in read.texts)
    assert any(fleets.HOSTILE_NOTE in text for text in read.texts)
    held = json.loads(read.raw["script"][0])["texts"]
    assert any(fleets.HOSTILE in text for text in held)


def test_a_large_fleet_has_a_row_for_each_kind(tmp_path: Path, page_of: PageOf) -> None:
    """Ten times the hosts change the counts on the page and not its size."""
    kinds = 40
    pages = [
        page_of("pools", str(fleets.large(tmp_path / f"{hosts}.jsonl", hosts, kinds)))
        for hosts in (400, 4000)
    ]
    small, large = map(len, pages)
    assert abs(large - small) < 2000
    rows = [attrs for tag, attrs in Read(pages[1]).tags if tag == "button" and "data-at" in attrs]
    assert len(rows) == kinds * 2  # two pools
    assert "4,000 hosts in 2 pools" in pages[1]
    assert large < MOST_BYTES


def test_of_very_many_kinds_the_largest_have_rows(
    tmp_path: Path, page_of: PageOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "MOST_KINDS", 30)
    text = page_of("pools", str(fleets.large(tmp_path / "fleet.jsonl", 45, 40)))  # five kinds of two
    assert "These are the 30 largest of 40 kinds." in text
    rows = [attrs for tag, attrs in Read(text).tags if tag == "button" and "data-at" in attrs]
    assert len(rows) == 30 * 2
    for host in range(5):
        assert f"host-{host:06} <span" in text


def test_where_moves_were_tried_their_number_is_told(page_of: PageOf) -> None:
    assert "Takes VMs of" not in page_of("pools", "max", "max-vq4")
    read = Read(page_of("pools", "max", "max-vq4", "--moves"))
    assert {"Takes VMs of", "2 of 2 hosts", "1 of 2 hosts"} <= set(read.texts)


def test_what_was_asked_for_and_no_pool_keeps_is_told(page_of: PageOf) -> None:
    drawn = page_of("pools", "max", "neoverse-v1", "--keep", "SME")
    assert "Asked for, and kept in no pool" in drawn
    assert "Asked for, and kept in no pool" not in page_of("pools", "max", "neoverse-v1", "--keep", "SVE")


def test_the_deciding_bits_of_a_field_are_told(page_of: PageOf) -> None:
    """ID_AA64MMFR2_EL1.EVT is 2 on one and 0 on the other: bit 57 of bits 59:56."""
    text = page_of("pools", "neoverse-v1", "neoverse-n1")
    data = json.loads(Read(text).raw["script"][0])
    texts = data["texts"]
    rows = [[texts[word] for word in row] for table in data["tables"] for row in table["rows"]]
    assert ["ID_AA64MMFR2_EL1.EVT", "59:56", "bit 57"] in [row[:3] for row in rows]


def drifted(before: str, after: str) -> parts.Page:
    one, two = (ModelSystem(*library.find("max", at)) for at in (before, after))
    return kernels.drift((before, after), drift(one, two))


def test_what_must_match_stands_open_and_the_rest_unfolds() -> None:
    page = drifted("6.1", "7.3")
    assert [section.key for section in page.sections] == [
        "overview",
        "must-match",
        "translatable",
        "droppable",
    ]
    overview, must, *rest = page.sections
    assert overview.blocks[0].rows == (("Appeared", "", "", "16"), ("Changed value", "2", "13", ""))
    assert not page.good
    assert (len(must.blocks), must.folds) == (1, ())
    assert all((one.blocks, len(one.folds)) == ((), 1) for one in rest)


def test_a_drift_is_told_by_field_and_bits_with_what_its_reasons_share_said_once() -> None:
    (must,) = (section for section in drifted("7.3", "6.1").sections if section.key == "must-match")
    vanished, changed = must.blocks
    assert vanished.headings == ("What", "Before")
    assert changed.lines == ("The kernel there refuses the old value with EINVAL.",)
    rows = {row[0]: row[1:] for row in changed.rows}
    assert rows["ID_AA64MMFR1_EL1.HCX"] == (
        *("43:40", "bit 40", "0x1 (FEAT_HCX)", "0x0 (not implemented)"),
        "ID_AA64MMFR1_EL1.HCX is 0x1, and this kernel fixes it at 0x0",
    )
    assert rows["CCSIDR_EL1(0)"][:2] == ("", "bits 30:28, 19:13, 4:3")


def test_where_nothing_drifts_the_page_says_so() -> None:
    page = drifted("7.3", "7.3")
    assert page.good
    assert [section.lines for section in page.sections] == [("Nothing.",)]
    assert page.lines[0] == "No drift: a vCPU is the same under both."


def test_unlike_cpus_are_told_on_a_drifts_page(page_of: PageOf) -> None:
    says = "By MIDR_EL1 these are unlike CPUs; not all is the kernel's doing."
    assert says in Read(page_of("drift", "neoverse-v1", "neoverse-n1")).texts
    assert says not in Read(page_of("drift", "neoverse-v1", "neoverse-v1")).texts


def test_names_of_strangers_are_text_on_a_drifts_page(tmp_path: Path, page_of: PageOf) -> None:
    stranger = str(fleets.hostile(tmp_path / "fleet") / f"{fleets.HOSTILE}.json")
    read = Read(page_of("drift", stranger, stranger))
    assert not any(tag in {"img", "b"} for tag, _ in read.tags)
    assert any(fleets.HOSTILE in text for text in read.texts)


def test_tables_are_of_bounded_length() -> None:
    rows = [(f"row {n}", "") for n in range(reasons.MOST_ROWS + 5)]
    block = reasons.table("many", (), ("A", "B"), rows)
    assert len(block.rows) == reasons.MOST_ROWS
    assert block.more.startswith("and 5 more")
    assert block.headings == ("A",)


def test_an_empty_page_can_be_drawn() -> None:
    page = parts.Page(verb="pools", title="nothing", good=True, lines=(), sections=())
    assert re.search(r"<h1 class=\"good\">nothing</h1>", render(page))
