"""The dashboard in a real browser, of a real cluster on a local Mesos: what one sees, does, and hears of."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import pytest
from selenium.webdriver.common.keys import Keys

from ipymesos.client import Daemon
from ipymesos.local import LocalMesos
from tests.browser import DESK, PHONE, Browser, browser
from tests.helpers import eventually

pytestmark = pytest.mark.mesos

AUDIT = (Path(__file__).parent / "audit.js").read_text()
N = 3
OPTIONS = ["--container=process", "--cpus=0.5", "--memory=300 MB", "--pack-memory=64 MB", "--controller-cpus=0.2"]


@dataclass
class Desk:
    page: Browser
    daemon: Daemon
    profile: Path
    environment: dict[str, str]

    def looks(self) -> list[str]:
        """What the engines' squares look like."""
        return self.page.attributes("#map button.square[data-task^=engine]", "data-look")

    def engines(self) -> list[dict[str, Any]]:
        return list(self.daemon.status()["engines"]["engines"]["tasks"])

    def settled(self, n: int) -> None:
        """n engines are there, and no other one, for the scheduler and on the page."""
        eventually(lambda: [task["state"] for task in self.engines()] == ["running"] * n, 60)
        eventually(lambda: sorted(set(self.looks())) in (["idle"], ["busy"]) and len(self.looks()) == n, 30)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("ipython")
    profile = folder / "profile_default"
    with browser() as page, LocalMesos(agents=2, resources=("cpus:3;mem:4000", "cpus:1;mem:4000")) as mesos:
        environment = {**os.environ, "IPYTHONDIR": str(folder), "IPYMESOS_MASTER": mesos.master}
        start = [sys.executable, "-m", "ipymesos", "start", "-n", str(N), *OPTIONS]
        with subprocess.Popen(start, env=environment, stderr=subprocess.DEVNULL) as process:
            try:
                eventually(lambda: process.poll() is None and (profile / "security/ipymesos.json").exists(), 60)
                daemon = Daemon.wait_ready(profile)
                yield Desk(page, daemon, profile, environment)
            finally:
                process.terminate()


@pytest.fixture(autouse=True)
def nothing_to_complain(desk: Desk) -> Iterator[None]:
    """No error in the console, which also names what the content security policy has stopped."""
    desk.page.size(*DESK)
    desk.page.theme("light")
    yield
    assert desk.page.complaints() == []


def audit(desk: Desk) -> list[str]:
    return [f"{size} {theme}: {problem}" for size in (DESK, PHONE) for theme in ("light", "dark")
            for problem in look(desk, size, theme)]  # fmt: skip


def look(desk: Desk, size: tuple[int, int], theme: str) -> list[str]:
    desk.page.size(*size)
    desk.page.theme(theme)
    return list(desk.page.run(AUDIT))


def test_the_token_opens_it_and_a_logout_closes_it(desk: Desk) -> None:
    page = desk.page
    page.go(desk.daemon.url)
    eventually(lambda: page.focused().get_attribute("id") == "token")
    assert audit(desk) == [] and page.text("#dashboard") == ""
    page.focused().send_keys("wrong" + Keys.ENTER)
    eventually(lambda: page.text("#login-error") == "that is not the token")
    assert ["401" in complaint for complaint in page.complaints()] == [True]
    page.focused().send_keys(desk.daemon.file.token + Keys.ENTER)
    eventually(lambda: page.text("#live") == "Live", 30)
    (cookie,) = page.driver.get_cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict" and desk.daemon.file.token not in str(cookie)
    assert desk.daemon.file.token not in page.driver.page_source + page.run("return JSON.stringify(localStorage)")
    page.press("Log out")
    eventually(lambda: page.focused().get_attribute("id") == "token")
    assert page.driver.get_cookies() == [] and page.run("return localStorage.length") == 0


def test_the_link_of_the_command_opens_it_once(desk: Desk) -> None:
    page = desk.page
    command = [sys.executable, "-m", "ipymesos", "dashboard"]
    done = subprocess.run(command, env=desk.environment, capture_output=True, text=True, timeout=60)
    link = done.stdout.strip()
    assert done.returncode == 0 and link.startswith(f"{desk.daemon.url}/#code=") and desk.daemon.file.token not in link
    page.go(link)
    eventually(lambda: page.text("#live") == "Live", 30)
    assert page.driver.current_url == f"{desk.daemon.url}/"
    page.go("about:blank")
    page.go(desk.daemon.url)
    eventually(lambda: page.text("#live") == "Live", 30)
    page.press("Log out")
    page.go("about:blank")
    page.go(link)
    eventually(lambda: "has been used" in page.text("#login-error"))
    assert len(page.complaints()) == 1
    page.go(f"{desk.daemon.url}/#code={desk.daemon.login_code()}")
    eventually(lambda: page.text("#live") == "Live", 30)


