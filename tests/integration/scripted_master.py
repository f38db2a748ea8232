"""A server that does to its clients what a master, a proxy or a broken network may do.

It speaks real HTTP over real sockets. What it answers to one SUBSCRIBE after the other is a list of plays: functions
of the Exchange. The last one is played again for ever. Other calls are taken (202) unless told otherwise.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

FRAMEWORK = "f-1"
STREAM = "stream-1"


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


class Exchange:
    """One request and the way to answer it. Nothing here raises when the client is gone."""

    def __init__(self, sock: socket.socket, request: Request, over: threading.Event) -> None:
        self.sock, self.request, self.over = sock, request, over

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError:
            self.over.set()

    def answer(self, status: int, body: str = "", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body.encode())}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "", body]).encode())

    def head(self, stream_id: str = STREAM) -> None:
        self.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
            + (f"Mesos-Stream-Id: {stream_id}\r\n\r\n").encode()
        )

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def event(self, event: Any) -> None:
        self.chunk(record(event))

    def subscribed(self, interval: float = 15.0, stream_id: str = STREAM) -> None:
        self.head(stream_id)
        self.event(subscribed(interval))

    def pause(self, seconds: float) -> None:
        """Do nothing for a while, or until the client has gone or the server ends."""
        self.over.wait(seconds)

    def hold(self) -> None:
        """Keep the connection until the client leaves or the server ends."""
        self.sock.settimeout(0.05)
        while not self.over.is_set():
            try:
                if not self.sock.recv(4096):
                    return
            except TimeoutError:
                continue
            except OSError:
                return


Play = Callable[[Exchange], None]


def record(event: Any) -> bytes:
    data = json.dumps(event).encode()
    return b"%d\n%s" % (len(data), data)


def subscribed(interval: float = 15.0) -> dict[str, Any]:
    body = {"framework_id": {"value": FRAMEWORK}, "heartbeat_interval_seconds": interval}
    return {"type": "SUBSCRIBED", "subscribed": body}


def rescind(name: str) -> dict[str, Any]:
    return {"type": "RESCIND", "rescind": {"offer_id": {"value": name}}}


def free_port() -> int:
    """A loopback port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def silent(exchange: Exchange) -> None:
    """Take the request and say nothing."""
    exchange.hold()


def half_a_head(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Enc")
    exchange.hold()


def stay(exchange: Exchange) -> None:
    """Accept the framework and be quiet."""
    exchange.subscribed()
    exchange.hold()


def refuse(status: int, body: str = "", **headers: str) -> Play:
    return lambda exchange: exchange.answer(status, body, **headers)


def say(*events: Any) -> Play:
    """Accept the framework, tell all this, and stay."""

    def play(exchange: Exchange) -> None:
        exchange.subscribed()
        for event in events:
            exchange.event(event)
        exchange.hold()

    return play


@dataclass
class ScriptedMaster:
    plays: Sequence[Play]
    port: int = 0
    host: str = "127.0.0.1"
    on_call: Play = refuse(202)
    on_get: Play = refuse(404)
    subscribes: list[Request] = field(default_factory=list)
    calls: list[Request] = field(default_factory=list)
    gets: list[Request] = field(default_factory=list)

    def __enter__(self) -> ScriptedMaster:
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, self.port), family=family)
        self._listener.settimeout(0.05)
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(5)
        self._listener.close()
        for sock in self._sockets:
            sock.close()

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def kinds(self) -> list[str]:
        return [call.body["type"] for call in self.calls]

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                sock, _ = self._listener.accept()
            except TimeoutError:
                continue
            self._sockets.append(sock)
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        over = threading.Event()
        watch = threading.Thread(target=lambda: (self._over.wait(), over.set()), daemon=True)
        watch.start()
        stream = sock.makefile("rb")
        while not self._over.is_set():
            try:
                request = self._read(sock, stream)
            except OSError:
                break
            if request is None:
                break
            exchange = Exchange(sock, request, over)
            if request.method == "GET":
                self.gets.append(request)
                self.on_get(exchange)
            elif request.body["type"] == "SUBSCRIBE":
                self.subscribes.append(request)
                self.plays[min(len(self.subscribes), len(self.plays)) - 1](exchange)
                break
            else:
                self.calls.append(request)
                self.on_call(exchange)
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def _read(self, sock: socket.socket, stream: Any) -> Request | None:
        sock.settimeout(30)
        first = stream.readline().decode()
        if not first:
            return None
        headers = {}
        while line := stream.readline().decode().strip():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        body = stream.read(int(headers.get("content-length", 0)))
        method, path, _ = first.split()
        return Request(method, path, headers, json.loads(body) if body else None)
