"""Whose log is where: of the tasks that live, and of those that have ended lately. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ...core.cluster import Cluster, Exit, Task
from ...core.specs import CONTROLLER
from ...errors import ConfigError
from .files import Sandbox

LOG, STREAMS = "log", ("log", "stdout", "stderr")
ENDED = "ended"


@dataclass(frozen=True)
class Source:
    """The sandbox of one task; `state` as in the status, or ENDED, `at` is since when, in seconds since the epoch."""

    task: str
    group: str
    engine_id: int | None
    agent: str
    agent_id: str
    state: str
    at: float
    sandbox: Sandbox
    asked: bool = False  # its end was wanted

    def file(self, stream: str) -> str:
        """The name in the sandbox. `log` is the task's own; stdout and stderr are its container's, all tasks' of it."""
        if stream != LOG:
            return stream
        return f"{'controller' if self.group == CONTROLLER else 'engine'}-{self.task}.log"

    def as_dict(self) -> dict[str, Any]:
        names = ("task", "group", "engine_id", "agent", "agent_id", "state", "at", "asked")
        return {**{name: getattr(self, name) for name in names}, "container": self.sandbox.executor_id}


def of(cluster: Cluster, thing: Task | Exit) -> Source:
    """What a task, or its Exit, says about itself."""
    if isinstance(thing, Exit):
        sandbox = Sandbox(thing.endpoint, thing.framework_id, thing.executor_id)
        task, state, at, asked = thing.task_id, ENDED, thing.at, thing.asked
    else:
        sandbox = Sandbox(thing.endpoint, cluster.framework_id, thing.executor_id)
        task, state, at, asked = thing.id, thing.state.value, thing.since, thing.doomed
    return Source(task, thing.group, thing.engine_id, thing.hostname, thing.agent_id, state, at, sandbox, asked)


def sources(cluster: Cluster) -> list[Source]:
    """All there are: the controllers, the engines by their id, then what has ended, the latest last."""
    live = sorted(
        cluster.tasks.values(),
        key=lambda t: (t.group != CONTROLLER, t.engine_id is None, t.engine_id or 0, t.launched_at, t.id),
    )
    return [of(cluster, task) for task in live] + [of(cluster, end) for end in cluster.exits]


def find(cluster: Cluster, name: str) -> Source:
    """By "controller", an engine's number or a task's id; of several the one that lives, else the latest."""
    if name == CONTROLLER:
        task = cluster.serving or cluster.controller
        candidates = [task] if task is not None else cluster.group(CONTROLLER)
        found = _latest(candidates, (e for e in cluster.exits if e.group == CONTROLLER))
        missing = "no controller has been launched yet: `python -m ipymesos explain` says why"
    elif name.isdecimal():
        number = int(name) if len(name) < 10 else -1
        found = _latest(
            (t for t in cluster.tasks.values() if t.engine_id == number),
            (e for e in cluster.exits if e.engine_id == number),
        )
        missing = f"there is no engine {name}, nor has one ended lately"
    else:
        found = cluster.tasks.get(name) or _latest((), (e for e in cluster.exits if e.task_id == name))
        missing = f"there is no task {name!r}, nor has one ended lately"
    if found is None:
        raise ConfigError(f"{missing}; `python -m ipymesos logs --list` shows whose logs there are")
    return of(cluster, found)


def _latest(tasks: Iterable[Task], exits: Iterable[Exit]) -> Task | Exit | None:
    living = max(tasks, key=lambda t: t.launched_at, default=None)
    return living or max(exits, key=lambda e: e.at, default=None)
