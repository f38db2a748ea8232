"""The daemon file: how a daemon and those who talk to it find each other.

It lies in the profile's security directory, holds the REST token, and so is its owner's alone (0600). It is removed
at a clean stop; after a failed end it stays, with the error and without the token. Beside it lies an empty file that
the daemon has locked while it lives: of two that start at once, one only gets the cluster.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
import time
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from .errors import AlreadyRunning, IPyMesosError, StoreError
from .paths import check_directory, write_private

FAILURES_KEPT = 3600.0  # seconds that a failed daemon's last words can be read


@dataclass(frozen=True)
class DaemonFile:
    pid: int
    create_time: float  # of the process, see began(): a pid alone may have been given to somebody else since
    url: str = ""
    token: str = field(default="", repr=False)
    ready: bool = False  # registered with the master
    error: str = ""
    exit_code: int = 0
    host: str = ""
    fingerprint: str = ""  # of the certificate that it shows at an https: url

    @classmethod
    def read(cls, path: Path) -> DaemonFile | None:
        """None where there is no such file, or what is there isn't one."""
        try:
            content = json.loads(path.read_bytes())
            file = cls(**{f.name: content[f.name] for f in fields(cls) if f.name in content})
        except (OSError, ValueError, TypeError, RecursionError):
            return None  # a network's file system may lose its hold on a file that was replaced meanwhile
        good = all(type(value) is type(EMPTY[name]) for name, value in asdict(file).items())
        return file if good and file.pid > 0 else None

    def write(self, path: Path) -> None:
        write_private(path, json.dumps(asdict(self)).encode())

    @property
    def alive(self) -> bool:
        """Does the process still run that wrote this? One that has ended and waits for its parent doesn't."""
        return 0 < began(self.pid) == self.create_time


def began(pid: int) -> float:
    """When a process began, in seconds since the machine was booted; 0 if it has ended.

    Unlike psutil's time since the epoch it stays the same when somebody sets the clock (proc(5), starttime).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    fields = stat[stat.rindex(b")") + 2 :].split()
    return 0.0 if fields[0] in (b"Z", b"X") else int(fields[19]) / os.sysconf("SC_CLK_TCK")


EMPTY = asdict(DaemonFile(0, 0.0))


class OwnDaemonFile:
    """The file of the daemon that this process is, from its start to its end. The methods raise StoreError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content = DaemonFile(
            os.getpid(), began(os.getpid()), token=secrets.token_urlsafe(32), host=socket.gethostname()
        )
        self._lock: int | None = None

    def claim(self) -> None:
        """Make the file ours until we end; AlreadyRunning when it is a live daemon's."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_directory(self.path.parent)
            mine = self._take_lock()
            other = DaemonFile.read(self.path)
            if not mine and other is not None and other.host not in ("", self.content.host):
                raise AlreadyRunning(f"already running on {other.host}, pid {other.pid}; stop it there")
            if other is not None and other.pid != os.getpid() and other.alive:
                raise AlreadyRunning(f"already running, pid {other.pid}; see `python -m ipymesos status`, or stop it")
            if not mine:
                raise AlreadyRunning("already running: another one is just starting")
            self.content.write(self.path)
            self._forget_old_failures()
        except OSError as error:
            raise StoreError(f"the daemon file {self.path} can't be written: {error}") from error

    def _take_lock(self) -> bool:
        """Whether we have the lock, which other machines that share this directory respect as well."""
        while True:
            lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                return False
            except OSError:  # some network file systems have no locks; two starts at once are rare
                self._lock = lock
                return True
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), os.stat(self._lock_path)):
                    self._lock = lock  # held until the process ends, however it ends
                    return True
            os.close(lock)  # of a daemon that has just ended, and removed it

    @property
    def _lock_path(self) -> Path:
        return self.path.with_suffix(".lock")

    def _forget_old_failures(self) -> None:
        """`ipp.Cluster` makes a new cluster id each time, so nobody else would ever remove the file of a failed one."""
        for path in self.path.parent.glob("ipymesos-*.json"):
            with contextlib.suppress(FileNotFoundError):
                file = DaemonFile.read(path) if time.time() - path.stat().st_mtime > FAILURES_KEPT else None
                state = path.with_name(f"{path.stem}-state.json")  # then its tasks may still run
                if file is not None and file.error and not file.alive and not state.exists():
                    path.unlink()

    def tell(self, **changes: object) -> None:
        """Let the others know."""
        content = replace(self.content, **changes)  # type: ignore[arg-type]
        try:
            content.write(self.path)
        except OSError as error:
            raise StoreError(f"the daemon file {self.path} can't be written: {error}") from error
        self.content = content

    def leave(self, error: BaseException | None) -> None:
        """At the end: no file is left, or one that says why we failed, without the token."""
        try:
            if error is None or isinstance(error, KeyboardInterrupt):
                self.path.unlink(missing_ok=True)
            else:
                code = error.exit_code if isinstance(error, IPyMesosError) else IPyMesosError.exit_code
                message = str(error) if isinstance(error, IPyMesosError) else f"a fault of ipymesos: {error!r}"
                self.tell(url="", token="", ready=False, error=message, exit_code=code)
            if self._lock is not None:
                self._lock_path.unlink(missing_ok=True)
                os.close(self._lock)
                self._lock = None
        except OSError as problem:
            raise StoreError(f"the daemon file {self.path} can't be removed: {problem}") from problem
