"""To be heard by the controller before anything is asked: what engines print for nobody is lost.

A SUB socket is connected at once and gets nothing before the other end has its subscription. A client that asks
meanwhile has its answer, and waits for ever for the end of the output that came with it (`execute(block=True)`).
"""

from __future__ import annotations

import time

import zmq

HANDSHAKE = 10.0  # seconds; the hub has answered already
SETTLED = 0.01  # seconds until the other end has the subscription too, which is sent with the handshake's last message


class Hearing:
    """Of one socket, made before it connects, used before any other thread has it."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._events = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)

    def wait(self) -> bool:
        """Whether the other end knows what we subscribe to."""
        try:
            shaken = bool(self._events.poll(HANDSHAKE * 1000))
        finally:
            self._socket.disable_monitor()
            self._events.close(linger=0)
        if shaken:
            time.sleep(SETTLED)
        return shaken
