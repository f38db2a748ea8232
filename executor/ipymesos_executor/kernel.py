"""The engine's kernel: knows by which controller a request has come, and what it has answered already."""

from __future__ import annotations

import atexit
import sys
import threading
from collections import OrderedDict, deque
from typing import Any

import zmq
from zmq.eventloop.zmqstream import ZMQStream

from . import load
from .older import IPythonParallelKernel
from .replies import Replies
from .retire import arrival

ANSWERS = ("apply_reply", "execute_reply")
REMEMBERED = 10_000  # requests


class Request(list[Any]):
    """The frames of a message, and where they have come from."""

    def __init__(self, frames: list[Any], stream: ZMQStream) -> None:
        super().__init__(frames)
        self.stream = stream


class NoShellThread:
    """Where a cell awaits, ipykernel 7 asks this thread for its parent, though ipyparallel's kernel has none."""

    parent_thread = threading.main_thread()

    def __bool__(self) -> bool:
        return False


class Kernel(IPythonParallelKernel):  # type: ignore[misc]
    """Its shell socket can be exchanged between two tasks.

    Clients have no identity of their own in ZeroMQ, and each controller counts them anew: an answer that left by
    another socket than its request's could reach somebody else.

    Beyond ipyparallel's protocol it understands known_request {"msg_ids"} on the control channel. A client that has
    lost its controller asks which of its requests we have begun, before it has the others run elsewhere.
    """

    control_msg_types = [*IPythonParallelKernel.control_msg_types, "known_request"]

    def __init__(self, **kwargs: Any) -> None:
        self.replies = Replies()
        self._begun: OrderedDict[str, None] = OrderedDict()
        self._offered: deque[zmq.Socket] = deque()  # from the control thread
        self._dispatching = 0
        self.requests = 0  # read from the shell socket and not done yet
        self.arrival = 0.0  # time.monotonic() when all replies should have reached their clients
        super().__init__(**kwargs)

    @classmethod
    def draft(cls, engine: Any) -> None:
        """Make it in the zygote, for `engine` and those that are forked from there."""
        super().instance(parent=engine, session=None, user_ns=engine.user_ns, log=engine.log)

    @classmethod
    def instance(cls, *args: Any, **kwargs: Any) -> Kernel:
        drafted = cls.initialized()
        kernel: Kernel = super().instance(*args, **kwargs)
        if drafted and kwargs:
            kernel._complete(**kwargs)
        return kernel

    def _complete(self, **kwargs: Any) -> None:
        """Be what __init__ would have made of this before the fork."""
        for name, value in kwargs.items():
            if getattr(self, name) is not value:
                setattr(self, name, value)
        self._stdout, self._stderr = sys.stdout, sys.stderr
        shell = self.shell
        for teller in (shell.displayhook, shell.display_pub, shell.data_pub):
            teller.session, teller.pub_socket = self.session, self.iopub_socket
        shell.displayhook.topic = self._topic("execute_result")
        shell.save_sys_module_state()
        atexit.register(shell.atexit_operations)  # the zygote's are forgotten

    _supports_kernel_subshells = False

    def start(self) -> Any:
        self.shell_channel_thread = NoShellThread()
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
            return super().should_handle(stream, msg, idents) and self._begin(stream, msg, idents)
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

    def _begin(self, stream: ZMQStream, msg: dict[str, Any], idents: list[bytes]) -> bool:
        """Remember it; False for one that comes again, has run, and whose result is kept no longer."""
        msg_id = msg["header"]["msg_id"]
        if msg_id in self._begun and msg["metadata"].get("resent"):
            text = f"task {msg_id} has run before its controller was lost, but its result is kept no longer"
            content = {"status": "error", "ename": "EngineError", "evalue": text, "traceback": [text]}
            content["engine_info"] = self.get_engine_info(method="apply")
            metadata = self.finish_metadata(msg, self.init_metadata(msg), content)
            kind = msg["header"]["msg_type"].replace("_request", "_reply")
            self.session.send(stream, kind, content, parent=msg, ident=idents, metadata=metadata)
            return False
        self._begun[msg_id] = None
        while len(self._begun) > REMEMBERED:
            self._begun.popitem(last=False)
        return True

    def known_request(self, stream: ZMQStream, ident: list[bytes], parent: dict[str, Any]) -> None:
        """In the control thread, so also while a task runs."""
        content = {"status": "ok", "known": [m for m in parent["content"]["msg_ids"] if m in self._begun]}
        self.session.send(stream, "known_reply", content=content, parent=parent, ident=ident)

    def answered(self, kind: str, parent: Any, content: Any, metadata: Any, buffers: Any, sent: bool) -> None:
        """Remember this reply, if it is one to a request that would do something a second time."""
        if kind not in ANSWERS or not parent:
            return
        self.arrival = arrival(self.arrival, buffers or ())
        if not (metadata or {}).get("dependencies_met", True):
            self._begun.pop(parent["header"]["msg_id"], None)  # not here, and nothing was done
            return
        self.replies.keep(parent["header"]["msg_id"], kind, content or {}, metadata or {}, buffers or (), sent)
