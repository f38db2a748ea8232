"""What there is of it. A `Cluster` is durable: it is saved before anything it says is acted on, and it never contains
a key, so it may be printed, logged and shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property

from .resources import Drain, Piece
from .specs import CONTROLLER, Spec


class State(Enum):
    """Of a task that may be alive. What is dead has no state: it is dropped, and its Exit is noted."""

    LAUNCHING = "launching"  # saved by us and sent; Mesos has said nothing yet
    STAGING = "staging"
    STARTING = "starting"  # an engine is forked, a controller is exec'ed, but nobody can use it yet
    RUNNING = "running"  # an engine is registered with the hub, a controller listens on exactly its ports
    KILLING = "killing"
    UNREACHABLE = "unreachable"


GONE = (State.UNREACHABLE, State.KILLING)  # nobody can use such a task any more, or for now


@dataclass(frozen=True)
class Task:
    """One Mesos task: the controller or one engine."""

    id: str
    group: str  # CONTROLLER or the name of an engine set
    executor_id: str
    agent_id: str
    hostname: str
    pieces: tuple[Piece, ...]  # of the task
    executor_pieces: tuple[Piece, ...]  # of its executor, the same in each task of a pack
    launched_at: float
    role: str = "*"  # the role its resources were offered to: a pack never mixes two
    state: State = State.LAUNCHING
    since: float = 0.0  # when `state` was reached
    ip: str = ""
    endpoint: str = ""  # of its agent
    ports: tuple[int, ...] = ()  # of a controller, in the order ipcontroller takes them
    controller: str = ""  # of an engine: the controller's task it is with, or was launched for
    revision: int = 0  # of an engine: its set's, when it was launched
    engine_id: int | None = None
    message: str = ""
    doomed: bool = False  # we asked for its end, so its end is no failure
    kill_sent_at: float | None = None


@dataclass(frozen=True)
class Exit:
    """The end of a task, kept for whoever asks later."""

    task_id: str
    group: str
    hostname: str
    at: float
    state: str  # Mesos' word, TASK_FAILED for example
    reason: str = ""
    message: str = ""
    asked: bool = False
    engine_id: int | None = None
    # Where its sandbox is, as long as its agent keeps it.
    agent_id: str = ""
    endpoint: str = ""
    framework_id: str = ""
    executor_id: str = ""


@dataclass(frozen=True)
class Setback:
    """Consecutive failures of one group: when to try again, and whether that makes any sense."""

    failures: int
    until: float
    message: str
    final: bool = False
    executor_id: str = ""  # the last executor that failed: the tasks of one pack fail together and count once
    words: str = ""  # what the last container that failed has written last, in lines


@dataclass(frozen=True)
class Trouble:
    """Consecutive failed launches on one agent, which is then left alone for a while."""

    failures: int
    until: float
    executor_id: str = ""  # the last one that failed: the tasks of one pack fail together and count once


@dataclass(frozen=True)
class Place:
    """Where a controller was: its engines look for it there until they have moved."""

    ip: str
    ports: tuple[int, ...]


class Draft(dict[str, Task]):
    """Tasks that nobody but the one who changes them has seen: they need not be copied for each change."""


@dataclass(frozen=True)
class Cluster:
    """The durable half. Frozen: whoever holds one may keep it."""

    name: str
    spec: Spec = Spec()
    framework_id: str = ""
    serial: int = 0  # last number used in a task's or executor's id: ids are never used twice
    tasks: Mapping[str, Task] = field(default_factory=dict)
    exits: tuple[Exit, ...] = ()
    setbacks: Mapping[str, Setback] = field(default_factory=dict)
    busy_ports: Mapping[str, Mapping[int, float]] = field(default_factory=dict)  # address -> port -> until
    stopping: str = ""  # why, once the end is wanted

    proven: frozenset[str] = frozenset()  # groups of which a task has been RUNNING: their launch can work
    stopping_since: float | None = None
    draining: Mapping[str, Drain] = field(default_factory=dict)  # agents that are about to be taken away
    former: Mapping[str, Place] = field(default_factory=dict)  # ended controllers that engines still look for
    troubles: Mapping[str, Trouble] = field(default_factory=dict)  # agents on which launches fail

    def group(self, name: str) -> list[Task]:
        return list(self._hubs if name == CONTROLLER else self._groups.get(name, ()))

    def with_task(self, task: Task) -> Cluster:
        """With a task that is new, or other than before."""
        tasks = self.tasks if isinstance(self.tasks, Draft) else dict(self.tasks)
        tasks[task.id] = task
        return self._with(tasks, task)

    def without_task(self, task: Task) -> Cluster:
        tasks = self.tasks if isinstance(self.tasks, Draft) else dict(self.tasks)
        del tasks[task.id]
        return self._with(tasks, task)

    def _with(self, tasks: Mapping[str, Task], changed: Task) -> Cluster:
        after = replace(self, tasks=tasks)
        if changed.group != CONTROLLER:
            after.__dict__["_hubs"] = self._hubs
        return after

    def keeping(self, before: Cluster) -> Cluster:
        """This, which has the same tasks as `before`, and what was found out about them then."""
        for name in ("_groups", "_hubs"):
            if name in before.__dict__:
                self.__dict__[name] = before.__dict__[name]
        return self

    @cached_property
    def _hubs(self) -> Sequence[Task]:
        return [task for task in self.tasks.values() if task.group == CONTROLLER]

    @cached_property
    def _groups(self) -> Mapping[str, Sequence[Task]]:
        groups: dict[str, list[Task]] = {}
        for task in self.tasks.values():
            groups.setdefault(task.group, []).append(task)
        return groups

    @property
    def controller(self) -> Task | None:
        """The controller that engines shall be with: the newest one that is reachable and whose end nobody wants."""
        return max(self._controllers(), key=lambda t: (t.agent_id not in self.draining, t.launched_at), default=None)

    @property
    def serving(self) -> Task | None:
        """The controller that clients can use: the one above, or while it only starts the one that it replaces."""
        running = [t for t in self._controllers() if t.state is State.RUNNING]
        return max(running, key=lambda t: (t.agent_id not in self.draining, t.launched_at), default=None)

    def _controllers(self) -> list[Task]:
        return [t for t in self.group(CONTROLLER) if not t.doomed and t.state not in GONE]
