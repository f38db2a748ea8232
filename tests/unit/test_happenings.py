"""What has happened, as fields: by equality. Its texts are in test_words.py."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ipymesos.core.cluster import Exit
from ipymesos.core.messages import (
    AgentLost,
    EnginesDropped,
    EnginesWanted,
    InverseOffered,
    InverseRescinded,
    LoadTold,
    Offered,
    StopWanted,
    Subscribed,
    Updated,
)
from ipymesos.core.resources import InverseOffer
from ipymesos.daemon.happenings import happenings
from ipymesos.daemon.vocabulary import CAUSES, KINDS, Happening, cause

from .test_words import ENGINE, OFFER, Story


class Events(Story):
    """The same cluster, and what is told of it as fields."""

    def tells(self, *events: object) -> list[Happening]:
        before = self.state
        self.happens(*events)  # type: ignore[arg-type]
        return list(happenings(before, self.state))


def running() -> Events:
    story = Events()
    story.happens(Subscribed("framework", "master:5050"))
    story.happens(Offered((OFFER,)))
    story.runs("controller-1", "engine-a-3", "engine-a-4")
    return story


def kinds(story: Events, *events: object) -> list[str]:
    return [happening.kind for happening in story.tells(*events)]


def fields(happening: Happening) -> Happening:
    return replace(happening, text="")


def test_a_start() -> None:
    story = Events()
    assert kinds(story, Subscribed("framework", "master:5050")) == ["master_registered"]
    assert [fields(h) for h in story.tells(Offered((OFFER,)))] == [
        Happening("controller_launched", "", "controller", ("controller-1",), ("host",)),
        Happening("engines_launched", "", "a", ("engine-a-3", "engine-a-4"), ("host",), running=0, wanted=2),
    ]
    # an engine is of use when the controller runs, whoever says so first
    assert story.tells(Updated("engine-a-3", "agent", "TASK_RUNNING", engine_id=0)) == []
    assert [fields(h) for h in story.tells(Updated("controller-1", "agent", "TASK_RUNNING"))] == [
        Happening("controller_running", "", "controller", ("controller-1",), ("host",), seconds=2.0),
        Happening("engines_running", "", "a", ("engine-a-3",), ("host",), running=1, wanted=2),
    ]


def test_an_end_tells_why() -> None:
    story = running()
    (end,) = story.tells(Updated("engine-a-3", "agent", "TASK_FAILED", "REASON_X", "killed by SIGSEGV"))
    assert fields(end) == Happening(
        "engines_ended",
        "",
        "a",
        ("engine-a-3",),
        ("host",),
        "killed by SIGSEGV",
        "signal",
        False,
        running=1,
        wanted=2,
    )


def test_engines_that_are_not_wanted_any_more() -> None:
    story = running()
    (wanted,) = story.tells(EnginesWanted("a", 1))
    executor = story.state.cluster.tasks["engine-a-3"].executor_id
    (retiring,) = story.tells(LoadTold(executor, "agent", (("engine-a-3", 5.0), ("engine-a-4", -1.0))))
    assert (wanted.kind, wanted.wanted, wanted.running) == ("engines_wanted", 1, 2)
    assert (retiring.kind, len(retiring.tasks)) == ("engines_retiring", 1)
    (end,) = story.tells(Updated(retiring.tasks[0], "agent", "TASK_KILLED"))
    assert (end.kind, end.asked, end.cause, end.running) == ("engines_ended", True, "asked", 1)
    assert kinds(story, EnginesDropped("a")) == ["engines_dropped", "engines_retiring"]


def test_what_a_client_shuts_down_lowers_the_wish() -> None:
    story = running()
    wanted, end = story.tells(Updated("engine-a-3", "agent", "TASK_FINISHED", message="shut down through the hub"))
    assert (wanted.kind, wanted.wanted) == ("engines_wanted", 1)
    assert (end.kind, end.cause) == ("engines_ended", "finished")


def test_engines_outlive_their_controller() -> None:
    story = running()
    (end,) = [h for h in story.tells(Updated("controller-1", "agent", "TASK_FAILED", "", "killed by SIGKILL"))]
    assert (end.kind, end.asked, end.running) == ("controller_ended", False, None)
    story.now += 100
    assert kinds(story, Offered((replace(OFFER, id="o2"),))) == ["controller_launched"]
    (new,) = (task.id for task in story.state.cluster.group("controller"))
    assert kinds(story, Updated(new, "agent", "TASK_RUNNING")) == ["controller_running"]
    (moved,) = story.tells(Updated("engine-a-3", "agent", "TASK_RUNNING", engine_id=0, controller=new))
    assert (moved.kind, moved.tasks, moved.running) == ("engines_moved", ("engine-a-3",), 1)


def test_what_nobody_can_reach() -> None:
    story = running()
    assert kinds(story, Updated("engine-a-3", "agent", "TASK_UNREACHABLE")) == ["engines_unreachable"]
    back = story.tells(Updated("engine-a-3", "agent", "TASK_RUNNING", engine_id=0))
    assert [h.kind for h in back if h.tasks == ("engine-a-3",)][:1] == ["engines_running"]


def test_agents() -> None:
    story = running()
    (lost,) = story.tells(AgentLost("agent"))
    assert (lost.kind, lost.agents) == ("agent_lost", ("host",))
    drain = story.tells(InverseOffered((InverseOffer("i1", "agent", 1_000_000.0),)))[0]
    assert (drain.kind, drain.agents) == ("agent_draining", ("host",))
    assert drain.text == "agent host is to be taken away from 1970-01-12 13:46:40 UTC on"
    assert "agent_stays" in kinds(story, InverseRescinded("i1"))


def test_failures_in_a_row() -> None:
    story = running()
    told: list[Happening] = []
    for i in range(2, 6):
        story.happens(Offered((replace(OFFER, id=f"o{i}"),)))
        engines = [task.id for task in story.state.cluster.group("a")]
        told += story.tells(*(Updated(name, "agent", "TASK_FAILED", "", "exit status 1") for name in engines))
        story.now += 10
    assert {"engines_ended", "back_off", "agent_failing"} <= {h.kind for h in told}
    (rest,) = [h.seconds for h in told if h.kind == "back_off"][:1]
    assert rest and rest > 0


def test_the_same_state_tells_nothing() -> None:
    story = running()
    assert list(happenings(story.state, story.state)) == []


def test_an_end_of_many_at_once_is_told_of_all() -> None:
    """Only so many exits are kept."""
    story = Events(200)
    story.happens(Subscribed("framework", "master:5050"))
    pieces = tuple(replace(p, amount=p.amount * 1000) for p in OFFER.pieces)
    story.happens(Offered((replace(OFFER, pieces=pieces),)))
    engines = [task.id for task in story.state.cluster.group("a")]
    told = story.tells(*(Updated(name, "agent", "TASK_LOST", "REASON_SLAVE_REMOVED", "gone") for name in engines))
    ends = [h for h in told if h.kind == "engines_ended"]
    assert [(len(end.tasks), end.cause, end.reason) for end in ends] == [(200, "agent", "gone")]


def test_a_stop_is_told_once() -> None:
    story = running()
    assert kinds(story, StopWanted("enough")) == ["stopping"]
    ends = story.tells(*(Updated(f"engine-a-{i}", "agent", "TASK_KILLED") for i in (3, 4)))
    assert [(end.text, end.cause) for end in ends] == [
        ("2 engines of set 'a' on host ended (TASK_KILLED): as asked", "asked")
    ]
    assert story.tells(EnginesWanted("a", 1, ENGINE)) == []


def test_fields_that_do_not_apply_are_left_out() -> None:
    end = Happening("engines_ended", "text", "a", ("t",), asked=False, running=0)
    assert json.loads(json.dumps(end.as_dict())) == {
        "kind": "engines_ended",
        "text": "text",
        "group": "a",
        "tasks": ["t"],
        "asked": False,
        "running": 0,
    }


@pytest.mark.parametrize(
    "state, reason, message, asked, word",
    [
        ("TASK_KILLED", "", "", True, "asked"),
        ("TASK_FINISHED", "", "shut down through the hub", True, "finished"),
        ("TASK_FAILED", "REASON_CONTAINER_LIMITATION_MEMORY", "Memory limit exceeded", False, "memory"),
        ("TASK_FAILED", "", "OOM: the machine had no memory left", False, "memory"),
        ("TASK_FAILED", "", "killed by SIGSEGV", False, "signal"),
        ("TASK_FAILED", "", "exit status 3: no such module", False, "exit"),
        ("TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED", "no such image", False, "container"),
        ("TASK_FAILED", "REASON_EXECUTOR_TERMINATED", "Abnormal executor termination", False, "container"),
        ("TASK_LOST", "REASON_SLAVE_REMOVED", "Agent removed", False, "agent"),
        ("TASK_GONE_BY_OPERATOR", "", "", False, "agent"),
        ("TASK_LOST", "REASON_RECONCILIATION", "", False, "agent"),
        ("TASK_DROPPED", "REASON_INVALID_OFFERS", "Offer no longer valid", False, "mesos"),
        ("TASK_FAILED", "", "the versions of Python differ", False, "other"),
    ],
)
def test_the_cause_of_an_end(state: str, reason: str, message: str, asked: bool, word: str) -> None:
    assert cause(Exit("t", "a", "host", 0.0, state, reason, message, asked)) == word
    assert word in CAUSES


def test_all_kinds_are_told_of() -> None:
    assert all(text.endswith(".") for text in KINDS.values())
