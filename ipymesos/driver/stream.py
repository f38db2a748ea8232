"""One event stream: the SUBSCRIBE request and its endless answer (docs/scheduler-http-api.md, docs/recordio.md).

Every wait here ends by data, by a deadline or by Waker.wake(), whichever is first, so nobody who asks the reading
thread to stop has to wait for the network. Name resolution alone can't be interrupted.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from http_parser.http import HttpParser

from ..masters import Address

CHUNK = 64 * 1024
HTTP_RESPONSE = 1  # HttpParser's word for "parse a response"
LONGEST_BODY = 64 * 1024  # of an answer that is no stream
LONGEST_RECORD = 1 << 30
LONGEST_NUMBER = 20


class StreamError(Exception):
    """The stream is of no more use; the message says why, in words that fit after "master: "."""


class TooLate(StreamError):
    """The time was over before there was an answer, which says little about why."""


class Unresolvable(StreamError):
    """No address belongs to the name."""


class Interrupted(Exception):
    """Waker.wake() was called."""


class Waker:
    """Lets other threads interrupt a thread that waits for a socket."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def wake(self) -> None:
        try:
            os.write(self._write, b"\0")
        except BlockingIOError:
            pass  # so full of wakes that one more says nothing new

    def clear(self) -> None:
        try:
            while os.read(self._read, 4096):
                pass
        except BlockingIOError:
            pass

    def wait(self, sock: socket.socket | None, events: int, seconds: float | None) -> bool:
        """Whether `sock` got one of the poll `events` in time. Raises Interrupted."""
        poll = select.poll()  # has no limit on the number of a descriptor, other than select
        poll.register(self._read, select.POLLIN)
        if sock is not None:
            poll.register(sock, events)
        ready = poll.poll(None if seconds is None else max(0.0, seconds) * 1000)
        if any(fd == self._read for fd, _ in ready):
            raise Interrupted
        return bool(ready)

    def __del__(self) -> None:
        os.close(self._read)
        os.close(self._write)


class RecordIO:
    """Cuts a stream of bytes into records: each is its length in decimal, a newline, and that many bytes.

    Takes time in proportion to the bytes, however they are cut.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._length: int | None = None  # of the record that begins the buffer, once its number has been read

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The records that `data` completes. Raises StreamError on what is no RecordIO."""
        self._buffer += data
        done = 0  # bytes of the buffer that were handed out
        try:
            while True:
                if self._length is None:
                    end = self._buffer.find(b"\n", done, done + LONGEST_NUMBER)
                    number = bytes(self._buffer[done:end] if end >= 0 else self._buffer[done : done + LONGEST_NUMBER])
                    if (number and not number.isdigit()) or (end >= 0 and not number) or len(number) == LONGEST_NUMBER:
                        raise StreamError(f"it sends {number!r} where the length of a record should be")
                    if end < 0:
                        return
                    self._length = int(number)
                    if self._length > LONGEST_RECORD:
                        raise StreamError(f"it announces a record of {self._length} bytes")
                    done = end + 1
                if len(self._buffer) - done < self._length:
                    return
                record = bytes(self._buffer[done : done + self._length])
                done += self._length
                self._length = None
                yield record
        finally:
            del self._buffer[:done]


@dataclass(frozen=True)
class Head:
    """How the master answered; `body` is empty when a stream follows."""

    status: int
    headers: Mapping[str, str]
    body: str = ""


def request(host: str, call: Any, authorization: str) -> bytes:
    """The POST that begins a stream."""
    body = json.dumps(call).encode()
    lines = [
        "POST /api/v1/scheduler HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/json",
        "Accept: application/json",
        "Connection: close",
        f"Content-Length: {len(body)}",
        *([f"Authorization: {authorization}"] if authorization else ()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


class EventStream:
    """A connection to one master. Not to be shared between threads, except by its Waker."""

    def __init__(self, waker: Waker) -> None:
        self._waker = waker
        self._sock: socket.socket | None = None
        self._parser = HttpParser(HTTP_RESPONSE)
        self._records = RecordIO()

    def connect(self, address: Address, until: float) -> None:
        """Connect to the first of the host's addresses that lets us. `until` is a time.monotonic()."""
        try:
            found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise Unresolvable(f"the name {address.host!r} can't be resolved ({why})") from error
        failed = ""
        for position, (family, kind, protocol, _, where) in enumerate(found):
            share = (until - time.monotonic()) / (len(found) - position)
            try:
                failed = self._try_connect(socket.socket(family, kind, protocol), where, share)
            except OSError as error:  # this machine doesn't speak that family
                failed = str(error.strerror)
            if not failed:
                return
        raise (TooLate if time.monotonic() >= until else StreamError)(failed)

    def _try_connect(self, sock: socket.socket, where: Any, seconds: float) -> str:
        self.close()
        self._sock = sock
        sock.setblocking(False)
        code = sock.connect_ex(where)
        if code == errno.EINPROGRESS:
            if not self._waker.wait(sock, select.POLLOUT, seconds):
                return f"no connection within {seconds:.1f} s"
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return os.strerror(code) if code else ""

    @property
    def peer(self) -> Address:
        """The very master that is connected, whatever the name may resolve to next time."""
        assert self._sock is not None
        host, port = self._sock.getpeername()[:2]
        return Address(host, port)

    def open(self, request: bytes, until: float) -> Head:
        """Send the request and wait for the head of the answer, and the body when it is not a stream."""
        assert self._sock is not None
        left = memoryview(request)
        while left:
            self._await(select.POLLOUT, until)
            try:
                left = left[self._sock.send(left) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise StreamError(f"cannot send: {error.strerror}") from error
        while not self._parser.is_headers_complete():
            self._receive(until)
        status, headers = self._parser.get_status_code(), self._parser.get_headers()
        if status == 200:
            if not self._parser.is_chunked():
                raise StreamError("it answers without an event stream: is it a Mesos master?")
            return Head(status, headers)
        body = self._parser.recv_body()
        try:
            while not self._parser.is_message_complete() and len(body) < LONGEST_BODY:
                self._receive(until)
                body += self._parser.recv_body()
        except StreamError:
            pass  # what came of the body has to do
        return Head(status, headers, body.decode("utf-8", "replace").strip())

    def records(self, until: Callable[[], float]) -> Iterator[bytes]:
        """The records, without end; StreamError at the end of the stream, or after silence until `until()`."""
        while True:
            yield from self._records.feed(self._parser.recv_body())
            if self._parser.is_message_complete():
                raise StreamError("it ended the event stream")
            self._receive(until())

    def _await(self, events: int, until: float) -> None:
        assert self._sock is not None
        left = until - time.monotonic()
        if left <= 0 or not self._waker.wait(self._sock, events, left):
            raise TooLate("it has fallen silent")

    def _receive(self, until: float) -> None:
        assert self._sock is not None
        self._await(select.POLLIN, until)
        try:
            data = self._sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            raise StreamError(f"the connection broke: {error.strerror}") from error
        if not data:
            raise StreamError("it closed the connection")
        if self._parser.execute(data, len(data)) != len(data):
            raise StreamError("it doesn't speak HTTP: is it a Mesos master?")

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None
