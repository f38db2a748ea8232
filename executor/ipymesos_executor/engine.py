"""An ipyparallel engine in a forked process: connection in memory, no nanny, no listening port."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipyparallel
import zmq
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell
from ipyparallel import error
from ipyparallel.engine import app as upstream
from IPython.core.application import ENV_CONFIG_DIRS, SYSTEM_CONFIG_DIRS
from traitlets.config import Config
from zmq.eventloop.zmqstream import ZMQStream

from .iopub import IOPubThread
from .kernel import Kernel
from .link import Handshakes
from .move import Mover
from .older import IPEngine
from .redact import hide_in_logs
from .retire import Retirement

Report = Callable[[dict[str, Any]], None]

REGISTRATION_TIMEOUT = 600.0  # seconds; the controller may still be in a queue, or its image on the way
TOPICS = {"stdout": "stdout", "stderr": "stderr", "displayhook": "execute_result"}  # of what sys has
LAST_WORDS = 0.1  # seconds for ZeroMQ's own thread to send what was said before the process ends

upstream.Kernel = Kernel  # which it makes by this name,
upstream.IOPubThread = IOPubThread  # and this


class Engine(IPEngine):
    """IPEngine that does for itself, in its control thread, what its nanny process would do, and that can move.

    It may be made before the fork, as far as that goes: see draft().
    """

    name = "ipengine"
    drafted = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._retirement = Retirement(self)
        self._topics: dict[Any, str] = {}
        self.ending = False  # cleanly, on purpose
        self.ended_by = 0  # the signal that wanted it

    def live(self, report: Report, orders: int, payload: dict[str, Any]) -> None:
        """Be initialized in the process that is to be the engine.

        `report` tells the zygote that a hub has given us an id, and that the hub has asked us to leave. `orders` is the
        pipe by which we are told to join another controller.
        """
        self._report = report
        self._mover = Mover(self, orders, payload.get("controller", ""))
        self.connection_info_env = json.dumps(payload["engine_info"])
        if not self.drafted:
            self.initialize([f"--cluster-id={payload.get('cluster_id', '')}", *payload.get("args", ())])
            return
        self.cluster_id = payload.get("cluster_id", "")
        self._log_handler.setStream(sys.stderr)
        self.init_engine()
        self.forward_logging()

    def draft(self) -> None:
        """Do what IPEngine.initialize does before it looks for its connection."""
        super(upstream.IPEngine, self).initialize([])
        self.drafted = True

    def init_engine(self) -> None:
        self.enable_nanny = False  # it would be a second whole process, with a port of its own
        self.log.setLevel(self.log_level)  # traitlets has only its handlers look at that, and records cost time
        super().init_engine()

    async def register(self) -> None:
        try:
            await self._mover.join(self.timeout)
        except asyncio.TimeoutError:
            self.abort()

    async def become(self, answer: list[bytes]) -> list[tuple[Handshakes, int]]:
        """Make everything an engine has, as the hub's first answer wants it.

        Returns what sees its handshakes with the controller, and how many there shall be: of the shell socket, and of
        the two that belong to other threads from here on.
        """
        connect, tunnel = self.init_connector()
        peers: dict[zmq.Socket, int] = {}
        watches: dict[zmq.Socket, Handshakes] = {}

        def watched(socket: zmq.Socket, url: str, **options: Any) -> None:
            if socket not in watches:
                watches[socket] = Handshakes(socket)
            peers[socket] = peers.get(socket, 0) + 1
            connect(socket, url, **options)

        await self.complete_registration(answer, watched, tunnel)
        handlers = self.kernel.control_handlers
        handlers["signal_request"] = self._signal_request
        self._shutdown_request = handlers["shutdown_request"]
        handlers["shutdown_request"] = self._leave
        self._send, self.session.send = self.session.send, self._answer
        self._topics = {getattr(sys, name): topic for name, topic in TOPICS.items()}
        self._topics |= {self.kernel.shell.displayhook: "execute_result", self.kernel.shell.display_pub: "displaypub"}
        return [(watch, peers[socket]) for socket, watch in watches.items()]

    def look_away(self, watches: list[tuple[Handshakes, int]]) -> None:
        """Close them, each in the thread to which its socket belongs."""
        shell, control, iopub = (watch for watch, _ in watches)
        shell.close()
        self.kernel.control_thread.io_loop.add_callback(control.close)
        self.kernel.iopub_socket.schedule(iopub.close)

    def start_heartbeat(self, *address: Any) -> None:
        """Not yet: the hub makes us known once our heart beats. The mover does it."""

    def tell_registered(self, controller: str, address: dict[str, Any]) -> None:
        """`address`: engine_info, if it is not the one we started with."""
        self._report({"event": "registered", "engine_id": self.id, "controller": controller, "address": address})

    def renumber(self, engine_id: int) -> None:
        """The new hub has given our id to somebody else."""
        if engine_id == self.id:
            return
        self.log.warning("this engine's id is %d from now on, not %d", engine_id, self.id)
        self.id = self.kernel.engine_id = engine_id
        for source, topic in self._topics.items():
            source.topic = f"engine.{engine_id}.{topic}".encode()

    def has_left(self, stream: ZMQStream) -> bool:
        """This stream belongs to a controller we have left."""
        return stream.socket is not self.shell_socket and stream is not self.kernel.control_stream

    def _answer(
        self,
        stream: Any,
        kind: str,
        content: Any = None,
        parent: Any = None,
        ident: Any = None,
        buffers: Any = None,
        track: bool = False,
        header: Any = None,
        metadata: Any = None,
    ) -> Any:
        """Session.send. What was asked through a controller that we have left is kept for whoever asks again."""
        late = isinstance(stream, ZMQStream) and self.has_left(stream)
        self.kernel.answered(kind, parent, content, metadata, buffers, not late)
        return self._send(None if late else stream, kind, content, parent, ident, buffers, track, header, metadata)

    async def _leave(self, stream: Any, ident: Any, parent: Any) -> None:
        """Client.shutdown: upstream ends the process with status 1, which is no failure here."""
        self.ending = True
        self._report({"event": "leaving"})
        await self._shutdown_request(stream, ident, parent)

    def init_signal(self) -> None:
        super().init_signal()
        signal.signal(signal.SIGTERM, self._retire)
        signal.signal(signal.SIGHUP, self._signal_stop)  # at once: nobody is left to work for

    def _retire(self, sig: int, frame: Any) -> None:
        self._retirement.begin(lambda: self._signal_stop(sig, frame))

    def _signal_stop(self, sig: int, frame: Any) -> None:
        self.ending, self.ended_by = True, sig
        super()._signal_stop(sig, frame)

    def start(self) -> None:
        try:
            super().start()
        except RuntimeError:  # "Event loop stopped before Future completed": upstream stops its loop from outside
            if not self.ending:
                raise

    async def _signal_request(self, stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        """Client.send_signal, answered as ipyparallel.engine.nanny does it.

        The client waits for the answer without limit, so a signal that may end us comes after it.
        """
        signum = 0
        try:
            signum = _signum(parent["content"]["sig"])
            content = {"status": "ok"}
        except Exception:  # whatever was sent: the client gets it back as an exception
            content = error.wrap_exception()
        if signum == signal.SIGINT:
            os.kill(os.getpid(), signum)
        self.kernel.session.send(stream, "signal_reply", content=content, parent=parent, ident=ident)
        if signum not in (0, signal.SIGINT):
            stream.flush(zmq.POLLOUT)
            asyncio.get_running_loop().call_later(LAST_WORDS, os.kill, os.getpid(), signum)


def _signum(wanted: int | str) -> int:
    """A signal's number from its number or name; 0 only asks whether we are there."""
    if isinstance(wanted, str):
        return int(signal.Signals[wanted])
    return int(signal.Signals(wanted)) if wanted else 0


