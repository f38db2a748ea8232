"""Debian's Chromium, driven by selenium, and what a test wants to know of a page in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from .helpers import eventually

T = TypeVar("T")

DESK, PHONE = (1440, 900), (390, 844)


class Browser:
    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def go(self, url: str) -> None:
        self.driver.get(url)

    def find(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list[WebElement]:
        """Those that are shown."""
        return steady(lambda: [one for one in self.driver.find_elements(By.CSS_SELECTOR, css) if one.is_displayed()])

    def text(self, css: str) -> str:
        """What is to be read there now, in one call: elements come and go meanwhile."""
        script = "const one = document.querySelector(arguments[0]); return one?.checkVisibility() ? one.innerText : ''"
        return str(self.run(script, css))

    def texts(self, css: str) -> list[str]:
        return list(self.run("return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText)", css))

    def attributes(self, css: str, name: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.getAttribute(arguments[1]))"
        return list(self.run(script, css, name))

    def click(self, css: str) -> None:
        steady(lambda: self.find(css).click())

    def press(self, label: str, within: str = "body") -> None:
        """The button with this text."""

        def press() -> None:
            (one,) = [one for one in self.all(f"{within} button") if one.text == label]
            one.click()

        steady(press)

    def focused(self) -> WebElement:
        return self.driver.switch_to.active_element

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def size(self, width: int, height: int) -> None:
        """Of what is seen of the page, and also below what a window can be."""
        more = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", more)

    def theme(self, name: str) -> None:
        """light or dark."""
        wish = [{"name": "prefers-color-scheme", "value": name}, {"name": "prefers-reduced-motion", "value": "reduce"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wish})

    def complaints(self) -> list[str]:
        """What the browser has written into its console as a warning or an error since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("WARNING", "SEVERE")]

    def picture(self, path: Path) -> None:
        path.write_bytes(self.driver.get_screenshot_as_png())


def steady(look: Callable[[], T]) -> T:
    """What `look` finds or does; again when the page has put other elements in the place of those it had found."""

    def once() -> tuple[T]:
        try:
            return (look(),)
        except StaleElementReferenceException as error:
            raise AssertionError("the page changes all the time") from error

    return eventually(once)[0]


@contextmanager
def browser() -> Iterator[Browser]:
    """A fresh one without history, at desk width; the test is skipped where there is none."""
    program, driver_program = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver_program is None:
        pytest.skip("no browser on this machine: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = program
    for argument in (
        "--headless=new",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--hide-scrollbars",
    ):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # as root it has none
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options, Service(driver_program))
    try:
        page = Browser(driver)
        page.size(*DESK)
        page.theme("light")
        yield page
    finally:
        driver.quit()
