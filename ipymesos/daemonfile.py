"""The daemon file: how a daemon and those who talk to it find each other.

It lies in the profile's security directory, holds the REST token, and so is its owner's alone (0600). It is removed
at a clean stop; after a failed end it stays, with the error and without the token.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import psutil

from .paths import write_private


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