def test_engines_are_seen_at_rest_and_at_work(desk: Desk) -> None:
    page = desk.page
    desk.settled(N)
    eventually(lambda: page.text("#state") == "Running")
    assert f"{N} of {N} running" in page.text("#sets") and "running" in page.text("#sets article")
    assert page.run("return document.title").startswith(f"{N}/{N} running")
    with ipp.Client(profile_dir=str(desk.profile)) as client:
        client.wait_for_engines(N, timeout=30)
        tasks = client.load_balanced_view().map_async(time.sleep, [1.5] * 5 * N)
        eventually(lambda: desk.looks() == ["busy"] * N and "wait for an engine" in page.text("#queues"), 30)
        assert "Engine 0" in page.text("#queues") and "balanced" in page.text("#queues")
        label = page.attributes("#map button.square", "aria-label")[-1]
        eventually(lambda: "CPU" in page.attributes("#map button.square", "aria-label")[-1], 20)
        assert label.startswith(f"Engine {N - 1}, busy")
        tasks.get(60)
    eventually(lambda: desk.looks() == ["idle"] * N, 20)
    eventually(lambda: f"{5 * N} in all" in page.text("#figures"), 20)
    texts = page.texts("#events li span")
    assert any("controller running after" in text for text in texts), texts
    assert audit(desk) == []


def test_by_the_keyboard_alone(desk: Desk) -> None:
    """From the top of the page to an engine, its details, and back."""
    page = desk.page
    page.go(desk.daemon.url)
    eventually(lambda: len(desk.looks()) == N, 30)
    stops = []
    for _ in range(30):
        page.focused().send_keys(Keys.TAB)
        element = page.focused()
        stops.append(element.get_attribute("id") or element.get_attribute("class") or element.text)
        assert page.run("return getComputedStyle(arguments[0]).outlineStyle", element) != "none", stops
        if "square" in stops[-1]:
            break
    assert stops == ["skip", "stop", "logout", "as-map", "as-table", "square"], "one stop for the whole map"
    page.focused().send_keys(Keys.ARROW_RIGHT)
    assert page.focused().get_attribute("aria-label").startswith("Engine 0")
    page.focused().send_keys(Keys.END)
    assert page.focused().get_attribute("aria-label").startswith(f"Engine {N - 1}")
    page.focused().send_keys(Keys.ENTER)
    eventually(lambda: page.text("dialog h2") == f"Engine {N - 1}")
    assert "300 MB asked for" in page.text("dialog") and page.focused().text == "Close"
    assert audit(desk) == []
    page.press("Log", "dialog")
    eventually(lambda: "Completed registration" in page.text("dialog pre"), 30)
    page.focused().send_keys(Keys.ESCAPE)
    eventually(lambda: not page.all("dialog"))
    assert page.focused().get_attribute("aria-label").startswith(f"Engine {N - 1}"), "the focus is given back"


def test_the_table_says_the_same(desk: Desk) -> None:
    desk.page.press("Table")
    assert [row.split("\t")[0] for row in desk.page.texts("#table tbody tr")] == [f"Engine {i}" for i in range(N)]
    assert audit(desk) == []
    desk.page.press("Map")


def test_scale_and_retire_and_restart(desk: Desk) -> None:
    page = desk.page
    page.press("Scale…", "#sets")
    field = page.focused()
    assert field.get_attribute("value") == str(N) and audit(desk) == []
    field.send_keys("-1")
    eventually(lambda: "A whole number from 0" in page.text("dialog"))
    page.run("arguments[0].value = ''", field)
    field.send_keys(str(N + 1) + Keys.ENTER)
    eventually(lambda: not page.all("dialog"))
    desk.settled(N + 1)
    eventually(lambda: "engines wanted" in page.text("#events"))

    page.all("#map button.square[data-task^=engine]")[-1].click()
    page.press("Retire…", "dialog.details")
    assert page.focused().text == "Cancel" and f"wants {N} then" in page.text("dialog:not(.details)")
    page.press("Retire it", "dialog:not(.details)")
    eventually(lambda: "It has ended" in page.text("dialog.details"), 30)
    page.press("Close", "dialog.details")
    desk.settled(N)

    before = {task["task"] for task in desk.engines()}
    page.all("#map button.square[data-task^=engine]")[0].click()
    page.press("Restart…", "dialog.details")
    page.press("Restart it", "dialog:not(.details)")
    eventually(lambda: "It has ended" in page.text("dialog.details"), 30)
    page.press("Close", "dialog.details")
    desk.settled(N)
    assert len(before & {task["task"] for task in desk.engines()}) == N - 1


def test_what_is_stuck_explains_itself(desk: Desk) -> None:
    page = desk.page
    desk.daemon.want_engines("engines", 20)
    eventually(lambda: page.text("#state") == "Waiting" and "too little CPU" in page.text("#waiting"), 40)
    assert desk.daemon.explain()["groups"][0]["message"].split(":")[0] in page.text("#waiting")
    eventually(lambda: "without a place" in page.text("#map") and "needs" in page.text("#map"), 30)
    eventually(lambda: any("waiting" in text for text in page.texts("#events li[data-look=slow] span")), 30)
    eventually(lambda: page.text("#said") != "", 10)
    assert audit(desk) == []
    desk.daemon.want_engines("engines", N)
    desk.settled(N)
    eventually(lambda: not page.all("#waiting"))


def test_stop(desk: Desk) -> None:
    page = desk.page
    page.press("Stop…")
    assert page.focused().text == "Cancel" and audit(desk) == []
    page.focused().send_keys(Keys.ENTER)
    assert desk.daemon.status()["state"] == "running"
    page.press("Stop…")
    page.press("Stop the cluster", "dialog")
    assert desk.daemon.join(60)
    eventually(lambda: page.text("#live") == "Ended", 30)
    page.complaints()  # that nobody answers any more
