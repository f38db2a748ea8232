"""The pack's decisions: what it commands the zygote, and what it tells Mesos."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ipymesos_executor import pack
from ipymesos_executor.loop import Loop
from ipymesos_executor.pack import TOO_LONG, Pack

from tests.helpers import eventually

ENGINE = {"protocol": 1, "kind": "engine", "python": list(sys.version_info[:2]), "engine_info": {"registration": 1}}


class World:
    """The two ends of a pack: commands to the zygote, statuses for the agent, both only written down."""

    def __init__(self, folder: Path, idle: float = 60.0) -> None:
        self.loop = Loop()
        self.commands: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []
        self.pack = Pack(self.loop, self, self.commands.append, str(folder), idle)

    def sendStatusUpdate(self, status: dict[str, Any]) -> None:
        self.statuses.append(status)

    def sendFrameworkMessage(self, data: str) -> None:
        self.messages.append(json.loads(base64.b64decode(data)))

    def flush(self, timeout: float) -> bool:
        return True

    def told(self) -> list[tuple[str, str]]:
        return [(status["task_id"]["value"], status["state"].removeprefix("TASK_")) for status in self.statuses]

    def did(self) -> list[tuple[Any, ...]]:
        return [
            (c["do"], c["task"], c["signal"]) if c["do"] == "signal" else (c["do"], c["task"]) for c in self.commands
        ]

    def launch(self, *names: str, **more: Any) -> None:
        for name in names:
            data = base64.b64encode(json.dumps(ENGINE).encode()).decode()
            self.pack.launch({"task_id": {"value": name}, "data": data, **more})

    def kill(self, name: str, grace: float | None = None) -> None:
        event: dict[str, Any] = {"task_id": {"value": name}}
        if grace is not None:
            event["kill_policy"] = {"grace_period": {"nanoseconds": int(grace * 1e9)}}
        self.pack.kill(event)

    def hear(self, event: str, task: str = "", **more: Any) -> None:
        if event == "registered":
            more = {"controller": "c1", "address": {}, **more}
        self.pack.heard({"event": event, "task": task, **more})

    def run(self, seconds: float = 0.1) -> int:
        """Let time pass; the executor's exit code, or -1 if it goes on."""
        self.loop.later(seconds, self.loop.stop, -1)
        return self.loop.run()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_tasks_wait_for_the_zygote(world: World) -> None:
    world.launch("e1", "e2")
    world.kill("e2")
    assert world.told() == [("e2", "KILLED")] and world.did() == []
    world.hear("ready")
    assert world.did() == [("start", "e1")]
    world.launch("e3")
    assert world.did() == [("start", "e1"), ("start", "e3")]


def test_an_engine_from_begin_to_end(world: World) -> None:
    world.hear("ready")
    world.launch("e1")
    world.hear("started", "e1", pid=7)
    world.hear("registered", "e1", engine_id=0, controller="c1", address={})
    world.hear("exited", "e1", oom="", status=-signal.SIGSEGV)
    assert world.told() == [("e1", "RUNNING"), ("e1", "FAILED")]
    assert json.loads(base64.b64decode(world.statuses[0]["data"])) == {"engine_id": 0, "pid": 7, "controller": "c1"}
    assert world.statuses[1]["message"] == "killed by SIGSEGV"


def test_only_who_takes_long_is_said_to_start(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "STARTING_AFTER", 0.01)
    world.hear("ready")
    world.launch("soon", "late", "dead", "unwanted")
    for pid, name in enumerate(("soon", "late", "dead", "unwanted"), 7):
        world.hear("started", name, pid=pid)
    world.hear("registered", "soon", engine_id=0)
    world.hear("exited", "dead", oom="", status=0)
    world.kill("unwanted")
    world.run()
    assert world.told() == [("soon", "RUNNING"), ("dead", "FINISHED"), ("late", "STARTING")]


def test_a_second_launch_of_the_same_task_is_ignored(world: World) -> None:
    world.hear("ready")
    world.launch("e1", "e1")
    world.hear("started", "e1", pid=7)
    world.hear("exited", "e1", oom="", status=0)
    world.launch("e1")
    assert world.did() == [("start", "e1")]
    assert world.told() == [("e1", "FINISHED")]


