"""The daemon of one cluster: builds the parts, runs the loop, and ends everything that it began.

How it ends:
* asked to (REST, SIGINT, SIGTERM): tasks are killed, the framework is torn down, all files are removed; exit code 0.
* by a known error: the same, as far as there is a master to ask; the daemon file keeps the message; its exit code.
* by a fault of its own: at once and loudly. Tasks and state stay, and the next start takes them over.

A state that can't be saved is no end: see owner.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from traitlets import TraitError

from .. import __version__, mesos, tls
from ..config import MesosOptions
from ..connection import Connection
from ..core.cluster import Cluster, Task
from ..core.explain import Explanation
from ..core.messages import Action, Event, ListAgents, Offered, StopWanted, Updated
from ..core.session import Everything, Session
from ..core.specs import CONTROLLER
from ..daemonfile import OwnDaemonFile
from ..driver import Driver
from ..errors import (
    ConfigError,
    FrameworkRemoved,
    MesosError,
    NotAuthorized,
    StartFailed,
    StoreError,
)
from ..paths import Paths
from . import view
from .access import in_thread, master_of
from .clock import SteadyClock
from .herald import Herald
from .journal import Journal
from .metrics import Metrics
from .orphan import Orphan
from .owner import Owner
from .private import PrivateMesos
from .published import Published
from .sandbox import Coroner, Files, Logs
from .service import ClusterService
from .start import FIRST_SET, Start, begin, sweep
from .store import FileStore, Saved
from .streams import Streams
from .ticks import pass_time
from .vocabulary import Happening
from .web.server import WebServer

FLUSH_TIMEOUT = 10.0  # seconds for the last calls to get out
MOST_INQUESTS = 50  # at a time: each has a thread and a connection, and a thousand containers may fail at once

log = logging.getLogger("ipymesos.daemon")


class App:
    """One run of the daemon. Everything but `run` happens on its event loop."""

    owner: Owner
    start: Start
    connection: Connection

    def __init__(
        self,
        paths: Paths,
        start: Start | None,
        launched: bool = False,
        hint: str = "",
        private: PrivateMesos | None = None,
    ) -> None:
        """`start` None: go on as the daemon that has died was told to. `launched`: no person sits before it.

        `hint` is said when the controller runs: how to connect. `private`: the Mesos of its own, if that boots already.
        """
        self.paths, self.launched, self.hint, self._private = paths, launched, hint, private
        self._asked = start
        self.store = FileStore(paths.state_file)
        self.error: Exception | None = None
        self.file = OwnDaemonFile(paths.daemon_file)
        self._driver: Driver | None = None
        self._afresh = self._torn_down = False
        self._noted: list[int] = []  # signals that came before the loop
        self._inquests: set[asyncio.Future[Updated]] = set()

    def run(self) -> None:
        """Serve until the end; raises the error by which it ended."""
        signals = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup means: stay
            signals.append(signal.SIGHUP)
        for number in signals:  # until the loop runs they are only noted, so that we end as cleanly as later
            signal.signal(number, lambda number, _: self._noted.append(number))
        self.file.claim()
        try:
            sweep(self.paths)
            self._fresh = not self.store.path.exists()
            self.start, cluster, self.connection = begin(self._asked, self.store, self.paths.cluster_id)
            self._published = Published(self.paths, self.file, self.connection)
            framework = self.options.framework()  # a bad option ends here
            os.environ.pop("IPYMESOS_SECRET", None)  # it is read: what we start shall not inherit it
            asyncio.run(self._serve(cluster, framework, signals))
            if self.error is not None:
                raise self.error
        except BaseException as error:
            try:
                self.file.leave(ConfigError(str(error)) if isinstance(error, TraitError) else error)
            except StoreError as problem:  # `error` is what matters
                log.error("%s", problem)
            raise
        self.file.leave(None)

    @property
    def options(self) -> MesosOptions:
        return self.start.options

    # --- the run ---------------------------------------------------------------------------------------------

    async def _serve(self, cluster: Cluster, framework: mesos.Framework, signals: list[signal.Signals]) -> None:
        loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        clock = SteadyClock()
        self.owner = Owner(Everything(cluster), self._save, self._send, self._fatal, clock)
        # A person who sits before it is its owner, and ends it when it is wanted no more.
        self.orphan = Orphan(self.owner, clock, self.options.orphan_timeout if self.launched else 0.0)
        web = self._listen()
        self.metrics = Metrics(self.owner.state)
        self.owner.timed = self.metrics.turns.observe
        self.herald = Herald(Journal(self.paths.events_file, clock, self._fresh), self.metrics.happened)
        self.herald.begin(self.owner.state, self._fresh)
        self.owner.watch(self.herald.watch)
        self.owner.watch(self._watch)
        self.streams = Streams(self.owner, self._facts, self.herald.journal)
        self.logs = self._logs(Files())
        for number in signals:
            loop.add_signal_handler(number, self._on_signal, number)
        for noted in self._noted:
            self._on_signal(noted)
        try:
            self.file.tell(url=web.url, fingerprint=web.fingerprint)
            url, host = framework.webui_url or web.url, socket.gethostname()
            async with master_of(self.options, self._private) as access:
                framework = replace(framework, webui_url=url, hostname=host)
                if access.principal:
                    framework = replace(framework, principal=access.principal, secret=access.secret)
                self._framework, self._coroner = framework, Coroner(framework.principal, framework.secret)
                self.logs = self._logs(Files(framework.principal, framework.secret))
                cluster = self.owner.state.cluster
                if cluster.framework_id or not (cluster.stopping or self._ended.is_set()):
                    self._connect(access.master)
                    overdue = await pass_time(self.owner, self._ended, look=self._look)
                    self.error = self.error or overdue
                    await self._disconnect()
        finally:
            self.herald.end(self.owner.state, str(self.error or sys.exc_info()[1] or ""))
            await self.owner.let_go()
            await web.stop()

    def _logs(self, files: Files) -> Logs:
        return Logs(lambda: self.owner.state.cluster, files, self.paths.log_file if self.launched else None)

    def _listen(self) -> WebServer:
        """The REST API and the dashboard; also under the names by which Mesos' pages link to it."""
        token, ip, port = self.file.content.token, self.options.ip, self.options.port
        names = [socket.gethostname(), urlsplit(self.options.webui_url).hostname or ""]
        try:
            identity = tls.identity(self.options.certfile, self.options.keyfile)
            return WebServer(ClusterService(self), token, ip, port, names, identity)
        except (OSError, ValueError) as error:
            raise ConfigError(f"port: the REST API can't listen on {ip}:{port}: {error.strerror or error}") from error

    def _connect(self, master: str) -> None:
        loop = asyncio.get_running_loop()
        framework = replace(self._framework, id=self.owner.state.cluster.framework_id)

        def on_loop(function: Callable[..., None], *args: object) -> None:
            """From the driver's threads; not if the loop has ended, or another driver has taken over."""
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(lambda: function(*args) if self._driver is driver else None)

        driver = Driver(
            framework,
            master,
            post=lambda event: on_loop(self._post, event),
            fatal=lambda error: on_loop(self._driver_gave_up, error, master),
            # Who has something to lose waits for its master as long as it takes.
            connect_timeout=self.options.connect_timeout if self._asked is not None else math.inf,
        )
        self._driver = driver
        driver.prefer(mesos.preferences(self.owner.state, self.owner.clock()))
        driver.start()

    def _post(self, event: Event) -> None:
        """What Mesos tells, with the controller's address as the user wants it, and a container's last words."""
        if isinstance(event, Offered) and self.options.controller_ip:
            event = Offered(tuple(replace(offer, ip=self.options.controller_ip) for offer in event.offers))
        self.metrics.came(event)
        cluster = self.owner.state.cluster
        busy = len(self._inquests) >= MOST_INQUESTS
        if isinstance(event, Updated) and not busy and self._coroner.wants(event, cluster):
            inquest = asyncio.ensure_future(self._coroner.examine(event, cluster))
            self._inquests.add(inquest)
            inquest.add_done_callback(self._inquests.discard)
            inquest.add_done_callback(lambda done: done.cancelled() or self.owner.post(done.result()))
        else:
            self.owner.post(event)

    def _driver_gave_up(self, error: Exception, master: str) -> None:
        cluster = self.owner.state.cluster
        if isinstance(error, NotAuthorized) and not (self._framework.principal and self._framework.secret):
            lacking = "secret was given (option secret_file, or $IPYMESOS_SECRET, which is never saved)"
            if not self._framework.principal:
                lacking = "principal was given (options principal and secret_file)"
            error = NotAuthorized(f"{error} No {lacking}.")
        known = self._published.registered or self._afresh or not cluster.framework_id
        if not isinstance(error, FrameworkRemoved) or known:
            self._fatal(error)  # who was registered in this run was removed on purpose
            return
        # What a dead daemon left has ended in the meantime: its tasks went with the framework.
        self._afresh = True
        text = f"{error} Starting afresh."
        log.warning("%s", text)
        self.herald.tell(Happening("framework_removed", text, reason=str(error)), self.owner.state)
        fresh = replace(cluster, framework_id="", tasks={}, setbacks={}, busy_ports={}, former={})
        self.owner.replace(Everything(fresh, Session()))
        driver = self._driver
        assert driver is not None
        asyncio.get_running_loop().run_in_executor(None, driver.stop)
        self._connect(master)

    async def _disconnect(self) -> None:
        assert self._driver is not None
        torn_down = self._torn_down
        if torn_down and not await in_thread(self._driver.flush, FLUSH_TIMEOUT):
            self.error = self.error or MesosError("the master didn't take the last calls: the tasks may still run")
            torn_down = False
        await in_thread(self._driver.stop)
        gone = torn_down or isinstance(self.error, FrameworkRemoved) or not self.owner.state.cluster.framework_id
        if gone or self.options.master == "local":
            Connection.remove_files(self.paths)  # else the tasks live on, and clients may go on with them
            if self.options.master != "local":
                self.store.remove()

    # --- what the owner of the state calls -------------------------------------------------------------------

    def _save(self, cluster: Cluster) -> None:
        if self.options.master != "local":  # a private Mesos takes all with it: there would be nothing to resume
            self.store.save(Saved(cluster, self.connection, self.start.to_json()))

    def _send(self, actions: Sequence[Action], cluster: Cluster) -> None:
        driver = self._driver
        if driver is None or not actions:
            return
        self.metrics.asked(actions)

        def payload(task: Task) -> bytes:
            return self.connection.payload(task, cluster, sys.version_info[:2] if self.options.check_python else None)

        driver.send(
            mesos.call(action, cluster, payload, self.connection.address)
            for action in actions
            if not isinstance(action, ListAgents)
        )
        if any(isinstance(action, ListAgents) for action in actions):
            driver.list_agents()

    def tell_executors(self, calls: list[dict[str, object]]) -> None:
        """Send calls that change nothing of what is known."""
        if self._driver is not None:
            self._driver.send(calls)

    def _watch(self, before: Everything, after: Everything) -> None:
        """After each turn: the connection files, the daemon file, a line for people, and whether this is the end."""
        if self._driver is not None:
            self._driver.prefer(mesos.preferences(after, self.owner.clock()))
        cluster = after.cluster
        if self.hint and view.phase(before) != "running" and view.phase(after) == "running":
            log.info(self.hint)
        self._published.update(after)
        self.orphan.look()
        if after.session.torn_down:
            self._torn_down = True  # the session is forgotten when the master then ends the connection
            self._end()
        elif not cluster.stopping:
            self._check_hope(cluster)

    def _facts(self) -> dict[str, Any]:
        """What a watcher is shown besides the state."""
        error = str(self.error) if self.error else ""
        mine = {"cluster_id": self.paths.cluster_id, "pid": os.getpid(), "ipymesos": __version__}
        return {**mine, "error": error, "trouble": self.trouble}

    @property
    def trouble(self) -> str:
        """What goes wrong at the moment, and is tried again."""
        return self.owner.trouble or self._published.trouble

    def _look(self, said: Explanation) -> None:
        self.herald.look(self.owner.state, said, self.owner.clock(), self.trouble)

    def _check_hope(self, cluster: Cluster) -> None:
        """Stop when the controller, or the engines that `start -n` asked for, can't be launched."""
        for group in (CONTROLLER, FIRST_SET if self.start.n is not None else ""):
            if message := view.gave_up(cluster, group):
                self.stop_by(StartFailed(message))
                return

    def stop_by(self, error: Exception) -> None:
        """Stop the cluster because of `error`, by which the daemon will end then."""
        self.error = self.error or error
        self.owner.post(StopWanted(str(error)))

    def _fatal(self, error: Exception) -> None:
        """From the driver or a turn: no more can be done by going on."""
        known = isinstance(error, MesosError)
        if known and self._published.registered and self.owner.state.session.connected:
            self.stop_by(error)
            return
        self.error = self.error or error
        self._end()

    def _on_signal(self, number: int) -> None:
        self.owner.take(StopWanted(f"asked to by {signal.Signals(number).name}"))

    def _end(self) -> None:
        self._ended.set()
