"""The daemon file: how a daemon and those who talk to it find each other.

It lies in the profile's security directory, holds the REST token, and so is its owner's alone (0600). It is removed
at a clean stop; after a failed end it stays, with the error and without the token.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import psutil

from .errors import AlreadyRunning, IPyMesosError
from .paths import write_private

FAILURES_KEPT = 3600.0  # seconds that a failed daemon's last words can be read


@dataclass(frozen=True)
class DaemonFile:
    pid: int
    create_time: float  # of the process: a pid alone may have been given to somebody else since
    url: str = ""
    token: str = field(default="", repr=False)
    ready: bool = False  # registered with the master
    error: str = ""
    exit_code: int = 0

    @classmethod
    def read(cls, path: Path) -> DaemonFile | None:
        """None where there is no such file, or what is there isn't one."""
        try:
            content = json.loads(path.read_bytes())
            return cls(**{f.name: content[f.name] for f in fields(cls) if f.name in content})
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            return None

    def write(self, path: Path) -> None:
        write_private(path, json.dumps(asdict(self)).encode())

    @property
    def alive(self) -> bool:
        """Does the process still run that wrote this? One that has ended and waits for its parent doesn't."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.create_time) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


class OwnDaemonFile:
    """The file of the daemon that this process is, from its start to its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content = DaemonFile(os.getpid(), psutil.Process().create_time(), token=secrets.token_urlsafe(32))

    def claim(self) -> None:
        """Make the file ours; AlreadyRunning when it is a live daemon's."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with contextlib.suppress(OSError):  # some network file systems can't; two starts at once are rare
                fcntl.flock(directory, fcntl.LOCK_EX)
            other = DaemonFile.read(self.path)
            if other is not None and other.alive and other.pid != os.getpid():
                raise AlreadyRunning(f"already running, pid {other.pid}; see `python -m ipymesos status`, or stop it")
            self.content.write(self.path)
        finally:
            os.close(directory)
        self._forget_old_failures()

    def _forget_old_failures(self) -> None:
        """`ipp.Cluster` makes a new cluster id each time, so nobody else would ever remove the file of a failed one."""
        for path in self.path.parent.glob("ipymesos-*.json"):
            with contextlib.suppress(FileNotFoundError):
                file = DaemonFile.read(path) if time.time() - path.stat().st_mtime > FAILURES_KEPT else None
                if file is not None and file.error and not file.alive:
                    path.unlink()

    def tell(self, **changes: object) -> None:
        """Let the others know."""
        self.content = replace(self.content, **changes)  # type: ignore[arg-type]
        self.content.write(self.path)

    def leave(self, error: BaseException | None) -> None:
        """At the end: no file is left, or one that says why we failed, without the token."""
        if error is None or isinstance(error, KeyboardInterrupt):
            self.path.unlink(missing_ok=True)
            return
        code = error.exit_code if isinstance(error, IPyMesosError) else IPyMesosError.exit_code
        message = str(error) if isinstance(error, IPyMesosError) else f"a fault of ipymesos: {error!r}"
        self.tell(url="", token="", ready=False, error=message, exit_code=code)
