"""ipyparallel's controller in a forked process: connection and keys in memory, given ports only."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable
from functools import partial
from math import ceil, log2
from multiprocessing import Process
from types import SimpleNamespace
from typing import Any

from ipyparallel.controller import app as upstream
from ipyparallel.controller import task_scheduler
from traitlets.config import Config

from . import death, heart, processes
from .broadcast import BroadcastScheduler
from .hub import Hub
from .queues import answer
from .redact import hide_in_logs
from .scheduler import TaskScheduler

Report = Callable[[dict[str, Any]], None]

PATIENCE = 30_000  # ms without heartbeat until an engine counts as gone, as with ipyparallel's own defaults
LOOPBACK = "127.0.0.1"

upstream.BroadcastScheduler = BroadcastScheduler  # IPController makes it by this name,
upstream.Hub = Hub  # and this,
upstream.time = SimpleNamespace(sleep=lambda seconds: None)  # and sleeps 0.25 s in between, for nothing in our way
upstream.start_heartmonitor = heart.start

DEFAULTS = {"IPController": {"db_class": "nodb"}}


class Controller(upstream.IPController):
    """IPController that is told its connection instead of reading or writing the two connection files."""

    name = "ipcontroller"

    def __init__(self, payload: dict[str, Any], report: Report, orders: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._payload = payload
        self._report = report
        self._orders = orders  # the pipe by which we are asked
        self._stopping = False  # our processes are meant to end

    def load_secondary_config(self) -> None:
        """Instead of the files that --reuse reads: the same facts, from memory, above every argument."""
        self.log.setLevel(self.log_level)  # traitlets has only its handlers look at that, and records cost time
        payload, ip = self._payload, self._payload["ip"]
        interface = f"tcp://{ip}"
        self.engine_info = {**payload["engine_info"], "interface": interface}
        self.client_info = {**payload["client_info"], "interface": interface}
        self.location = self.engine_info["location"]
        self.engine_ip = self.client_ip = ip
        self.monitor_ip = LOOPBACK  # only our own processes talk there
        self.ports = list(payload["internal_ports"])
        self.set_trait("engine_ports", [])
        self.set_trait("client_ports", [])
        self.broadcast_scheduler_depth = int(log2(len(self.engine_info["broadcast"])))
        self.config.Session.key = self.engine_info["key"].encode()
        self.config.Session.signature_scheme = self.engine_info["signature_scheme"]
        self.config.Session.packer = self.engine_info["pack"]
        self.config.Session.unpacker = self.engine_info["unpack"]
        if payload.get("curve_secretkey"):
            self.curve_publickey = payload["curve_publickey"].encode()
            self.curve_secretkey = payload["curve_secretkey"].encode()
            self.enable_curve = True
        else:
            self.enable_curve = False
        self.reuse_files = True  # nothing to clean up at the end,
        self.write_connection_files = False  # since nothing is written
        beats = self.config.HeartMonitor
        if "period" in beats:  # upstream's patience counts beats, however long they are
            beats.setdefault("max_heartmonitor_misses", ceil(PATIENCE / beats.period))

    def init_hub(self) -> None:
        super().init_hub()
        self.hub.tell_highest = lambda engine_id: self._report({"event": "known", "engine_id": engine_id})
        self.hub._idcounter = self._payload.get("first_id", 0)  # those below belong to engines that may move here
        if (awaited := self._payload.get("awaited")) is not None:
            self.hub.awaited = set(awaited)

    def launch_python_scheduler(self, name: str, scheduler_args: dict[str, Any], children: list[Any]) -> None:
        if scheduler_args["scheduler_class"] is task_scheduler.TaskScheduler:
            scheduler_args["scheduler_class"] = TaskScheduler
        super().launch_python_scheduler(name, scheduler_args, children)

    def start(self) -> None:
        self.loop.add_callback(self._watch_children)
        answer(self.loop, self._orders, self.hub, self._report)
        super().start()

    def _watch_children(self) -> None:
        """A controller that has lost one of its processes half works, which is worse than not at all."""
        for child in [*self.children, self.heartmonitor_process]:
            process = getattr(child, "launcher", child)
            if isinstance(process, Process):
                name = getattr(child, "name", process.name)
                self.loop.add_handler(process.sentinel, partial(self._child_ended, name, process), self.loop.READ)

    def _child_ended(self, name: str, process: Process, fd: int, events: int) -> None:
        self.loop.remove_handler(fd)
        process.join()
        if self._stopping:
            return
        message = f"ipcontroller's {name} has ended: {death.words(process.exitcode or 0)}"
        self._report({"event": "broken", "message": message})
        self.terminate_children()
        self.loop.add_callback(sys.exit, 1)

    def handle_signal(self, sig: int, frame: Any) -> None:
        self._stopping = True
        super().handle_signal(sig, frame)


def run(payload: dict[str, Any], report: Report, orders: int) -> None:
    """Be the controller until its end."""
    hide_in_logs(secrets(payload))
    os.register_at_fork(after_in_child=processes.die_with_parent)  # its processes hold its ports open otherwise
    config = Config(copy.deepcopy(DEFAULTS))
    config.IPController.work_dir = os.getcwd()  # upstream asks when it is imported, which may be somewhere else
    app = Controller.instance(copy.deepcopy(payload), report, orders, config=config)
    app.initialize([f"--cluster-id={payload.get('cluster_id', '')}", *payload.get("args", ())])
    app.start()


def secrets(payload: dict[str, Any]) -> list[str]:
    info = payload["engine_info"]
    return [info.get("key") or "", info.get("curve_serverkey") or "", payload.get("curve_secretkey") or ""]
