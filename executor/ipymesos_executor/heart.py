"""The heart monitor of our controllers: ipyparallel's, which knows a new heart at once, and so may ping seldom.

ipyparallel's knows a new heart at the second beat after it has begun, so whoever wants engines to register soon has to
let all hearts beat fast for ever. Ours sees, by the subscription, that a heart listens (XPUB instead of PUB), and calls
it by its name; what answers is known. The call passes by all other hearts: they listen to their own name, and to pings.
"""

from __future__ import annotations

import asyncio
from typing import Any

import zmq
from ipyparallel.controller import heartmonitor as upstream

CALL = b"!"  # begins a call by name; a ping is a number
SUBSCRIBED = b"\1"  # begins what an XPUB socket receives from a new subscriber


def listen_to(name: bytes) -> list[bytes]:
    """What a heart of this name has to subscribe to."""
    return [CALL + name, *(b"%d" % digit for digit in range(10))]


class HeartMonitor(upstream.HeartMonitor):
    def start(self) -> None:
        self.ping_stream.socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # also those that others had subscribed to before
        self.ping_stream.on_recv(self._call)
        super().start()

    def _call(self, msg: list[bytes]) -> None:
        if msg[0].startswith(SUBSCRIBED + CALL):
            self.ping_stream.send(msg[0][1:])

    def handle_pong(self, msg: list[bytes]) -> None:
        heart, pong = msg
        if not pong.startswith(CALL):
            super().handle_pong(msg)
            return
        self.responses.add(heart)
        if heart not in self.hearts:
            self.handle_new_hearts([heart])


class _Context(zmq.Context):
    def socket(self, socket_type: int, **options: Any) -> Any:
        return super().socket(zmq.XPUB if socket_type == zmq.PUB else socket_type, **options)


def start(**options: Any) -> None:
    """Instead of ipyparallel's start_heartmonitor, in a process of its own."""
    upstream.HeartMonitor = HeartMonitor
    context, loop = _Context(), asyncio.new_event_loop()
    try:
        loop.run_until_complete(upstream._setup_heartmonitor(ctx=context, **options))
        loop.run_forever()
    finally:
        loop.close()
        context.destroy()
