"""Output goes to nobody until the controller has subscribed to it; ours knows when that is.

A PUB socket drops what is sent before a subscription has come, which is later than the handshake. An engine that is
used the moment it is known would lose the first lines it writes, and who waits for all of its output would wait for
ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import zmq
from ipykernel.iostream import IOPubThread as Upstream

SETTLED = 0.1  # seconds after its handshake, for a socket that does not tell of subscriptions (before ipykernel 7)
LOOK = 0.1  # seconds between two looks at the socket


class IOPubThread(Upstream):  # type: ignore[misc]
    tells = False  # of subscriptions
    subscribers = 0
    _tell: Callable[[], Any] = staticmethod(lambda: None)

    def _setup_xpub_listener(self) -> None:
        super()._setup_xpub_listener()
        self.tells = self.socket.getsockopt(zmq.TYPE) == zmq.XPUB

    def _handle_subscription(self, frames: Any) -> None:
        """In its own thread. Upstream would greet the subscriber, which is the controller: it can't read that."""
        self.subscribers += 1
        self._tell()

    async def subscribed(self) -> None:
        """To be awaited after the handshake."""
        if not self.tells:
            await asyncio.sleep(SETTLED)
            return
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        self._tell = lambda: loop.call_soon_threadsafe(told.set)
        while not self.subscribers:
            self.schedule(self._look)
            try:
                await asyncio.wait_for(told.wait(), LOOK)
            except asyncio.TimeoutError:
                continue
        del self._tell

    def _look(self) -> None:
        """In its own thread. The socket was made and connected in another one, whose calls may have taken the wake-up
        for a subscription that came before this thread began (its descriptor is edge-triggered: zmq_getsockopt(3))."""
        self._xpub_stream.flush(zmq.POLLIN)