def _forked_by_user() -> None:
    """A process that the user's code forks shall end by SIGTERM, as multiprocessing.Pool expects of its workers."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _defaults() -> Config:
    """Upstream asks where we are when it is imported, which may be somewhere else."""
    return Config({"IPEngine": {"timeout": REGISTRATION_TIMEOUT, "work_dir": os.getcwd()}})


class DraftedApp:
    """Stands where ipyparallel's module has the class: each engine makes an IPKernelApp, which is there already."""

    def __init__(self, engine: Engine) -> None:
        kernel = Kernel.instance()
        self._app = IPKernelApp(parent=engine, shell=kernel.shell, kernel=kernel, log=engine.log)
        IPKernelApp._instance = self._app  # as ipyparallel does: there is an engine's application already
        self._do("init_profile_dir", "init_gui_pylab", "init_extensions")
        if not _startup_files(self._app.profile_dir.startup_dir):  # else each engine has to run them
            self._do("init_code")

    def _do(self, *steps: str) -> None:
        for step in steps:
            getattr(self._app, step)()
            setattr(self._app, step, lambda: None)  # which ipyparallel calls once more

    def __call__(self, **kwargs: Any) -> IPKernelApp:
        return self._app


def _startup_files(folder: str) -> list[Path]:
    """Those that IPython would run, of its profile and of everybody."""
    folders = [Path(folder), *(Path(shared, "startup") for shared in (*ENV_CONFIG_DIRS, *SYSTEM_CONFIG_DIRS))]
    return [file for place in folders for pattern in ("*.py", "*.ipy") for file in place.glob(pattern)]


def draft() -> None:
    """Make, in the zygote, what all engines without arguments of their own have in common; the fork copies it.

    That is most of the work of making one: the applications, the kernel and IPython's shell with its extensions, but no
    socket, no thread and no identity. Whatever a configuration file wants otherwise is made after the fork, where it
    can do no harm.
    """
    if ipyparallel.version_info < (9,):
        return  # it makes its kernel otherwise
    app = Engine.instance(config=_defaults())
    app.draft()
    if app.config == _defaults():
        app.config.HistoryManager.hist_file = ":memory:"  # as IPEngine has it; a file would have a thread
        app.config.IPKernelApp.exec_lines = []  # as it has this; else the shell writes something there
        Kernel.draft(app)
        upstream.IPKernelApp = DraftedApp(app)


def run(payload: dict[str, Any], report: Report, orders: int) -> None:
    """Be this engine until its end."""
    os.register_at_fork(after_in_child=_forked_by_user)
    info = payload["engine_info"]
    hide_in_logs([info.get("key") or "", info.get("curve_serverkey") or ""])
    if payload.get("args"):
        for drafted in (Engine, Kernel, ZMQInteractiveShell):
            drafted.clear_instance()
        upstream.IPKernelApp = IPKernelApp
    app = Engine.instance(config=_defaults())
    app.live(report, orders, payload)
    app.start()
    time.sleep(LAST_WORDS)
    if app.ended_by:
        sys.exit(-app.ended_by)
