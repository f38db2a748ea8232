"""Those who watch the cluster live: what each gets and when, and that engines are asked only while somebody watches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from ..core.messages import LoadWanted
from ..core.session import Everything
from ..errors import ConfigError
from .journal import Journal
from .owner import Owner
from .picture import News, Picture

MOST_STREAMS = 20  # at a time
PAUSE = 0.25  # seconds between two news for one watcher: what changes meanwhile is told together
ASK_AGAIN = 2.5  # seconds between two questions for load and queues
MOST_EVENTS = 300  # told at once; who has missed more gets the last ones


class Streams:
    """All watchers of one daemon. `facts` is asked for what the daemon knows of itself."""

    def __init__(self, owner: Owner, facts: Callable[[], Mapping[str, Any]], journal: Journal) -> None:
        self.owner, self.facts, self.journal = owner, facts, journal
        self.changed = asyncio.Event()
        self._watchers: set[Watcher] = set()
        self._asking: asyncio.Future[None] | None = None
        owner.watch(self._turned)

    def open(self, after: int) -> Watcher:
        """Another watcher, who knows the events up to `after`; ConfigError if there are too many."""
        if len(self._watchers) >= MOST_STREAMS:
            raise ConfigError(f"there are {MOST_STREAMS} streams already; close one of the dashboard's windows")
        watcher = Watcher(self, after)
        self._watchers.add(watcher)
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask())
        return watcher

    def close(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)
        if not self._watchers and self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    def _turned(self, before: Everything, after: Everything) -> None:
        if self._watchers:
            self.wake()

    async def _ask(self) -> None:
        while True:
            self.owner.post(LoadWanted())
            await asyncio.sleep(ASK_AGAIN)


class Watcher:
    def __init__(self, streams: Streams, after: int) -> None:
        self.seq = after  # of the last event that was told
        self._streams = streams
        self._picture = Picture()
        self._earliest = 0.0
        self._closed = False

    async def news(self, timeout: float) -> News:
        """What has changed since the last call; empty after `timeout` seconds without any, or when it is closed."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._earliest - loop.time()))
        deadline = loop.time() + timeout
        while not self._closed:
            changed = self._streams.changed
            if news := self._look():
                self._earliest = loop.time() + PAUSE
                return news
            try:
                await asyncio.wait_for(changed.wait(), max(0.0, deadline - loop.time()))
            except asyncio.TimeoutError:
                break
        return {}

    def _look(self) -> News:
        streams = self._streams
        owner = streams.owner
        news = self._picture.news(owner.state, owner.clock(), streams.facts())
        if events := streams.journal.after(max(self.seq, streams.journal.last - MOST_EVENTS)):
            self.seq = events[-1]["seq"]
            news = {"now": owner.clock(), **news, "events": events}
        return news

    def close(self) -> None:
        self._closed = True
        self._streams.close(self)
        self._streams.wake()
