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
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from ..masters import Address

log = logging.getLogger(__name__)

TIMEOUT = 10.0  # seconds that one call may take
PATH = "/api/v1/scheduler"


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
        self._queue: queue.SimpleQueue[_Call | _Get | threading.Event | None] = queue.SimpleQueue()
        self._connection: http.client.HTTPConnection | None = None
        self._connected_for: Session | None = None
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

    def get(self, path: str, answered: Callable[[Any], None]) -> None:
        """GET a JSON document; what goes wrong is logged for the curious only."""
        session = self.session
        if session is not None:
            self._queue.put(_Get(session, path, answered))

    def flush(self, timeout: float) -> bool:
        """Wait until all that was asked for so far has been sent or given up; whether that was so in time (s)."""
        done = threading.Event()
        self._queue.put(done)
        return done.wait(timeout)

    def stop(self) -> None:
        """Forget what is queued, cut a call short that is under way, and end."""
        self._stopped = True
        self._queue.put(None)
        sock = self._connection.sock if self._connection is not None else None
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def join(self, timeout: float) -> None:
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None and not self._stopped:
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

    def _make(self, call: _Call) -> None:
        teardown = call.kind == "TEARDOWN"
        if teardown:
            self._tearing_down(True)
        taken, started = False, time.monotonic()
        try:
            status, answer = self._post(call)
            taken = 200 <= status < 300
            if not taken:
                log.error("The master refused %s: HTTP %d %.500s", _name(call), status, answer)
                if status != 400 or "stream" in answer.lower():  # any other 400 is about this call alone
                    self._lost(call.session, f"it refused {_name(call)} with HTTP {status}")
        except (OSError, http.client.HTTPException) as error:
            log.error("%s is lost after %.1f s: %r", _name(call), time.monotonic() - started, error)
            self._disconnect()
            self._lost(call.session, f"{_name(call)} failed ({error!r})")
        if teardown and not taken:
            self._tearing_down(False)

    def _post(self, call: _Call) -> tuple[int, str]:
        if self._connected_for is not call.session or self._closed_by_peer():
            self._disconnect()
        if self._connection is None:
            self._connection = _connection(call.session)
            self._connected_for = call.session
        headers = {"Content-Type": "application/json", "Mesos-Stream-Id": call.session.stream_id, **self._headers}
        self._connection.request("POST", PATH, body=call.body, headers=headers)
        response = self._connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace").strip()

    def _closed_by_peer(self) -> bool:
        """An idle connection has nothing to say unless it is at its end. Asked before a call is sent, since a call
        that may have reached the master must never be sent twice."""
        if self._connection is None or self._connection.sock is None:
            return True
        poll = select.poll()
        poll.register(self._connection.sock, select.POLLIN)
        return bool(poll.poll(0))

    def _fetch(self, get: _Get) -> None:
        try:
            with closing(_connection(get.session)) as connection:
                connection.request("GET", get.path, headers=self._headers)
                response = connection.getresponse()
                body = response.read()
            if response.status != 200:
                log.debug("%s: HTTP %d", get.path, response.status)
                return
            document = json.loads(body)
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            log.debug("%s: %r", get.path, error)
            return
        get.answered(document)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _connection(session: Session) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(session.master.host, session.master.port, timeout=TIMEOUT)


def _name(item: _Call | _Get) -> str:
    return item.kind if isinstance(item, _Call) else item.path
