"""Keep what must outlive the daemon: the Cluster and its Connection, in one file of their owner alone.

The file is always whole: every save writes a new one and renames it over the old. It holds the keys, so it is
refused when others may read it.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from ..connection import Connection
from ..core.model import Cluster
from ..errors import StoreError
from ..paths import write_private
from .codec import decode, encode

VERSION = 1


class FileStore:
    """The state of one cluster at `path`. Every method raises StoreError, whose message names the path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> tuple[Cluster, Connection] | None:
        """What the last save kept; None if nothing was, or it was removed."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(file.fileno())
                if status.st_uid != os.getuid():
                    raise StoreError(f"{self.path} belongs to user {status.st_uid}, not to you: move it away")
                if mode := stat.S_IMODE(status.st_mode) & 0o077:
                    raise StoreError(
                        f"{self.path} holds keys and others may read or write it (mode {mode | 0o600:o}):"
                        f" chmod 600 {self.path}, or remove it and start with new keys"
                    )
                content = json.load(file)
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise StoreError(f"the state in {self.path} can't be read: {error}") from error
        try:
            if content["version"] != VERSION:
                raise StoreError(
                    f"{self.path} was written in version {content['version']}; this program reads {VERSION}"
                )
            return decode(Cluster, content["cluster"]), Connection.from_json(content["connection"])
        except (KeyError, TypeError, ValueError) as error:
            # not the values: one of them may be a key
            raise StoreError(f"{self.path} isn't a state of ipymesos ({type(error).__name__}); move it away") from None

    def save(self, cluster: Cluster, connection: Connection) -> None:
        content = {"version": VERSION, "cluster": encode(cluster), "connection": connection.to_json()}
        try:
            write_private(self.path, json.dumps(content).encode())
        except OSError as error:
            raise StoreError(f"the state can't be kept in {self.path}: {error}") from error

    def remove(self) -> None:
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self.path} can't be removed: {error}") from error
