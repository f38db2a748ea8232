"""An engine that is asked to end (SIGTERM) does what it has been given, and nobody who waits for it waits in vain.

The hub is told first, so that the task scheduler gives it nothing more and says so with a last message, "retirement".
The engine does what is queued, its replies leave, it is unregistered as "retired", and then it ends. All that takes no
longer than whoever has asked waits before SIGKILL; a hub that does not answer is not waited for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import zmq

from .link import readable

if TYPE_CHECKING:
    from .engine import Engine

PATIENCE = 2.0  # seconds for the hub to answer, and for the task scheduler's last message after that
POLL = 0.02  # seconds between two looks whether everything is done
SPEED = 4e6  # bytes per second that results travel at, by way of several schedulers, at least
ARRIVAL = 1.0  # seconds by which a result that should have reached its client may be late


class Retirement:
    """Goes on in the control thread, since the main thread may be at work; asks that one whether it is done."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._last = False  # the task scheduler's last message has been reached
        self._begun = False

    def begin(self, leave: Callable[[], Any]) -> None:
        """`leave` is called in the main loop when all is done. May be called in a signal handler, and again."""
        if self._begun:
            return
        self._begun = True
        kernel = self._engine.kernel
        kernel.shell_handlers["retirement"] = self._retirement
        kernel.control_thread.io_loop.add_callback_from_signal(self._run, leave)

    async def _run(self, leave: Callable[[], Any]) -> None:
        try:
            url = ""
            while url != self._engine.registration_url:  # as it is after a move meanwhile
                url = self._engine.registration_url
                await self._retire(url)
        except Exception:  # a fault of ours: whoever has asked us to end can't be told otherwise
            self._engine.log.exception("the retirement has failed")
        finally:
            self._engine.loop.add_callback(leave)

    async def _retire(self, url: str) -> None:
        hub = self._engine.context.socket(zmq.DEALER)
        try:
            self._engine.init_connector()[0](hub, url)
            self._last = False
            answer = await self._ask(hub, "retire_request")
            await self._all_done(last_expected=bool(answer and answer["scheduler"]))
            if answer is not None:
                await self._all_arrived()
                await self._ask(hub, "leave_request")
                await self._all_done(last_expected=False)  # what came before everybody had heard
        finally:
            hub.close(linger=0)

    async def _ask(self, hub: zmq.Socket, what: str) -> dict[str, Any] | None:
        """The hub's answer; None if there is none in time."""
        session = self._engine.session
        session.send(hub, what, content={"id": self._engine.id})
        try:
            await asyncio.wait_for(readable(hub), PATIENCE)
        except asyncio.TimeoutError:
            return None
        _, frames = session.feed_identities(hub.recv_multipart())
        content: dict[str, Any] = session.deserialize(frames)["content"]
        return content

    async def _all_done(self, last_expected: bool) -> None:
        main = self._engine.loop.asyncio_loop
        deadline = None
        while True:
            done = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._done(), main))
            if done and (self._last or not last_expected):
                return
            now = time.monotonic()
            if done and now > (deadline := deadline or now + PATIENCE):
                return
            await asyncio.sleep(POLL)

    async def _all_arrived(self) -> None:
        """A client takes for lost what has not reached it when it hears that we are gone, and news are faster.

        Nobody tells us what has reached it, so this is a question of time.
        """
        kernel = self._engine.kernel
        while (left := kernel.arrival + ARRIVAL - time.monotonic()) > 0:
            await asyncio.sleep(left)

    async def _done(self) -> bool:
        """In the main loop: nothing is running, read but not begun, or waiting in the socket."""
        kernel = self._engine.kernel
        kernel.shell_stream.flush(zmq.POLLIN)
        return not kernel.requests

    def _retirement(self, stream: Any, ident: Any, parent: Any) -> None:
        self._last = True


def arrival(former: float, buffers: Iterable[Any]) -> float:
    """time.monotonic() when a reply with these buffers, said now, should have reached its client.

    `former`: the same of the reply before, which this one may have to wait for.
    """
    return max(former, time.monotonic()) + sum(memoryview(part).nbytes for part in buffers) / SPEED
