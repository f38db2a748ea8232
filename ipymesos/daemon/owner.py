"""The one owner of the state: events in, calls out, in turns on the event loop.

A turn takes all events that have come in, thinks (core), saves, and then sends: what Mesos may come to know is on
disk before it is asked for, and an update is acknowledged only after what it says has been saved.

What can't be saved (a full disk) is not sent: what has happened is remembered, nothing that follows from it is done,
and each later turn tries again. Only a stop goes on without: it needs nothing to be remembered.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from ..core.cluster import Cluster
from ..core.messages import Action, Event
from ..core.scheduler import observe_all, plan, record
from ..core.session import Everything
from ..errors import StoreError
from .clock import SteadyClock

log = logging.getLogger("ipymesos.daemon")
LAST_ROUNDS = 10
SHARE = 0.2  # of the time may be taken by turns while events flood in: the more of them wait, the fewer turns they need
CREDIT = 0.1  # seconds of such pauses that are put off: what comes alone is not made to wait

Watcher = Callable[[Everything, Everything], None]


class Owner:
    """Everything here runs on the loop's thread; others come in by `loop.call_soon_threadsafe(owner.post, event)`.

    `save` and `send` are called in this order. A StoreError of `save` is a trouble that may pass; whatever else they
    raise, or the core does, goes to `fatal` and ends the turns. `watch`ers see the state before and after each turn.
    """

    def __init__(
        self,
        state: Everything,
        save: Callable[[Cluster], None],
        send: Callable[[Sequence[Action], Cluster], None],
        fatal: Callable[[Exception], None],
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.state = state
        self.version = 1  # of what is worth showing: a long poll waits for another one
        self.clock = clock or SteadyClock()
        self.trouble = ""  # why the state can't be saved at the moment
        self._save, self._send, self._fatal = save, send, fatal
        self._saved: Cluster | None = None
        self._inbox: list[Event] = []
        self._scheduled = self._broken = self._over = False
        self._rested = 0.0  # time.monotonic() at which the turns taken so far have had no more than their share
        self._watchers: list[Watcher] = []
        self.timed: Callable[[float], None] = lambda seconds: None  # gets the seconds that each turn has taken
        self._changed = asyncio.Event()

    def watch(self, watcher: Watcher) -> None:
        self._watchers.append(watcher)

    def post(self, event: Event) -> None:
        """Let the next turn see `event`; there is one turn for all that come in the meantime."""
        self._inbox.append(event)
        if not self._scheduled:
            self._scheduled = True
            pause = self._rested - CREDIT - time.monotonic()
            asyncio.get_running_loop().call_later(max(0.0, pause), self._scheduled_turn)

    def take(self, event: Event) -> None:
        """Take a turn with `event` now, so that the caller sees what it has done."""
        self._inbox.append(event)
        self._turn()

    async def changed(self, version: int, timeout: float) -> None:
        """Wait until the version isn't `version`, for `timeout` seconds at most."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while self.version == version and not self._over and (left := deadline - loop.time()) > 0:
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except asyncio.TimeoutError:
                return

    async def let_go(self) -> None:
        """Nothing will change any more: whoever waits for news gets what there is, and nobody has to wait again."""
        self._over = True
        self._bump()
        for _ in range(LAST_ROUNDS):  # of the loop: to be woken, to answer, and to have it sent
            await asyncio.sleep(0)

    def _scheduled_turn(self) -> None:
        self._scheduled = False
        self._turn()

    def _turn(self) -> None:
        if self._broken:
            return
        began = time.perf_counter()
        events, self._inbox = self._inbox, []
        before, now = self.state, self.clock()
        try:
            state = observe_all(before, events, now)
            actions = plan(state, now)
            acted, trouble = record(state, actions, now), self.trouble
            if self._keep(acted.cluster) or state.cluster.stopping:
                state = acted
            else:
                actions = []
            self.state = state
            self._send(actions, state.cluster)
            if _shown(before) != _shown(state) or self.trouble != trouble:
                self._bump()
            for watcher in self._watchers:
                watcher(before, state)
            self.timed(taken := time.perf_counter() - began)
            self._rested = max(self._rested, time.monotonic()) + taken / SHARE
        except Exception as error:  # whatever it is, the app has to end by it, and loudly
            self._broken = True
            self._fatal(error)

    def _keep(self, cluster: Cluster) -> bool:
        """Whether `cluster` is saved now."""
        try:
            if cluster is not self._saved and cluster != self._saved:
                self._save(cluster)
        except StoreError as error:
            if not self.trouble:
                log.error("%s; nothing new is asked of Mesos until it can", error)
            self.trouble = str(error)
            return False
        if self.trouble:
            log.warning("the state is saved again")
        self._saved, self.trouble = cluster, ""
        return True

    def _bump(self) -> None:
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def replace(self, state: Everything) -> None:
        """Go on with another state, as after a framework was removed and starts afresh."""
        self.state = state
        self._bump()


def _shown(state: Everything) -> tuple[object, ...]:
    """What a new version of the status is made for; times that merely pass aren't."""
    session = state.session
    refusals = {key: (r.reason, r.offered) for key, r in session.refusals.items()}
    return state.cluster, session.connected, session.master, session.agents, refusals
