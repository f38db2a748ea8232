"""Read a file in a sandbox from its agent, by `GET /files/read`. Blocking: for threads.

A path below `/frameworks/F/executors/E/runs/latest` stays valid until the agent removes the sandbox: a while after its
executor has ended (--gc_delay, a week unless the disk fills up), also over the agent's own restart.
"""

from __future__ import annotations

import base64
import http.client
import json
import time
import urllib.parse
from dataclasses import dataclass

from ...errors import Gone, Unreadable

TIMEOUT = 5.0  # seconds that one answer may take in all
PIECE = 1 << 16  # bytes; Mesos gives no more than 16 pages at once
LARGEST_ANSWER = 8 * PIECE  # bytes: JSON writes a control character in six
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Sandbox:
    """Of one executor. `endpoint` is its agent's host:port."""

    endpoint: str
    framework_id: str
    executor_id: str

    def path(self, name: str) -> str:
        return f"/frameworks/{self.framework_id}/executors/{self.executor_id}/runs/latest/{name}"


@dataclass(frozen=True)
class Piece:
    """`data` begins at `offset` (bytes), which is the file's end if that comes before the one that was asked for."""

    offset: int
    data: bytes

    @property
    def next(self) -> int:
        return self.offset + len(self.data)


class Files:
    """The files API of all agents, as `principal`. Every method raises Unreadable."""

    def __init__(self, principal: str = "", secret: str = "", timeout: float = TIMEOUT) -> None:
        self._principal, self._timeout = principal, timeout
        self._headers = {"Accept": "application/json"}
        if principal:
            credentials = base64.b64encode(f"{principal}:{secret}".encode()).decode()
            self._headers["Authorization"] = f"Basic {credentials}"

    def size(self, sandbox: Sandbox, name: str) -> int:
        return self.read(sandbox, name, -1, 0).offset

    def read(self, sandbox: Sandbox, name: str, offset: int, length: int) -> Piece:
        """At most `length` bytes (and PIECE) from `offset`."""
        if not sandbox.endpoint:
            raise Unreadable("its agent has not said where it answers")
        asked: dict[str, str | int] = {"path": sandbox.path(name), "offset": offset}
        if offset >= 0:  # -1 asks for the length only
            asked["length"] = min(length, PIECE)
        query = urllib.parse.urlencode(asked)
        where = f"the agent at {sandbox.endpoint}"
        try:
            status, body = self._get(sandbox.endpoint, f"/files/read?{query}")
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise Unreadable(f"{where} doesn't answer: {getattr(error, 'strerror', None) or error!r}") from None
        if status == 404:
            raise Gone(
                f"{where} has no {name} of {sandbox.executor_id}: it has not been written, or the agent has removed the"
                " sandbox since (it keeps those of ended tasks for a while only)"
            )
        if status in (401, 403):
            who = f"the principal {self._principal!r}" if self._principal else "anybody without a principal"
            raise Unreadable(f"{where} doesn't let {who} read sandboxes (HTTP {status}; its --acls: access_sandboxes)")
        if status != 200:
            raise Unreadable(f"{where} can't read {name} of {sandbox.executor_id}: HTTP {status} {_short(body)}")
        try:
            # Mesos copies the file's bytes into the JSON as they are, whatever they are: one byte, one character.
            content = json.loads(body.decode("latin-1"))
            return Piece(int(content["offset"]), content["data"].encode("latin-1", "replace"))
        except MALFORMED:
            raise Unreadable(f"{where} answers what is no piece of a file") from None

    def _get(self, endpoint: str, path: str) -> tuple[int, bytes]:
        """Not by urllib: it would follow a redirection, and tell our secret there."""
        deadline = time.monotonic() + self._timeout
        connection = http.client.HTTPConnection(endpoint, timeout=self._timeout)
        try:
            connection.request("GET", path, headers=self._headers)
            answer, body = connection.getresponse(), b""
            while more := answer.read1(PIECE):
                body += more
                if len(body) > LARGEST_ANSWER:
                    raise OSError("its answer is too long")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"its answer takes longer than {self._timeout:g} s")
            return answer.status, body
        finally:
            connection.close()

    def tail(self, sandbox: Sandbox, name: str, lines: int, most: int) -> Piece:
        """The last `lines` lines, as far as they are within the last `most` bytes."""
        end = begin = self.size(sandbox, name)
        data = b""
        while begin > 0 and end - begin < most and data.count(b"\n", 0, len(data) - 1) < lines:
            step = min(PIECE, begin, most - (end - begin))
            piece = self.read(sandbox, name, begin - step, step)
            if piece.offset != begin - step or len(piece.data) != step:
                break  # it was shortened in between
            begin, data = begin - step, piece.data + data
        kept = last_lines(data, lines)
        return Piece(begin + len(data) - len(kept), kept)


def last_lines(data: bytes, lines: int) -> bytes:
    """The end of `data` that has so many lines; the last one may have no end yet."""
    cut = len(data) - 1 if data.endswith(b"\n") else len(data)
    for _ in range(lines):
        cut = data.rfind(b"\n", 0, cut)
        if cut < 0:
            return data
    return data[cut + 1 :] if lines else b""


def _short(body: bytes) -> str:
    return " ".join(body.decode(errors="replace").split())[:200]
