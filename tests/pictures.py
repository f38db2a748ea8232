"""Pictures of the dashboard for the documentation: states of real clusters, light and dark, at a desk and on a phone.

Run by scripts/pictures. Nothing on them is secret: they are taken after the login.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import ipyparallel as ipp
from PIL import Image

from ipymesos.client import Daemon
from ipymesos.errors import NotRunning
from ipymesos.local import LocalMesos
from tests.browser import DESK, PHONE, Browser, browser
from tests.helpers import eventually

FOLDER = Path(__file__).resolve().parents[1] / "docs/pictures"
SHOTS = {"desk": DESK, "phone": PHONE}
SMALL = ["--container=process", "--cpus=0.5", "--memory=200 MB", "--pack-memory=64 MB", "--controller-cpus=0.2"]
AGENTS = ("cpus:6;mem:6000", "cpus:4;mem:5000", "cpus:0.3;mem:2000")


def work(seconds: float) -> float:
    import time

    if seconds > 0:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            sum(range(2000))
    return seconds


class Studio:
    """One user's cluster on `mesos`, and the browser that looks at it."""

    def __init__(self, page: Browser, mesos: LocalMesos, folder: Path) -> None:
        self.page, self.mesos = page, mesos
        self.environment = {**os.environ, "IPYTHONDIR": str(folder), "IPYMESOS_MASTER": mesos.master}
        self.profile = folder / "profile_default"

    @contextmanager
    def cluster(self, *arguments: str, name: str = "") -> Iterator[Daemon]:
        self.command("start", *(["--cluster-id", name] if name else []), *SMALL, *arguments)
        with subprocess.Popen(self.started, env=self.environment, stderr=subprocess.DEVNULL) as process:
            try:
                yield eventually(lambda: self.found(name), 60)
            finally:
                process.terminate()
                process.wait(60)

    def command(self, *arguments: str) -> None:
        self.started = [sys.executable, "-m", "ipymesos", *arguments]

    def found(self, name: str) -> Daemon | None:
        try:
            running = Daemon.find(self.profile, name)
        except NotRunning:
            return None
        return running if running.url else None

    def look(self, daemon: Daemon) -> None:
        self.page.go("about:blank")
        self.page.go(f"{daemon.url}/#code={daemon.login_code()}")
        eventually(lambda: self.page.text("#live") == "Live", 60)

    def take(self, state: str, *sizes: str) -> None:
        """The pictures of a state, or those of these sizes only."""
        taken = []
        for where in sizes or SHOTS:
            self.page.size(*SHOTS[where])
            for theme in ("light", "dark"):
                self.page.theme(theme)
                self.page.run("window.scrollTo(0, 0)")
                taken.append(FOLDER / f"{state}-{where}-{theme}.png")
                self.page.picture(taken[-1])
        for path in taken:
            shrink(path)
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
        self.page.size(*DESK)


def shrink(path: Path) -> None:
    """The 256 most frequent colours are enough: areas are flat, and the edges of letters come near."""
    picture = Image.open(path).convert("RGB")
    colours = sorted(picture.getcolors(picture.width * picture.height) or [], reverse=True)[:256]
    palette = Image.new("P", (1, 1))
    palette.putpalette([value for _, colour in colours for value in colour])
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)


def empty(studio: Studio) -> None:
    with studio.cluster() as daemon:
        studio.look(daemon)
        eventually(lambda: daemon.status()["controller"]["state"] == "running", 60)
        eventually(lambda: studio.page.text("#queues").startswith("Nothing waits"), 30)
        studio.take("empty")


def starting(studio: Studio) -> None:
    for where in SHOTS:  # it doesn't last long enough for all
        with studio.cluster("-n", "12") as daemon:
            studio.look(daemon)
            eventually(lambda: studio.page.attributes("#map button.square", "data-look").count("coming") > 4, 60, 0.01)
            studio.take("starting", where)


def running(studio: Studio) -> None:
    with studio.cluster("-n", "14") as daemon:
        studio.look(daemon)
        eventually(lambda: daemon.status()["engines"]["engines"]["running"] == 14, 120)
        with ipp.Client(profile_dir=str(studio.profile)) as client:
            client.wait_for_engines(14, timeout=60)
            daemon.want_engines("more-memory", 2, {"memory": "600 MB", "cpus": 0.5})
            balanced = client.load_balanced_view(targets=list(range(9)))
            with ThreadPoolExecutor(1) as typing:
                doing = typing.submit(lambda: [balanced.map_async(work, [1.5] * 500), client[3].apply_async(work, 90)])
                doing.result(60)
                eventually(lambda: daemon.status()["engines"]["more-memory"]["running"] == 2, 120)
                eventually(lambda: "busy" in studio.page.attributes("#map button.square", "data-look"), 60)
                studio.page.run("window.began = Date.now()")
                # Two and a half minutes of curves would be a long wait: forty seconds are enough to see them.
                eventually(lambda: studio.page.run("return Date.now() - window.began") > 40_000, 60)
                studio.take("running")
                studio.page.click("#as-table")
                studio.page.picture(FOLDER / "table.png")
                shrink(FOLDER / "table.png")
                studio.page.click("#as-map")


def stuck(studio: Studio) -> None:
    with studio.cluster("-n", "24", "--cpus=0.6", "--memory=500 MB") as daemon:
        studio.look(daemon)
        eventually(lambda: daemon.status()["engines"]["engines"]["running"] > 8, 120)
        eventually(lambda: "cpus" in studio.page.text("#map") and "needs" in studio.page.text("#map"), 60)
        begun = time.monotonic()
        eventually(lambda: time.monotonic() - begun > 12, 30)
        studio.take("stuck")


STATES: dict[str, Callable[[Studio], None]] = {f.__name__: f for f in (empty, starting, running, stuck)}


def main(names: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in names or list(STATES):
        with (
            tempfile.TemporaryDirectory() as folder,
            LocalMesos(agents=len(AGENTS), resources=AGENTS, attributes=["rack:r1", "rack:r2", "rack:r3"]) as mesos,
            browser() as page,
        ):
            STATES[name](Studio(page, mesos, Path(folder)))


if __name__ == "__main__":
    main(sys.argv[1:])
