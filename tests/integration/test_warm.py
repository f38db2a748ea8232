"""Executors that a private Mesos forks from a process which has imported everything, instead of starting them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import ipyparallel as ipp
import psutil
import pytest

from tests.helpers import eventually
from tests.integration.programs import SMALL, Start

pytestmark = pytest.mark.mesos


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    with Start(tmp_path_factory.mktemp("warm") / "profile", "--master", "local", "-n", "2", *SMALL) as start:
        start.running(2, timeout=120)
        yield start
        below = psutil.Process(start.process.pid).children(recursive=True)
        start.daemon().stop("enough")
        assert start.wait() == 0, start.error
        eventually(lambda: not any(process.is_running() for process in below))


def programs(start: Start, word: str) -> list[psutil.Process]:
    """Of all that the daemon has started, those with this word in their command line; oldest first."""
    found = [p for p in psutil.Process(start.process.pid).children(recursive=True) if word in " ".join(p.cmdline())]
    return sorted(found, key=lambda process: process.create_time())


def pids(start: Start) -> set[int]:
    with ipp.Client(profile_dir=str(start.profile)) as client:
        client.wait_for_engines(2, timeout=60)
        return set(client[:].apply_sync(os.getpid))


def test_they_are_forked_and_are_what_they_would_be_otherwise(start: Start) -> None:
    nursery = programs(start, "ipymesos_executor.warm")[0]
    engines = pids(start)
    assert engines <= {process.pid for process in nursery.children(recursive=True)}
    assert len(programs(start, "mesos-containerizer")) == 2
    with ipp.Client(profile_dir=str(start.profile)) as client:
        client.wait_for_engines(2, timeout=60)
        look = ipp.interactive(lambda: (__import__("os").getcwd(), dict(__import__("os").environ)))
        folder, environment = client[0].apply_sync(look)
    assert environment["MESOS_SANDBOX"] == folder or environment["MESOS_DIRECTORY"] == folder
    assert "IPYMESOS_LOCAL_WORK_DIR" not in environment
    assert (Path(folder) / "stderr").read_text().count("registered with agent") == 1
    assert not [child for child in nursery.children() if child.status() == psutil.STATUS_ZOMBIE]


def test_they_end_with_their_container(start: Start) -> None:
    before = pids(start)
    engines = [psutil.Process(pid) for pid in before]
    helpers = programs(start, "mesos-containerizer")
    sandbox = engines[0].cwd()
    (helper,) = [p for p in helpers if f"MESOS_DIRECTORY={sandbox}" in launch_info(p)]
    helper.kill()
    eventually(lambda: not any(process.is_running() for process in engines))
    eventually(lambda: exits(start) == 2)
    start.running(2, timeout=60)
    assert not pids(start) & before


def exits(start: Start) -> int:
    return len(start.daemon().status()["exits"])


def launch_info(helper: psutil.Process) -> str:
    """MESOS_DIRECTORY=value as in what the helper was told."""
    variables = json.loads(helper.environ()["MESOS_CONTAINERIZER_LAUNCH_INFO"])["environment"]
    return " ".join(f"{v['name']}={v['value']}" for v in variables["variables"])


def test_without_the_process_that_forks_them_they_are_started(start: Start) -> None:
    nursery = programs(start, "ipymesos_executor.warm")[0]
    below = nursery.children(recursive=True)
    nursery.send_signal(signal.SIGKILL)
    eventually(lambda: not any(process.is_running() for process in below))
    eventually(lambda: exits(start) == 5)
    start.running(2, timeout=60)
    assert len(pids(start)) == 2
    assert not programs(start, "ipymesos_executor.warm")
