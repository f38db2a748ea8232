"""Logs: whose is where, what is meant, how pieces of files come from an agent (here it is a server of the test)."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ipymesos import logs
from ipymesos.core.cluster import Cluster, Exit, State, Task
from ipymesos.core.messages import StopWanted, Updated
from ipymesos.core.scheduler import observe
from ipymesos.core.session import Everything
from ipymesos.core.specs import CONTROLLER
from ipymesos.daemon.codec import decode, encode
from ipymesos.daemon.sandbox import sources
from ipymesos.daemon.sandbox.files import PIECE, Files, Piece, Sandbox, last_lines
from ipymesos.daemon.sandbox.logs import read_file, whole
from ipymesos.errors import ConfigError, Gone, Unreadable
from tests.live import Live

# --- whose is where ------------------------------------------------------------------------------------------


def task(name: str, group: str = "engines", engine_id: int | None = None, **more: Any) -> Task:
    return Task(
        name, group, f"pack-{name}", "S0", "host", (), (), more.pop("launched_at", 1.0), engine_id=engine_id,
        endpoint="10.0.0.1:5051", state=more.pop("state", State.RUNNING), **more,
    )  # fmt: skip


def cluster(*tasks: Task, exits: tuple[Exit, ...] = ()) -> Cluster:
    return Cluster("c", framework_id="F", tasks={t.id: t for t in tasks}, exits=exits)


def gone(name: str, group: str = "engines", engine_id: int | None = None, at: float = 5.0, asked: bool = False) -> Exit:
    return Exit(
        name, group, "host", at, "TASK_FAILED", asked=asked, engine_id=engine_id, agent_id="S0",
        endpoint="10.0.0.1:5051", framework_id="F", executor_id=f"pack-{name}",
    )  # fmt: skip


def test_an_exit_remembers_where_its_sandbox_is() -> None:
    state = Everything(cluster(task("e-1", engine_id=3)))
    state = observe(state, Updated("e-1", "S0", "TASK_FAILED", "REASON_X", "killed"), 9.0)
    (end,) = state.cluster.exits
    assert end == Exit(
        "e-1", "engines", "host", 9.0, "TASK_FAILED", "REASON_X", "killed", False, 3, "S0", "10.0.0.1:5051", "F",
        "pack-e-1",
    )  # fmt: skip
    assert decode(Exit, encode(end)) == end
    old = {key: value for key, value in encode(end).items() if key not in ("endpoint", "engine_id", "executor_id")}
    assert decode(Exit, old).endpoint == ""  # as an earlier version has saved it
    source = sources.find(state.cluster, "3")
    assert source.sandbox == Sandbox("10.0.0.1:5051", "F", "pack-e-1")
    assert (source.state, source.at, source.asked, source.file("log")) == ("ended", 9.0, False, "engine-e-1.log")
    assert source.file("stderr") == "stderr"
    stopped = observe(
        observe(Everything(cluster(task("e"))), StopWanted("x"), 1.0), Updated("e", "S0", "TASK_KILLED"), 2
    )
    assert sources.find(stopped.cluster, "e").asked


def test_finding_a_log() -> None:
    world = cluster(
        task("c-2", CONTROLLER),
        task("e-1", engine_id=0),
        task("e-9"),
        exits=(
            gone("c-1", CONTROLLER),
            gone("e-0", engine_id=0),
            gone("e-7", engine_id=7),
            gone("e-8", engine_id=7, at=9),
        ),
    )

    def found(name: str) -> str:
        return sources.find(world, name).task

    assert found("controller") == "c-2" and sources.find(world, "controller").file("log") == "controller-c-2.log"
    assert found("0") == "e-1" and found("7") == "e-8" and found("e-0") == "e-0" and found("e-9") == "e-9"
    assert [source.task for source in sources.sources(world)] == ["c-2", "e-1", "e-9", "c-1", "e-0", "e-7", "e-8"]
    assert sources.find(cluster(exits=(gone("c-1", CONTROLLER),)), "controller").state == "ended"
    for name in ("1", "99999999999999999999", "e-5", ""):
        with pytest.raises(ConfigError, match="logs --list"):
            sources.find(world, name)
    with pytest.raises(ConfigError, match="no controller has been launched yet"):
        sources.find(cluster(), "controller")


LISTING = {
    "scheduler": "",
    "logs": [
        {"task": "c-1", "group": "controller", "engine_id": None, "state": "running", "asked": False},
        {"task": "a-1", "group": "a", "engine_id": 0, "state": "running", "asked": False},
        {"task": "b-1", "group": "b", "engine_id": 1, "state": "starting", "asked": False},
        {"task": "a-0", "group": "a", "engine_id": 2, "state": "ended", "asked": True},
        {"task": "b-0", "group": "b", "engine_id": 3, "state": "ended", "asked": False},
    ],
}


@pytest.mark.parametrize(
    "words, engine_set, names",
    [
        ((), "", ["scheduler", "controller", "b-0"]),
        ((), "a", ["a-1"]),
        (("scheduler",), "", ["scheduler"]),
        (("engine", "3"), "", ["3"]),
        (("engine", "3", "5"), "", ["3", "5"]),
        (("engines",), "", ["a-1", "b-1"]),
        (("engines",), "b", ["b-1"]),
        (("controller", "engines"), "", ["controller", "a-1", "b-1"]),
        (("a-0", "a-0"), "", ["a-0"]),
    ],
)
def test_what_is_meant(words: tuple[str, ...], engine_set: str, names: list[str]) -> None:
    assert logs.select(LISTING, words, engine_set) == names


def test_a_set_that_is_not() -> None:
    with pytest.raises(ConfigError, match="no engine set 'c'"):
        logs.select(LISTING, (), "c")


# --- text ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, lines, kept",
    [
        (b"a\nb\nc\n", 2, b"b\nc\n"),
        (b"a\nb\nc", 2, b"b\nc"),
        (b"a\nb\n", 5, b"a\nb\n"),
        (b"a\n\n\n", 2, b"\n\n"),
        (b"", 3, b""),
        (b"a\nb", 0, b""),
        (b"\n", 1, b"\n"),
    ],
)
def test_last_lines(data: bytes, lines: int, kept: bytes) -> None:
    assert last_lines(data, lines) == kept


def test_characters_stay_whole() -> None:
    data = "né☃!".encode()
    for cut in range(len(data) + 1):
        first, left = whole(Piece(0, data[:cut]))
        second, right = whole(Piece(left.next, data[left.next :]))
        assert first + second == "né☃!" and right.next == len(data)
    assert whole(Piece(5, data[2:])) == ("☃!", Piece(6, data[3:]))
    assert whole(Piece(0, b"\xff\x80ok")) == ("\ufffd\ufffdok", Piece(0, b"\xff\x80ok"))


def test_the_own_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\nthree\n")
    assert read_file(path, None, 100, 2) == Piece(4, b"two\nthree\n")
    assert read_file(path, 4, 3, None) == Piece(4, b"two")
    assert read_file(path, None, 6, None) == Piece(8, b"three\n")
    assert read_file(path, 99, 6, None) == Piece(14, b"")
    with pytest.raises(Gone):
        read_file(tmp_path / "none", 0, 1, None)


# --- an agent ------------------------------------------------------------------------------------------------


class Agent:
    """Answers as Mesos does (files/files.cpp), or as `answer` says."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.login: tuple[str, str] | None = None
        self.answer: tuple[int, bytes] | None = None
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = outer.reply(self.path, self.headers.get("Authorization", ""))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if status == 307:
                    self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nobody wants to know."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        self.sandbox = Sandbox(f"127.0.0.1:{self.server.server_address[1]}", "F", "E")

    def reply(self, path: str, authorization: str) -> tuple[int, bytes]:
        self.asked.append(path)
        if self.answer is not None:
            return self.answer
        if self.login is not None:
            wanted = base64.b64encode(":".join(self.login).encode()).decode()
            if authorization != f"Basic {wanted}":
                return 401, b""
        query = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        data = self.files.get(query["path"])
        if data is None:
            return 404, b""
        offset, length = int(query["offset"]), min(int(query.get("length", PIECE)), PIECE)
        if offset == -1 or offset >= len(data):
            return 200, json.dumps({"data": "", "offset": len(data)}).encode()
        text = json.dumps(
            {"data": data[offset : offset + length].decode("latin-1"), "offset": offset}, ensure_ascii=False
        )
        return 200, text.encode("latin-1")

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def agent() -> Iterator[Agent]:
    made = Agent()
    made.files["/frameworks/F/executors/E/runs/latest/engine-e.log"] = LOG
    yield made
    made.close()


