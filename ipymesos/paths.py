"""Where the files of one cluster are, and how private ones are written."""

from __future__ import annotations

import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from .errors import ConfigError


@dataclass(frozen=True)
class Paths:
    """The files of the cluster `cluster_id` in a profile directory; ipyparallel's naming ("" or "-<cluster_id>")."""

    profile_dir: Path
    cluster_id: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "profile_dir", Path(self.profile_dir).expanduser().absolute())
        if not re.fullmatch(r"[^/\x00-\x1f\x7f]{0,100}", self.cluster_id):
            raise ConfigError(
                f"cluster id {self.cluster_id!r}: it becomes a part of file names, so it can't hold a slash or a"
                " control character, nor be longer than 100 characters"
            )
        if self.cluster_id == "state" or self.cluster_id.endswith("-state"):
            raise ConfigError(f"cluster id {self.cluster_id!r}: it can't end in 'state', as our own state files do")

    @property
    def _suffix(self) -> str:
        return f"-{self.cluster_id}" if self.cluster_id else ""

    @property
    def security(self) -> Path:
        return self.profile_dir / "security"

    @property
    def client_file(self) -> Path:
        """What `ipyparallel.Client` reads."""
        return self.security / f"ipcontroller{self._suffix}-client.json"

    @property
    def engine_file(self) -> Path:
        """What `ipengine` reads."""
        return self.security / f"ipcontroller{self._suffix}-engine.json"

    @property
    def daemon_file(self) -> Path:
        return self.security / f"ipymesos{self._suffix}.json"

    def others(self) -> list[str]:
        """Cluster ids in this profile whose daemon files there are; "" is the one without an id."""
        names = (path.name for path in self.security.glob("ipymesos*.json"))
        ids = (re.fullmatch(r"ipymesos(?:-(.+))?\.json", name) for name in names if not name.endswith("-state.json"))
        return sorted((match[1] or "") for match in ids if match)

    @property
    def state_file(self) -> Path:
        return self.security / f"ipymesos{self._suffix}-state.json"

    @property
    def log_file(self) -> Path:
        return self.profile_dir / "log" / f"ipymesos{self._suffix}.log"

    @property
    def events_file(self) -> Path:
        """What has happened; it outlives the cluster."""
        return self.profile_dir / "log" / f"ipymesos{self._suffix}-events.jsonl"

    @property
    def metrics_token(self) -> Path:
        """What lets a program see the metrics, and nothing else; it outlives the cluster."""
        return self.security / f"ipymesos{self._suffix}-metrics.token"


class NotPrivate(ConfigError):
    """A file with a secret, or their directory, is open to others. The message says how, and how to cure it."""


def read_private(path: Path, follow: bool = True) -> bytes:
    """A file with a secret. NotPrivate unless it is ours alone; OSError. `follow`: it may be a link to such a file."""
    flags = os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)  # a pipe of this name must not block us
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise NotPrivate("it isn't a file: move it away")
        if status.st_uid != os.geteuid():
            raise NotPrivate(f"it belongs to user {status.st_uid}, not to you: move it away, or copy it")
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise NotPrivate(f"others may read or write it (mode {stat.S_IMODE(status.st_mode):o}): chmod 600 {path}")
        return file.read()


def check_directory(path: Path) -> None:
    """NotPrivate if others may put files of theirs into `path`, in the place of ours. OSError."""
    status = os.stat(path)
    if status.st_uid not in (os.geteuid(), 0) and os.geteuid() != 0:
        raise NotPrivate(f"{path} belongs to user {status.st_uid}, not to you")
    if stat.S_IMODE(status.st_mode) & 0o022:
        raise NotPrivate(f"others may change {path} (mode {stat.S_IMODE(status.st_mode):o}): chmod 700 {path}")


def write_private(path: Path, data: bytes) -> None:
    """Put `data` into `path`: readable by its owner alone from its first byte, and whole or not at all.

    The rename makes it whole for readers, the two fsyncs make it whole after a power cut. The directory is made when
    it is missing, for its owner alone. Raises OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # the umask may only have taken the owner's rights away
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
