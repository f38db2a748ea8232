"""The engine's kernel: knows by which controller a request has come, and what it has answered already."""

from __future__ import annotations

from collections import deque
from typing import Any

import zmq
from ipyparallel.engine.kernel import IPythonParallelKernel
from zmq.eventloop.zmqstream import ZMQStream

from . import load
from .replies import Replies

ANSWERS = ("apply_reply", "execute_reply")


class Request(list[Any]):
    """The frames of a message, and where they have come from."""

    def __init__(self, frames: list[Any], stream: ZMQStream) -> None:
        super().__init__(frames)
        self.stream = stream


class Kernel(IPythonParallelKernel):  # type: ignore[misc]
    """Its shell socket can be exchanged between two tasks.

    Clients have no identity of their own in ZeroMQ, and each controller counts them anew: an answer that left by
    another socket than its request's could reach somebody else.
    """

    def __init__(self, **kwargs: Any) -> None:
        self.replies = Replies()
        self._offered: deque[zmq.Socket] = deque()  # from the control thread
        self._dispatching = 0
        self.requests = 0  # read from the shell socket and not done yet
        super().__init__(**kwargs)

    def start(self) -> Any:
        future = super().start()
        self._receive = self.shell_stream._recv_callback
        self._listen(self.shell_stream)
        return future

    def offer(self, socket: zmq.Socket) -> None:
        """Use this shell socket from the next task on; called in the control thread."""
        self._offered.append(socket)
        self.parent.loop.add_callback(self._adopt)

    def _adopt(self) -> None:
        if self._dispatching or not self._offered:
            return
        while len(self._offered) > 1:
            self._offered.popleft().close(linger=0)  # nobody waits for that controller any more
        former = self.shell_stream
        self._listen(ZMQStream(self._offered.popleft()))
        former.close(linger=0)  # what is queued there is sent again by its client, if the client still wants it

    def _listen(self, stream: ZMQStream) -> None:
        self.shell_stream = stream
        stream.on_recv(lambda frames: self._take(Request(frames, stream)), copy=False)

    def _take(self, request: Request) -> Any:
        self.requests += 1
        return self._receive(request)

    async def dispatch_shell(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(msg, Request) and self.parent.has_left(msg.stream):
            self.requests -= 1
            return
        self._dispatching += 1
        if self._dispatching == 1:
            load.mine.begin()
        try:
            await super().dispatch_shell(msg, *args, **kwargs)
        finally:
            self._dispatching -= 1
            self.requests -= isinstance(msg, Request)
            if not self._dispatching:
                load.mine.end()
            self._adopt()

    def should_handle(self, stream: ZMQStream, msg: dict[str, Any], idents: list[bytes]) -> Any:
        reply = self.replies.get(msg["header"]["msg_id"])
        if reply is None:
            return super().should_handle(stream, msg, idents)
        self.session.send(
            stream,
            reply.kind,
            reply.content,
            parent=msg,
            ident=idents,
            buffers=list(reply.buffers),
            metadata=dict(reply.metadata),
        )
        return False

    def answered(self, kind: str, parent: Any, content: Any, metadata: Any, buffers: Any, sent: bool) -> None:
        """Remember this reply, if it is one to a request that would do something a second time."""
        if kind not in ANSWERS or not parent or not (metadata or {}).get("dependencies_met", True):
            return
        self.replies.keep(parent["header"]["msg_id"], kind, content or {}, metadata or {}, buffers or (), sent)