LOG = b"".join(b"%d \xc3\xa9\xff %s\n" % (i, b"x" * 100) for i in range(3000))


def test_pieces_of_a_file(agent: Agent) -> None:
    files = Files()
    assert files.size(agent.sandbox, "engine-e.log") == len(LOG)
    assert files.read(agent.sandbox, "engine-e.log", 100, 50) == Piece(100, LOG[100:150])
    assert files.read(agent.sandbox, "engine-e.log", 10**9, 50) == Piece(len(LOG), b"")
    assert files.tail(agent.sandbox, "engine-e.log", 1, 1 << 20).data == LOG[LOG.rindex(b"\n", 0, -1) + 1 :]
    for lines in (0, 2, 1500, 3000, 5000):
        assert files.tail(agent.sandbox, "engine-e.log", lines, 1 << 20).data == last_lines(LOG, lines)
    assert files.tail(agent.sandbox, "engine-e.log", 5000, 1000) == Piece(len(LOG) - 1000, LOG[-1000:])
    agent.files["/frameworks/F/executors/E/runs/latest/stderr"] = b""
    assert files.tail(agent.sandbox, "stderr", 5, 1000) == Piece(0, b"")


def test_authentication(agent: Agent) -> None:
    agent.login = ("me", "sesame")
    assert Files("me", "sesame").size(agent.sandbox, "engine-e.log") == len(LOG)
    with pytest.raises(Unreadable, match="doesn't let the principal 'me' read .*access_sandboxes") as error:
        Files("me", "guess").size(agent.sandbox, "engine-e.log")
    assert "guess" not in str(error.value)
    with pytest.raises(Unreadable, match="without a principal"):
        Files().size(agent.sandbox, "engine-e.log")


