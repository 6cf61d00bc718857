"""A headless Chromium for every test here; without one they are skipped, saying what to install."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from selenium import webdriver
from tests.browser.open_page import OpenPage

from armkvm.cli.main import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIZE = (1200, 900)


@pytest.fixture(scope="session")
def driver() -> Iterator[webdriver.Chrome]:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    program = shutil.which("chromedriver")
    if browser is None or program is None:
        pytest.skip("needs a browser and its driver (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(program))
    yield chrome
    chrome.quit()


@pytest.fixture
def opened(
    driver: webdriver.Chrome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., OpenPage]]:
    """Opens the page that a command line writes: ``opened("pools", "a", "b", scheme="dark")``."""
    pages: list[OpenPage] = []

    def open_page(*words: str, scheme: str = "light", size: tuple[int, int] = SIZE) -> OpenPage:
        path = tmp_path / "page.html"
        run([*words, "--html", str(path)])
        capsys.readouterr()
        pages.append(OpenPage(driver, path, scheme, size))
        return pages[-1]

    yield open_page
    for page in pages:
        page.close()
