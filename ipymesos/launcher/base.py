"""What the launcher of the controller and the one of engine sets have in common: see the package.

Requests go to a daemon on this machine and take milliseconds, so they are plain blocking calls, which even work while
the interpreter ends. Whatever takes longer is waited for with asyncio, or in the thread of `watch.Watcher`.
"""

from __future__ import annotations

import asyncio
import signal as signals
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from ipyparallel.cluster.launcher import BaseLauncher, LauncherError, NotRunning
from traitlets import Float, Int, TraitError
from traitlets.config import Config

from .. import errors
from ..config import MesosOptions
from ..daemonfile import DaemonFile
from ..explained import Explanation, ended
from ..paths import Paths
from .again import End, Successor, end_of, lost
from .asker import Daemon
from .watch import View, Watcher

GRACE = 5.0  # seconds that a daemon may take to end once it has told its error
ANSWER_TIMEOUT = 10.0  # seconds until a daemon that does not answer is taken to be stuck


class StartError(LauncherError):
    """A start that came to nothing; exit_code is the one of the error that caused it."""

    def __init__(self, message: str, cause: Exception | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code(cause) if cause else errors.StartFailed.exit_code


def exit_code(error: Exception) -> int:
    """What a program that ends by `error` should return; a bad option is the user's mistake as a bad argument is."""
    return int(getattr(error, "exit_code", errors.ConfigError.exit_code if isinstance(error, TraitError) else 1))


def signal_number(sig: int | str) -> int:
    """2, '2', 'INT' or 'SIGINT' -> 2; LauncherError for what is no signal."""
    try:
        if isinstance(sig, str) and not sig.isdigit():
            name = sig.upper()
            return int(signals.Signals[name if name.startswith("SIG") else f"SIG{name}"])
        return int(signals.Signals(int(sig))) if int(sig) else 0
    except (KeyError, ValueError, TypeError):
        raise LauncherError(f"signal: {sig!r} is no signal; write a number, or a name like 'INT' or 'KILL'") from None


class MesosLauncher(MesosOptions, BaseLauncher):
    """What both launchers have in common; `c.MesosLauncher.*` configures both."""

    # Cluster files name a launcher by its entry point, and find it again by that name.
    entrypoint_name = "mesos"

    pid = Int(0, help="The daemon's process").tag(to_dict=True)
    create_time = Float(0.0, help="When that process began: a pid may be given to another one").tag(to_dict=True)

    _daemon: Daemon | None = None
    _watcher: Watcher | None = None
    _home: asyncio.AbstractEventLoop | None = None
    _output = ""
    _kept = False  # has the output been read for the last time?
    _stopping = False
    _given_up = ""  # why our own start came to nothing, from when on we undo it

    def __init__(self, **kwargs: Any) -> None:
        self._end_lock = threading.RLock()
        self._ended = False
        try:
            super().__init__(**kwargs)
        except TraitError as error:
            self.parent = kwargs.get("parent")
            self._fail(error)

    @property
    def paths(self) -> Paths:
        return Paths(Path(self.profile_dir), self.cluster_id)

    @property
    def reason(self) -> str:
        """Why it stopped, '' if it did not, or if that was wanted."""
        return str((self.stop_data or {}).get("reason", ""))

    @classmethod
    def from_dict(cls, d: dict[str, Any], *, config: Any = None, parent: Any = None, **kwargs: Any) -> Any:
        """Follow what another launcher started. NotRunning only if it is gone beyond doubt."""
        try:
            launcher = super().from_dict(d, config=config, parent=parent, **kwargs)
        except TraitError:
            # The configuration was damaged after the start: that must not keep anybody from stopping the cluster.
            launcher = super().from_dict(d, config=Config(), parent=parent, **kwargs)
        try:
            launcher._daemon = launcher._find()
        except errors.NotRunning as error:
            file = DaemonFile.read(launcher.paths.daemon_file)
            if file is None or not lost(Daemon(file), launcher.paths):
                raise NotRunning(str(error)) from None
            launcher._daemon = Daemon(file)
        launcher._recall()
        launcher._follow(started_here=False)
        return launcher

    def scheduler(self) -> Daemon:
        """The daemon of its cluster; NotRunning, with the reason, if there is none."""
        try:
            return self._daemon if self._daemon is not None and self._daemon.alive else self._find()
        except errors.NotRunning as error:
            raise errors.NotRunning(self.reason or str(error)) from None

    def explain(self) -> Explanation:
        """What its cluster waits for, and why; of one that has failed, why."""
        try:
            return Explanation(self.scheduler().explain())
        except errors.NotRunning as error:
            return ended(str(error))

    def find_args(self) -> list[str]:
        return [sys.executable, "-m", "ipymesos.daemon"]

    # -- ends

    def notify_stop(self, data: dict[str, Any]) -> dict[str, Any]:
        """Tell it once, whoever is first: the watching thread, stop(), or poll()."""
        with self._end_lock:
            if not self._ended:
                self._ended = True
                if self._watcher is not None:
                    self._watcher.closed.set()
                super().notify_stop(data)
        return dict(self.stop_data)

    async def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended; TimeoutError after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.state == "running":
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"{self.identifier} did not end within {timeout:g} s")
            await asyncio.sleep(0.05)

    def poll(self) -> Any:
        """None while it runs, else an exit code, or 'unknown'."""
        if self.state == "running" and self._daemon is not None and not self._daemon.alive and not self._lost():
            self._end(end_of(self._daemon, self.paths))
        if self.state != "after":
            return None
        return self.stop_data.get("exit_code", "unknown")

    def get_output(self, remove: bool = False) -> str:
        """What it said, as far as it matters; still there after the end."""
        if self.state != "after" or not self._output:
            self._output = self._read_output() or self._output
        return self._output

    def _keep_output(self) -> None:
        """Read it before the end, after which nobody can any more."""
        if not self._kept:
            self._kept = True
            self._output = self._read_output() or self._output

    def _log_output(self, stop_data: dict[str, Any] | None = None) -> None:
        """Show the output of what failed. Unlike ipyparallel's own, this deletes nothing."""
        output = self.get_output()
        if output and self.output_limit:
            lines = "".join(output.splitlines(keepends=True)[-self.output_limit :])
            silent = not (stop_data or {}).get("exit_code") or self.reason  # the reason has been logged
            say = self.log.debug if silent else self.log.warning
            say("Output for %s:\n%s", self.identifier, lines)

    def _end(self, end: End) -> None:
        if self._given_up and not end.reason:  # somebody has seen its end before the watcher could tell
            end = End(1, self._given_up)
        data = {"exit_code": end.exit_code, "identifier": self.identifier}
        if end.reason:
            data["reason"] = end.reason
        self.notify_stop(data)

    def _end_from_thread(self, end: End) -> None:
        """Callbacks belong on the loop that started us, if it still runs; it may be closed before it calls us."""
        home = self._home
        if home is not None and home.is_running():
            try:
                home.call_soon_threadsafe(self._end, end)
            except RuntimeError:
                pass  # closed meanwhile
            else:
                deadline = time.monotonic() + 2.0
                while home.is_running() and time.monotonic() < deadline:
                    if self._ended:
                        return
                    time.sleep(0.02)
        self._end(end)

    # -- shared parts

    def _find(self) -> Daemon:
        daemon = Daemon.find(self.profile_dir, self.cluster_id)
        daemon.timeout = ANSWER_TIMEOUT
        return daemon

    def _use(self, daemon: Daemon) -> None:
        daemon.timeout = ANSWER_TIMEOUT
        self._daemon, self.pid, self.create_time = daemon, daemon.pid, daemon.file.create_time

    def _lost(self) -> bool:
        """Is the daemon dead, and our watcher about to find another one?"""
        waits = self._daemon is not None and not self._ended and self._may_come()
        return waits and lost(self._daemon, self.paths)

    def _may_come(self) -> bool:
        """May another daemon still come after a dead one?"""
        return True

    def _recall(self) -> None:
        """Set what another process may have changed since the dictionary was made."""
        assert self._daemon is not None
        self._use(self._daemon)

    def _follow(self, *, started_here: bool) -> None:
        """Begin to watch; on_stop callbacks will run on the loop that runs now, if one does."""
        assert self._daemon is not None
        try:
            self._home = asyncio.get_running_loop()
        except RuntimeError:
            self._home = None
        others = None if self._starts_daemons else self._may_come
        successor = Successor(self.paths, self.log, threading.Event(), self.work_dir, others)
        if self._starts_daemons and self._lost():  # at once, as our program may end before the thread gets there
            successor.begin(end_of(self._daemon, self.paths).reason)
        # A daemon of its own for the thread: its requests wait for news, ours must not wait for them.
        self._watcher = Watcher(
            self._what,
            Daemon(self._daemon.file, timeout=ANSWER_TIMEOUT),
            self.log,
            successor=successor,
            on_daemon=self._use,
            view=self._view,
            on_end=self._end_from_thread,
            give_up=self._give_up,
            start_timeout=self.start_timeout if started_here else None,
        )
        self._watcher.start()

    async def _within(self, timeout: float, check: Callable[[], bool]) -> bool:
        """Wait until check() is true, for `timeout` seconds at most; whether it became true."""
        deadline = time.monotonic() + timeout
        while not check():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    @property
    def _ipcluster(self) -> Any:
        """The program `ipcluster start` or `ipcluster engines`, if that is who starts us, else None."""
        module = sys.modules.get("ipyparallel.cluster.app")
        app = getattr(self.parent, "parent", None)
        return app if module is not None and isinstance(app, module.IPClusterEngines) else None

    def _fail(self, error: Exception) -> NoReturn:
        """Raise `error`; under `ipcluster start` end the program instead.

        There start_cluster() runs as a callback of the loop: its exception would be logged, and ipcluster would wait
        for ever for a cluster that never starts.
        """
        from .jupyter import ToldInTab, is_served

        app = self._ipcluster
        if app is None:
            raise ToldInTab(error) if is_served() else error
        if app._stopping:
            raise SystemExit(0) from None  # it was wanted
        app.log.critical(str(error))
        raise SystemExit(exit_code(error)) from None

    _what = ""
    _starts_daemons = False  # does it start a daemon that was killed again?

    def _view(self, status: dict[str, Any]) -> View:
        raise NotImplementedError

    def _give_up(self, reason: str) -> None:
        raise NotImplementedError

    def _read_output(self) -> str:
        raise NotImplementedError
