"""The launcher of engine sets: a client of the daemon that the controller's launcher started."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any

from ipyparallel.cluster.launcher import (
    EngineLauncher,
    LauncherError,
    NotRunning,
    ProcessStateError,
)
from traitlets import TraitError

from .. import errors
from ..core.specs import CONTROLLER
from .again import PATIENCE, TRIES, End
from .asker import Daemon
from .base import GRACE, MesosLauncher, StartError, signal_number
from .watch import View

LAST = 5  # engines that ended without being asked to, whose logs are worth reading
RECALL_TIMEOUT = 3.0  # seconds; `ipcluster list` asks for every engine set, and must not hang on a stuck daemon


class MesosEngineSetLauncher(MesosLauncher, EngineLauncher):
    """Asks the daemon for a set of engines."""

    _controller: Any = None  # the launcher beside us
    _awaited = False  # does start() still wait for the first engine?

    @property
    def _what(self) -> str:  # type: ignore[override]
        return f"engine set {self.engine_set_id}"

    async def start(self, n: int | None = None) -> None:
        """Ask for n engines; default: as many as this machine has cores.

        Returns at once, except under `ipcluster`, which would not notice a set that never runs: there it waits for the
        first engine, so that `ipcluster start --daemonize` ends when there is something to work with, or fails.
        """
        if self.state != "before":
            raise ProcessStateError(f"the engine set was already started and has state: {self.state}")
        app = self._ipcluster
        try:
            await self._ask(os.cpu_count() or 1 if n is None else n)
            if app is not None:
                await self._first_engine()
        except (TraitError, errors.IPyMesosError, LauncherError) as first:
            error = await self._cause(first)
            if app is not None and app.daemonize and not app._stopping:
                await app.cluster.stop_cluster()  # nobody else would
            self._fail(error if isinstance(error, StartError) else StartError(str(error), error))

    async def _ask(self, n: int) -> None:
        """Ask for the engines, again if the daemon dies over it and is started again."""
        controller = getattr(self.parent, "controller", None)
        for tried in range(TRIES):
            try:
                return self._start(n, known_before=bool(tried))
            except errors.NotRunning:
                if not isinstance(controller, MesosLauncher) or not await self._within(1.0, controller._lost):
                    raise
                if not await self._within(PATIENCE, lambda: not controller._lost()):
                    raise
        raise errors.NotRunning(f"the scheduler has ended {TRIES} times while it was asked for engines")

    def _start(self, n: int, known_before: bool) -> None:
        check_n(n)
        if self.engine_set_id == CONTROLLER:
            raise errors.ConfigError(f"an engine set can't be named {CONTROLLER!r}; choose another name")
        controller = getattr(self.parent, "controller", None)
        if controller is not None and not isinstance(controller, MesosLauncher):
            raise errors.ConfigError(
                f"engines on Mesos need a controller on Mesos, not {type(controller).__name__}: "
                "use --controller=mesos, or c.Cluster.controller_launcher_class = 'mesos'"
            )
        if controller is not None:
            self._daemon = controller._daemon
        elif self._joins_a_saved_cluster():
            # `ipcluster engines` would overwrite the file by which `ipcluster stop` finds controller and engines.
            self.parent.cluster_file = ""
        try:
            self._use(self._find())
        except errors.NotRunning as error:
            if controller is not None:
                raise
            raise errors.NotRunning(
                f"{error}; start it with: ipcluster start --controller=mesos --engines=mesos"
            ) from None
        assert self._daemon is not None
        self.engine_spec(self.engine_args)  # its faults are found here rather than in the daemon
        known = self._daemon.status()["engines"].get(self.engine_set_id)
        if known is not None and known["state"] != "stopping" and not known_before:
            raise errors.ConfigError(f"the engine set {self.engine_set_id} already runs; choose another name")
        self.n = n
        self._daemon.want_engines(self.engine_set_id, n, self.to_options(), list(self.engine_args))
        self.notify_start({"engine_set_id": self.engine_set_id, "n": n})
        self._follow(started_here=True)

    def _joins_a_saved_cluster(self) -> bool:
        """Has another process written a cluster file, with a controller in it, for the parent's profile and id?"""
        try:
            with open(self.parent.cluster_file) as file:
                return "controller" in json.load(file)
        except (AttributeError, OSError, ValueError):
            return False

    async def _cause(self, error: Exception) -> Exception:
        """Why the cluster ends, where `error` only says that it is gone or takes no more engines."""
        controller = getattr(self.parent, "controller", None)
        if controller is None or not isinstance(error, errors.IPyMesosError) or not self._cluster_ends():
            return error
        await self._within(GRACE, lambda: controller.poll() is not None)
        return errors.StartFailed(controller.reason) if controller.reason else error

    def _cluster_ends(self) -> bool:
        try:
            return self._daemon is not None and bool(self._daemon.status()["state"] == "stopping")
        except errors.IPyMesosError:
            return True

    async def _first_engine(self) -> None:
        """Wait until one engine runs. The watcher ends the wait after start_timeout at the latest."""
        assert self._watcher is not None
        self._awaited = True
        while self.state == "running":
            if self._watcher.ever:
                self._awaited = False
                return
            await asyncio.sleep(0.05)
        controller = getattr(self.parent, "controller", None)
        if controller is not None:  # if it has ended too, its reason is the cause of ours
            await self._within(0.5, lambda: controller.poll() is not None)
        raise StartError(getattr(controller, "reason", "") or self.reason or "stopped while it was starting")

    async def stop(self) -> None:
        """Stop the engines; returns when none is left."""
        if self.state != "running":
            return
        self._keep_output()
        self._stopping = True
        if not await self._within(self.stop_timeout, self._drop):
            raise LauncherError(f"{self._what} did not end within {self.stop_timeout} s; see {self.paths.log_file}")
        self._end(End(0))

    def _drop(self) -> bool:
        """Ask for the end of the set; whether it is gone. May be asked again and again."""
        assert self._daemon is not None
        if self._ended:
            return True
        try:
            known = self._daemon.status()["engines"].get(self.engine_set_id)
            if known is not None and known["state"] != "stopping":
                self._daemon.drop_engines(self.engine_set_id)
            return known is None
        except errors.IPyMesosError:  # as while it ends
            return not self._daemon.alive and not self._lost()

    def signal(self, sig: int | str) -> None:
        """Send a signal to every engine of the set."""
        number = signal_number(sig)
        if self.state == "running" and self._daemon is not None:
            self._daemon.signal(self.engine_set_id, number)

    def _recall(self) -> None:
        super()._recall()
        assert self._daemon is not None
        try:
            engines = Daemon(self._daemon.file, timeout=RECALL_TIMEOUT).status()["engines"]
        except errors.IPyMesosError:
            if self._daemon.alive or self._lost():
                return  # it does not answer; that does not mean that the engines are gone
            raise NotRunning(f"{self._what} has ended with its scheduler") from None
        if self.engine_set_id not in engines:
            raise NotRunning(f"{self._what} has ended")
        self.n = engines[self.engine_set_id]["wanted"] or self.n

    def _follow(self, *, started_here: bool) -> None:
        self._controller = getattr(self.parent, "controller", None)
        super()._follow(started_here=started_here)

    def _may_come(self) -> bool:
        return not isinstance(self._controller, MesosLauncher) or self._controller.state != "after"

    def _view(self, status: dict[str, Any]) -> View:
        engines = status["engines"].get(self.engine_set_id)
        if engines is None:
            return View(there=False)
        if engines["state"] == "stopping" or status["state"] == "stopping":
            return View(there=True)
        self.n = engines["wanted"]  # somebody may have scaled it
        failed = engines["message"] if engines["state"] == "failed" else ""
        why = engines["message"] or status["explain"]
        return View(there=True, wanted=engines["wanted"], running=engines["running"], failed=failed, why=why)

    def _give_up(self, reason: str) -> None:
        if not self._awaited:  # else start() will say it
            self.log.error(reason)
        self._keep_output()
        assert self._daemon is not None
        deadline = time.monotonic() + self.stop_timeout
        try:
            while not self._drop() and time.monotonic() < deadline:
                time.sleep(0.1)
        except errors.IPyMesosError as error:
            self.log.error("%s can't be dropped: %s", self._what, error)

    def _read_output(self) -> str:
        """The engines' logs, and what the scheduler knows of those that ended without being asked to."""
        exits = self._watcher.status.get("exits", ()) if self._watcher is not None else ()
        mine = [e for e in exits if e["group"] == self.engine_set_id and not e["asked"]]
        told = "".join(f"{e['task']} on {e['agent']}: {e['state']} {e['reason']} {e['message']}\n" for e in mine)
        if self._daemon is None or not self._daemon.alive or self._watcher is None or not self._watcher.ever:
            return told
        from .output import collect  # most programs never need it

        return told + collect(self._daemon, [*(e["task"] for e in mine[-LAST:]), "engines"], self.engine_set_id)


def check_n(n: int) -> None:
    """Refuse a number of engines that makes no sense."""
    if n < 1:
        raise errors.ConfigError(f"n: {n} engines can't be started; write 1 or more")