def test_kill_with_grace(world: World) -> None:
    world.pack.registered({"capabilities": [{"type": "TASK_KILLING_STATE"}]})
    world.hear("ready")
    world.launch("e1")
    world.hear("started", "e1", pid=7)
    world.kill("e1")
    world.run()
    assert world.did() == [("start", "e1"), ("signal", "e1", 15)]  # three seconds are not over
    world.loop = world.pack.loop = Loop()
    world.kill("e1", 0.01)  # a second KILL may be more urgent
    world.run()
    assert world.did()[2:] == [("signal", "e1", 1), ("signal", "e1", 9)]  # no time to retire
    world.hear("exited", "e1", oom="", status=-9)
    world.kill("e1")
    assert world.told() == [("e1", "KILLING"), ("e1", "KILLED")]


def test_the_grace_period_of_the_task(world: World) -> None:
    world.hear("ready")
    world.launch("e1", kill_policy={"grace_period": {"nanoseconds": 10_000_000}})
    world.hear("started", "e1", pid=7)
    world.kill("e1")
    world.run()
    assert world.did() == [("start", "e1"), ("signal", "e1", 1), ("signal", "e1", 9)]
    assert ("e1", "KILLING") not in world.told()  # the framework does not know that state


def test_messages(world: World) -> None:
    world.hear("ready")
    world.launch("e1", "e2", "e3")
    for number, name in enumerate(("e1", "e2")):
        world.hear("started", name, pid=number + 7)
    world.commands.clear()
    for order in ({"signal": 2, "tasks": None}, {"signal": 9, "tasks": ["e2", "other"]}, {"signal": 10}):
        world.pack.message(base64.b64encode(json.dumps(order).encode()).decode())
    assert world.did() == [
        ("signal", "e1", 2),
        ("signal", "e2", 2),
        ("signal", "e2", 9),
        ("signal", "e1", 10),
        ("signal", "e2", 10),
    ]
    world.commands.clear()
    for nonsense in ("?", "", base64.b64encode(b'{"signal": 999}').decode(), base64.b64encode(b"[]").decode()):
        world.pack.message(nonsense)
    assert world.did() == []


def test_moves(world: World) -> None:
    address = {"interface": "tcp://10.0.0.2", "registration": 5}
    order = {"move": {"controller": "c2", "engine_info": {**address, "key": "stolen", "curve_serverkey": "stolen"}}}
    world.launch("e1")
    _say(world, {**order, "tasks": ["e1", "other"]})  # nothing has been forked yet
    world.hear("ready")
    assert world.commands[0]["payload"]["engine_info"] == address
    assert world.commands[0]["payload"]["controller"] == "c2"
    world.hear("started", "e1", pid=7)
    world.hear("registered", "e1", engine_id=0, controller="c2", address={})
    world.commands.clear()
    _say(world, {**order, "tasks": ["e1"]})
    assert world.commands == [] and world.told() == [("e1", "RUNNING")] * 2  # it is there
    order["move"] = {"controller": "c3", "engine_info": {**address, "registration": 6}}
    for tasks in (["e1"], None, ["other"]):
        _say(world, {**order, "tasks": tasks})
    move = {"do": "move", "task": "e1", "controller": "c3", "engine_info": {**address, "registration": 6}}
    assert world.commands == [move, move]  # the engine knows whether it has begun
    back = {"controller": "c2", "engine_info": address}
    _say(world, {"move": back, "tasks": ["e1"]})
    assert world.commands.pop() == {"do": "move", "task": "e1", **back}  # it is on its way to another one
    world.hear("registered", "e1", engine_id=4, controller="c3", address={**address, "registration": 6})
    told = json.loads(base64.b64decode(world.statuses[-1]["data"]))
    assert told == {"engine_id": 4, "pid": 7, "controller": "c3"}
    assert world.pack.tasks["e1"].payload["engine_info"]["registration"] == 6  # its hub, should it die
    for nonsense in ({"move": None}, {"move": {"controller": "c4"}}, {"move": {"controller": "c4", "engine_info": 3}}):
        _say(world, nonsense)
    assert len(world.commands) == 2


def test_load(world: World) -> None:
    world.launch("e1")
    _say(world, {"load": True})
    world.hear("ready")
    world.launch("e2")
    _say(world, {"load": True})
    assert world.commands[-1] == {"do": "load"}
    world.hear("load", load={"e1": 12.5})
    assert world.messages == [{"load": {"e1": 0}, "used": {}}, {"load": {"e1": 12.5, "e2": 0}, "used": {}}]


