"""What one connection to a master has told us, which is forgotten at its end; and both halves of all that is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .cluster import Cluster
from .resources import InverseOffer, Offer, Resources


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
