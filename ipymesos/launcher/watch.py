"""The thread in which a launcher follows its controller, or its engine set.

A thread, and no task of an event loop, because ipyparallel runs start() on a loop which it closes right afterwards
(`Cluster.start_cluster_sync`), and a callback left there is never called.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from logging import Logger
from typing import Any

from ..errors import IPyMesosError
from .again import End, Successor
from .asker import Daemon

PATIENCE = 5.0  # seconds without progress before we say why, and between two different explanations
REPEAT = 30.0  # seconds before the same explanation is given again
POLL = 10.0  # seconds one request may wait for news
BREATH = 0.3  # seconds between news and the next request: while a cluster starts there would be hundreds


@dataclass(frozen=True)
class View:
    """What a status says about the one thing that is watched."""

    there: bool
    wanted: int = 0
    running: int = 0
    failed: str = ""  # why another try can't help
    why: str = ""  # what it waits for


class Watcher(threading.Thread):
    """Follows the daemon's status until the thing is gone or has failed, and tells it once.

    When the daemon dies, it goes on with the one that takes its place, of which `on_daemon` is told. `view` picks the
    thing out of a status, `on_end` is called with the End (in this thread), `give_up` says why a start came to nothing,
    and undoes it. `start_timeout` None: somebody else started it, so nothing is said or given up here.
    """

    def __init__(
        self,
        what: str,
        daemon: Daemon,
        log: Logger,
        *,
        successor: Successor,
        on_daemon: Callable[[Daemon], None],
        view: Callable[[dict[str, Any]], View],
        on_end: Callable[[End], None],
        give_up: Callable[[str], None],
        start_timeout: float | None,
    ) -> None:
        super().__init__(name=f"ipymesos-watch-{what}", daemon=True)
        self.what = what
        self.target = daemon
        self.log = log
        self.successor, self.on_daemon = successor, on_daemon
        self.view = view
        self.on_end = on_end
        self.give_up = give_up
        self.start_timeout = start_timeout
        self.status: dict[str, Any] = {}
        self._version: int | None = None
        self.seen = View(there=True)
        self.closed = successor.closed
        self._started_at = time.monotonic()
        self.ever = False
        self._waiting_since = self._started_at
        self._said = ("", False)
        self._said_at = 0.0

    def run(self) -> None:
        while not self.closed.is_set():
            end = self._step()
            if end is not None:
                if not self.closed.is_set():
                    self.on_end(end)
                return

    def _step(self) -> End | None:
        try:
            self.status = self.target.status(after=self._version, timeout=self._pause())
            self._version = self.status["version"]
        except IPyMesosError as error:
            if not self.target.alive:
                return self._bereft()
            # It is there and gives no answer, as while it ends. Whoever wants to stop a stuck one will say so.
            self.log.debug("%s: %s", self.what, error)
            self.closed.wait(0.2)
            return None
        self.seen = seen = self.view(self.status)
        if self.closed.is_set():
            return None
        if not seen.there:
            return End(0)
        self.ever = self.ever or seen.running > 0
        end = self._verdict(seen)
        if end is None and self.ever:  # the first one that runs is waited for
            self.closed.wait(BREATH)
        return end

    def _bereft(self) -> End | None:
        """The daemon is gone."""
        found = self.successor.of(self.target)
        if isinstance(found, End):
            return found
        self.log.info("%s: the scheduler is now pid %d", self.what, found.pid)
        found.timeout = self.target.timeout
        self.target, self._version = found, None
        self.on_daemon(Daemon(found.file))
        return None

    def _pause(self) -> float:
        """Seconds the next request may take: there are deadlines while we wait for something to run."""
        if self.start_timeout is None or (self.ever and self.seen.running >= self.seen.wanted):
            return POLL
        return max(0.0, min(1.0, self._started_at + self.start_timeout - time.monotonic())) if not self.ever else 1.0

    def _verdict(self, seen: View) -> End | None:
        if seen.failed and not seen.running:
            return self._abandon(f"{self.what} failed: {seen.failed}")
        if self.start_timeout is None:
            return None
        now = time.monotonic()
        if seen.running >= seen.wanted:
            self._waiting_since = now
            return None
        late = now - self._started_at >= self.start_timeout
        if late and not self.ever:
            return self._abandon(f"{self.what} did not run within {self.start_timeout:g} s: {self._explanation()}")
        said = (seen.failed or seen.why, late)
        quiet = REPEAT if said == self._said else PATIENCE
        if said[0] and now - self._waiting_since >= PATIENCE and now - self._said_at >= quiet:
            self._said, self._said_at = said, now
            say = self.log.warning if late or seen.failed else self.log.info
            say(f"{self.what}: {seen.running} of {seen.wanted} running; {said[0]}")
        return None

    def _abandon(self, reason: str) -> End:
        if self.start_timeout is not None:
            self.give_up(reason)
        return End(1, reason)

    def _explanation(self) -> str:
        try:
            return str(self.target.explain()["text"])
        except (IPyMesosError, KeyError):
            return self.seen.why or "the scheduler gives no reason"