def test_what_engines_use_is_told_with_the_load(world: World) -> None:
    world.hear("ready")
    world.launch("e1")
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        world.hear("started", "e1", pid=process.pid)

        def used() -> tuple[int, float]:
            world.hear("load", load={"e1": 1})
            resident, cpu = world.messages[-1]["used"]["e1"]
            return resident, cpu

        try:
            eventually(lambda: used()[0] > 100_000)  # it has just begun
            assert 0 <= used()[1] < 5
        finally:
            process.kill()


def test_queues_are_passed_on(world: World) -> None:
    world.hear("ready")
    world.launch("e1")
    world.hear("queues", "e1", queues={"waiting": 2})
    assert world.messages == [{"queues": {"waiting": 2}}]


def test_engines_that_died_elsewhere(world: World) -> None:
    world.hear("ready")
    _say(world, {"gone": {"3": "its container was killed"}, "controller": "c1"})
    assert world.commands == [{"do": "gone", "task": "c1", "reasons": {"3": "its container was killed"}}]
    for nonsense in (
        {"gone": {"x": ""}},
        {"gone": [3]},
        {"gone": None},
        {"signal": 9, "tasks": [1]},
        {"signal": 9, "tasks": 1},
    ):
        _say(world, nonsense)
    assert len(world.commands) == 1


def test_out_of_memory(world: World) -> None:
    world.hear("ready")
    world.launch("e1")
    world.hear("started", "e1", pid=7)
    world.hear("registered", "e1", engine_id=0, controller="c1", address={})
    world.hear("exited", "e1", status=-9, oom="OOM: the container's memory limit of 64 MB was reached")
    assert world.statuses[-1]["reason"] == "REASON_CONTAINER_LIMITATION_MEMORY"
    assert world.statuses[-1]["message"].startswith("OOM: ")


def test_why_it_is_killed(world: World) -> None:
    """The hub shall hear it."""
    world.hear("ready")
    world.launch("e1")
    world.hear("started", "e1", pid=7)
    world.kill("e1", 0.01)
    world.run()
    assert [command["reason"] for command in world.commands[1:]] == ["", TOO_LONG]


def _say(world: World, order: dict[str, Any]) -> None:
    world.pack.message(base64.b64encode(json.dumps(order).encode()).decode())


def test_shutdown_ends_all(world: World) -> None:
    world.hear("ready")
    world.launch("e1", "e2")
    world.hear("started", "e1", pid=7)
    world.hear("started", "e2", pid=8)
    world.pack.shutdown("TASK_KILLED", "the executor was shut down")
    world.pack.shutdown("TASK_FAILED", "again", 1)
    world.launch("late")
    assert world.did()[2:] == [("signal", name, 1) for name in ("e1", "e2")]
    world.hear("exited", "e1", oom="", status=0)
    world.hear("exited", "e2", oom="", status=-15)
    assert world.run() == 0
    assert world.told() == [("late", "KILLED"), ("e1", "KILLED"), ("e2", "KILLED")]


def test_a_zygote_that_cannot_be_forked_from(world: World) -> None:
    world.launch("e1")
    world.hear("failed", message="preload: importing x starts threads")
    world.launch("e2")
    assert world.told() == [("e1", "FAILED"), ("e2", "FAILED")]
    assert {json.loads(base64.b64decode(status["data"]))["final"] for status in world.statuses} == {True}


def test_a_lost_zygote_ends_the_executor(world: World) -> None:
    world.hear("ready")
    world.launch("e1")
    world.hear("started", "e1", pid=7)
    world.pack.zygote_lost("it has ended")
    assert world.told() == [("e1", "FAILED")]
    assert world.run() == 1


def test_fork_fails(world: World) -> None:
    world.hear("ready")
    world.launch("e1")
    world.hear("exited", "e1", error="fork: Resource temporarily unavailable")
    assert world.statuses[0]["message"] == "fork: Resource temporarily unavailable"


def test_idle_executors_end(tmp_path: Path) -> None:
    world = World(tmp_path, idle=0.05)
    assert world.run(5) == 0  # never had a task

    world = World(tmp_path, idle=0.05)
    world.hear("ready")
    world.launch("e1")
    assert world.run(0.3) == -1  # has one

    world = World(tmp_path, idle=0.2)
    world.hear("ready")
    world.launch("e1")
    world.hear("exited", "e1", oom="", status=0)
    world.loop.later(0.1, world.launch, "e2")  # in time
    assert world.run(0.5) == -1
    world = World(tmp_path, idle=0.05)
    world.hear("ready")
    world.launch("e1")
    world.hear("exited", "e1", oom="", status=0)
    assert world.run(5) == 0
