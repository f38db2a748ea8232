"""Tell the hub that engines are gone, as an engine's nanny does; the hub would find out after 30 s otherwise.

As a program it reads {"engine_info": {...}, "reasons": {"<engine id>": "<why>"}} from its standard input: keys are no
arguments.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import zmq
from ipyparallel.util import connect, disambiguate_ip_address
from jupyter_client.session import Session

LINGER = 3000  # ms for the messages to leave


def unregister(engine_info: dict[str, Any], reasons: Mapping[Any, str]) -> None:
    """Send one unregistration_request per engine of `reasons`, which are by engine id; blocks LINGER at most.

    Answers are not waited for: there are none.
    """
    protocol, _, ip = engine_info["interface"].partition("://")
    ip = disambiguate_ip_address(ip, engine_info["location"])
    session = Session(
        key=engine_info["key"].encode(),
        signature_scheme=engine_info["signature_scheme"],
        packer=engine_info["pack"],
        unpacker=engine_info["unpack"],
    )
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger = LINGER
    server_key = (engine_info.get("curve_serverkey") or "").encode() or None
    connect(socket, f"{protocol}://{ip}:{engine_info['registration']}", curve_serverkey=server_key)
    for engine_id, reason in reasons.items():
        session.send(socket, "unregistration_request", content={"id": int(engine_id), "reason": reason})
    socket.close()
    context.term()


if __name__ == "__main__":
    unregister(**json.load(sys.stdin))
