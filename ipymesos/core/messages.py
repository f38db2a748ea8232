"""What can happen (events, past participles) and what can be asked for (actions, imperatives).

The shells turn callbacks, requests and timers into events, and actions into calls; nothing else passes the door.
"""

from __future__ import annotations

from dataclasses import dataclass

from .cluster import Task
from .resources import InverseOffer, Offer
from .session import Agent, Refusal, Usage
from .specs import EngineSpec

# --- events ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subscribed:
    framework_id: str
    master: str
    suppressed: bool = False  # as asked for: no offers will come before a Revive


@dataclass(frozen=True)
class Disconnected:
    reason: str = ""


@dataclass(frozen=True)
class Offered:
    offers: tuple[Offer, ...]


@dataclass(frozen=True)
class Rescinded:
    offer_id: str


@dataclass(frozen=True)
class Updated:
    """A task status. `state` and `reason` are Mesos' words (TASK_RUNNING, REASON_RECONCILIATION)."""

    task_id: str
    agent_id: str
    state: str
    reason: str = ""
    message: str = ""
    uuid: str = ""  # empty: nothing to acknowledge (made up by the master)
    engine_id: int | None = None  # said by our executor: the hub's id of this engine
    busy_ports: tuple[int, ...] = ()  # said by our executor: these ports of the task were taken by somebody else
    final: bool = False  # said by our executor: another try can't help
    controller: str = ""  # said by our executor: the controller's task with which this engine is registered
    words: str = ""  # what its container has written last, in lines


@dataclass(frozen=True)
class InverseOffered:
    offers: tuple[InverseOffer, ...]


@dataclass(frozen=True)
class InverseRescinded:
    offer_id: str


@dataclass(frozen=True)
class LoadTold:
    """An executor's answer: for how many seconds each of its engines has worked, or minus how long it has been idle."""

    executor_id: str
    agent_id: str
    load: tuple[tuple[str, float], ...]
    used: tuple[tuple[str, Usage], ...] = ()  # by its tasks


@dataclass(frozen=True)
class QueuesTold:
    """A controller's answer to the same question."""

    executor_id: str
    agent_id: str
    waiting: int
    done: int
    engines: tuple[tuple[int, tuple[int, int]], ...] = ()


@dataclass(frozen=True)
class LoadWanted:
    """Somebody wants to know how busy the engines and the controller are: every executor shall be asked."""


@dataclass(frozen=True)
class ExecutorLost:
    executor_id: str
    agent_id: str
    status: int


@dataclass(frozen=True)
class AgentLost:
    agent_id: str


@dataclass(frozen=True)
class AgentsListed:
    agents: tuple[Agent, ...]


@dataclass(frozen=True)
class AgentsHidden:
    """The master does not tell which agents there are."""

    reason: str


@dataclass(frozen=True)
class EnginesWanted:
    """Engine set `group` shall have n engines. `spec` None: the set exists and keeps its own."""

    group: str
    n: int
    spec: EngineSpec | None = None


@dataclass(frozen=True)
class EnginesDropped:
    """The engine set is wanted no more."""

    group: str


@dataclass(frozen=True)
class EngineUnwanted:
    """This engine shall end: and be replaced, or the wish goes down by one."""

    task_id: str
    replace: bool = False


@dataclass(frozen=True)
class StopWanted:
    reason: str


@dataclass(frozen=True)
class Ticked:
    """Time has passed."""


Event = (
    Subscribed
    | Disconnected
    | Offered
    | Rescinded
    | Updated
    | InverseOffered
    | InverseRescinded
    | LoadTold
    | QueuesTold
    | LoadWanted
    | ExecutorLost
    | AgentLost
    | AgentsListed
    | AgentsHidden
    | EnginesWanted
    | EnginesDropped
    | EngineUnwanted
    | StopWanted
    | Ticked
)

# --- actions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Launch:
    """Launch tasks on the merged offers of one agent; what is left of them comes back after `refuse_seconds`."""

    offer_ids: tuple[str, ...]
    tasks: tuple[Task, ...]
    serial: int  # the last number used in these tasks' and their executors' ids
    refuse_seconds: float
    refusals: tuple[Refusal, ...] = ()  # of what was wanted besides


@dataclass(frozen=True)
class Decline:
    offer_ids: tuple[str, ...]
    refuse_seconds: float
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True)
class Suppress:
    pass


@dataclass(frozen=True)
class Revive:
    pass


@dataclass(frozen=True)
class Kill:
    """Ask for a task's end; after `grace` seconds it is made to end. None: as its TaskInfo says."""

    task_id: str
    agent_id: str
    grace: float | None = None


@dataclass(frozen=True)
class Move:
    """Tell the engines of one executor to leave the controller they are with for another one."""

    executor_id: str
    agent_id: str
    tasks: tuple[str, ...]
    controller: str  # its task


@dataclass(frozen=True)
class AskLoad:
    """Ask an executor how busy its engines are (LoadTold is the answer; it may get lost, as the question may)."""

    executor_id: str
    agent_id: str


@dataclass(frozen=True)
class TellGone:
    """Tell the controller's executor of engines that have ended without anybody on their agent to say so to the hub."""

    controller: str  # its task
    executor_id: str
    agent_id: str
    engines: tuple[tuple[int, str], ...]  # engine id, why


@dataclass(frozen=True)
class AcceptInverse:
    """Promise to leave (Mesos: maintenance.md)."""

    offer_ids: tuple[str, ...]


@dataclass(frozen=True)
class ShutdownExecutor:
    executor_id: str
    agent_id: str


@dataclass(frozen=True)
class Reconcile:
    """(task id, agent id) pairs; none at all asks for everything the master knows."""

    tasks: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Acknowledge:
    task_id: str
    agent_id: str
    uuid: str


@dataclass(frozen=True)
class ListAgents:
    """Ask the master what its agents have in all (an answer is AgentsListed; it may be forbidden)."""


@dataclass(frozen=True)
class Teardown:
    pass


Action = (
    Launch
    | Decline
    | Suppress
    | Revive
    | Kill
    | Move
    | AskLoad
    | TellGone
    | AcceptInverse
    | ShutdownExecutor
    | Reconcile
    | Acknowledge
    | ListAgents
    | Teardown
)
