"""The executor's one loop: sockets, timers, and what other threads ask to be done in it."""

from __future__ import annotations

import heapq
import itertools
import os
import queue
import selectors
import time
from collections.abc import Callable
from typing import Any


class Loop:
    """Everything the executor knows is touched in the thread that calls `run`, so nothing needs a lock."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake, self._wake_to = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._wake_to, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake, selectors.EVENT_READ, self._run_asked)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()  # timers of the same moment run in the order they were set
        self._code: int | None = None

    @property
    def wake_fd(self) -> int:
        """For signal.set_wakeup_fd."""
        return self._wake_to

    def call(self, work: Callable[..., None], *args: Any) -> None:
        """Do `work` in the loop's thread; may be called from any thread and from a signal handler."""
        self._asked.put(lambda: work(*args))
        try:
            os.write(self._wake_to, b"\0")
        except BlockingIOError:
            return  # the pipe is full of wake-ups already

    def later(self, seconds: float, work: Callable[..., None], *args: Any) -> None:
        at = time.monotonic() + seconds
        heapq.heappush(self._timers, (at, next(self._order), lambda: work(*args)))

    def on_readable(self, source: Any, work: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, work)

    def forget(self, source: Any) -> None:
        self._selector.unregister(source)

    def stop(self, code: int) -> None:
        """Let `run` return `code`; the first one counts."""
        if self._code is None:
            self._code = code

    def run(self) -> int:
        while self._code is None:
            timeout = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
            for key, _ in self._selector.select(timeout):
                key.data()
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()
        return self._code

    def _run_asked(self) -> None:
        os.read(self._wake, 4096)
        while not self._asked.empty():
            self._asked.get()()
