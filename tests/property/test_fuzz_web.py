"""The REST API, sent what no client of ours would send, through real sockets."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from ipymesos.core.cluster import Cluster
from ipymesos.core.session import Everything
from ipymesos.daemon.codec import encode
from ipymesos.daemon.web.gate import Bucket
from tests.live import TOKEN, Live
from tests.property.fuzz import ANY, damaged, fuzz, wrong

SENT = {
    b"PUT /api/v1/engines/a": [{"n": 2, "options": {"cpus": 2, "memory": "512 MB", "environment": {"A": "b"},
                                                    "preload": ["numpy"], "volumes": []}, "engine_args": ["-x"]}],
    b"POST /api/v1/engines/a/signal": [{"signal": 2}],
    b"POST /api/v1/stop": [{"reason": "because"}],
}  # fmt: skip
PATHS = [b"/api/v1/cluster", b"/api/v1/cluster?after=1&timeout=0", b"/api/v1/explain", b"/api/v1/engines/a", b"/",
         b"/api/v1/engines/%2e%2e/signal", b"//", b"*", b"http://evil.example/api/v1/stop"]  # fmt: skip
METHODS = [b"GET", b"PUT", b"POST", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT", b"X", b""]
HEADERS = [
    b"Host: localhost", b"Host: evil.example", b"Host:", f"Authorization: Bearer {TOKEN}".encode(),
    b"Authorization: Bearer wrong", b"Authorization:", b"Content-Type: application/json", b"Content-Type: text/plain",
    b"Content-Type: multipart/form-data; boundary=x", b"Content-Type: application/x-www-form-urlencoded",
    b"Accept: text/html", b"Cookie: ipymesos=1; a=\"\\", b"Origin: null", b"Origin: http://localhost",
    b"Expect: 100-continue", b"Transfer-Encoding: chunked", b"Content-Length: 3", b"Content-Length: -1",
    b"Content-Length: 99999999999999999999", b"Upgrade: websocket", b"Content-Encoding: gzip", b"If-None-Match: *",
    b"X" * 500 + b": y", b"X-Forwarded-For: 1.2.3.4", b"no colon", b" folded", b"\xff: \xfe",
]  # fmt: skip
FIRST = [HEADERS[0], HEADERS[3], HEADERS[6]]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    running = Live(tmp_path_factory.mktemp("live"), patience=2.0)
    running.web.gate.strangers = running.web.gate.users = Bucket(1e9, 10**9)
    yield running
    running.end()


def http(line: bytes, headers: list[bytes], body: bytes) -> bytes:
    return b"\r\n".join([line, *headers, b"Content-Length: %d" % len(body), b"Connection: close", b"", body])


@st.composite
def wishes(draw: st.DrawFn) -> bytes:
    """HTTP as it should be, from somebody who has the token; what is in it may be wrong."""
    line = draw(st.sampled_from(sorted(SENT)))
    body = json.dumps(draw(wrong(SENT[line], draw(st.integers(0, 2))) | ANY)).encode()
    return http(line + b" HTTP/1.1", FIRST, damaged(draw, body) if draw(st.booleans()) else body)


@st.composite
def oddities(draw: st.DrawFn) -> bytes:
    """HTTP as it should not be."""
    line = draw(st.sampled_from(METHODS)) + b" " + draw(st.sampled_from(PATHS) | st.binary(max_size=30))
    line += draw(st.sampled_from([b" HTTP/1.1", b" HTTP/1.1", b" HTTP/1.0", b" HTTP/2.0", b" HTTP/9", b""]))
    headers = draw(st.sampled_from([FIRST, FIRST[:1], []])) + draw(st.lists(st.sampled_from(HEADERS), max_size=3))
    data = http(line, headers, draw(st.binary(max_size=50)))
    return damaged(draw, data) if draw(st.booleans()) else data


class Faults(logging.Handler):
    """What is logged as an error, and by whom."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


@pytest.fixture(scope="module")
def faults() -> Iterator[Faults]:
    handler = Faults()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


def afresh(live: Live) -> None:
    """Nothing is wanted, and nobody has stopped it."""
    live.run(live.app.owner.replace, Everything(Cluster("test", live.app.start.spec)))


def exchange(live: Live, request: bytes) -> bytes:
    with socket.create_connection(live.address, timeout=60) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while data := connection.recv(1 << 16):
                answer += data
        except ConnectionError:
            pass
        return answer


@fuzz(20)
@given(wishes() | wishes() | oddities())
def test_requests(live: Live, faults: Faults, request: bytes) -> None:
    """It is answered, or hung up on: never a fault of ours, a hang, the token, or a word to other origins."""
    afresh(live)
    answer = exchange(live, request)
    head = answer.partition(b"\r\n\r\n")[0]
    event(head[9:12].decode() or "hung up")
    assert not faults.texts
    assert not answer or answer.startswith(b"HTTP/1.1 ") or answer.startswith(b"HTTP/1.0 ")
    assert not answer.startswith(b"HTTP/1.1 500") and b"Traceback" not in answer
    assert TOKEN.encode() not in answer and b"access-control-" not in head.lower()
    if TOKEN.encode() not in request:
        assert b" 200 " not in head.split(b"\r\n")[0]


def test_it_still_serves(live: Live) -> None:
    assert live.daemon().status()["cluster_id"] == "c" and not live.broken


@fuzz(7)
@given(wrong(SENT[b"PUT /api/v1/engines/a"]), st.text(max_size=10))
def test_wishes(live: Live, faults: Faults, body: Any, name: str) -> None:
    """What gets through the checks is a wish that can be kept in the state file."""
    afresh(live)
    status, answer, _ = live.ask("PUT", f"/api/v1/engines/{quote(name or 'a', safe='')}", json.dumps(body).encode())
    event(str(status))
    assert status in (200, 400, 404) and not faults.texts
    assert (list(answer) == ["error"]) if status != 200 else json.dumps(encode(live.app.owner.state.cluster))
    live.saved.clear()
