"""The pages in a real browser: by keyboard alone, in dark and light, narrow, on paper, and silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from selenium.webdriver.common.keys import Keys
from tests.browser import fleets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.browser.open_page import OpenPage

    Opened = Callable[..., OpenPage]

pytestmark = pytest.mark.browser

FLEET = ("pools", "neoverse-v1", "neoverse-n2", "neoverse-n1", "max")
DRIFT = ("drift", "max?kernel=6.1", "max")
VERBS = [
    FLEET,
    ("baseline", "neoverse-v1", "neoverse-n1"),
    ("check", "neoverse-v1", "neoverse-n2"),
    DRIFT,
]
BOTH = pytest.mark.parametrize("scheme", ["light", "dark"])

# Every visible text against what is behind it: WCAG 2's ratio, for large text 3 and else 4.5.
CONTRAST = """
const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
  .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
const behind = (node) => {
  for (; node; node = node.parentElement) {
    const colour = rgb(getComputedStyle(node).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const poor = [];
for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
  if (!own || !node.checkVisibility() || node.closest("script, style")) continue;
  const style = getComputedStyle(node);
  const [front, back] = [light(rgb(style.color)), light(behind(node))];
  const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
  const large = parseFloat(style.fontSize) >= 24;
  if (ratio < (large ? 3 : 4.5)) poor.push(`${node.tagName} ${node.textContent.slice(0, 30)}: ${ratio}`);
}
return poor;
"""


def tab_to_the_matrix(page: OpenPage) -> None:
    """Tab until a cell of the matrix has the focus."""
    for _ in range(40):
        page.press(Keys.TAB)
        if page.focus.get_attribute("data-at"):
            return
    raise AssertionError("Tab never reaches the matrix")


@BOTH
def test_by_keyboard_alone_to_the_bit_that_decides(opened: Opened, scheme: str) -> None:
    page = opened(*FLEET, scheme=scheme)
    tab_to_the_matrix(page)
    page.press(Keys.HOME)
    rows = [row[0].split(maxsplit=1)[1] for row in page.rows("#grid tbody")]
    assert rows == ["max", "neoverse-n2", "neoverse-v1", "neoverse-n1"]
    page.press(Keys.ARROW_DOWN, Keys.END)  # past the row's own column
    assert page.focus.get_attribute("data-at") == "2 3"
    assert page.focus.text.startswith("○ 3")
    page.press(Keys.ENTER)
    assert page.one("#reasons").is_displayed()
    told = "What runs on neoverse-v1 cannot move to neoverse-n1, and no vCPU suits both."
    assert page.one("#reasons h2").text == told
    decides = {row[0]: row[1:] for row in page.rows("#reasons .scroll:first-of-type")}
    assert decides["ID_AA64MMFR2_EL1.EVT"][:2] == ["59:56", "bit 57"]
    assert "0x2 (FEAT_EVT): neoverse-v1" in decides["ID_AA64MMFR2_EL1.EVT"][2]
    assert "0x0 (not implemented): neoverse-n1" in decides["ID_AA64MMFR2_EL1.EVT"][2]
    assert "No value of this field sticks on every host." in page.one("#reasons").text
    assert {"ID_AA64MMFR2_EL1.FWB", "ID_AA64MMFR2_EL1.IDS"} < decides.keys()
    page.press(Keys.ESCAPE)
    assert not page.one("#reasons").is_displayed()
    assert page.focus.get_attribute("data-at") == "2 3"
    assert page.complaints() == []


def test_tab_stops_at_the_matrix_once(opened: Opened) -> None:
    page = opened(*FLEET)
    tab_to_the_matrix(page)
    page.press(Keys.ARROW_DOWN)
    page.press(Keys.TAB)
    assert page.focus.get_attribute("data-at") is None
    page.press_back()
    assert page.focus.get_attribute("data-at") == "2 1"


def test_the_focus_stays_inside_open_reasons(opened: Opened) -> None:
    page = opened(*FLEET)
    tab_to_the_matrix(page)
    page.press(Keys.ENTER)
    for _ in range(6):
        page.press(Keys.TAB)
        inside = page.run(
            "return document.activeElement === document.body"
            " || Boolean(document.activeElement.closest('#reasons'))"
        )
        assert inside


def test_what_a_thing_costs_unfolds_by_keyboard(opened: Opened) -> None:
    page = opened("baseline", "neoverse-v1", "neoverse-n2")
    summary = page.one("#vcpu summary")
    page.run("arguments[0].focus()", summary)
    page.press(Keys.SPACE)
    (row,) = (row for row in page.rows("#vcpu details") if row[0] == "ID_AA64PFR0_EL1.SEL2")
    assert row[1:3] == ["39:36", "bit 36"]


@BOTH
def test_by_keyboard_alone_through_a_drift(opened: Opened, scheme: str) -> None:
    """What must match stands open; the rest is one Tab and one key away."""
    page = opened(*DRIFT, scheme=scheme)
    must = {row[0]: row[1:] for row in page.rows("#must-match")}
    assert must["ID_AA64MMFR2_EL1.NV"] == ["27:24", "bit 25", "0x2 (FEAT_NV2)", "0x0 (not implemented)"]
    assert "the guest sees the new one" in page.one("#must-match").text
    folded = page.one("#translatable table")
    assert not folded.is_displayed()
    for _ in range(12):
        page.press(Keys.TAB)
        if page.focus.tag_name == "summary":
            break
    assert page.focus.text == "Changed value: 13"
    page.press(Keys.ENTER)
    assert folded.is_displayed()
    translatable = {row[0]: row[1:] for row in page.rows("#translatable")}
    assert translatable["ID_AA64DFR0_EL1.DebugVer"][:2] == ["3:0", "bits 3:2"]
    assert len(page.all("#translatable td.bits .strip")) == 9
    assert page.complaints() == []


@BOTH
@pytest.mark.parametrize("words", VERBS, ids=lambda words: words[0])
def test_it_asks_nobody_and_complains_of_nothing(opened: Opened, words: tuple[str, ...], scheme: str) -> None:
    page = opened(*words, scheme=scheme)
    if page.all("#grid button"):
        page.one("#grid button").click()
    assert page.requests() == [page.url]
    assert page.complaints() == []
    assert page.run("return performance.getEntriesByType('resource').length") == 0


@BOTH
@pytest.mark.parametrize("words", VERBS, ids=lambda words: words[0])
def test_every_text_stands_out(opened: Opened, words: tuple[str, ...], scheme: str) -> None:
    """Contrast as WCAG AA asks for it, with everything unfolded and with reasons open."""
    page = opened(*words, scheme=scheme)
    page.run("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.run(CONTRAST) == []
    for state in ("moves", "new", "never"):
        for button in page.all(f"td.{state} button")[:1]:
            button.click()
            assert page.run(CONTRAST) == []
            page.press(Keys.ESCAPE)


def test_dark_is_dark_and_light_is_light(opened: Opened) -> None:
    script = "return getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).map(Number)"
    assert max(opened(*FLEET, scheme="dark").run(script)) < 60
    assert min(opened(*FLEET, scheme="light").run(script)) > 240


@pytest.mark.parametrize("words", VERBS, ids=lambda words: words[0])
def test_on_a_phone_only_tables_scroll_sideways(opened: Opened, words: tuple[str, ...]) -> None:
    page = opened(*words, size=(360, 740))
    page.run("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    if words is FLEET:
        assert page.run(
            "const it = document.querySelector('.matrix'); return it.scrollWidth > it.clientWidth"
        )


def test_on_paper_everything_is_unfolded(opened: Opened) -> None:
    page = opened(*FLEET, size=(794, 1123))  # A4
    assert not any(one.get_attribute("open") for one in page.all("details"))
    page.emulate("print", "light")
    page.run("dispatchEvent(new Event('beforeprint'))")
    assert all(one.get_attribute("open") for one in page.all("details"))
    assert not page.one("nav").is_displayed()
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    page.run("dispatchEvent(new Event('afterprint'))")
    assert not any(one.get_attribute("open") for one in page.all("details"))


def test_names_that_are_markup_do_nothing(opened: Opened, tmp_path: Path) -> None:
    page = opened("pools", str(fleets.hostile(tmp_path / "fleet")))
    for button in page.all("#grid button"):
        button.click()
        assert fleets.HOSTILE in page.one("#reasons h2").text
        page.press(Keys.ESCAPE)
    assert page.driver.title.startswith("2 hosts in 2 pools")
    assert page.requests() == [page.url]
    assert page.complaints() == []
    assert not page.all("img")


def test_a_large_fleet_is_usable(opened: Opened, tmp_path: Path) -> None:
    page = opened("pools", str(fleets.large(tmp_path / "fleet.jsonl", 2000, 40)))
    tab_to_the_matrix(page)
    page.press(Keys.ARROW_DOWN, Keys.ENTER)
    assert page.one("#reasons").is_displayed()
    assert page.one("#reasons h2").text.startswith("host-")
    assert page.complaints() == []
