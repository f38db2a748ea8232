"""What the README, the tutorial and some how-tos tell people to type, typed.

Each page has a reader: a terminal, a notebook, and an IPython directory of their own.

* ```sh: goes to the terminal. What is in its foreground gets Ctrl-C before the next block, and at the end.
* ```sh terminal: stays in a terminal of its own until the end of the page.
* ```python and ```ipython: a cell of the notebook; but lines that begin with `c.` are written into the configuration of
  the profile that was last named.
* anything else is for looking at.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import pytest
from IPython.core.interactiveshell import InteractiveShell

from ipymesos.client import Daemon
from tests.e2e.kit import Home, nothing_left, program
from tests.helpers import eventually
from tests.integration.scripted_master import free_port

pytestmark = pytest.mark.mesos

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "docs/tutorial.md", "docs/elastic.md", "docs/tuning.md", "docs/data.md"]
BLOCK = re.compile(r"^```(\w+) ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Lines that are run elsewhere, and where.
ELSEWHERE = {
    "scripts/setup": "by whoever runs the tests",
    ". .venv/bin/activate": "this Python is the one of that environment",
    "scripts/demo": "tests/integration/test_demo.py",
    "scripts/test": "this is it",
    "scripts/build": "tests/unit/test_packaging.py",
    "pip install dist/*.whl": "tests/e2e/test_images.py, in the images",
}

# Commands that stay in the foreground, and what they say when they are ready.
FOREGROUND = {
    r"ipcluster start (?!.*--daemonize)": "on Mesos master",
    r"python -m ipymesos start\b": "connect with",
    r"python -m ipymesos local\b": "answers at",
}


class Reader:
    def __init__(self, home: Home, shell: InteractiveShell, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.home, self.shell, self.folder, self.patch = home, shell, folder, patch
        self.profile = "default"
        self.busy: list[tuple[subprocess.Popen[str], Path]] = []  # terminals of their own
        self.foreground: list[tuple[subprocess.Popen[str], Path]] = []

    def read(self, text: str) -> None:
        place = 0
        for block in BLOCK.finditer(text):
            for name in re.findall(r"--profile=(\w+)", text[place : block.end()]):
                self.profile = name
            place = block.end()
            language, how, code = block.groups()
            if language == "sh":
                self.type(code, own=how == "terminal")
            elif language in ("python", "ipython") and code.startswith("c."):
                self.configure(code)
            elif language in ("python", "ipython"):
                self.shell.run_cell(code).raise_error()

    def configure(self, lines: str) -> None:
        path = self.home.ipython / f"profile_{self.profile}" / "ipcluster_config.py"
        if not path.exists():
            made = program("IPython", "profile", "create", "--parallel", f"--profile={self.profile}")
            assert made.returncode == 0, made.stderr
        with open(path, "a") as file:
            file.write(f"\n{lines}")

    def type(self, code: str, own: bool) -> None:
        end(self.foreground)
        for line in code.replace("\\\n", " ").splitlines():
            line = line.partition("  #")[0].strip()
            if not line or line in ELSEWHERE:
                continue
            said = next((said for command, said in FOREGROUND.items() if re.match(command, line)), "")
            if said:
                self.begin(line, said, self.busy if own else self.foreground)
            else:
                self.run(line)

    def run(self, line: str) -> None:
        """Run a line; variables that it exports are there afterwards, as they are for a notebook started then."""
        after = self.folder / "environment"
        done = subprocess.run(
            ["bash", "-euc", f"{line}\nenv -0 >{after}"],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{line}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        for name, _, value in (pair.partition("=") for pair in after.read_text().split("\0")):
            if name.startswith("IPYMESOS_"):
                self.patch.setenv(name, value)

    def begin(self, line: str, said: str, where: list[tuple[subprocess.Popen[str], Path]]) -> None:
        log = self.folder / f"terminal-{len(self.busy)}-{len(self.foreground)}"
        with open(log, "w") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {line}"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                text=True,
                start_new_session=True,
            )
        where.append((process, log))

        def ready() -> bool:
            text = log.read_text()
            assert said in text, text
            if line.startswith("ipcluster"):
                status = Daemon.find(self.home.ipython / f"profile_{self.profile}").status()
                assert all(engines["running"] == engines["wanted"] for engines in status["engines"].values())
                assert status["engines"]
            return True

        eventually(ready, 60)

    def close(self) -> None:
        things = [thing for thing in self.shell.user_ns.values() if isinstance(thing, (ipp.Client, ipp.Cluster))]
        for client in (thing for thing in things if isinstance(thing, ipp.Client)):
            client.close()
        for cluster in (thing for thing in things if isinstance(thing, ipp.Cluster)):
            cluster.stop_cluster_sync()
        end(self.foreground)
        end(self.busy)


def end(terminals: list[tuple[subprocess.Popen[str], Path]]) -> None:
    """Ctrl-C in these, last one first, and all well."""
    while terminals:
        process, log = terminals.pop()
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130), log.read_text()


@pytest.fixture
def reader(home: Home, shell: InteractiveShell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.delenv("IPYMESOS_MASTER")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    made = Reader(home, shell, tmp_path, monkeypatch)
    yield made
    made.close()
    program("ipyparallel.cluster", "stop", "--all", f"--profile={made.profile}")
    nothing_left(home)
    for path in home.ipython.glob("profile_*/security/*"):
        raise AssertionError(f"left behind: {path}")


def local(text: str, home: Home) -> str:
    """The page, with what a reader would fill in: a master and an image of their own, and fewer engines."""
    changes: dict[str, Any] = {
        "5050": free_port(),
        "zk://zk1:2181,zk2:2181/mesos": home.mesos.master,
        "--MesosLauncher.image=registry.example.org/team/engine:3": "--MesosLauncher.container=process",
        'c.MesosLauncher.image = "registry.example.org/team/engine:3"': 'c.MesosLauncher.container = "process"',
        'c.MesosLauncher.role = "research"': 'c.MesosLauncher.role = "*"',
        "-n 100": "-n 2",
    }
    for found, instead in changes.items():
        text = text.replace(found, str(instead))
    return text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: Path(page).stem)
def test_what_the_pages_say_works(page: str, home: Home, reader: Reader) -> None:
    reader.read(local((ROOT / page).read_text(), home))
