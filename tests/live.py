"""A daemon's REST API without a Mesos behind it, for the tests that talk to it."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ipymesos.client import Daemon
from ipymesos.config import MesosOptions
from ipymesos.core.cluster import Cluster
from ipymesos.core.messages import Action
from ipymesos.core.session import Everything
from ipymesos.daemon.clock import SteadyClock
from ipymesos.daemon.herald import Herald
from ipymesos.daemon.journal import Journal
from ipymesos.daemon.metrics import Metrics
from ipymesos.daemon.orphan import Orphan
from ipymesos.daemon.owner import Owner
from ipymesos.daemon.sandbox import Files, Logs
from ipymesos.daemon.service import ClusterService
from ipymesos.daemon.start import Start
from ipymesos.daemon.streams import Streams
from ipymesos.daemon.web.server import WebServer
from ipymesos.daemonfile import DaemonFile, began
from ipymesos.paths import Paths

TOKEN = "the-token-of-this-test"
JSON = {"Content-Type": "application/json"}


class Behind:
    """What ClusterService needs of an App, whose other parts are there for Mesos."""

    def __init__(self, live: Live, directory: Path) -> None:
        self.paths = Paths(directory, "c")
        self.start = Start(MesosOptions.from_options({"container": "process"}))
        self.options = self.start.options
        self.error: Exception | None = None
        self.trouble = ""
        state = Everything(Cluster("test", self.start.spec))
        self.owner = Owner(state, live.saved.append, lambda actions, _: live.sent.extend(actions), live.broken.append)
        self.logs = Logs(lambda: self.owner.state.cluster, Files(timeout=2.0), None)
        self.orphan = Orphan(self.owner, SteadyClock(), 0.0)
        self.metrics = Metrics(state)
        self.herald = Herald(Journal(self.paths.events_file, SteadyClock()), self.metrics.happened)
        self.owner.watch(self.herald.watch)
        self.streams = Streams(self.owner, lambda: {"cluster_id": "c", "trouble": self.trouble}, self.herald.journal)

    def tell_executors(self, calls: list[dict[str, object]]) -> None:
        """Nobody is there."""


class Live:
    """On a loop of its own thread; nothing comes of wishes. `more` are arguments of WebServer."""

    def __init__(self, directory: Path, **more: Any) -> None:
        self.saved: list[Cluster] = []
        self.sent: list[Action] = []
        self.broken: list[Exception] = []
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.run(self._begin, directory, {"ip": "127.0.0.1", **more})

    def _begin(self, directory: Path, more: dict[str, Any]) -> None:
        self.app: Any = Behind(self, directory)
        self.web = WebServer(ClusterService(self.app), TOKEN, port=0, names=["cluster.example"], **more)
        self.url = self.web.url

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        async def call() -> Any:
            return function(*args)

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(10)

    def end(self) -> None:
        asyncio.run_coroutine_threadsafe(self.web.stop(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
        assert not self.broken

    @property
    def address(self) -> tuple[str, int]:
        where = urlsplit(self.url)
        return where.hostname or "", where.port or 0

    def daemon(self, token: str = TOKEN, fingerprint: str = "") -> Daemon:
        shown = fingerprint or self.web.fingerprint
        return Daemon(DaemonFile(os.getpid(), began(os.getpid()), self.url, token, True, fingerprint=shown))

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any], http.client.HTTPMessage]:
        """The answer; without `headers` as somebody who has the token."""
        connection = http.client.HTTPConnection(*self.address, timeout=10)
        try:
            ours = {"Authorization": f"Bearer {TOKEN}", **(JSON if body is not None else {})}
            connection.request(method, path, body, ours if headers is None else headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read()), response.headers
        finally:
            connection.close()
