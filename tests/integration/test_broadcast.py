"""The root of the broadcast tree and the leaves that come late, with real sockets and without a controller."""

from __future__ import annotations

import asyncio
from typing import Any

import zmq
import zmq.asyncio
from ipymesos_executor.broadcast import BroadcastScheduler
from jupyter_client.session import Session
from tornado.ioloop import IOLoop
from zmq.eventloop.zmqstream import ZMQStream

LEAVES = [b"sub_scheduler_00", b"sub_scheduler_01"]


def test_what_is_broadcast_before_the_leaves_are_there_reaches_them_in_order() -> None:
    session = Session(key=b"key")
    context: zmq.asyncio.Context = zmq.asyncio.Context()

    async def story() -> list[list[str]]:
        plain, loop = zmq.Context(context), IOLoop.current()

        def listening() -> tuple[ZMQStream, str]:
            socket = plain.socket(zmq.ROUTER)
            return ZMQStream(socket, loop), f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"

        clients, address = listening()
        outgoing, inner = zip(*(listening() for _ in LEAVES), strict=True)
        root = BroadcastScheduler(
            client_stream=clients,
            outgoing_streams=list(outgoing),
            connected_sub_scheduler_ids=LEAVES,
            loop=loop,
            session=session,
            max_depth=1,
            name="0",
        )
        root.start()
        client = context.socket(zmq.DEALER)
        client.connect(address)
        leaves = []
        for i in range(6):
            metadata: dict[str, Any] = {"targets": [("even", 0), ("odd", 1)], "is_coalescing": False}
            request = session.msg("apply_request", {"number": i}, metadata=metadata)
            await client.send_multipart(session.serialize(request))
            if i in (1, 3):  # the second one comes when the first one has got something
                leaf = context.socket(zmq.ROUTER)
                leaf.identity = LEAVES[len(leaves)]
                leaf.connect(inner[len(leaves)])
                leaves.append(leaf)
                await leaf.poll(10_000)
        found = [[await received(leaf) for _ in range(6)] for leaf in leaves]
        for stream in (clients, *outgoing):
            stream.close(linger=0)
        for leaf in (client, *leaves):
            leaf.close(linger=0)
        return found

    async def received(leaf: zmq.asyncio.Socket) -> str:
        _, parts = session.feed_identities(await asyncio.wait_for(leaf.recv_multipart(), 10))
        message = session.deserialize(parts)
        ((name, _),) = message["metadata"]["targets"]
        return f"{message['content']['number']} {name}"

    try:
        assert asyncio.run(story()) == [[f"{i} {name}" for i in range(6)] for name in ("even", "odd")]
    finally:
        context.term()
