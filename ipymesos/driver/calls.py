"""The one thread that makes calls, in the order they were asked for.

A call belongs to the session (the subscription) during which it was asked for. One that cannot be made any more is
named in the log and forgotten: at the next subscription the scheduler asks Mesos what is true, which is better than
repeating what was wanted before.
"""

from __future__ import annotations

import http.client
import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from ..masters import Address
from .pipe import Pipe

log = logging.getLogger(__name__)

TIMEOUT = 10.0  # seconds that one call may take


@dataclass(frozen=True)
class Session:
    """One subscription: `stream_id` marks the calls that belong to it (scheduler-http-api.md)."""

    master: Address
    stream_id: str
    framework_id: str = ""
    updates: bool = False  # whether the master takes UPDATE_FRAMEWORK


@dataclass(frozen=True)
class _Call:
    session: Session
    kind: str
    body: bytes


@dataclass(frozen=True)
class _Get:
    session: Session
    path: str
    answered: Callable[[Any], None]
    refused: Callable[[str], None]


_Item = _Call | _Get | threading.Event | None  # an Event is set when its turn comes; None is the end


class Caller:
    """`session` is set by the thread that subscribes: None while there is none, and then nothing is sent.

    `lost(session, why)` is called when a call failed in a way that says the session is worth nothing;
    `tearing_down(bool)` around a TEARDOWN: True before it is sent, False when it was not taken.
    """

    def __init__(
        self, authorization: str, lost: Callable[[Session, str], None], tearing_down: Callable[[bool], None]
    ) -> None:
        self.session: Session | None = None
        self._headers = {"Authorization": authorization} if authorization else {}
        self._lost = lost
        self._tearing_down = tearing_down
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._next: _Item = None  # taken from the queue already
        self._pipe: Pipe | None = None
        self._piped_for: Session | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="mesos-calls", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def call(self, body: dict[str, Any]) -> None:
        session = self.session
        if session is None:
            log.warning("Not connected to the master: %s is forgotten", body["type"])
        else:
            self._queue.put(_Call(session, body["type"], json.dumps(body).encode()))

    def get(self, path: str, answered: Callable[[Any], None], refused: Callable[[str], None]) -> None:
        """GET a JSON document; `refused` is told why there is none, unless the connection was at fault."""
        session = self.session
        if session is not None:
            self._queue.put(_Get(session, path, answered, refused))

    def flush(self, timeout: float) -> bool:
        """Wait until all that was asked for so far has been sent or given up; whether that was so in time (s)."""
        done = threading.Event()
        self._queue.put(done)
        return done.wait(timeout)

    def stop(self) -> None:
        """Forget what is queued, cut a call short that is under way, and end."""
        self._stopped = True
        self._queue.put(None)
        if (pipe := self._pipe) is not None:
            pipe.cut()

    def join(self, timeout: float) -> None:
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        while (item := self._take()) is not None and not self._stopped:
            if isinstance(item, threading.Event):
                item.set()
            elif item.session is not self.session:
                log.warning("The subscription ended: %s is forgotten", _name(item))
            else:
                try:
                    self._make(item) if isinstance(item, _Call) else self._fetch(item)
                except Exception as error:
                    log.exception("%s failed by a fault of ours", _name(item))
                    self._disconnect()
                    self._lost(item.session, f"{_name(item)} failed ({error!r})")
        self._disconnect()

    def _take(self) -> _Item:
        item, self._next = self._next, None
        return item if item is not None else self._queue.get()

    def _make(self, first: _Call) -> None:
        """Make this call, and those behind it that may follow without waiting for its answer.

        None of them is ever made again, since it may have reached the master.
        """
        calls, session, teardown = [first], first.session, first.kind == "TEARDOWN"
        if teardown:
            self._tearing_down(True)
        taken, answered, started = False, 0, time.monotonic()
        try:
            pipe = self._connect(session)
            if not teardown:
                self._add_more(calls, pipe.width)
            pipe.write([call.body for call in calls])
            for call in calls:
                status, answer = pipe.read()
                answered += 1
                taken = 200 <= status < 300
                if not taken:
                    log.error("The master refused %s: HTTP %d %.500s", call.kind, status, answer)
                    if status != 400 or "stream" in answer.lower():  # any other 400 is about this call alone
                        self._lost(session, f"it refused {call.kind} with HTTP {status}")
        except (OSError, http.client.HTTPException) as error:
            names = ", ".join(sorted({call.kind for call in calls[answered:]}))
            log.error("%s is lost after %.1f s: %r", names, time.monotonic() - started, error)
            self._disconnect()
            self._lost(session, f"{names} failed ({error!r})")
        if teardown and not taken:
            self._tearing_down(False)

    def _add_more(self, calls: list[_Call], width: int) -> None:
        """What waits in the queue for the same session, up to `width` calls in all."""
        while len(calls) < width and not self._queue.empty():
            item = self._queue.get()
            if isinstance(item, _Call) and item.session is calls[0].session and item.kind != "TEARDOWN":
                calls.append(item)
                continue
            if item is None:
                self._queue.put(None)  # the end: seen again in a moment
            self._next = item
            return

    def _connect(self, session: Session) -> Pipe:
        """The connection of this session; another one when the master has closed it while it was idle."""
        if self._pipe is not None and (self._piped_for is not session or self._pipe.closed_by_peer()):
            self._disconnect()
        if self._pipe is None:
            headers = {"Mesos-Stream-Id": session.stream_id, **self._headers}
            self._pipe, self._piped_for = Pipe(session.master, headers, TIMEOUT), session
        return self._pipe

    def _fetch(self, get: _Get) -> None:
        try:
            master = get.session.master
            with closing(http.client.HTTPConnection(master.host, master.port, timeout=TIMEOUT)) as connection:
                connection.request("GET", get.path, headers=self._headers)
                response = connection.getresponse()
                body = response.read()
            if response.status != 200:
                log.debug("%s: HTTP %d", get.path, response.status)
                get.refused(f"HTTP {response.status} {response.reason}")
                return
            document = json.loads(body)
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            log.debug("%s: %r", get.path, error)
            return
        get.answered(document)

    def _disconnect(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None


def _name(item: _Call | _Get) -> str:
    return item.kind if isinstance(item, _Call) else item.path
