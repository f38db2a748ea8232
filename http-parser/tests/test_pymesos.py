"""pymesos' own connection on this parser, against a server that sends what a Mesos master sends."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pymesos.process import Connection

HEAD = b"HTTP/1.1 200 OK\r\nMesos-Stream-Id: 130ae4e3-6b13\r\nTransfer-Encoding: chunked\r\n\r\n"


class Master:
    """What pymesos' Connection reports to: collects it."""

    def __init__(self) -> None:
        self.stream_id: str | None = None
        self.events: list[dict[str, object]] = []
        self.redirected_to = ""
        self.closed = False

    def gen_request(self) -> bytes:
        return b"POST /api/v1/scheduler HTTP/1.1\r\nContent-Length: 0\r\n\r\n"

    def process_event(self, event: dict[str, object]) -> None:
        self.events.append(event)

    def change_master(self, address: str) -> None:
        self.redirected_to = address

    def on_close(self) -> None:
        self.closed = True


@contextmanager
def connected(pieces: list[bytes]) -> Iterator[tuple[Connection, Master]]:
    """A Connection to a server that sends these pieces, one after the other, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.recv(4096)
                for piece in pieces:
                    client.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        master = Master()
        connection = Connection(f"127.0.0.1:{server.getsockname()[1]}", master)
        connection._sock.settimeout(10)
        try:
            connection.write()
            yield connection, master
        finally:
            connection.close()
            thread.join()
    assert master.closed


def record(event: dict[str, object]) -> bytes:
    """An event as Mesos frames it: RecordIO in one chunk (docs/scheduler-http-api.md)."""
    text = json.dumps(event).encode()
    framed = b"%d\n%s" % (len(text), text)
    return b"%x\r\n%s\r\n" % (len(framed), framed)


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_subscription(size: int) -> None:
    events: list[dict[str, object]] = [
        {"type": "SUBSCRIBED", "subscribed": {"framework_id": {"value": "f"}, "heartbeat_interval_seconds": 15.0}},
        *({"type": "HEARTBEAT", "n": n} for n in range(20)),
        {"type": "MESSAGE", "text": "x" * 9000},
    ]
    stream = HEAD + b"".join(map(record, events)) + b"0\r\n\r\n"
    with connected([stream[i : i + size] for i in range(0, len(stream), size)]) as (connection, master):
        while connection.read():
            pass
        assert master.stream_id == "130ae4e3-6b13"
        assert master.events == events


def test_a_redirect() -> None:
    answer = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: //127.0.0.1:5051\r\nContent-Length: 0\r\n\r\n"
    with connected([answer]) as (connection, master):
        assert connection.read() is False
        assert master.redirected_to == "127.0.0.1:5051"


def test_a_refusal_says_why() -> None:
    with connected([b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nnot yours"]) as (connection, _):
        with pytest.raises(RuntimeError, match="403: b'not yours'"):
            while connection.read():
                pass


def test_what_is_not_http_is_an_error() -> None:
    with connected([b"SSH-2.0-OpenSSH_9.2\r\n"]) as (connection, _):
        with pytest.raises(RuntimeError, match=r"Failed to parse, code:\d+"):
            while connection.read():
                pass
