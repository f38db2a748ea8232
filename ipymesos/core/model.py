"""What we know and what we want, as plain data.

Units, here and everywhere inside ipymesos: cpus are integer thousandths of a core (2000 = two cores, so that
no float is ever compared), memory and disk are integer MB as Mesos counts them, GPUs are whole, times are
seconds since the epoch, ports are TCP ports.

`Cluster` is durable: it is saved before anything it says is acted on, and it never contains a key, so it may be
printed, logged and shown. `Session` is what one connection to a master told us: it is forgotten at its end.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property

CONTROLLER = "controller"  # the name of the group that has one task, ipcontroller; engine sets have other names


@dataclass(frozen=True)
class Resources:
    """An amount of what Mesos offers, ports aside. cpus in thousandths, mem and disk in MB, gpus whole."""

    cpus: int = 0
    mem: int = 0
    disk: int = 0
    gpus: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(self.cpus + other.cpus, self.mem + other.mem, self.disk + other.disk, self.gpus + other.gpus)

    def times(self, n: int) -> Resources:
        return Resources(self.cpus * n, self.mem * n, self.disk * n, self.gpus * n)


SCALARS = ("cpus", "mem", "disk", "gpus")


@dataclass(frozen=True)
class Piece:
    """One resource of an offer, or of a task: the same shape, since a task must repeat what the offer said.

    `origin` is whatever Mesos wants repeated word for word (reservations, allocation_info), opaque here.
    `reserved` pieces are spent before the ones that everybody may use.
    """

    name: str  # cpus mem disk gpus ports
    amount: int = 0  # of a scalar
    ranges: tuple[tuple[int, int], ...] = ()  # of ports, both ends included
    origin: str = ""
    reserved: bool = False


@dataclass(frozen=True)
class Offer:
    id: str
    agent_id: str
    hostname: str
    ip: str  # the address the agent gives as its own; the controller binds to it
    pieces: tuple[Piece, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    role: str = "*"
    endpoint: str = ""  # host:port where the agent answers HTTP
    unavailable_from: float | None = None  # a maintenance window has been announced


@dataclass(frozen=True)
class InverseOffer:
    """The operators want an agent back, for a while (Mesos: maintenance.md)."""

    id: str
    agent_id: str
    unavailable_from: float
    until: float | None = None  # None: for ever


@dataclass(frozen=True)
class Drain:
    """An agent that is about to be taken away."""

    starts: float
    until: float | None = None
    offer_id: str = ""  # of the inverse offer that announced it; without one it is known from the agent's offers


@dataclass(frozen=True)
class Container:
    """What a task's executor runs in."""

    kind: str = "process"  # docker | mesos | process: the Docker or the Mesos containerizer with an image, or none
    image: str = ""
    force_pull: bool = False
    python: str = "python3"
    environment: tuple[tuple[str, str], ...] = ()
    volumes: tuple[tuple[str, str, str], ...] = ()  # host path, container path, RO | RW
    parameters: tuple[tuple[str, str], ...] = ()  # docker run's own options
    shm_size: int = 0  # MB of /dev/shm; 0 = the containerizer's default
    user: str = ""

    def line(self, arguments: str) -> str:
        """For a shell, of the executor as a process: who else would put its output into the sandbox?"""
        return f"exec {shlex.quote(self.python)} -m ipymesos_executor {arguments} >stdout 2>stderr"


@dataclass(frozen=True)
class ControllerSpec:
    resources: Resources
    container: Container = Container()
    constraints: tuple[tuple[str, str], ...] = ()  # agent attributes that must be equal
    depth: int = 1  # broadcast_scheduler_depth
    args: tuple[str, ...] = ()  # handed to ipcontroller as they are


@dataclass(frozen=True)
class EngineSpec:
    resources: Resources  # of one engine
    pack: Resources = Resources()  # of the executor that holds the engines of one pack
    container: Container = Container()
    constraints: tuple[tuple[str, str], ...] = ()
    per_container: int = 0  # engines in one pack at most; 0 = as many as fit
    args: tuple[str, ...] = ()  # handed to ipengine as they are
    preload: tuple[str, ...] = ()  # modules imported once per pack, before the engines are forked
    grace: float = 5.0  # seconds that an engine gets to finish its work when its end is wanted


@dataclass(frozen=True)
class EngineSet:
    n: int
    spec: EngineSpec
    revision: int = 0  # counts the specs this set has had: a pack keeps to the one it was launched with


@dataclass(frozen=True)
class Spec:
    """What is wanted. An empty Spec wants nothing, and then everything that runs is surplus."""

    controller: ControllerSpec | None = None
    engines: Mapping[str, EngineSet] = field(default_factory=dict)


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


