"""Tell the clients of a controller that has died that nothing will come of what they wait for.

ipyparallel's own client reconnects to the hub's notifications for ever, and its AsyncResults wait for ever. So for a
moment somebody else publishes there what the hub would say if all its engines had died. (For balanced work, of which
that client does not know which engine has it, the task scheduler answers: scheduler.py.) A client that can follow its
cluster to another controller ignores all this: it is said with {"controller": "lost"}.
"""

from __future__ import annotations

import time
from typing import Any

import zmq
from ipyparallel.util import bind
from jupyter_client.session import Session

HELD = 2.0  # seconds; clients try to reconnect every 0.1 s
POLL = 0.02  # seconds between two attempts to have the port, which the controller's processes may still hold
LINGER = 500  # ms for the last words to leave


def leave_word(payload: dict[str, Any], last: int, why: str) -> None:
    """Of a controller's payload; `last` is the highest engine id it has given. Blocks HELD seconds."""
    info, deadline = payload["client_info"], time.monotonic() + HELD
    session = Session(
        key=info["key"].encode(),
        signature_scheme=info["signature_scheme"],
        packer=info["pack"],
        unpacker=info["unpack"],
    )
    secret = (payload.get("curve_secretkey") or "").encode() or None
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.linger = LINGER
        socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # let us see every subscriber
        while not _bound(socket, f"tcp://{payload['ip']}:{info['notification']}", secret, deadline):
            time.sleep(POLL)
        while (left := deadline - time.monotonic()) > 0:
            if not socket.poll(int(left * 1000)) or socket.recv()[:1] != b"\1":
                continue
            for engine_id in range(last + 1):  # somebody has subscribed
                content = {"id": engine_id, "uuid": "", "reason": why, "controller": "lost"}
                session.send(socket, "unregistration_notification", content=content)


def _bound(socket: zmq.Socket, url: str, secret: bytes | None, deadline: float) -> bool:
    try:
        bind(socket, url, curve_secretkey=secret)
    except zmq.ZMQError as error:
        if error.errno != zmq.EADDRINUSE or time.monotonic() > deadline:
            raise
        return False
    return True
