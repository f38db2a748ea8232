"""An ipyparallel engine in a forked process: connection in memory, no nanny, no listening port."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import zmq
from ipyparallel import error
from ipyparallel.engine.app import IPEngine
from traitlets.config import Config

from .redact import hide_in_logs

Report = Callable[[dict[str, Any]], None]

REGISTRATION_TIMEOUT = 600.0  # seconds; the controller may still be in a queue, or its image on the way
LAST_WORDS = 0.1  # seconds for ZeroMQ's own thread to send what was said before the process ends

DEFAULTS = {
    # The check listens on a random port. Whoever ends this engine when its controller is gone is the executor.
    "IPEngine": {"max_heartbeat_misses": 0, "timeout": REGISTRATION_TIMEOUT},
}


class Engine(IPEngine):
    """IPEngine that does for itself, in its control thread, what its nanny process would do.

    `report` tells the zygote that the hub has given us an id, and that the hub has asked us to leave.
    """

    name = "ipengine"

    def __init__(self, report: Report, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._report = report
        self.ending = False  # cleanly, on purpose
        self.ended_by = 0  # the signal that wanted it

    def init_engine(self) -> None:
        self.enable_nanny = False  # it would be a second whole process, with a port of its own
        super().init_engine()

    async def complete_registration(self, *args: Any) -> None:
        await super().complete_registration(*args)
        handlers = self.kernel.control_handlers
        handlers["signal_request"] = self._signal_request
        self._shutdown_request = handlers["shutdown_request"]
        handlers["shutdown_request"] = self._leave
        self._report({"event": "registered", "engine_id": self.id})

    async def _leave(self, stream: Any, ident: Any, parent: Any) -> None:
        """Client.shutdown: upstream ends the process with status 1, which is no failure here."""
        self.ending = True
        self._report({"event": "leaving"})
        await self._shutdown_request(stream, ident, parent)

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


def run(payload: dict[str, Any], report: Report) -> None:
    """Be this engine until its end."""
    os.register_at_fork(after_in_child=_forked_by_user)
    info = payload["engine_info"]
    hide_in_logs([info.get("key") or "", info.get("curve_serverkey") or ""])
    app = Engine.instance(report=report, connection_info_env=json.dumps(info), config=Config(DEFAULTS))
    app.initialize([f"--cluster-id={payload.get('cluster_id', '')}", *payload.get("args", ())])
    app.start()
    time.sleep(LAST_WORDS)
    if app.ended_by:
        sys.exit(-app.ended_by)
