"""Logs of running and ended tasks on a real Mesos: by REST, in Python and on the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ipyparallel as ipp
import pytest

from ipymesos import logs
from ipymesos.client import Daemon
from ipymesos.errors import ConfigError, Gone
from ipymesos.local import LocalMesos
from tests.helpers import eventually, halt
from tests.integration.programs import SMALL, Start, ipymesos

pytestmark = pytest.mark.mesos


@dataclass
class World:
    mesos: LocalMesos
    start: Start
    profile: Path
    client: ipp.Client

    @property
    def daemon(self) -> Daemon:
        return self.start.daemon()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return ipymesos("logs", "--profile-dir", str(self.profile), *arguments)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    profile = tmp_path_factory.mktemp("profile")
    with LocalMesos(agents=1) as mesos, Start(profile, "--master", mesos.master, "-n", "3", *SMALL) as start:
        start.running(3)
        with ipp.Client(profile_dir=str(profile)) as client:
            client.wait_for_engines(3, timeout=30)
            yield World(mesos, start, profile, client)
        start.daemon().stop("enough")
        assert start.wait() == 0, start.error


@ipp.interactive
def say(text: str) -> None:
    """Past IPython's capture, as C code and warnings do."""
    import os

    os.write(1, text.encode())


def task_of(daemon: Daemon, engine_id: int) -> str:
    return str(next(log["task"] for log in daemon.logs()["logs"] if log["engine_id"] == engine_id))


def test_each_engine_has_its_own(world: World) -> None:
    for engine_id in world.client.ids:
        world.client[engine_id].apply_sync(say, f"this is engine {engine_id} — né\n")
    for engine_id in world.client.ids:
        by_number = world.daemon.log(str(engine_id))
        assert f"this is engine {engine_id} — né\n" in by_number["text"]
        assert by_number["text"].count("this is engine") == 1
        assert by_number["engine_id"] == engine_id and by_number["state"] == "running"
        by_task = world.daemon.log(task_of(world.daemon, engine_id), tail=1)
        assert by_task["text"] == f"this is engine {engine_id} — né\n"
        assert by_task["next"] == by_number["next"]
    assert "[controller]" in world.daemon.log("controller", offset=0)["text"].lower()
    container = world.daemon.log("0", stream="stderr")["text"]
    assert "registered with agent" in container and "this is engine" not in container


def test_pieces_fit_together(world: World) -> None:
    text = "".join(f"{i} ☃ {'x' * 90}\n" for i in range(2000))
    world.client[0].apply_sync(say, text)
    offset, whole = 0, ""
    while True:
        piece = world.daemon.log("0", offset=offset)
        assert piece["offset"] == offset
        if piece["next"] == offset:
            break
        whole, offset = whole + piece["text"], piece["next"]
    assert whole.endswith(text)
    assert world.daemon.log("0", tail=1500)["text"] == "".join(text.splitlines(keepends=True)[-1500:])
    assert world.daemon.log("0", tail=0)["text"] == ""
    assert world.daemon.log("0", offset=10**9)["text"] == ""


def test_of_an_engine_that_was_killed(world: World) -> None:
    victim = max(world.client.ids)
    task = task_of(world.daemon, victim)
    pid = world.client[victim].apply_sync(os.getpid)
    world.client[victim].apply_sync(say, "famous last words\n")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: {log["task"]: log for log in world.daemon.logs()["logs"]}[task]["state"] == "ended", 30)
    for name in (str(victim), task):
        answer = world.daemon.log(name, tail=1)
        assert (answer["text"], answer["state"], answer["task"]) == ("famous last words\n", "ended", task)
    shown = world.run()
    assert shown.returncode == 0, shown
    assert f"==> engine {victim}, task {task} on" in shown.stdout and "famous last words" in shown.stdout
    assert "==> scheduler <==\n(the scheduler, pid" in shown.stdout  # it has a terminal
    assert "task controller-1 on" in shown.stdout
    listed = world.run("--list")
    assert [line.split()[:3] for line in listed.stdout.splitlines() if task in line] == [[str(victim), task, "ended"]]
    world.start.running(3)
    world.client.wait_for_engines(3, timeout=30)


def test_command_line(world: World) -> None:
    numbers = sorted(world.client.ids)[:2]
    for number in numbers:
        world.client[number].apply_sync(say, f"hello from {number}\n")
    one = world.run("engine", str(numbers[0]), "--tail", "1")
    assert (one.returncode, one.stdout, one.stderr) == (0, f"hello from {numbers[0]}\n", ""), one
    two = world.run(*map(str, numbers), "--tail", "1", "-o", "json")
    told = [json.loads(line) for line in two.stdout.splitlines()]
    assert [(one["engine_id"], one["text"]) for one in told] == [(n, f"hello from {n}\n") for n in numbers]
    everyone = world.run("engines", "--set", "engines", "--tail", "1").stdout
    assert everyone.count("==> engine ") == 3 and "hello from 0" in everyone
    for words, said in (
        (("77",), "no engine 77"),
        (("nobody",), "no task 'nobody'"),
        (("--set", "x"), "no engine set"),
    ):
        wrong = world.run(*words)
        assert wrong.returncode == 2 and said in wrong.stderr, wrong
    gone = world.run("scheduler")
    assert gone.returncode == 12 and "writes to the terminal" in gone.stderr, gone


def test_following(world: World) -> None:
    number = min(world.client.ids)
    world.client[number].apply_sync(say, "before\n")
    command = [sys.executable, "-m", "ipymesos", "logs", "--profile-dir", str(world.profile), "-f", "--tail", "1"]
    follower = subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "before\n"
        for i in range(3):
            world.client[number].apply_sync(say, f"line {i}\n")
            assert next(line for line in follower.stdout if "Handling" not in line) == f"line {i}\n"
        world.client[number].shutdown(block=True)
        _, err = follower.communicate(timeout=60)  # its end is the end of what can be followed
        assert follower.returncode == 0, err
    finally:
        follower.kill()
        follower.communicate()


def test_what_the_agent_has_removed(world: World) -> None:
    ended = next(log for log in world.daemon.logs()["logs"] if log["state"] == "ended")
    runs = f"**/executors/{ended['container']}/runs/*-*-*"
    (log,) = Path(str(world.mesos.work_dir)).glob(f"{runs}/engine-{ended['task']}.log")
    assert log.stat().st_mode & 0o777 == 0o600
    log.unlink()
    with pytest.raises(Gone, match="has removed the sandbox since"):
        world.daemon.log(ended["task"])
    with pytest.raises(ConfigError, match="stream: 'x'"):
        world.daemon.log(ended["task"], stream="x")
    said = {one.name: one for one in logs.read(world.daemon)}
    assert said[logs.CONTROLLER].text and not said[logs.CONTROLLER].problem


def test_an_agent_that_does_not_answer_holds_nobody_up(world: World) -> None:
    assert world.mesos.pid is not None
    halt(world.mesos.pid)
    try:
        reading = subprocess.Popen(
            [sys.executable, "-m", "ipymesos", "logs", "--profile-dir", str(world.profile), "controller"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert world.daemon.status()["state"] == "running"
        _, err = reading.communicate(timeout=60)
        assert reading.returncode == 12 and "doesn't answer" in err, err
    finally:
        os.kill(world.mesos.pid, signal.SIGCONT)
