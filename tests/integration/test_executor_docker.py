"""The executor as pid 1 of a real container."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import ipyparallel as ipp
import pytest

from ipymesos.local import LocalMesos
from tests import images
from tests.helpers import eventually

from .executor_kit import payloads
from .executor_mesos import Playground

pytestmark = [pytest.mark.mesos, pytest.mark.docker]

ORPHAN = """
import os, time
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        os._exit(0)  # a zombie, unless its new parent, pid 1, reaps it
    os._exit(0)
os.wait()
"""


@pytest.fixture
def play() -> Iterator[Playground]:
    with LocalMesos(containerizers="docker,mesos") as local, Playground(local.master) as playground:
        playground.image = images.image("engine")
        yield playground


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def container_of(play: Playground, task: str) -> str:
    """The name the agent gave it: mesos-<container id>."""
    status = play.expect(task, "TASK_RUNNING")
    return "mesos-" + str(status["container_status"]["container_id"]["value"])


def test_pid_1(play: Playground) -> None:
    controller, engine = payloads()
    play.launch("c", "controller", {"ctl": controller})
    play.launch("p", "engines", {"e0": engine, "e1": engine}, "--preload", "numpy")
    containers = [container_of(play, task) for task in ("ctl", "e0")]
    assert container_of(play, "e1") == containers[1]
    with ipp.Client(controller["client_info"]) as client:
        eventually(lambda: len(client) == 2)
        listed = docker("top", containers[1], "-eo", "pid,ppid,stat,args")
        assert listed.count("ipymesos_executor engines") == 4  # executor, zygote, two engines
        client[0].execute(ORPHAN, block=True)
        eventually(lambda: " Z" not in docker("top", containers[1], "-eo", "pid,ppid,stat,args"))

        # what is asked of a container that shall stop
        docker("stop", "--time=20", containers[1])
        for task in ("e0", "e1"):
            assert play.expect(task, "TASK_FAILED")["message"] == "the executor got SIGTERM"
        eventually(lambda: client.ids == [])
        state = json.loads(docker("inspect", containers[1]))[0]["State"]
        assert (state["ExitCode"], state["OOMKilled"]) == (0, False)

    play.driver.killTask({"value": "ctl"})
    play.expect("ctl", "TASK_KILLED")
    assert docker("exec", containers[0], "ls", "-A", "/mnt/mesos/sandbox").count(".ipymesos-") == 1  # while it lives
