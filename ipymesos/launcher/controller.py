"""The launcher of the controller: it starts the daemon, and with it the cluster."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import signal as signals
import subprocess
import threading
import time
from typing import Any

import psutil
from ipyparallel.cluster.launcher import (
    ControllerLauncher,
    LauncherError,
    ProcessStateError,
)
from traitlets import TraitError

from .. import errors
from ..bars import Bar, Progress
from ..core.specs import CONTROLLER
from ..daemonfile import DaemonFile, began
from . import spawn
from .again import TRIES, End, end_of
from .asker import Daemon
from .base import ANSWER_TIMEOUT, GRACE, MesosLauncher, StartError, exit_code, signal_number
from .engines import MesosEngineSetLauncher, check_n
from .watch import View

DOWNLOAD_TIMEOUT = 600.0  # seconds for the first start of a local Mesos, which is downloaded then


class MesosControllerLauncher(MesosLauncher, ControllerLauncher):
    """Starts the daemon, which launches ipcontroller on Mesos; ends with it."""

    _what = "the controller"
    _starts_daemons = True
    _child: subprocess.Popen[bytes] | None = None
    _asked_at = 0.0  # when stop() began
    _taken = False  # has the daemon got the request to stop?

    async def start(self) -> None:
        """Start the daemon and wait until the master knows it; the controller follows as soon as an offer fits."""
        if self.state != "before":
            raise ProcessStateError(f"the controller was already started and has state: {self.state}")
        try:
            await self._start()
        except (TraitError, errors.IPyMesosError, OSError) as error:
            reason = "stopped while it was starting" if self._stopping else str(error)
            if self.state == "running":
                if not await self._within(GRACE, lambda: not self._alive()):
                    self._terminate()
                self._end(End(exit_code(error), reason))
            self._fail(StartError(reason, error))

    async def _start(self) -> None:
        if (n := getattr(self.parent, "n", None)) is not None:
            check_n(n)  # the engines' launcher would say it when there is a controller to be stopped
        args = self._split_controller_args()
        self.controller_spec(args)  # its faults are found here rather than in the daemon
        self.read_secret()
        try:
            running = self._find()
        except errors.NotRunning:
            pass
        else:
            raise errors.AlreadyRunning(
                f"cluster {self.cluster_id!r} already runs in the profile {self.profile_dir} (pid {running.pid}); "
                "stop it with `ipcluster stop`, or give this one another --cluster-id"
            )
        self._prepare_cluster()
        request = {"options": self.to_options(), "controller_args": args, "private": self.private_mesos}
        daemon = await self._begin_daemon(request)
        # Not before: until the master knows the daemon both of a small machine's processors have enough to do.
        threading.Thread(target=_prepare_client, name="ipymesos-prepare-client").start()
        self._use(daemon)
        with contextlib.suppress(errors.IPyMesosError):  # if it has ended already, the watcher finds out why
            status = daemon.status()
            self.log.info("Framework %s on Mesos master %s", status["framework_id"], status["master"])
        self._follow(started_here=True)

    async def _begin_daemon(self, request: dict[str, Any]) -> Daemon:
        """Start the daemon; one that is killed meanwhile is started again: what it has left is taken over."""
        timeout = self.connect_timeout + (DOWNLOAD_TIMEOUT if self.master == "local" else self.start_timeout)
        for left in reversed(range(TRIES)):
            self._child = spawn.spawn(self.paths, request, self.work_dir)
            self.pid, self.create_time = self._child.pid, began(self._child.pid)
            if self.state == "before":
                self.notify_start({"pid": self.pid, "log": str(self.paths.log_file)})
            try:
                return await spawn.ready(self._child, self.paths, timeout)
            except spawn.Died as error:
                if not left or self._stopping or self.master == "local":
                    raise
                self.log.warning("%s; starting it again", str(error).partition("\n")[0])
        raise AssertionError("the last try returns or raises")

    def _prepare_cluster(self) -> None:
        """Turn off two things that ipyparallel does for launchers which need them; we don't."""
        cluster = self.parent
        if cluster is None or not hasattr(cluster, "engine_launcher_class"):
            return
        if cluster.delay == type(cluster).delay.default_value:
            cluster.delay = 0  # our engines wait for their controller by themselves
        if issubclass(cluster.engine_launcher_class, MesosEngineSetLauncher):
            # The daemon gives the connection to our engines. Left on, this would put the key into `environment`, and
            # make the engines' launch wait for the controller's.
            cluster.send_engines_connection_env = False

    def _follow(self, *, started_here: bool) -> None:
        from ..following.cluster import follow  # takes a while, and the daemon starts meanwhile

        super()._follow(started_here=started_here)
        follow(self.parent)  # its clients shall stay with it when its controller dies or moves

    def _split_controller_args(self) -> list[str]:
        """Arguments for ipcontroller, without the two that the launch itself decides."""
        args = []
        for arg in self.controller_args:
            name, _, value = arg.partition("=")
            if name == "--ip":
                # All interfaces: then it is the agent's own, which every engine reaches, as without this option.
                self.controller_ip = "" if value in ("*", "0.0.0.0") else value
            elif name == "--location":
                self.log.warning("%s is not used: engines and clients are given the address the controller got", arg)
            else:
                args.append(arg)
        return args

    @property
    def process(self) -> psutil.Process:
        """The daemon's process."""
        return psutil.Process(self.pid)

    async def get_connection_info(self, timeout: float | None = None) -> dict[str, Any]:
        """What clients and engines need to connect, once the controller listens. Contains the key."""
        timeout = self.connection_info_timeout if timeout is None else timeout
        deadline = time.monotonic() + timeout if timeout >= 0 else float("inf")
        if self.state == "before":
            raise ProcessStateError("the controller was not started")
        with self._progress():
            return await self._connection_info(timeout, deadline)

    def _progress(self) -> Progress:
        """Shown until ipyparallel shows how many engines have come; not where a log or somebody else says it."""
        quiet = self._ipcluster is not None or getattr(self.parent, "shows_progress", False)
        return Progress(lambda: self._daemon, bar=Bar("" if quiet else None, leave=False))

    async def _connection_info(self, timeout: float, deadline: float) -> dict[str, Any]:
        while self.poll() is None:
            watcher = self._watcher
            if watcher is not None and watcher.seen.running:
                try:
                    return {kind: _load(path) for kind, path in self.connection_files.items()}
                except FileNotFoundError:
                    pass  # it ends right now
            if time.monotonic() > deadline:
                why = watcher.seen.why if watcher is not None else "the scheduler is starting"
                raise TimeoutError(f"the controller was not there after {timeout:g} s: {why}")
            await asyncio.sleep(0.02)
        raise LauncherError(self.reason or "the controller was stopped")

    async def stop(self) -> None:
        """Stop the whole cluster on Mesos and the daemon; returns when its process is gone."""
        if self.state != "running":
            return
        for launcher in (self, *getattr(self.parent, "engines", {}).values()):
            if isinstance(launcher, MesosLauncher) and launcher.state == "running":
                launcher._keep_output()
        self._stopping = True
        self._asked_at = time.monotonic()
        if not await self._within(self.stop_timeout, self._ask_to_stop):
            self._terminate()
            raise LauncherError(
                f"the scheduler, pid {self.pid}, did not end within {self.stop_timeout} s; "
                f"tasks may still run on Mesos; see {self.paths.log_file}"
            )
        self._end(End(0) if self._daemon is None else end_of(self._daemon, self.paths))

    def _ask_to_stop(self) -> bool:
        """Ask the daemon to stop; whether it is gone. May be asked again and again."""
        if self._ended:
            return True
        if not self._alive():
            if self._lost():  # the watcher starts another one, so that it can be stopped
                self._taken, self._asked_at = False, time.monotonic()
            return not self._lost()
        if self._taken:
            return False
        try:
            (self._daemon or self._find()).stop("asked by ipyparallel")
            self._taken = True
        except errors.IPyMesosError as error:
            # A daemon that ends already listens no more. It is left alone, as it still has files to write or remove.
            file = DaemonFile.read(self.paths.daemon_file)
            begins = self._daemon is None and (file is None or file.pid != self.pid or not file.error)
            if begins or time.monotonic() - self._asked_at > ANSWER_TIMEOUT:
                self.log.warning("the scheduler, pid %d, does not take the request to stop: %s", self.pid, error)
                self._terminate()
                self._taken = True
        return False

    def signal(self, sig: int | str) -> None:
        """INT, TERM and KILL stop the cluster (see join); the controller, on its agent, takes no other signal."""
        number = signal_number(sig)
        if number not in (0, signals.SIGINT, signals.SIGTERM, signals.SIGKILL):
            raise LauncherError(f"signal {sig!r}: the controller takes INT, TERM and KILL, which stop the cluster")
        if number and self._daemon is not None and self.state == "running":
            self._stopping = True
            self._daemon.stop(f"signal {sig}")

    def get_output(self, remove: bool = False) -> str:
        """The scheduler's log and the controller's. `remove` deletes the former, except after a failure."""
        output = super().get_output()
        if remove and self.state == "after" and not self.stop_data.get("exit_code"):
            self.paths.log_file.unlink(missing_ok=True)
        return output

    def _view(self, status: dict[str, Any]) -> View:
        if status["state"] == "stopping":
            return View(there=True)  # until the daemon's end, and nothing is missing
        controller = status["controller"]
        failed = controller["message"] if controller["state"] == "failed" else ""
        running = int(controller["state"] == "running")
        return View(
            there=True, wanted=1, running=running, failed=failed, why=controller["message"] or status["explain"]
        )

    def _give_up(self, reason: str) -> None:
        self._given_up = reason
        self.log.error(reason)
        self._keep_output()
        try:
            if self._daemon is not None:
                self._daemon.stop(reason)
                self._daemon.join(self.stop_timeout)
        except errors.IPyMesosError as error:
            self.log.error("the scheduler, pid %d, does not stop: %s", self.pid, error)
            self._terminate()

    def _read_output(self) -> str:
        output = spawn.tail(self.paths.log_file, 1000)
        if self._daemon is not None and self._daemon.alive and self._watcher is not None and self._watcher.ever:
            from .output import collect  # most programs never need it

            output += collect(self._daemon, [CONTROLLER])
        return output

    def _alive(self) -> bool:
        """Does the daemon run? A pid that was given to another process since is not ours."""
        if self._daemon is not None:
            return self._daemon.alive
        return self._child is not None and self._child.poll() is None

    def _terminate(self) -> None:
        if self._alive():
            os.kill(self.pid, signals.SIGTERM)


def _prepare_client() -> None:
    """Import while we wait what is wanted later: the first request looks whether its arguments are numpy's."""
    with contextlib.suppress(ImportError):
        importlib.import_module("numpy")


def _load(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        return dict(json.load(file))
