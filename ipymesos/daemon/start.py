"""With what a daemon begins: what it was asked for, or what a dead one has left, or both."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from glob import escape
from typing import Any

from traitlets import TraitError

from ..config import MesosOptions
from ..connection import Connection
from ..core.cluster import Cluster
from ..core.specs import EngineSet, Spec
from ..errors import NotRunning, StoreError
from ..paths import Paths
from .store import FileStore, Saved

FIRST_SET = "engines"  # the name of the engine set that `start -n` makes

log = logging.getLogger("ipymesos.daemon")


@dataclass(frozen=True)
class Start:
    """What one daemon is asked for."""

    options: MesosOptions
    n: int | None = None  # engines of FIRST_SET; None: engine sets come over REST
    controller_args: tuple[str, ...] = ()
    engine_args: tuple[str, ...] = ()

    @property
    def spec(self) -> Spec:
        engines = {}
        if self.n is not None:
            engines[FIRST_SET] = EngineSet(self.n, self.options.engine_spec(self.engine_args))
        return Spec(self.options.controller_spec(self.controller_args), engines)

    def to_json(self) -> dict[str, Any]:
        """For the state file. No secret is among it, only the name of its file."""
        return {
            "options": self.options.to_options(),
            "n": self.n,
            "controller_args": list(self.controller_args),
            "engine_args": list(self.engine_args),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Start:
        """TraitError for a bad option, KeyError, TypeError and ValueError for what is none of ours."""
        n, args = content["n"], [content["controller_args"], content["engine_args"]]
        if not (n is None or isinstance(n, int)) or not all(isinstance(arg, str) for a in args for arg in a):
            raise ValueError("n is a number, and arguments are texts")
        return cls(MesosOptions.from_options(dict(content["options"])), n, *(tuple(a) for a in args))


def begin(asked: Start | None, store: FileStore, cluster_id: str) -> tuple[Start, Cluster, Connection]:
    """A new cluster, or the one that a dead daemon has left. `asked` None: go on just as that was told to."""
    saved, now = store.load(), time.time()
    if asked is None:
        if saved is None:
            raise NotRunning(f"there is nothing to resume: there is no {store.path}; start a cluster without --resume")
        try:
            start = Start.from_json(saved.start)
        except (TraitError, KeyError, TypeError, ValueError) as error:
            what = f"{store.path} can't be resumed ({error})"
            raise StoreError(f"{what}; start without --resume to take over, with options of your own") from error
        cluster, connection = resumed(saved, now), saved.connection
    elif saved is None:
        connection = Connection.new(asked.options.curve, cluster_id)
        return asked, Cluster(asked.options.framework_name, asked.spec), connection
    elif asked.options.master == "local":
        raise StoreError(
            f"{store.path} is the state of a cluster on another Mesos, whose tasks may still run: `python -m ipymesos"
            " start --resume` and `stop` end them; or give this cluster another --cluster-id"
        )
    else:
        start, cluster = asked, taken_over(saved, asked, now)
        connection = keys_for(cluster, saved, start)
    log.info("taking over %d tasks of framework %s", len(cluster.tasks), cluster.framework_id or "(none)")
    return start, cluster, connection


def resumed(saved: Saved, now: float) -> Cluster:
    """The cluster just as it was; one that was stopping goes on stopping."""
    since = now if saved.cluster.stopping else None
    return replace(not_ahead(saved.cluster, now), stopping_since=since)


def taken_over(saved: Saved, start: Start, now: float) -> Cluster:
    """What is left of the cluster, under another start's options: those win, and what runs already goes on.

    Engine sets that `start` doesn't name stay as they are; one that it gives another specification counts that as a
    new revision, so that only new packs have it.
    """
    cluster = not_ahead(saved.cluster, now)
    spec, old = start.spec, cluster.spec.engines
    named = {
        name: replace(new, revision=old[name].revision + (new.spec != old[name].spec)) if name in old else new
        for name, new in spec.engines.items()
    }
    spec = replace(spec, engines={**old, **named})
    name = start.options.framework_name
    return replace(cluster, name=name, spec=spec, setbacks={}, stopping="", stopping_since=None)


def keys_for(cluster: Cluster, saved: Saved, start: Start) -> Connection:
    """The old keys as long as somebody may use them; else new ones when the option `curve` has changed."""
    if cluster.tasks or saved.connection.curve == start.options.curve:
        return saved.connection
    return Connection.new(start.options.curve, saved.connection.cluster_id)


def not_ahead(cluster: Cluster, now: float) -> Cluster:
    """The cluster with no time in the future, as after the machine's clock was set back: nothing waits for hours."""
    times = [t for task in cluster.tasks.values() for t in (task.launched_at, task.since)]
    ahead = max([*times, *(end.at for end in cluster.exits)], default=now) - now
    if not ahead > 0:
        return cluster
    tasks = {
        name: replace(task, launched_at=task.launched_at - ahead, since=task.since - ahead, kill_sent_at=None)
        for name, task in cluster.tasks.items()
    }
    exits = tuple(replace(end, at=end.at - ahead) for end in cluster.exits)
    setbacks = {name: replace(setback, until=setback.until - ahead) for name, setback in cluster.setbacks.items()}
    return replace(cluster, tasks=tasks, exits=exits, setbacks=setbacks, busy_ports={}, troubles={})


def sweep(paths: Paths) -> None:
    """Remove what a daemon that was killed while it wrote has left; the files of others are not touched."""
    for path in (paths.state_file, paths.daemon_file, paths.client_file, paths.engine_file):
        for left in path.parent.glob(f".{escape(path.name)}.*"):
            left.unlink(missing_ok=True)
