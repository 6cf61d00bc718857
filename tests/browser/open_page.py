"""A page in a browser, used as a person with a keyboard uses it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

if TYPE_CHECKING:
    from pathlib import Path

    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement


class OpenPage:
    """One page under one colour scheme, at one size. Everything it does is watched from the start."""

    def __init__(self, driver: Chrome, path: Path, scheme: str, size: tuple[int, int]) -> None:
        self.driver = driver
        self.url = path.as_uri()
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.emulate("", scheme)
        for log in ("browser", "performance"):
            self._log(log)
        driver.get(self.url)

    def emulate(self, media: str, scheme: str) -> None:
        """Draw for `media` ("" is the screen, or "print") in a colour scheme."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})

    def close(self) -> None:
        self.driver.get("about:blank")
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})

    # -- what a person does

    def press(self, *keys: str) -> None:
        """Keys, to whatever has the focus."""
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def press_back(self) -> None:
        """Shift and Tab."""
        ActionChains(self.driver).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()

    @property
    def focus(self) -> WebElement:
        return self.driver.switch_to.active_element

    # -- what a person sees

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def rows(self, selector: str) -> list[list[str]]:
        """The words of every row of the tables found there."""
        script = (
            "return [...document.querySelectorAll(arguments[0] + ' tr')]"
            ".map(row => [...row.cells].map(cell => cell.innerText.trim()))"
        )
        found: list[list[str]] = self.driver.execute_script(script, selector)
        return found

    def run(self, script: str, *arguments: object) -> Any:  # noqa: ANN401 - whatever the script returns
        """What a script returns."""
        return self.driver.execute_script(script, *arguments)

    def _log(self, kind: str) -> list[str]:
        """What a log has had since it was last asked."""
        return [entry["message"] for entry in self.driver.get_log(kind)]  # type: ignore[no-untyped-call]

    # -- what it did

    def complaints(self) -> list[str]:
        """Whatever the console was told."""
        return self._log("browser")

    def requests(self) -> list[str]:
        """Every address that was asked for."""
        events = (json.loads(message)["message"] for message in self._log("performance"))
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]
