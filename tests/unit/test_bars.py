"""What a progress bar shows of a status, and what notebooks show of a cluster."""

from __future__ import annotations

import io
import json
import re
import sys
from html.parser import HTMLParser
from typing import Any

import pytest

from ipymesos import Explanation
from ipymesos.bars import Bar, Stage, ending, place, stage
from ipymesos.cluster import Text, summary_html
from ipymesos.explained import ended
from ipymesos.scaling import hopeless


def engines(wanted: int, *states: str, message: str = "", state: str = "waiting") -> dict[str, Any]:
    tasks = [{"state": word, "agent_id": f"a{i % 2}"} for i, word in enumerate(states)]
    running = states.count("running")
    return {"wanted": wanted, "running": running, "tasks": tasks, "message": message, "state": state}


def status(controller: str = "running", state: str = "running", **sets: dict[str, Any]) -> dict[str, Any]:
    task = "" if controller == "waiting" else "controller-1"
    return {
        "name": "ipymesos",
        "cluster_id": "<one>",
        "state": state,
        "master": "m:5050",
        "connected": True,
        "framework_id": "fw",
        "controller": {"state": controller, "task": task, "agent": "host" if task else "", "message": "too few ports"},
        "engines": sets,
        "explain": "why\nit waits",
    }


@pytest.mark.parametrize(
    "shown, expected",
    [
        (status("waiting", e=engines(4)), Stage("controller", 0, 4, "", "too few ports")),
        (status("staging"), Stage("controller", 0, 1, "staging", "too few ports")),
        (status(), Stage("controller", 1, 1, complete=True)),
        (
            status(e=engines(4, "running", "starting", "staging", "staging", message="2 staging\non host")),
            Stage("engines", 1, 4, "1 starting, 2 staging", "2 staging on host"),
        ),
        (
            status(e=engines(2, "running", "running"), f=engines(3, "running", message="2 missing")),
            Stage("engines", 3, 5, "", "2 missing"),
        ),
        (status(e=engines(1, "running", "running", "killing")), Stage("engines", 1, 1, "1 ending")),
        (status(e=engines(2, "running", "running")), Stage("engines", 2, 2, complete=True)),
        (
            status(state="stopping", e=engines(0, "running", "killing")),
            Stage("stopping", -3, 0, "3 to end", "why it waits"),
        ),
    ],
)
def test_stages(shown: dict[str, Any], expected: Stage) -> None:
    assert stage(shown) == expected


def test_the_stage_of_one_set_only() -> None:
    assert stage(status(e=engines(2, "running"), f=engines(3)), "e") == Stage("engines", 1, 2)


def test_the_end_of_what_is_not_stopping_yet() -> None:
    assert ending(status(e=engines(0, "killing"))) == Stage("stopping", -2, 0, "2 to end")


class Terminal(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


def lines(written: str) -> list[str]:
    """Without what it took: these machines may be slow."""
    written = re.sub(r"\[\d\d:\d\d", "[00:00", written)
    return [line.rstrip() for line in re.split(r"[\r\n]", written) if line.strip()]


def test_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("IPP_NONINTERACTIVE", raising=False)
    assert place() == "terminal"
    bar = Bar()
    bar.show(Stage("controller", 0, 4, "staging"))
    bar.show(Stage("engines", 3, 4, "1 starting"))
    bar.close(complete=True)
    shown = lines(terminal.getvalue())
    assert shown[0] == "controller |                        | 0/4 [00:00]"
    assert "engines    |██████████████████      | 3/4 [00:00, 1 starting]" in shown
    assert shown[-1] == "engines    |████████████████████████| 4/4 [00:00]"


def test_the_end_is_counted_from_the_most_that_there_was(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.delenv("IPP_NONINTERACTIVE", raising=False)
    bar = Bar()
    for left in (4, 3, 1):
        bar.show(Stage("stopping", -left, 0, f"{left} to end"))
    bar.close()
    assert "| 3/4 [00:00, 1 to end]" in lines(terminal.getvalue())[-1]


def test_where_nobody_looks_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", file := io.StringIO())
    bar = Bar()
    bar.show(Stage("controller"))
    bar.close()
    assert (bar.where, file.getvalue()) == ("", "")
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("IPP_NONINTERACTIVE", "1")
    assert place() == ""


GROUP = {
    "group": "e",
    "why": "refused",
    "wanted": 9,
    "running": 3,
    "coming": 0,
    "since": 100.0,
    "waited": 61.0,
    "offers": 2,
    "refused": {"role": 0, "cpus": 2},
    "best": {"agent": "h", "reason": "cpus", "offered": "0.3 cpus", "wanted": "1.1 cpus"},
    "room": 4,
    "failures": 0,
    "next_try": None,
    "message": "6 of 9 missing: too few <cpus>",
    "reason": "too few <cpus>",
    "hint": "fewer engines",
    "words": "Traceback\n  <module>",
}


def test_there_is_no_hope_for_more_than_all_agents_could_hold() -> None:
    assert hopeless(GROUP) == (
        "engine set e: 3 of 9 run, and all agents of this Mesos together have room for 4 at most;"
        " the others begin when there are more agents: too few <cpus>"
    )
    for there_is in ({"coming": 1}, {"room": 9}, {"room": None}, {"why": "withheld"}):
        assert hopeless({**GROUP, **there_is}) == ""


class Tags(HTMLParser):
    """Fails at what is not closed, and keeps what is opened."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert not any(name.startswith("on") for name, _ in attrs)
        self.seen.append(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_an_explanation_in_a_notebook() -> None:
    said = Explanation({"summary": "s", "text": "connected to m:5050\n...", "groups": [GROUP]})
    page = Tags(said._repr_html_())
    assert not {"script", "img", "link", "style", "module", "cpus"} & set(page.seen)
    for words in ("connected to m:5050", "too few <cpus>", "for 61 s", "cpus 2", "  <module>", "could hold 4"):
        assert words in page.text
    assert (str(said), repr(said), said.summary) == ("connected to m:5050\n...",) * 2 + ("s",)
    copy = said.as_dict()
    copy["groups"][0]["message"] = "another"
    assert said.groups[0]["message"] == GROUP["message"] and json.loads(json.dumps(said.as_dict())) == said.as_dict()
    assert Tags(ended("no <cluster>")._repr_html_()).text == "no <cluster>"


def test_a_cluster_in_a_notebook() -> None:
    waits = Explanation({"summary": "s", "text": "connected to m:5050", "groups": [GROUP]})
    shown = status(e=engines(9, "running", "running", "starting"), f=engines(0))
    html = summary_html(shown, waits, "http://127.0.0.1:1234/")
    page = Tags(html)
    assert "ipymesos <one>: running Mesos master m:5050, framework fw" in page.text
    assert "2 of 9" in page.text and "2 running, 1 starting on 2 agents" in page.text and "6 of 9 missing" in page.text
    assert 'href="http://127.0.0.1:1234/"' in html and "color:" not in re.sub("background-?color:", "", html)


def test_text_is_shown_as_it_is() -> None:
    assert repr(Text("a\nb")) == "a\nb" and Text("a") == "a"