@dataclass(frozen=True)
class Refusal:
    """Why one offer did not take the next task of one group."""

    group: str
    agent_id: str
    hostname: str
    reason: str  # role attributes draining failing cpus mem disk gpus ports
    wanted: str
    offered: str
    at: float


@dataclass(frozen=True)
class Agent:
    """An agent as the master lists it: what it has in all, offered or not."""

    id: str
    hostname: str
    total: Resources
    ports: int
    attributes: tuple[tuple[str, str], ...] = ()
    used: Resources = Resources()  # by anybody's tasks, when it was listed
    kept: Resources = Resources()  # reserved for roles that are not ours, so no part of `total`
    active: bool = True  # False: away for a moment, or drained


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


@dataclass(frozen=True)
class Usage:
    """Of a task with all its processes."""

    memory: int = 0  # MB that are resident; what several processes share counts in each
    cpu: float = 0.0  # seconds of CPU since its launch


@dataclass(frozen=True)
class Load:
    """What an executor answered: for how many seconds each engine's present work has run; of idle ones it is minus the
    seconds since their last work."""

    at: float
    seconds: Mapping[str, float] = field(default_factory=dict)
    used: Mapping[str, Usage] = field(default_factory=dict)


@dataclass(frozen=True)
class Queues:
    """What a controller answered: the requests that its hub knows of."""

    executor_id: str
    at: float
    waiting: int = 0  # for any engine
    done: int = 0  # since the controller's start
    engines: Mapping[int, tuple[int, int]] = field(default_factory=dict)  # by engine id: direct and balanced ones


@dataclass(frozen=True)
class Session:
    """What this connection to a master has told us."""

    connected: bool = False
    master: str = ""
    subscribed_at: float = 0.0
    offers: Mapping[str, Offer] = field(default_factory=dict)
    suppressed: bool = False
    revived_at: float = 0.0
    offered_at: float | None = None  # when the last offer came
    refusals: Mapping[tuple[str, str], Refusal] = field(default_factory=dict)  # (group, agent id) -> why
    demand: Mapping[str, int] = field(default_factory=dict)  # what was missing when we last planned
    missing_since: Mapping[str, float] = field(default_factory=dict)
    offers_seen: int = 0  # and answered, since this program began
    incomplete_since: Mapping[str, float] = field(default_factory=dict)  # groups that are not all usable
    offers_before: Mapping[str, int] = field(default_factory=dict)  # offers_seen when they began to be incomplete
    lost_at: float | None = None  # when a master was lost; None: none was yet, or there is one
    lost: str = ""  # why
    agents: tuple[Agent, ...] | None = None  # None until the master told us
    agents_hidden: str = ""  # why the master does not tell
    agents_asked_at: float | None = None
    unacknowledged: Mapping[tuple[str, str, str], None] = field(default_factory=dict)  # task, agent, uuid, in order
    unknown: Mapping[str, str] = field(default_factory=dict)  # task -> agent: alive, and not ours to keep
    empty_executors: tuple[tuple[str, str], ...] = ()  # executor, agent: its last task has ended
    unconfirmed: frozenset[str] = frozenset()  # tasks the master has not yet spoken of on this connection
    reconciled_at: float | None = None
    reconcile_tries: int = 0
    torn_down: bool = False
    seen: frozenset[str] = frozenset()  # agents that have made an offer
    inverse_offers: Mapping[str, InverseOffer] = field(default_factory=dict)  # to be answered
    told: Mapping[str, tuple[str, float]] = field(default_factory=dict)  # engine -> controller it was sent to, when
    loads: Mapping[str, Load] = field(default_factory=dict)  # executor -> how busy its engines were
    queues: Queues | None = None  # of the last controller that told them
    load_wanted: bool = False  # by somebody else than the core
    load_asked: Mapping[str, float] = field(default_factory=dict)  # executor -> when, until it answers
    gone: Mapping[tuple[str, int], str] = field(default_factory=dict)  # why, by controller and engine id


@dataclass(frozen=True)
class Everything:
    """Both halves: the state that `observe` moves and `plan` reads."""

    cluster: Cluster
    session: Session = Session()

    def with_cluster(self, **changes: object) -> Everything:
        after = replace(self.cluster, **changes)  # type: ignore[arg-type]
        return Everything(after if "tasks" in changes else after.keeping(self.cluster), self.session)

    def with_session(self, **changes: object) -> Everything:
        return replace(self, session=replace(self.session, **changes))  # type: ignore[arg-type]
