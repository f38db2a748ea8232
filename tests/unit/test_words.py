"""What people read: the lines of the log, the status page, and the REST API's view behind it."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from ipymesos.core.cluster import Cluster
from ipymesos.core.messages import (
    Disconnected,
    EnginesDropped,
    EnginesWanted,
    Event,
    Offered,
    StopWanted,
    Subscribed,
    Updated,
)
from ipymesos.core.resources import Offer, Piece, Resources
from ipymesos.core.scheduler import observe, plan, record
from ipymesos.core.session import Everything
from ipymesos.core.specs import Container, ControllerSpec, EngineSpec, Spec
from ipymesos.daemon import view, words
from ipymesos.daemon.happenings import happenings, ranges

PIECES = (Piece("cpus", 8000), Piece("mem", 16384), Piece("ports", ranges=((31000, 31009), (31100, 31199))))
OFFER = Offer("o1", "agent", "host", "10.0.0.1", PIECES)
ENGINE = EngineSpec(Resources(1000, 512), container=Container("docker", "image"))


class Story:
    """A cluster to which things happen, and the lines that are said of it."""

    def __init__(self, n: int = 2) -> None:
        self.now = 1000.0
        self.state = Everything(Cluster("test", Spec(ControllerSpec(Resources(500, 256)))))
        self.happens(EnginesWanted("a", n, ENGINE))

    def happens(self, *events: Event) -> list[str]:
        before = self.state
        for event in events:
            self.state = observe(self.state, event, self.now)
        self.state = record(self.state, plan(self.state, self.now), self.now)
        self.now += 1
        return [happening.text for happening in happenings(before, self.state)]

    def runs(self, *tasks: str) -> list[str]:
        ids = {name: name.rpartition("-")[2] for name in tasks}
        return self.happens(
            *(
                Updated(name, "agent", "TASK_RUNNING", engine_id=None if name.startswith("c") else int(number))
                for name, number in ids.items()
            )
        )

    @property
    def status(self) -> dict[str, object]:
        return view.status(self.state, self.now, 7, "id")


def started() -> Story:
    story = Story()
    story.happens(Subscribed("framework", "master:5050"))
    story.happens(Offered((OFFER,)))
    story.runs("controller-1", "engine-a-3", "engine-a-4")
    return story


def test_the_lines_of_a_start() -> None:
    story = Story()
    assert story.happens(Subscribed("framework", "master:5050")) == [
        "registered with Mesos master master:5050 as framework framework"
    ]
    assert story.happens(Offered((OFFER,))) == [
        "controller launched on host (10.0.0.1), ports 31000-31009, 31100-31107",
        "engine set 'a': 2 engines launched on host",
    ]
    assert story.runs("controller-1") == ["controller running after 1.0 s"]
    assert story.runs("engine-a-3") == ["engine set 'a': 1/2 engines running on 1 agent"]
    assert story.runs("engine-a-4") == ["engine set 'a': 2/2 engines running on 1 agent"]
    assert story.runs("engine-a-4") == []


def test_the_lines_of_trouble() -> None:
    story = started()
    assert story.happens(Disconnected("gone")) == ["lost the Mesos master; what runs goes on running"]
    assert story.happens(Subscribed("framework", "other:5050")) == [
        "registered again with Mesos master other:5050 as framework framework"
    ]
    assert story.happens(Updated("engine-a-3", "agent", "TASK_FAILED", "REASON_X", "killed by SIGSEGV")) == [
        "1 engine of set 'a' on host ended (TASK_FAILED): killed by SIGSEGV; 1/2 running"
    ]
    lines = story.happens(Updated("engine-a-4", "agent", "TASK_FAILED", "", "the versions differ", final=True))
    assert lines[-1].startswith("gave up engine set 'a': ") and lines[-1].endswith("the versions differ")
    assert story.happens(StopWanted("enough")) == ["stopping: enough"]


def test_engines_that_end_together_get_one_line() -> None:
    story = started()
    ends = [Updated(f"engine-a-{i}", "agent", "TASK_FAILED", "", "no such\n  image: 'x'\n") for i in (3, 4)]
    assert (
        story.happens(*ends)[0] == "2 engines of set 'a' on host ended (TASK_FAILED): no such image: 'x'; 0/2 running"
    )


@pytest.mark.parametrize(
    "ports, text", [((), ""), ((5,), "5"), ((1, 2, 3), "1-3"), ((1, 3, 4, 9), "1, 3-4, 9"), ((4, 3), "4, 3")]
)
def test_ranges(ports: tuple[int, ...], text: str) -> None:
    assert ranges(ports) == text


def test_the_states_of_the_controller_and_the_sets() -> None:
    story = Story()

    def states() -> tuple[object, ...]:
        status = json.loads(json.dumps(story.status))
        return status["state"], status["controller"]["state"], status["engines"]["a"]["state"]

    assert states() == ("starting", "waiting", "waiting")
    story.happens(Subscribed("framework", "master:5050"))
    story.happens(Offered((OFFER,)))
    assert states() == ("starting", "launching", "waiting")
    story.runs("controller-1", "engine-a-3", "engine-a-4")
    assert states() == ("running", "running", "running")
    story.happens(Updated("engine-a-3", "agent", "TASK_FAILED", "", "no", final=True))
    assert states() == ("running", "running", "waiting")  # one of them lives
    story.happens(Updated("engine-a-4", "agent", "TASK_FAILED", "", "no", final=True))
    assert states() == ("running", "running", "failed")
    assert json.loads(json.dumps(story.status))["engines"]["a"]["message"].endswith("no")
    story.happens(EnginesDropped("a"))
    assert story.status["engines"] == {}
    story.happens(StopWanted("enough"))
    assert story.status["state"] == "stopping"


def test_a_dropped_set_is_shown_until_it_is_gone() -> None:
    story = started()
    story.happens(EnginesDropped("a"))
    engines = story.status["engines"]
    assert isinstance(engines, dict) and engines["a"]["state"] == "stopping" and engines["a"]["wanted"] == 0
    story.happens(*(Updated(name, "agent", "TASK_KILLED") for name in ("engine-a-3", "engine-a-4")))
    assert story.status["engines"] == {}


def test_the_status_page() -> None:
    story = started()
    story.happens(Updated("engine-a-3", "agent", "TASK_FAILED", "", "killed by SIGSEGV"))
    page = words.status(story.status, now=story.now)
    assert page.splitlines()[0].startswith("test id: running, master master:5050, framework framework, daemon pid ")
    assert "controller: running on host agent, task controller-1" in page
    assert "engine set a: 1 of 2 running, waiting" in page
    assert "  4   running  2 s    host agent" in page
    assert "  1 s ago, engine-a-3 on host: TASK_FAILED killed by SIGSEGV" in page


def test_the_status_page_of_nothing() -> None:
    empty = replace(Story().state, cluster=Cluster("test"))
    page = words.status(view.status(empty, 0.0, 1, ""), now=0.0)
    assert "no master, framework (none yet)" in page and "no engines are wanted" in page


def test_the_view_of_the_explanation_is_json() -> None:
    said = view.explanation(Story().state, 1005.0)
    assert json.loads(json.dumps(said)) == said
    assert [group["group"] for group in said["groups"]] == ["controller", "a"]
    assert io.StringIO(said["text"]).readline() == "waiting for the Mesos master\n"
