"""The executor's driver, against an agent that boots slowly, forgets, repeats itself, refuses and goes away."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ipymesos_executor import driver
from ipymesos_executor.driver import Driver
from pymesos import Executor

from tests.helpers import eventually

from .scripted_master import Exchange, Play, ScriptedMaster, refuse

INFO = {
    "executor_info": {"executor_id": {"value": "x1"}},
    "framework_info": {"id": {"value": "f1"}, "capabilities": []},
    "agent_info": {"id": {"value": "a1"}},
}
TASK = {"task_id": {"value": "t1"}, "data": "c2VjcmV0LWtleQ=="}
ACCEPTED = refuse(202)
LAUNCH = {"type": "LAUNCH", "launch": {"task": TASK}}


class Recorder(Executor):
    """Everything the driver tells its executor, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.on_launch: Callable[[], None] = lambda: None

    def registered(self, driver: Any, executor: Any, framework: Any, agent: Any) -> None:
        self.heard.append(("registered", framework["id"]["value"]))

    def reregistered(self, driver: Any, agent: Any) -> None:
        self.heard.append(("reregistered", agent["id"]["value"]))

    def disconnected(self, driver: Any) -> None:
        self.heard.append(("disconnected", None))

    def launchTask(self, driver: Any, task: Any) -> None:
        self.heard.append(("launch", task["task_id"]["value"]))
        self.on_launch()

    def killTask(self, driver: Any, event: Any) -> None:
        self.heard.append(("kill", event))

    def frameworkMessage(self, driver: Any, data: Any) -> None:
        self.heard.append(("message", data))

    def shutdown(self, driver: Any) -> None:
        self.heard.append(("shutdown", None))

    def error(self, driver: Any, message: str) -> None:
        self.heard.append(("error", message))

    def names(self) -> list[str]:
        return [name for name, _ in self.heard]


def subscribe(exchange: Exchange, *events: Any) -> None:
    exchange.head("")
    exchange.event({"type": "SUBSCRIBED", "subscribed": INFO})
    for event in events:
        exchange.event(event)


def tell(*events: Any) -> Play:
    def play(exchange: Exchange) -> None:
        subscribe(exchange, *events)
        exchange.hold()

    return play


def acknowledge(update: Any) -> dict[str, Any]:
    status = update["status"]
    return {"type": "ACKNOWLEDGED", "acknowledged": {"task_id": status["task_id"], "uuid": status["uuid"]}}


@contextmanager
def driving(
    monkeypatch: pytest.MonkeyPatch, *plays: Play, checkpoint: bool = True, on_call: Play = ACCEPTED, **environ: str
) -> Iterator[tuple[ScriptedMaster, Recorder, Driver]]:
    with ScriptedMaster(plays, on_call=on_call) as agent:
        facts = {
            "MESOS_AGENT_ENDPOINT": agent.address,
            "MESOS_SLAVE_PID": f"slave(7)@{agent.address}",
            "MESOS_FRAMEWORK_ID": "f1",
            "MESOS_EXECUTOR_ID": "x1",
            "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "0secs",
            "MESOS_CHECKPOINT": str(int(checkpoint)),
            **environ,
        }
        for name, value in facts.items():
            monkeypatch.setenv(name, value)
        recorder = Recorder()
        driver = Driver(recorder)
        driver.start()
        try:
            yield agent, recorder, driver
        finally:
            driver.stop()
            driver.join()


def status(state: str) -> dict[str, Any]:
    return {"task_id": {"value": "t1"}, "state": state}


def updates(agent: ScriptedMaster) -> list[Any]:
    return [call.body["update"] for call in agent.calls if call.body["type"] == "UPDATE"]


def states(agent: ScriptedMaster) -> list[str]:
    return [update["status"]["state"] for update in updates(agent)]


def test_waits_while_the_agent_boots(monkeypatch: pytest.MonkeyPatch) -> None:
    plays = (refuse(404, "no route"), refuse(404), refuse(503, "recovering"), tell(LAUNCH))
    with driving(monkeypatch, *plays) as (agent, recorder, _):
        eventually(lambda: recorder.names() == ["registered", "launch"], 5)
    assert len(agent.subscribes) == 4
    assert {request.path for request in agent.subscribes} == {"/slave(7)/api/v1/executor"}
    first = agent.subscribes[0].body
    assert first["subscribe"] == {"unacknowledged_tasks": [], "unacknowledged_updates": []}
    assert (first["framework_id"], first["executor_id"]) == ({"value": "f1"}, {"value": "x1"})


