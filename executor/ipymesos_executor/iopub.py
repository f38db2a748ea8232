"""Output goes to nobody until the controller has subscribed to it; ours knows when that is.

A PUB socket drops what is sent before a subscription has come, which is later than the handshake. An engine that is
used the moment it is known would lose the first lines it writes, and who waits for all of its output would wait for
ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

import zmq
from ipykernel.iostream import IOPubThread as Upstream

SETTLED = 0.1  # seconds after its handshake, for a socket that does not tell of subscriptions (before ipykernel 7)
POLL = 0.005  # seconds


class IOPubThread(Upstream):  # type: ignore[misc]
    tells = False  # of subscriptions
    subscribers = 0

    def _setup_xpub_listener(self) -> None:
        super()._setup_xpub_listener()
        self.tells = self.socket.getsockopt(zmq.TYPE) == zmq.XPUB

    def _handle_subscription(self, frames: Any) -> None:
        """In its own thread."""
        super()._handle_subscription(frames)
        self.subscribers += 1

    async def subscribed(self) -> None:
        """To be awaited after the handshake."""
        if not self.tells:
            await asyncio.sleep(SETTLED)
        while self.tells and not self.subscribers:
            await asyncio.sleep(POLL)
