"""The root of the tree of broadcast schedulers: it waits for its leaves, and loses nothing that is meant for them.

A ROUTER silently drops what is for a peer that it does not know yet (zmq_socket(7)). A leaf whose root has not begun to
listen tries again 100 ms later; engines may have come to it meanwhile, and who broadcasts to them at once would wait
for ever.
"""

from __future__ import annotations

from typing import Any

import zmq
from ipyparallel.controller import broadcast_scheduler as upstream
from zmq.eventloop.zmqstream import ZMQStream

AGAIN = 0.02  # seconds


class BroadcastScheduler(upstream.BroadcastScheduler):
    def start(self) -> None:
        super().start()
        self._unsent = 0
        for stream in self.outgoing_streams:
            stream.setsockopt(zmq.ROUTER_MANDATORY, 1)
            stream.on_send_stream(self._sent)

    def _sent(self, stream: ZMQStream, parts: list[Any], result: Any) -> None:
        """Or not: `result` may be the error. What is queued behind it comes here as well, and in the same order."""
        if isinstance(result, zmq.ZMQError):
            self._unsent += 1
            self.stop_receiving()  # what comes later must not be sent earlier
            self.loop.call_later(AGAIN, self._send_again, stream, parts)

    def _send_again(self, stream: ZMQStream, parts: list[Any]) -> None:
        self._unsent -= 1
        stream.send_multipart(parts, copy=False)
        if not self._unsent:
            self.resume_receiving()
