"""Engine and kernel of ipyparallel 8, in the shape that they have in 9; of 9 and later, just these.

In 8 an engine registers by callbacks, and serves its control channel in the main thread, beside a nanny process. Here
it gets a thread for that, as in 9: a busy engine can be interrupted, asked what it does, and moved.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import ipykernel
import ipyparallel
import zmq
from ipykernel import iostream
from ipykernel.control import ControlThread
from ipyparallel.engine import app as upstream
from ipyparallel.engine.kernel import IPythonParallelKernel as UpstreamKernel
from traitlets import Instance
from zmq.eventloop.zmqstream import ZMQStream

from .iopub import IOPubThread


class Engine8(upstream.IPEngine):
    registrar = Instance(zmq.Socket, allow_none=True)

    async def complete_registration(self, answer: list[bytes], connect: Any, tunnel: Any) -> None:
        self._abort_timeout = self.loop.call_later(self.timeout, self.abort)  # which upstream takes back at the end
        self._complete_registration(answer, connect, tunnel)

    def start(self) -> None:
        self.loop.add_callback(self.register)
        self.loop.start()


class Kernel8(UpstreamKernel):  # type: ignore[misc]
    def __init__(self, *, parent: Engine8, control_stream: zmq.Socket, shell_streams: list[zmq.Socket], **kwargs: Any):
        del kwargs["loop"]
        (parent.shell_socket,), parent.control_socket = shell_streams, control_stream
        thread = ControlThread(daemon=True)
        thread.start()
        super().__init__(
            parent=parent,
            control_thread=thread,
            control_stream=ZMQStream(control_stream, thread.io_loop),
            shell_streams=[ZMQStream(parent.shell_socket)],
            **kwargs,
        )


if ipyparallel.version_info < (9,):
    if ipykernel.version_info >= (7,):
        raise ImportError("ipyparallel 8 does not work with ipykernel 7; install 'ipykernel<7', or ipyparallel 9")
    # It would make streams of the main loop; the sockets are all that is wanted.
    upstream.zmqstream = SimpleNamespace(ZMQStream=lambda socket, loop: socket)
    iostream.IOPubThread = IOPubThread  # by this name, and from there, it makes its own when it registers
    IPEngine, IPythonParallelKernel = Engine8, Kernel8
else:
    IPEngine, IPythonParallelKernel = upstream.IPEngine, UpstreamKernel
