"""What becomes of a cluster whose daemon is gone: another daemon has taken its place, is made to, or nothing is left.

The engines of a daemon that was killed run on, so it is started again. Several launchers may follow one cluster; those
of the controller all try, and a lock in the profile lets one of the new daemons live.
"""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from logging import Logger

from ..daemonfile import DaemonFile
from ..errors import AlreadyRunning
from ..paths import Paths
from . import spawn
from .asker import Daemon

TRIES, PERIOD = 10, 60.0  # a daemon is started again so often within so many seconds, and no more
FIRST_REST, LONGEST_REST = 0.5, 4.0  # seconds before the second try, doubled with each further one
PATIENCE = 90.0  # seconds that others may take to start it again
RESUME = "`python -m ipymesos start --resume` takes over what still runs"


@dataclass(frozen=True)
class End:
    """Why there is nothing left to watch. exit_code 0 = it was wanted."""

    exit_code: int
    reason: str = ""


def lost(daemon: Daemon, paths: Paths) -> bool:
    """Is it dead without having told why, and is there, or will there be, another one in its place?"""
    if daemon.alive:
        return False
    file = DaemonFile.read(paths.daemon_file)
    if file is None:
        return False
    if file.pid == daemon.pid:
        return file.error == daemon.file.error and paths.state_file.exists()
    return not file.error and (file.alive or paths.state_file.exists())


def end_of(daemon: Daemon, paths: Paths) -> End:
    """How a daemon that is gone has ended: after a clean stop there is no daemon file, else it says why."""
    file = DaemonFile.read(paths.daemon_file)
    if file is None or file.pid != daemon.pid:
        return End(0)
    return End(file.exit_code or 1, file.error or f"the scheduler (pid {daemon.pid}) ended without a word")


class Successor:
    """Finds the daemon that follows a dead one. Starts it, or with `others` waits for those: while others() is true."""

    def __init__(
        self,
        paths: Paths,
        log: Logger,
        closed: threading.Event,
        work_dir: str,
        others: Callable[[], bool] | None = None,
    ) -> None:
        self.paths, self.log, self.closed, self.work_dir, self.others = paths, log, closed, work_dir, others
        self._times: deque[float] = deque()  # of the latest starts
        self._child: subprocess.Popen[bytes] | None = None

    def of(self, dead: Daemon) -> Daemon | End:
        """Blocks until there is one, or until there won't be one."""
        until = time.monotonic() + PATIENCE
        while not self.closed.is_set():
            file = DaemonFile.read(self.paths.daemon_file)
            if file is None or (file.alive and not file.error and file.url):
                return End(0) if file is None else Daemon(file)
            if file.error and (file.pid, file.error) != (dead.pid, dead.file.error):
                return End(file.exit_code, file.error)
            if not file.alive and not self._coming():
                end = self._begin(dead, file, until)
                if end is not None:
                    return end
            self.closed.wait(0.05)
        return End(0)

    def _coming(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def _begin(self, dead: Daemon, file: DaemonFile, until: float) -> End | None:
        """Start one after a rest, or say why not."""
        ended = dead.file.error or f"the scheduler (pid {dead.pid}) ended without a word"
        if not self.paths.state_file.exists():
            return End(dead.file.exit_code or 1, f"{ended}, and nothing is left (a private Mesos ends with it)")
        if self.others is not None:
            late = time.monotonic() > until or not self.others()
            return End(1, f"{ended}, and nobody has started it again: {RESUME}") if late else None
        if self._child is not None and self._child.returncode == AlreadyRunning.exit_code and file.host:
            return End(AlreadyRunning.exit_code, f"the scheduler runs on {file.host}, pid {file.pid}: use it there")
        now = time.monotonic()
        while self._times and now - self._times[0] > PERIOD:
            self._times.popleft()
        if len(self._times) >= TRIES:
            times = f"it was started again {TRIES} times within {PERIOD:.0f} s, which is enough"
            return End(1, f"{ended}; {times}: see {self.paths.log_file}; {RESUME}")
        tried = len(self._times)
        longest = 0.2 if not tried else min(LONGEST_REST, FIRST_REST * 2 ** (tried - 1))
        rest = random.uniform(longest / 2, longest)
        if not self.closed.wait(rest) and DaemonFile.read(self.paths.daemon_file) == file:
            self.begin(ended)
        return None

    def begin(self, why: str) -> None:
        """Start one now, which takes the place if nobody else does."""
        self.log.warning("%s; starting it again", why)
        self._times.append(time.monotonic())
        try:
            self._child = spawn.resume(self.paths, self.work_dir)
        except OSError as error:
            self.log.warning("the scheduler can't be started: %s", error)
