"""What somebody who watches is told: all of it at first, then what has changed, and nothing twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ipymesos.core.messages import (
    AgentsListed,
    EnginesWanted,
    EngineUnwanted,
    InverseOffered,
    LoadTold,
    Offered,
    QueuesTold,
    StopWanted,
    Ticked,
)
from ipymesos.core.resources import InverseOffer, Resources
from ipymesos.core.session import Agent, Everything, Usage
from ipymesos.daemon.picture import WAITING_AGAIN, Picture
from tests.stories import offer, running, start, status, step


def news(picture: Picture, state: Everything, now: float, **facts: Any) -> dict[str, Any]:
    return picture.news(state, now, facts)


def test_the_first_look_tells_all() -> None:
    state, (controller, engine, _) = running(2)
    told = news(Picture(), state, 10.0, pid=7)
    assert told["first"] and told["now"] == 10.0
    assert told["cluster"]["state"] == "running" and told["cluster"]["pid"] == 7
    assert told["cluster"]["controller"]["task"] == controller.id
    assert told["cluster"]["sets"]["e"]["wanted"] == 2 and "tasks" not in told["cluster"]["sets"]["e"]
    assert [task["task"] for task in told["tasks"]["changed"]] == list(state.cluster.tasks)
    assert told["tasks"]["changed"][1] == {
        "task": engine.id, "group": "e", "state": "running", "agent": engine.hostname, "agent_id": "a1",
        "container": engine.executor_id, "engine_id": state.cluster.tasks[engine.id].engine_id,
        "controller": controller.id, "since": state.cluster.tasks[engine.id].since, "message": "",
    }  # fmt: skip
    assert told["explain"]["groups"] == [] and "load" not in told and "queues" not in told


def test_what_is_the_same_is_not_told_again() -> None:
    state, _ = running(2)
    picture = Picture()
    news(picture, state, 10.0)
    for seconds in range(11, 20):
        state, _ = step(state, Ticked(), now=float(seconds))
        assert news(picture, state, float(seconds)) == {}


def test_only_tasks_that_have_changed_are_told() -> None:
    state, (_, first, second) = running(2)
    picture = Picture()
    news(picture, state, 10.0)
    state, _ = step(state, EngineUnwanted(first.id), now=11.0)
    told = news(picture, state, 11.0)
    assert [(task["task"], task["state"]) for task in told["tasks"]["changed"]] == [(first.id, "ending")]
    assert told["cluster"]["sets"]["e"]["wanted"] == 1 and "first" not in told
    state, _ = step(state, status(first, "KILLED"), now=12.0)
    assert news(picture, state, 12.0)["tasks"] == {"changed": [], "gone": [first.id]}


def test_load_is_told_as_it_comes_and_a_share_of_the_cpu_with_the_second_answer() -> None:
    state, (_, first, second) = running(2)
    picture = Picture()
    news(picture, state, 10.0)
    load = ((first.id, 3.0), (second.id, -4.0))
    state, _ = step(state, LoadTold("pack-e-2", "a1", load, ((first.id, Usage(70, 2.0)),)), now=12.0)
    assert news(picture, state, 12.0) == {
        "now": 12.0,
        "load": {first.id: [9.0, True, 70, None], second.id: [8.0, False, None, None]},
    }
    state, _ = step(state, LoadTold("pack-e-2", "a1", load, ((first.id, Usage(71, 3.0)),)), now=14.0)
    assert news(picture, state, 14.0)["load"][first.id] == [11.0, True, 71, 0.5]


def test_queues_are_those_of_the_controller_that_clients_use() -> None:
    state, _ = running(1)
    picture = Picture()
    news(picture, state, 10.0)
    state, _ = step(state, QueuesTold("controller-1", "a1", 3, 9, ((0, (1, 2)),)), now=11.0)
    assert news(picture, state, 11.0)["queues"] == {"waiting": 3, "done": 9, "at": 11.0, "engines": {"0": [1, 2]}}
    state, _ = step(state, QueuesTold("controller-9", "a1", 3, 9), now=12.0)
    assert "queues" not in news(picture, state, 12.0)


def test_agents_tell_what_they_have_and_why_it_is_not_enough() -> None:
    state = start(2)
    picture = Picture()
    assert news(picture, state, 0.0)["agents"] == []
    small = replace(offer(), pieces=tuple(p for p in offer().pieces if p.name != "cpus"))
    state, _ = step(state, Offered((small,)), now=1.0)
    state, _ = step(state, AgentsListed((Agent("a1", "host-1", Resources(8000, 4096), 100),)), now=1.0)
    (agent,) = news(picture, state, 1.0)["agents"]
    assert (agent["cpus"], agent["memory"], agent["draining"], agent["failing"]) == (8.0, 4096, None, "")
    assert [refused["reason"] for refused in agent["refusals"]] == ["cpus"]


def test_an_agent_that_is_to_be_taken_away() -> None:
    state, _ = running(1)
    picture = Picture()
    news(picture, state, 1.0)
    state, _ = step(state, InverseOffered((InverseOffer("i1", "a1", 1000.0),)), now=2.0)
    assert [agent["draining"] for agent in news(picture, state, 2.0)["agents"]] == [1000.0]


def test_why_it_waits_is_told_once_in_a_second() -> None:
    state = start(2)
    picture = Picture()
    assert news(picture, state, 0.0)["explain"]["groups"]
    assert news(picture, state, WAITING_AGAIN / 2) == {}
    assert list(news(picture, state, 1.1)) == ["now", "explain"]
    state, _ = step(state, EnginesWanted("e", 3), now=1.2)
    assert {"cluster", "explain"} <= news(picture, state, 1.2).keys(), "a change is told at once"


def test_the_end() -> None:
    state, _ = running(1)
    picture = Picture()
    news(picture, state, 1.0)
    state, _ = step(state, StopWanted("enough"), now=2.0)
    told = news(picture, state, 2.0)
    assert (told["cluster"]["state"], told["cluster"]["stopping"]) == ("stopping", "enough")
    assert {task["state"] for task in told["tasks"]["changed"]} == {"ending"}
