"""A connection to the master on which calls follow each other without waiting for the answers (HTTP pipelining).

Mesos takes them in their order, and its own library makes them so. With one round trip for each call, thousands of
acknowledgements would wait for each other, and Mesos repeats an update that isn't acknowledged within ten seconds.
"""

from __future__ import annotations

import http.client
import io
import select
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress

from ..masters import Address

AT_ONCE = 64  # calls without an answer: their answers fit into the socket's buffer
PATH = "/api/v1/scheduler"
LONGEST_ANSWER = 64 * 1024


class Pipe:
    """Connects on construction. OSError and http.client.HTTPException mean that the connection is of no more use."""

    def __init__(self, master: Address, headers: Mapping[str, str], timeout: float) -> None:
        self._sock = socket.create_connection((master.host, master.port), timeout)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = self._sock.makefile("rb")
        lines = [f"POST {PATH} HTTP/1.1", f"Host: {master}", "Content-Type: application/json"]
        self._head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), ""])
        self.width = 1  # calls that may be written at once: only an answer shows that the connection stays open

    def write(self, bodies: Sequence[bytes]) -> None:
        heads = (f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() for body in bodies)
        self._sock.sendall(b"".join(part for pair in zip(heads, bodies, strict=True) for part in pair))

    def read(self) -> tuple[int, str]:
        """Status and text of the next answer."""
        line = self._reader.readline(1024)
        if not line:
            raise http.client.RemoteDisconnected("it closed the connection without an answer")
        version, _, rest = line.partition(b" ")
        if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
            raise http.client.BadStatusLine(repr(line))
        headers = http.client.parse_headers(self._reader)
        length = headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LONGEST_ANSWER:
            raise http.client.HTTPException(f"an answer of {length or 'unknown'} bytes")
        body = self._reader.read(int(length))
        if len(body) < int(length):
            raise http.client.IncompleteRead(body, int(length) - len(body))
        self.width = 1 if headers.get("Connection", "").lower() == "close" else AT_ONCE
        return int(rest[:3]), body.decode("utf-8", "replace").strip()

    def closed_by_peer(self) -> bool:
        """An idle connection has nothing to say unless it is at its end."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))

    def cut(self) -> None:
        """From any thread: whoever waits for an answer waits no longer."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError, io.UnsupportedOperation):
            self._reader.close()
        self._sock.close()
