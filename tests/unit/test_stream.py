"""The stream over real HTTP on loopback: who may, how often, how many, and that nothing is asked when nobody looks."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ipymesos.core.messages import AskLoad, EnginesWanted, Offered, Subscribed, Ticked, Updated
from ipymesos.daemon.streams import MOST_STREAMS, PAUSE
from ipymesos.errors import ConfigError
from tests.helpers import eventually
from tests.live import JSON, TOKEN, Live
from tests.stories import offer


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    running = Live(tmp_path)
    yield running
    running.end()


class Reader:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.response = response
        self.id = ""

    def message(self) -> dict[str, Any]:
        """The next one with data."""
        while True:
            fields = dict(line.split(": ", 1) for line in iter(self._line, "") if not line.startswith(":"))
            if "data" in fields:
                self.id = fields["id"]
                return dict(json.loads(fields["data"]))

    def _line(self) -> str:
        line = self.response.readline()
        assert line, "the stream has ended"
        return line.decode().rstrip("\n")


@contextmanager
def stream(live: Live, query: str = "", **headers: str) -> Iterator[Reader]:
    connection = http.client.HTTPConnection(*live.address, timeout=20)
    try:
        connection.request("GET", f"/api/v1/stream{query}", headers=headers or {"Authorization": f"Bearer {TOKEN}"})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["Cache-Control"] == "no-store"
        yield Reader(response)
    finally:
        connection.close()


def watchers(live: Live) -> int:
    return len(live.app.streams._watchers)


def test_all_at_first_and_then_changes(live: Live) -> None:
    with stream(live) as reader:
        first = reader.message()
        assert first["first"] and first["cluster"]["sets"] == {} and TOKEN not in json.dumps(first)
        live.daemon().want_engines("a", 2)
        told = reader.message()
        assert told["cluster"]["sets"]["a"]["wanted"] == 2 and "first" not in told
        assert [event["kind"] for event in told["events"]] == ["engines_wanted"]
        assert reader.id == str(told["events"][-1]["seq"])
    eventually(lambda: watchers(live) == 0)


def test_who_comes_back_hears_what_has_happened_since(live: Live) -> None:
    for n in (1, 2, 3):
        live.daemon().want_engines("a", n)
    last = live.app.herald.journal.last
    for headers, query in (({"Last-Event-ID": str(last - 1)}, ""), ({}, f"?after={last - 1}")):
        with stream(live, query, Authorization=f"Bearer {TOKEN}", **headers) as reader:
            assert [event["seq"] for event in reader.message()["events"]] == [last]
    assert live.ask("GET", "/api/v1/stream?after=x")[0] == 400


def test_many_changes_are_few_messages(live: Live) -> None:
    with stream(live) as reader:
        reader.message()
        begun, messages = time.monotonic(), 0
        for n in range(200):
            live.run(live.app.owner.take, EnginesWanted("a", n, live.app.options.engine_spec()))
        while reader.message().get("cluster", {}).get("sets", {}).get("a", {}).get("wanted") != 199:
            messages += 1
        assert messages <= (time.monotonic() - begun) / PAUSE + 1


def test_executors_are_asked_only_while_somebody_watches(live: Live) -> None:
    def questions() -> int:
        return sum(isinstance(action, AskLoad) for action in live.sent)

    live.run(live.app.owner.take, Subscribed("framework", "master:5050"))
    launch_controller(live)
    assert live.app.streams._asking is None and questions() == 0
    with stream(live), stream(live):
        eventually(lambda: questions() == 1)
    eventually(lambda: live.app.streams._asking is None)
    before = questions()
    for _ in range(3):
        live.run(live.app.owner.take, Ticked())
    assert questions() == before


def launch_controller(live: Live) -> None:
    live.run(live.app.owner.take, Offered((offer(),)))
    (task,) = live.app.owner.state.cluster.tasks
    live.run(live.app.owner.take, Updated(task, "a1", "TASK_RUNNING"))


def test_there_are_so_many_streams_only(live: Live) -> None:
    opened = [live.run(live.app.streams.open, 0) for _ in range(MOST_STREAMS)]
    with pytest.raises(ConfigError, match="there are 20 streams already"):
        live.run(live.app.streams.open, 0)
    assert live.ask("GET", "/api/v1/stream")[0] == 400
    for watcher in opened:
        live.run(watcher.close)
    with stream(live):
        eventually(lambda: watchers(live) == 1)


def test_a_logout_ends_the_stream(live: Live) -> None:
    body = json.dumps({"token": TOKEN}).encode()
    _, answer, sent = live.ask("POST", "/api/v1/login", body, JSON)
    cookie = sent["Set-Cookie"].partition(";")[0]
    with stream(live, Cookie=cookie) as reader:
        reader.message()
        headers = {"Cookie": cookie, "X-IPyMesos-Word": answer["word"], "Origin": live.url}
        assert live.ask("DELETE", "/api/v1/login", headers=headers)[0] == 200
        live.daemon().want_engines("a", 2)
        assert b'"a"' not in reader.response.read()
    eventually(lambda: watchers(live) == 0)


def test_an_engine_that_is_none_can_not_be_retired(live: Live) -> None:
    with pytest.raises(ConfigError, match="task 'engine-a-9': there is none of this id, or it has ended"):
        live.daemon().retire("engine-a-9")
    live.run(live.app.owner.take, Subscribed("framework", "master:5050"))
    launch_controller(live)
    (task,) = live.app.owner.state.cluster.tasks
    with pytest.raises(ConfigError, match="is the controller, no engine"):
        live.daemon().restart(task)
