"""Keep what must outlive the daemon: the Cluster, its Connection and how it was started, in one file of their owner.

The file is always whole: every save writes a new one and renames it over the old. It holds the keys, so it is
refused when others may read it. What can't be read is never overwritten: somebody's engines may depend on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..connection import Connection
from ..core.cluster import Cluster, Task
from ..errors import StoreError
from ..paths import NotPrivate, read_private, write_private
from .codec import decode, encode

VERSION = 2
ELSE = "or move it away; Mesos ends what is left of that cluster after its failover_timeout"


@dataclass(frozen=True)
class Saved:
    """What one file keeps. `start` is Start.to_json()."""

    cluster: Cluster
    connection: Connection
    start: Mapping[str, Any] = field(repr=False)


class FileStore:
    """The state of one cluster at `path`. Every method raises StoreError, whose message names the path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tasks: dict[str, tuple[Task, str]] = {}  # of the last save: most tasks are as they were then

    def load(self) -> Saved | None:
        """What the last save kept; None if nothing was, or it was removed."""
        try:
            content = json.loads(read_private(self.path, follow=False))
        except NotPrivate as error:
            raise StoreError(f"{self.path} holds the cluster's keys, and {error}") from None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"the state in {self.path} can't be read: {error}") from error
        except (ValueError, RecursionError):
            raise StoreError(f"{self.path} is damaged: put a copy of it back, {ELSE}") from None
        try:
            version = content["version"]
            if version != VERSION and isinstance(version, int):
                age = "a newer" if version > VERSION else "an older"
                raise StoreError(
                    f"{self.path} was written by {age} ipymesos (state version {version}, this one has {VERSION}):"
                    f" use that ipymesos to stop its cluster, {ELSE}"
                )
            return Saved(
                decode(Cluster, content["cluster"]),
                Connection.from_json(content["connection"]),
                dict(content["start"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            # not the values: one of them may be a key
            raise StoreError(
                f"{self.path} isn't a state of ipymesos ({type(error).__name__}): put the right one back, {ELSE}"
            ) from None

    def save(self, saved: Saved) -> None:
        rest = {"version": VERSION, "start": dict(saved.start), "connection": saved.connection.to_json()}
        content = f'{json.dumps(rest)[:-1]}, "cluster": {self._encode(saved.cluster)}}}'
        try:
            write_private(self.path, content.encode())
        except OSError as error:
            raise StoreError(f"the state can't be kept in {self.path}: {error.strerror or error}") from error

    def _encode(self, cluster: Cluster) -> str:
        before = self._tasks
        self._tasks = {
            name: known
            if (known := before.get(name)) is not None and known[0] is task
            else (task, json.dumps(encode(task)))
            for name, task in cluster.tasks.items()
        }
        rest = encode(replace(cluster, tasks={}))
        del rest["tasks"]
        tasks = ", ".join(f"{json.dumps(name)}: {text}" for name, (_, text) in self._tasks.items())
        return f'{json.dumps(rest)[:-1]}, "tasks": {{{tasks}}}}}'

    def remove(self) -> None:
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self.path} can't be removed: {error}") from error