def test_an_agent_that_was_away_for_long_is_not_kept_waiting_when_it_boots(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives its executors a second, maybe."""
    monkeypatch.setattr(driver, "PATIENCE", 0.0)
    monkeypatch.setattr(driver, "RETRY_SLOW", 60.0)
    with driving(monkeypatch, refuse(404), refuse(503), tell(LAUNCH)) as (_, recorder, _):
        eventually(lambda: recorder.names() == ["registered", "launch"], 10)


def test_events_reach_the_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    kill = {"task_id": {"value": "t1"}, "kill_policy": {"grace_period": {"nanoseconds": 5}}}
    events = (
        LAUNCH,
        LAUNCH,
        {"type": "HEARTBEAT"},
        {"type": "UNKNOWN", "unknown": {}},
        {"type": "KILL", "kill": kill},
        {"type": "MESSAGE", "message": {"data": "eA=="}},
        {"type": "ERROR", "error": {"message": "no"}},
        {"type": "SHUTDOWN"},
    )
    with driving(monkeypatch, tell(*events)) as (_, recorder, driver):
        eventually(lambda: "shutdown" in recorder.names())
        assert recorder.heard == [
            ("registered", "f1"),
            ("launch", "t1"),
            ("launch", "t1"),
            ("kill", kill),
            ("message", "eA=="),
            ("error", "no"),
            ("shutdown", None),
        ]
        driver.sendStatusUpdate(status("TASK_KILLED"))  # a shutdown is no reason to be silent


def test_an_update_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"MESOS_EXECUTOR_AUTHENTICATION_TOKEN": "token-of-the-agent"}
    with driving(monkeypatch, tell(), **environ) as (agent, recorder, driver):
        eventually(lambda: recorder.heard)
        driver.sendStatusUpdate({**status("TASK_RUNNING"), "message": "m", "data": "eA=="})
        (update,) = eventually(lambda: updates(agent))
        call = agent.calls[0]
    said = update["status"]
    assert (said["state"], said["message"], said["data"]) == ("TASK_RUNNING", "m", "eA==")
    assert said["source"] == "SOURCE_EXECUTOR" and said["executor_id"] == {"value": "x1"}
    assert said["timestamp"] > 1e9 and len(said["uuid"]) == 24
    assert call.path == "/slave(7)/api/v1/executor"
    assert call.headers["authorization"] == "Bearer token-of-the-agent"


def test_messages_for_the_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    with driving(monkeypatch, tell()) as (agent, recorder, driver):
        driver.sendFrameworkMessage("eA==")  # there may be no agent yet
        driver.sendStatusUpdate(status("TASK_RUNNING"))
        driver.sendFrameworkMessage("eB==")

        def said() -> list[Any]:
            return [call for call in agent.calls if call.body["type"] == "MESSAGE"]

        eventually(lambda: len(said()) == 2)
    assert [call.body["message"]["data"] for call in said()] == ["eA==", "eB=="]
    assert said()[0].path == "/slave(7)/api/v1/executor" and said()[0].body["executor_id"] == {"value": "x1"}


def test_what_is_not_acknowledged_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Event()

    def first(exchange: Exchange) -> None:
        subscribe(exchange, LAUNCH, {"type": "LAUNCH", "launch": {"task": {"task_id": {"value": "t2"}}}})
        assert both.wait(10)
        exchange.event(acknowledge(updates(agent)[0]))
        acknowledged.wait(10)

    acknowledged = threading.Event()
    with driving(monkeypatch, first, tell()) as (agent, recorder, driver):
        eventually(lambda: recorder.names().count("launch") == 2)
        driver.sendStatusUpdate(status("TASK_STARTING"))
        driver.sendStatusUpdate(status("TASK_RUNNING"))
        eventually(lambda: states(agent) == ["TASK_STARTING", "TASK_RUNNING"])
        both.set()
        eventually(lambda: len(driver.updates) == 1)
        acknowledged.set()
        eventually(lambda: "reregistered" in recorder.names())
        again = agent.subscribes[1].body["subscribe"]
        assert [update["status"]["state"] for update in again["unacknowledged_updates"]] == ["TASK_RUNNING"]
        assert again["unacknowledged_updates"][0] == updates(agent)[1]
        assert [task["task_id"]["value"] for task in again["unacknowledged_tasks"]] == ["t2"]
        assert not driver.flush(0.01)


def test_updates_made_while_the_agent_is_away_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    back = threading.Event()

    def short(exchange: Exchange) -> None:
        subscribe(exchange)

    def away(exchange: Exchange) -> None:
        if back.is_set():
            subscribe(exchange)
            for update in exchange.request.body["subscribe"]["unacknowledged_updates"]:
                exchange.event(acknowledge(update))
            exchange.hold()
        else:
            exchange.answer(503)

    with driving(monkeypatch, short, away) as (agent, recorder, driver):
        eventually(lambda: "disconnected" in recorder.names())
        driver.sendStatusUpdate(status("TASK_FAILED"))
        assert states(agent) == []
        back.set()
        assert driver.flush(10)
        assert "error" not in recorder.names()


def test_a_call_that_fails_is_repeated_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def answer(exchange: Exchange) -> None:
        tries.append(exchange.request.body["update"]["status"]["state"])
        exchange.answer(503 if len(tries) < 3 else 202)

    with driving(monkeypatch, tell(), on_call=answer) as (_, recorder, driver):
        eventually(lambda: recorder.heard)
        for state in ("TASK_STARTING", "TASK_RUNNING"):
            driver.sendStatusUpdate(status(state))
        eventually(lambda: len(tries) == 4)
    assert tries == ["TASK_STARTING"] * 3 + ["TASK_RUNNING"]


def test_without_checkpoint_the_end_of_the_agent_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    with driving(monkeypatch, subscribe, checkpoint=False) as (agent, recorder, _):
        eventually(lambda: "error" in recorder.names())
        assert recorder.names() == ["registered", "disconnected", "error"]
        assert "does not checkpoint" in recorder.heard[-1][1]
    assert len(agent.subscribes) == 1


def test_an_agent_that_never_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    plays = (subscribe, refuse(503))
    with driving(monkeypatch, *plays, MESOS_RECOVERY_TIMEOUT="300ms") as (_, recorder, _):
        eventually(lambda: "error" in recorder.names())
        assert recorder.heard[-1] == ("error", "the agent did not come back within 0.3 s")


@pytest.mark.parametrize("code", [400, 401, 403])
def test_a_refusal_ends_it(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    with driving(monkeypatch, refuse(code, "never")) as (agent, recorder, _):
        eventually(lambda: recorder.heard == [("error", f"the agent answered the subscription with HTTP {code}")])
    assert len(agent.subscribes) == 1


def test_an_agent_that_has_given_us_up_is_asked_and_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "ASK", 0.05)
    asked: list[str] = []

    def answer(exchange: Exchange) -> None:
        asked.append(exchange.request.body["type"])
        if len(asked) < 3:
            exchange.answer(501)
        else:
            exchange.answer(400, "Executor cannot be found")

    with driving(monkeypatch, tell(), on_call=answer) as (_, recorder, _):
        eventually(lambda: "error" in recorder.names())
    assert asked == ["UNKNOWN"] * 3
    given_up = "the agent gave us up: HTTP 400: Executor cannot be found"
    assert recorder.heard == [("registered", "f1"), ("error", given_up)]


def test_an_update_of_an_executor_that_was_given_up_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with driving(monkeypatch, tell(), on_call=refuse(400, "Framework cannot be found")) as (agent, recorder, driver):
        eventually(lambda: recorder.heard)
        driver.sendStatusUpdate(status("TASK_RUNNING"))
        eventually(lambda: "error" in recorder.names())
        assert states(agent) == ["TASK_RUNNING"]


def test_a_fault_in_a_callback_is_said_without_the_key(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def hold_then_launch(exchange: Exchange) -> None:
        ready.wait(10)
        subscribe(exchange, LAUNCH)
        exchange.hold()

    ready = threading.Event()
    with driving(monkeypatch, hold_then_launch) as (_, recorder, _):
        recorder.on_launch = lambda: [][0]
        ready.set()
        eventually(lambda: "error" in recorder.names())
        assert "IndexError" in recorder.heard[-1][1]
    assert "c2VjcmV0LWtleQ==" not in caplog.text and "secret-key" not in caplog.text


def test_importing_changes_nothing_of_the_process() -> None:
    program = """
import signal, logging, json
before = signal.getsignal(signal.SIGINT)
import ipymesos_executor.driver
print(json.dumps([signal.getsignal(signal.SIGINT) is before, len(logging.getLogger("pymesos").handlers)]))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert json.loads(run.stdout) == [True, 0]
    assert run.stderr == b""
