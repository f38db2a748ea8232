"""What waits is told once it has lasted, and again when the reason changes; who wanted what; trouble and its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ipymesos.core.explain import explain
from ipymesos.core.messages import Disconnected, EnginesWanted, Offered, StopWanted, Subscribed
from ipymesos.daemon.herald import ASKER, Herald
from ipymesos.daemon.journal import Journal

from .test_words import ENGINE, OFFER, Story


class Told(Story):
    """A cluster to which things happen, and the events of it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.herald = Herald(Journal(path, lambda: self.now), lambda *_: None)
        self.seq = 0

    def passes(self, seconds: float, trouble: str = "") -> list[dict[str, Any]]:
        """What is told while time passes."""
        for _ in range(round(seconds)):
            self.now += 1.0
            said = explain(self.state, self.now)
            self.herald.look(self.state, said, self.now, trouble)
        news = self.herald.journal.after(self.seq)
        self.seq = self.herald.journal.last
        return news


def brief(events: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [(event["kind"], event.get("group", ""), event.get("cause", "")) for event in events]


def test_waiting(tmp_path: Path) -> None:
    story = Told(tmp_path / "events.jsonl")
    assert story.passes(5) == []
    (waiting,) = story.passes(60)
    assert brief([waiting]) == [("waiting", "", "disconnected")] and waiting["text"] == "waiting for the Mesos master"
    story.happens(Subscribed("framework", "master:5050"))
    told = story.passes(20)
    assert brief(told) == [
        ("waiting_over", "", ""),
        ("waiting", "controller", "no_offers"),
        ("waiting", "a", "controller"),
    ]
    assert told[0]["seconds"] > 60
    assert told[1]["text"].startswith("waiting: controller: ") and told[1]["seconds"] > 5
    story.happens(Offered((OFFER,)))
    assert brief(story.passes(20)) == [("waiting", "controller", "coming"), ("waiting", "a", "coming")]
    story.runs("controller-1", "engine-a-3", "engine-a-4")
    assert brief(story.passes(20)) == [("waiting_over", "controller", ""), ("waiting_over", "a", "")]
    story.happens(StopWanted("enough"))
    assert brief(story.passes(20)) == [("waiting", "", "stopping")]


def test_what_waits_for_a_moment_only_is_not_told(tmp_path: Path) -> None:
    story = Told(tmp_path / "events.jsonl")
    story.happens(Subscribed("framework", "master:5050"))
    story.passes(3)
    story.happens(Offered((OFFER,)))
    story.runs("controller-1", "engine-a-3", "engine-a-4")
    assert story.passes(30) == []
    story.happens(Disconnected("gone"))
    assert story.passes(3) == []


def test_trouble_and_its_end(tmp_path: Path) -> None:
    story = Told(tmp_path / "events.jsonl")
    story.happens(Subscribed("framework", "master:5050"))
    assert brief(story.passes(3, "the disk is full")) == [("trouble", "", "")]
    assert brief(story.passes(1)) == [("trouble_over", "", "")]


def test_who_wanted_it(tmp_path: Path) -> None:
    story = Told(tmp_path / "events.jsonl")
    before = story.state
    story.happens(Subscribed("framework", "master:5050"), EnginesWanted("b", 1, ENGINE))
    token = ASKER.set("dashboard")
    story.herald.watch(before, story.state)
    ASKER.reset(token)
    told = [(event["kind"], event.get("by", "")) for event in story.herald.journal.after(0)]
    assert told == [("master_registered", ""), ("engines_wanted", "dashboard")]