@pytest.mark.parametrize(
    "answer, said",
    [
        ((200, b"no JSON"), "no piece of a file"),
        ((200, b'{"data": 5, "offset": 0}'), "no piece of a file"),
        ((200, b'["data"]'), "no piece of a file"),
        ((200, b'{"data": "' + b"x" * (9 * PIECE) + b'", "offset": 0}'), "too long"),
        ((500, b"Failed to\n open"), "HTTP 500 Failed to open"),
        ((307, b""), "HTTP 307"),
        ((403, b""), "HTTP 403"),
    ],
)
def test_answers_that_are_none(agent: Agent, answer: tuple[int, bytes], said: str) -> None:
    agent.answer = answer
    with pytest.raises(Unreadable, match=said):
        Files("me", "sesame").read(agent.sandbox, "stderr", 0, 100)
    assert len(agent.asked) == 1


def test_what_is_gone_and_who_is_away(agent: Agent) -> None:
    with pytest.raises(Gone, match="it keeps those of ended tasks for a while only"):
        Files().read(agent.sandbox, "stderr", 0, 1)
    for endpoint, said in (
        ("127.0.0.1:1", "Connection refused"),
        ("", "has not said"),
        ("no.such.invalid:1", "answer"),
    ):
        with pytest.raises(Unreadable, match=said):
            Files().read(Sandbox(endpoint, "F", "E"), "stderr", 0, 1)


# --- by REST -------------------------------------------------------------------------------------------------


def test_by_rest(agent: Agent, tmp_path: Path) -> None:
    live = Live(tmp_path)
    try:
        state = live.app.owner.state
        engine = task("e", engine_id=4)
        ours = Task(**{**vars(engine), "endpoint": agent.sandbox.endpoint, "executor_id": "E"})
        away = Task(**{**vars(engine), "id": "away", "engine_id": 5, "endpoint": "127.0.0.1:1"})
        live.run(live.app.owner.replace, state.with_cluster(framework_id="F", tasks={"e": ours, "away": away}))
        daemon = live.daemon()
        assert [log["task"] for log in daemon.logs()["logs"]] == ["e", "away"]
        answer = daemon.log("4", tail=2)
        assert answer["text"] == last_lines(LOG, 2).decode(errors="replace") and answer["next"] == len(LOG)
        assert {key: answer[key] for key in ("task", "group", "engine_id", "state", "stream")} == {
            "task": "e", "group": "engines", "engine_id": 4, "state": "running", "stream": "log",
        }  # fmt: skip
        assert daemon.log("e", offset=len(LOG))["text"] == ""
        for path, status in (
            ("logs/e?stream=stderr", 410),
            ("logs/away", 502),
            ("logs/scheduler", 410),
            ("logs/nobody", 400),
            ("logs/e?stream=x", 400),
            ("logs/e?offset=-1", 400),
            ("logs/e?tail=many", 400),
            ("logs/e?lines=3", 400),
        ):
            assert live.ask("GET", f"/api/v1/{path}")[0] == status, path
        with pytest.raises(Gone, match="writes to the terminal"):
            daemon.log("scheduler")
        with pytest.raises(Unreadable):
            daemon.log("away")
        said = logs.read(daemon, ["4", "5"], tail=1)
        assert [bool(one.problem) for one in said] == [False, True]
        assert logs.text(said).startswith("==> engine 4, task e on host <==\n2999 ")
        with pytest.raises(Unreadable):
            logs.read(daemon, ["5"])
    finally:
        live.end()


def test_following(agent: Agent, tmp_path: Path) -> None:
    path = "/frameworks/F/executors/E/runs/latest/engine-e.log"
    live = Live(tmp_path)
    try:
        state = live.app.owner.state
        ours = Task(**{**vars(task("e", engine_id=4)), "endpoint": agent.sandbox.endpoint, "executor_id": "E"})
        live.run(live.app.owner.replace, state.with_cluster(framework_id="F", tasks={"e": ours}))
        said = logs.follow(live.daemon(), ["engine", "4"], tail=1)
        assert next(said).text.startswith("2999 ")
        agent.files[path] += b"more\n"
        assert next(said).text == "more\n"
        agent.files[path] = b"the rest\n"
        assert next(said).text == "[4: the log was shortened]\n"
        agent.files[path] += b"and on\n"
        assert next(said).text == "and on\n"
        agent.answer = (500, b"no")
        assert "HTTP 500 no" in next(said).problem
        agent.answer = None
        end = Exit(**{**vars(gone("e", engine_id=4)), "endpoint": agent.sandbox.endpoint, "executor_id": "E"})
        live.run(live.app.owner.replace, state.with_cluster(framework_id="F", tasks={}, exits=(end,)))
        assert list(said) == []
        agent.files.clear()
        (last,) = logs.follow(live.daemon(), ["e"])
        assert last.problem and last.state == "ended" and not last.text
        with pytest.raises(ConfigError):
            next(logs.follow(live.daemon(), ["nobody"]))
    finally:
        live.end()
