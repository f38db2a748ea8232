"""A whole life of a cluster over a link with 100 ms delay each way, 20 ms jitter and 2 % loss.

Daemon, client, engines and their agent are at one end; the master, the other agent and the controllers at the other.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import pytest

import ipymesos
from ipymesos.local import LocalMesos
from ipymesos.local.election import Election, get
from tests.helpers import eventually
from tests.integration.programs import SMALL, Start, executors, frameworks
from tests.slow_link import SlowLink, missing

pytestmark = [pytest.mark.mesos, pytest.mark.skipif(bool(missing()), reason=missing())]

APART = ("--controller-attributes", "rack=there", "--attributes", "rack=here")
MEGABYTES = 20
ANSWER = 180.0  # s, as long as nothing is given up


@contextmanager
def mesos_there(link: SlowLink, work_dir: Path) -> Iterator[str]:
    """The address of a master with an agent at the other end."""
    options = ("--ip", link.there, "--port", "0", "--attributes", "rack:there", "--work-dir", str(work_dir))
    command = link.within(sys.executable, "-m", "ipymesos.local", *options)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert " answers at " in said, said
            yield said.partition(" answers at ")[2].partition(",")[0]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def pids(client: ipp.Client) -> dict[int, int]:
    return dict(client[:].apply_async(os.getpid).get_dict(timeout=ANSWER))


def ended(start: Start) -> list[str]:
    return [end["task"] for end in start.daemon().status()["exits"]]


def test_a_life_over_a_slow_network(tmp_path: Path) -> None:
    with (
        SlowLink(delay=100, jitter=20, loss=0.02) as link,
        mesos_there(link, tmp_path / "there") as master,
        LocalMesos(1, ip=link.here, attributes=["rack:here"], election=Election(master)),
        Start(tmp_path / "profile", "--master", master, "-n", "2", *SMALL, *APART) as start,
    ):
        before = start.running(2, timeout=ANSWER)
        with ipymesos.Client(profile_dir=str(tmp_path / "profile"), timeout=60) as client:
            client.wait_for_engines(2, timeout=ANSWER)
            assert sorted(client.load_balanced_view().map_async(abs, range(-50, 0)).get(ANSWER)) == list(range(1, 51))
            client[:].push({"data": os.urandom(MEGABYTES << 20), "counter": 1}).get(ANSWER)
            assert client[:].apply_async(size).get(ANSWER) == [MEGABYTES << 20] * 2
            assert len(client[0].pull("data", block=False).get(ANSWER)) == MEGABYTES << 20
            assert ended(start) == []

            known = pids(client)
            os.kill(known[0], signal.SIGKILL)
            eventually(lambda: sorted(client.ids) == running(start) == [1, 2], ANSWER)
            assert len(ended(start)) == 1
            assert client[1].pull("counter", block=False).get(ANSWER) == 1
            client[:].push({"counter": 2}).get(ANSWER)
            known = pids(client)

            work = client[:].execute("import time; time.sleep(5); counter += 1")
            for process in executors(tmp_path / "there"):
                process.kill()
            work.get(ANSWER)
            after = eventually(lambda: moved(start, before), ANSWER)
            assert pids(client) == known
            assert client[:].pull("counter", block=False).get(ANSWER) == [3, 3]
            assert len(ended(start)) == 2, ended(start)
            assert after["framework_id"] == before["framework_id"]

        told = get(master, "/metrics/snapshot", 30)
        assert (told["master/slaves_active"], told["master/slave_unreachable_scheduled"]) == (2, 0)
        start.daemon().stop("enough")
        assert start.wait(ANSWER) == 0, start.error
        assert "Traceback" not in start.error
        eventually(lambda: frameworks(master) == [], ANSWER)


def size() -> int:
    return len(globals()["data"])


size.__module__ = "__main__"  # else an engine would look for this file


def running(start: Start) -> list[int]:
    tasks = start.daemon().status()["engines"]["engines"]["tasks"]
    return sorted(task["engine_id"] for task in tasks if task["state"] == "running")


def moved(start: Start, before: dict[str, Any]) -> dict[str, Any] | None:
    status = start.daemon().status()
    other = status["controller"]["task"] != before["controller"]["task"]
    usable = status["controller"]["state"] == "running" and status["engines"]["engines"]["running"] == 2
    return status if other and usable else None
