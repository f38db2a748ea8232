"""The REST API over real HTTP on loopback: who gets in, what is refused and with which sentence, the long poll."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ipymesos.client import Daemon
from ipymesos.core.messages import EnginesWanted, Subscribed, Ticked
from ipymesos.daemon.service import ClusterService
from ipymesos.daemon.web.gate import DEEPEST, Bucket
from ipymesos.daemon.web.server import LARGEST_BODY, LARGEST_HEAD, MOST_CONNECTIONS, WebServer
from ipymesos.daemonfile import DaemonFile
from ipymesos.errors import ConfigError, IPyMesosError, NotRunning
from tests.helpers import eventually
from tests.live import JSON, TOKEN, Live


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    running = Live(tmp_path)
    yield running
    running.end()


EVERYWHERE = [
    ("GET", "/api/v1/cluster"),
    ("PUT", "/api/v1/engines/a"),
    ("DELETE", "/api/v1/engines/a"),
    ("POST", "/api/v1/engines/a/signal"),
    ("GET", "/api/v1/explain"),
    ("GET", "/api/v1/logs"),
    ("GET", "/api/v1/logs/0"),
    ("POST", "/api/v1/stop"),
    ("POST", "/api/v1/tasks/engine-a-1/retire"),
    ("POST", "/api/v1/login/code"),
    ("GET", "/"),
    ("GET", "/nothing/here"),
]


@pytest.mark.parametrize("method, path", EVERYWHERE)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Cookie": f"token={TOKEN}"},
    ],
)
def test_nobody_gets_in_without_the_token(live: Live, method: str, path: str, headers: dict[str, str]) -> None:
    status, answer, sent = live.ask(method, path, b"{}" if method in ("PUT", "POST") else None, headers)
    assert status == 401 and "token" in answer["error"] and list(answer) == ["error"]
    assert sent["WWW-Authenticate"] == "Bearer" and "Server" not in sent
    assert not live.saved and not live.sent


def test_the_token_in_the_url_does_not_count(live: Live) -> None:
    assert live.ask("GET", f"/api/v1/cluster?token={TOKEN}", headers={})[0] == 401


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1", "evil.example:80"])
def test_another_host_name_is_refused(live: Live, host: str) -> None:
    status, answer, _ = live.ask("GET", "/api/v1/cluster", headers={"Authorization": f"Bearer {TOKEN}", "Host": host})
    assert status == 403 and "Host" in answer["error"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1", "[::1]:80", "cluster.example:1"])
def test_own_host_names_are_taken(live: Live, host: str) -> None:
    assert live.ask("GET", "/api/v1/cluster", headers={"Authorization": f"Bearer {TOKEN}", "Host": host})[0] == 200


def test_status_of_a_cluster_that_has_nothing_yet(live: Live) -> None:
    status = live.daemon().status()
    assert status["state"] == "starting" and status["connected"] is False and status["cluster_id"] == "c"
    assert status["controller"]["state"] == "waiting" and status["engines"] == {} and status["exits"] == []
    assert "waiting for the Mesos master" in status["explain"]
    assert TOKEN not in json.dumps(status)


def test_engines_are_wanted_and_dropped(live: Live) -> None:
    daemon = live.daemon()
    answer = daemon.want_engines("a", 3, {"cpus": 2, "memory": "512 MB"}, ["--log-level=20"])
    assert (answer["wanted"], answer["running"], answer["state"]) == (3, 0, "waiting")
    spec = live.saved[-1].spec.engines["a"].spec
    assert spec.resources.cpus == 2000 and spec.resources.mem == 512 and spec.args == ("--log-level=20",)
    daemon.want_engines("a", 5)  # without options the set keeps its own
    assert live.saved[-1].spec.engines["a"].n == 5 and live.saved[-1].spec.engines["a"].spec == spec
    daemon.want_engines("b", 1)  # a new one gets the daemon's
    assert live.saved[-1].spec.engines["b"].spec.resources.mem == 1024
    assert list(daemon.status()["engines"]) == ["a", "b"]
    assert daemon.signal("a", 2) == {"signal": 2, "engines": 0}
    daemon.drop_engines("a")
    assert list(daemon.status()["engines"]) == ["b"]


@pytest.mark.parametrize("n", [-1, 10_001, 1.5, "3", None, True, [], 10**30])
def test_a_number_of_engines_that_makes_no_sense(live: Live, n: Any) -> None:
    with pytest.raises(ConfigError, match="^n: .*a whole number from 0 to 10000"):
        live.daemon().want_engines("a", n)
    assert not live.saved


@pytest.mark.parametrize(
    "options, said",
    [
        ({"memory": "2"}, "memory: '2' has no unit"),
        ({"memory": 2}, "memory: 2 has no unit"),
        ({"cpus": 0}, "cpus: 0 is too little"),
        ({"gpus": -1}, "gpus: -1 is out of range"),
        ({"gpus": 1}, "gpus: 1; this cluster was started with gpus 0"),
        ({"colour": "red"}, "colour: there is no such option"),
        ({"container": "docker"}, "image"),
        ([], "options: \\[\\]"),
    ],
)
def test_options_that_make_no_sense(live: Live, options: Any, said: str) -> None:
    status, answer, _ = live.ask("PUT", "/api/v1/engines/a", json.dumps({"n": 1, "options": options}).encode())
    assert status == 400
    assert re.search(said, answer["error"]), answer
    assert not live.saved


@pytest.mark.parametrize(
    "method, path, body, said",
    [
        ("PUT", "/api/v1/engines/controller", b'{"n": 1}', "not 'controller'"),
        ("PUT", "/api/v1/engines/a%2Fb", b'{"n": 1}', "engine set 'a/b'"),
        ("PUT", "/api/v1/engines/a%20b", b'{"n": 1}', "engine set 'a b'"),
        ("PUT", "/api/v1/engines/a", b"{", "isn't JSON"),
        ("PUT", "/api/v1/engines/a", b"\xff\xfe", "isn't JSON"),
        ("PUT", "/api/v1/engines/a", b"[1]", "must be a JSON object"),
        ("PUT", "/api/v1/engines/a", b'{"n": 1, "m": 2}', "m: there is no such field"),
        ("PUT", "/api/v1/engines/a", b'{"n": 1, "engine_args": [1]}', "engine_args: [1]"),
        ("DELETE", "/api/v1/engines/a", None, "engine set 'a': there is none"),
        ("POST", "/api/v1/engines/a/signal", b'{"signal": 2}', "engine set 'a': there is none"),
        ("POST", "/api/v1/engines/a/signal", b'{"signal": 65}', "signal: 65; a number from 0 to 64"),
        ("POST", "/api/v1/engines/a/signal", b'{"signal": "KILL"}', "signal: 'KILL'"),
        ("POST", "/api/v1/stop", b'{"reason": 5}', "reason: a text"),
        ("GET", "/api/v1/cluster?after=x", None, "after: 'x'"),
        ("GET", "/api/v1/cluster?after=1&timeout=-1", None, "timeout: '-1'"),
        ("GET", "/api/v1/cluster?after=1&timeout=nan", None, "timeout: 'nan'"),
    ],
)
def test_what_makes_no_sense_gets_a_sentence(live: Live, method: str, path: str, body: bytes | None, said: str) -> None:
    status, answer, _ = live.ask(method, path, body)
    assert status == 400 and said in answer["error"], answer
    assert not live.saved


def test_what_is_not_there(live: Live) -> None:
    assert live.ask("GET", "/")[:2] == (404, {"error": "there is nothing here; see /api/v1/cluster"})
    assert live.ask("DELETE", "/api/v1/cluster")[0] == 405


def test_a_body_that_is_too_large_is_not_read(live: Live) -> None:
    where = urlsplit(live.url)
    with socket.create_connection((where.hostname, where.port), timeout=10) as raw:
        head = f"POST /api/v1/stop HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        raw.sendall(f"{head}Content-Length: {LARGEST_BODY + 1}\r\n\r\n".encode())
        answer = raw.recv(1000)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert live.daemon().status()["state"] == "starting"


def test_the_long_poll_waits_for_another_version(live: Live) -> None:
    daemon = live.daemon()
    version = daemon.status()["version"]
    answers: list[dict[str, Any]] = []
    waiter = threading.Thread(target=lambda: answers.append(live.daemon().status(after=version, timeout=20)))
    waiter.start()
    # It hangs on the event: a wish that is no change of it answers nobody.
    assert daemon.status()["version"] == version and not answers
    daemon.want_engines("a", 2)
    eventually(lambda: answers, 10)
    waiter.join()
    assert answers[0]["version"] > version and answers[0]["engines"]["a"]["wanted"] == 2


def test_the_long_poll_ends_in_time_and_at_once_when_it_is_behind(live: Live) -> None:
    daemon = live.daemon()
    version = daemon.status()["version"]
    assert daemon.status(after=version, timeout=0.05)["version"] == version
    assert daemon.status(after=version - 1, timeout=100)["version"] == version


def test_time_that_passes_makes_no_new_version(live: Live) -> None:
    live.run(live.app.owner.take, EnginesWanted("a", 1, live.app.options.engine_spec()))
    version = live.app.owner.version
    for _ in range(3):
        live.run(live.app.owner.take, Ticked())
    assert live.app.owner.version == version
    live.run(live.app.owner.take, Subscribed("framework", "master:5050"))
    assert live.app.owner.version == version + 1 and live.daemon().status()["connected"]


def test_a_long_reason_for_a_stop_is_cut(live: Live) -> None:
    told = live.daemon().stop("because " * 200)["reason"]
    assert len(told) == 500 and told.startswith("because because") and told.endswith("…")


def test_stopping(live: Live) -> None:
    daemon = live.daemon()
    daemon.want_engines("a", 2)
    assert daemon.stop("the test is over")["reason"] == "the test is over"
    assert daemon.stop("again")["reason"] == "the test is over"
    status = daemon.status()
    assert status["state"] == "stopping" and status["engines"]["a"]["state"] == "stopping"
    with pytest.raises(ConfigError, match="the cluster is stopping"):
        daemon.want_engines("a", 3)


def test_explain(live: Live) -> None:
    live.daemon().want_engines("a", 2)
    explanation = live.daemon().explain()
    assert [group["group"] for group in explanation["groups"]] == ["controller", "a"]
    assert "waiting for the Mesos master" in explanation["text"]


def test_the_client_says_what_is_wrong(live: Live) -> None:
    with pytest.raises(IPyMesosError, match="token"):
        live.daemon(token="wrong").status()
    gone = Daemon(DaemonFile(2**22 + 1, 1.0, live.url.replace(live.url.rpartition(":")[2], "1"), TOKEN, True))
    with pytest.raises(NotRunning, match="has ended"):
        gone.status()


def test_nothing_of_the_token_is_logged(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        live.ask("GET", f"/api/v1/cluster?token={TOKEN}")
        live.ask("POST", "/api/v1/stop", b'{"reason": 1}')
        live.ask("GET", f"/x?{TOKEN}", headers={"Authorization": f"Bearer {TOKEN}x"})
        eventually(lambda: "/api/v1/stop 400" in caplog.text and "/x 401" in caplog.text, 10)
    assert TOKEN not in caplog.text


def test_an_address_that_is_none(live: Live) -> None:
    for ip in ("", "no-such-host.invalid", "203.0.113.1"):
        with pytest.raises(OSError):
            live.run(lambda ip=ip: WebServer(ClusterService(live.app), TOKEN, ip, 0))


def test_an_address_that_others_can_reach_needs_tls(live: Live) -> None:
    for ip in ("0.0.0.0", "::"):
        with pytest.raises(ConfigError, match=f"^ip: '{ip}' can be reached from other machines.*certfile.*openssl"):
            live.run(lambda ip=ip: WebServer(ClusterService(live.app), TOKEN, ip, 0))


# --- what else is bounded


def raw(live: Live, *pieces: bytes) -> bytes:
    """What comes back for these bytes, until the daemon hangs up or has answered for a while."""
    with socket.create_connection(live.address, timeout=20) as connection:
        for piece in pieces:
            with contextlib.suppress(ConnectionError):
                connection.sendall(piece)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(1 << 16):
                answer += data
        return answer


HEAD = f"Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n".encode()


def test_query_parameters_that_there_are_not_are_refused(live: Live) -> None:
    status, answer, _ = live.ask("GET", "/api/v1/cluster?aftre=1")
    message = "'aftre': there is no such query parameter here; allowed: after, timeout"
    assert (status, answer) == (400, {"error": message})


def test_a_head_that_is_too_large_is_hung_up_on(live: Live) -> None:
    most = b"x" * (LARGEST_HEAD - len(HEAD) - 200)
    assert raw(live, b"GET /api/v1/cluster HTTP/1.1\r\nX: " + most + b"\r\n" + HEAD + b"\r\n").startswith(
        b"HTTP/1.1 200"
    )
    assert raw(live, b"GET / HTTP/1.1\r\nX: " + most + b"\r\n" + HEAD + b"\r\n").startswith(b"HTTP/1.1 404")
    much = b"x" * LARGEST_HEAD
    assert b"200" not in raw(live, b"GET /api/v1/cluster?" + much + b" HTTP/1.1\r\n" + HEAD + b"\r\n")
    assert b"404" not in raw(live, b"GET / HTTP/1.1\r\nX: " + much + b"\r\n" + HEAD + b"\r\n")
    assert live.daemon().status()["state"] == "starting"


def test_a_body_in_chunks_is_bounded_too(live: Live) -> None:
    head = b"POST /api/v1/stop HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b" " * (1 << 16) + b"\r\n"
    assert b"200" not in raw(live, head, *[chunk] * (LARGEST_BODY // (1 << 16) + 1), b"0\r\n\r\n")
    assert live.daemon().status()["state"] == "starting"


@pytest.mark.parametrize("opening", [b"[", b'{"options":'])
def test_json_that_is_too_deep(live: Live, opening: bytes) -> None:
    for depth in (DEEPEST + 1, 900, 5000):
        status, answer, _ = live.ask("PUT", "/api/v1/engines/a", opening * depth)
        assert (status, answer) == (400, {"error": "the body isn't JSON"})
        body = opening * depth + b"1" + {b"[": b"]"}.get(opening, b"}") * depth
        status, answer, _ = live.ask("PUT", "/api/v1/engines/a", body)
        assert status == 400 and re.search("levels|isn't JSON|must be a JSON object", answer["error"])
    assert not live.saved


def test_half_a_character_is_no_text(live: Live) -> None:
    body = b'{"n": 1, "engine_args": ["\\ud800"]}'
    assert live.ask("PUT", "/api/v1/engines/a", body)[:2] == (400, {"error": "the body isn't JSON"})


def test_an_answer_repeats_no_long_text(live: Live) -> None:
    status, answer, _ = live.ask("PUT", "/api/v1/engines/a", json.dumps({"n": "x" * 100_000}).encode())
    assert status == 400 and len(answer["error"]) <= 1000


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_what_is_sent_must_be_said_to_be_json(live: Live, kind: str) -> None:
    """What a page of another origin can make a browser send without asking is none of these."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
    status, answer, _ = live.ask("POST", "/api/v1/stop", b'{"reason": "because"}', headers)
    assert status == 415 and "application/json" in answer["error"]
    assert live.daemon().status()["state"] == "starting"


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_may_say_its_characters(live: Live, kind: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
    assert live.ask("POST", "/api/v1/stop", b'{"reason": "because"}', headers)[1]["reason"] == "because"


@pytest.mark.parametrize("method, path", EVERYWHERE)
def test_no_page_of_another_origin_gets_anything(live: Live, method: str, path: str) -> None:
    preflight = {"Origin": "http://evil.example", "Access-Control-Request-Method": method}
    for headers in (preflight, {**preflight, "Authorization": f"Bearer {TOKEN}"}):
        status, answer, sent = live.ask("OPTIONS", path, headers=headers)
        assert status == 403 and list(answer) == ["error"]
        assert not [name for name in sent if name.lower().startswith("access-control")]
    for origin in ("http://evil.example", "null", "http://localhost:1", ""):
        headers = {"Authorization": f"Bearer {TOKEN}", **JSON, "Origin": origin}
        status, answer, sent = live.ask(method, path, b"{}" if method in ("PUT", "POST") else None, headers)
        assert status == 403 and "Origin" in answer["error"]
        assert not [name for name in sent if name.lower().startswith("access-control")]
    assert not live.saved and not live.sent
    own = {"Authorization": f"Bearer {TOKEN}", "Origin": live.url}
    assert live.ask("GET", "/api/v1/cluster", headers=own)[0] == 200


def test_headers_of_every_answer(live: Live) -> None:
    for method, path in EVERYWHERE:
        for headers in ({}, {"Authorization": f"Bearer {TOKEN}"}):
            _, _, sent = live.ask(method, path, headers=headers)
            assert sent["Cache-Control"] == "no-store" and sent["X-Content-Type-Options"] == "nosniff"
            assert sent["Cross-Origin-Resource-Policy"] == "same-origin" and "Server" not in sent


def test_a_bucket() -> None:
    now = 100.0
    bucket = Bucket(rate=2, burst=3, clock=lambda: now)
    assert [bucket.wait() for _ in range(5)] == [0, 0, 0, 0.5, 0.5]
    now += 0.5
    assert [bucket.wait(), bucket.wait()] == [0, 0.5]
    now += 1e6
    assert [bucket.wait() for _ in range(4)] == [0, 0, 0, 0.5]


def test_who_guesses_is_slowed_down_and_nobody_else(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    live.web.gate.strangers = Bucket(rate=1e-3, burst=3)
    with caplog.at_level(logging.INFO):
        answers = [live.ask("GET", "/api/v1/cluster", headers={"Authorization": f"Bearer {n}"}) for n in range(10)]
        answers.append(live.ask("POST", "/api/v1/stop", b"{}", {"Host": "evil.example"}))
    assert [status for status, _, _ in answers] == [401] * 3 + [429] * 8
    assert 0 < int(answers[-1][2]["Retry-After"]) <= 1000
    assert caplog.text.count("/api/v1/cluster 401") == 3 and "429" not in caplog.text
    status, _, headers = live.ask("POST", "/api/v1/login", b'{"token": "wrong"}', JSON)
    assert status == 429 and headers["Retry-After"] and "Set-Cookie" not in headers
    assert live.daemon().status()["state"] == "starting"
    assert live.ask("POST", "/api/v1/login", json.dumps({"token": TOKEN}).encode(), JSON)[0] == 200


def test_mistakes_of_strangers_fill_no_log(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for path in ("/api/v1/engines/%ff", "/api/v1/cluster?after=%ff", "/%ff"):
            assert live.ask("GET", path, headers={})[0] in (400, 401)
        assert live.ask("BREW", "/", headers={})[0] == 405
    assert [record.getMessage() for record in caplog.records if " 401" not in record.getMessage()] == []


def test_too_many_requests_wait_for_their_turn(live: Live) -> None:
    """A user's own: the client comes back by itself when it is told to."""
    live.web.gate.users = Bucket(rate=2, burst=1)
    assert live.ask("GET", "/api/v1/cluster")[0] == 200
    status, answer, headers = live.ask("GET", "/api/v1/cluster")
    assert status == 429 and headers["Retry-After"] == "1" and "again" in answer["error"]
    assert live.daemon().status()["state"] == "starting"


def test_the_launchers_are_far_from_too_many(live: Live) -> None:
    daemon = live.daemon()
    assert [daemon.status()["state"] for _ in range(500)] == ["starting"] * 500


def test_who_does_not_finish_is_hung_up_on(tmp_path: Path) -> None:
    live = Live(tmp_path, patience=0.3)
    try:
        assert raw(live, b"GET /api/v1/cluster HT") == b""
        assert raw(live, b"POST /api/v1/stop HTTP/1.1\r\n" + HEAD + b"Content-Length: 100\r\n\r\n{") == b""
        kept = b"GET /api/v1/cluster HTTP/1.1\r\n" + HEAD.replace(b"Connection: close\r\n", b"") + b"\r\n"
        assert raw(live, kept).startswith(b"HTTP/1.1 200")  # and then it is idle
        version = live.daemon().status()["version"]
        assert live.daemon().status(after=version, timeout=1)["version"] == version  # waiting for news is no idleness
    finally:
        live.end()


def test_there_are_only_so_many_connections(live: Live) -> None:
    with contextlib.ExitStack() as open_ones:
        for _ in range(MOST_CONNECTIONS):
            open_ones.enter_context(socket.create_connection(live.address, timeout=20))
        with pytest.raises(NotRunning, match="doesn't answer"):
            live.daemon().status()
    assert eventually(lambda: alive(live), 20)


def alive(live: Live) -> bool:
    try:
        return live.daemon().status()["state"] == "starting"
    except NotRunning:
        return False


def test_odd_characters_do_not_get_into_the_log(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        raw(live, b"GET /\x1b[2Jx\xff\xc2\x85y HTTP/1.1\r\n" + HEAD + b"\r\n")
        live.ask("GET", "/last")
        eventually(lambda: "/last 404" in caplog.text, 10)
    assert all(character.isprintable() for record in caplog.records for character in record.getMessage())
