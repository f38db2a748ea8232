"""A small Mesos made of plain data: agents, offers, tasks, filters, status updates until acknowledged.

It speaks the core's own messages, and checks what the real master checks: an offer can be used once, a launch can't
spend more than was offered, a task id can't be used twice, the tasks of an executor agree about it.
tests/integration holds the same stories against a real Mesos.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ipymesos.core.cluster import Task
from ipymesos.core.messages import (
    AcceptInverse,
    Acknowledge,
    Action,
    AgentsListed,
    AskLoad,
    Decline,
    Event,
    InverseOffered,
    InverseRescinded,
    Kill,
    Launch,
    ListAgents,
    LoadTold,
    Move,
    Offered,
    Reconcile,
    Rescinded,
    Revive,
    ShutdownExecutor,
    Suppress,
    Teardown,
    Updated,
)
from ipymesos.core.offers import as_ranges, without
from ipymesos.core.resources import SCALARS, InverseOffer, Offer, Piece, Resources
from ipymesos.core.session import Agent


@dataclass
class FakeAgent:
    id: str
    total: Resources
    ports: tuple[tuple[int, int], ...]
    tasks: dict[str, Task] = field(default_factory=dict)
    offer: Offer | None = None
    filtered_until: float = 0.0

    def executors(self) -> dict[str, Task]:
        return {task.executor_id: task for task in self.tasks.values()}

    def used(self, name: str) -> int:
        of_tasks = sum(p.amount for t in self.tasks.values() for p in t.pieces if p.name == name)
        return of_tasks + sum(p.amount for t in self.executors().values() for p in t.executor_pieces if p.name == name)

    def used_ports(self) -> list[int]:
        return [
            port
            for task in self.tasks.values()
            for piece in task.pieces
            if piece.name == "ports"
            for low, high in piece.ranges
            for port in range(low, high + 1)
        ]

    def free(self) -> tuple[Piece, ...]:
        scalars = tuple(Piece(n, getattr(self.total, n) - self.used(n)) for n in SCALARS if getattr(self.total, n))
        ranges = without(self.ports, self.used_ports())
        return scalars + ((Piece("ports", ranges=ranges),) if ranges else ())


class FakeMesos:
    def __init__(self, agents: Iterable[FakeAgent]) -> None:
        self.agents = {agent.id: agent for agent in agents}
        self.inbox: list[Event] = []  # what the framework has still to hear
        self.updates: dict[str, Updated] = {}  # by uuid, sent again until acknowledged
        self.ever: set[str] = set()  # task ids
        self.serial = 0
        self.suppressed = False
        self.torn_down = False
        self.now = 0.0
        self.homes: dict[str, str] = {}  # engine -> the controller it is with, as its executor tells
        self.deaf = False  # messages to executors get lost
        self.drained: dict[str, InverseOffer] = {}  # agent -> what is asked of it

    # --- what the world does ---

    def allocate(self) -> None:
        """Offer every agent that has something free and is not filtered."""
        if self.suppressed or self.torn_down:
            return
        made = []
        for agent in self.agents.values():
            if agent.offer is None and agent.filtered_until <= self.now and agent.free():
                agent.offer = Offer(self._next("offer"), agent.id, f"host-{agent.id}", "127.0.0.1", agent.free())
                if agent.id in self.drained:
                    agent.offer = replace(agent.offer, unavailable_from=self.drained[agent.id].unavailable_from)
                made.append(agent.offer)
        if made:
            self.inbox.append(Offered(tuple(made)))

    def drain(self, agent_id: str) -> None:
        """The operators announce a maintenance window."""
        self.rescind(agent_id)
        self.drained[agent_id] = InverseOffer(self._next("inverse"), agent_id, self.now + 10_000.0)
        self.inbox.append(InverseOffered((self.drained[agent_id],)))

    def call_drain_off(self, agent_id: str) -> None:
        if asked := self.drained.pop(agent_id, None):
            self.rescind(agent_id)
            self.inbox.append(InverseRescinded(asked.id))

    def rescind(self, agent_id: str) -> None:
        agent = self.agents[agent_id]
        if agent.offer:
            self.inbox.append(Rescinded(agent.offer.id))
            agent.offer = None

    def forget_connection(self) -> None:
        """The framework lost its connection: undelivered events and all offers are void."""
        self.inbox.clear()
        for agent in self.agents.values():
            agent.offer = None
        self.suppressed = False
        if self.drained:
            self.inbox.append(InverseOffered(tuple(self.drained.values())))

    def move(self, task_id: str, word: str, **more: object) -> None:
        """A task's status, from its executor."""
        agent = next(a for a in self.agents.values() if task_id in a.tasks)
        if word not in ("STARTING", "RUNNING", "UNREACHABLE"):
            del agent.tasks[task_id]
            agent.filtered_until = 0.0  # freed resources are more than what was refused
        if word == "RUNNING" and task_id in self.homes:
            more["controller"] = self.homes[task_id]
        update = Updated(task_id, agent.id, f"TASK_{word}", uuid=self._next("uuid"), **more)  # type: ignore[arg-type]
        self.updates[update.uuid] = update
        self.inbox.append(update)

    def resend(self) -> None:
        self.inbox += self.updates.values()

    @property
    def tasks(self) -> dict[str, Task]:
        return {name: task for agent in self.agents.values() for name, task in agent.tasks.items()}

    # --- what the framework asks for ---

    def call(self, action: Action) -> None:
        assert not self.torn_down, f"{action} after the teardown"
        match action:
            case Launch():
                self._launch(action)
            case Decline():
                for agent in self._release(action.offer_ids):
                    agent.filtered_until = self.now + action.refuse_seconds
            case Suppress():
                self.suppressed = True
            case Revive():
                self.suppressed = False
                for agent in self.agents.values():
                    agent.filtered_until = 0.0
            case Kill():
                if action.task_id in self.tasks:
                    self.move(action.task_id, "KILLED")
                else:
                    self.inbox.append(Updated(action.task_id, action.agent_id, "TASK_LOST", "REASON_RECONCILIATION"))
            case Reconcile():
                asked = action.tasks or tuple((t.id, t.agent_id) for t in self.tasks.values())
                for task_id, agent_id in asked:
                    word = "TASK_RUNNING" if task_id in self.tasks else "TASK_UNKNOWN"
                    self.inbox.append(Updated(task_id, agent_id, word, "REASON_RECONCILIATION"))
            case Acknowledge():
                self.updates.pop(action.uuid, None)
            case ListAgents():
                listed = (Agent(a.id, f"host-{a.id}", a.total, 100) for a in self.agents.values())
                self.inbox.append(AgentsListed(tuple(listed)))
            case ShutdownExecutor():
                for task in list(self.agents[action.agent_id].tasks.values()):
                    assert task.executor_id != action.executor_id, f"{action} with {task.id} in it"
            case Move():
                for name in () if self.deaf else action.tasks:
                    if name in self.tasks:
                        self.homes[name] = action.controller
                        self.move(name, "RUNNING")
            case AskLoad():
                pack = [n for n, t in self.tasks.items() if t.executor_id == action.executor_id]
                load = tuple((name, float(i % 2)) for i, name in enumerate(pack))
                if not self.deaf:
                    self.inbox.append(LoadTold(action.executor_id, action.agent_id, load))
            case AcceptInverse():
                assert set(action.offer_ids) <= {asked.id for asked in self.drained.values()}
            case Teardown():
                self.torn_down = True
                for agent in self.agents.values():
                    agent.tasks.clear()

    def _release(self, offer_ids: Iterable[str]) -> list[FakeAgent]:
        held = [a for a in self.agents.values() if a.offer is not None and a.offer.id in tuple(offer_ids)]
        for agent in held:
            agent.offer = None
        return held

    def _launch(self, action: Launch) -> None:
        held = [a for a in self.agents.values() if a.offer is not None and a.offer.id in action.offer_ids]
        for task in action.tasks:
            assert task.id not in self.ever, f"{task.id} used again"
            self.ever.add(task.id)
        if not held:
            for task in action.tasks:
                self.inbox.append(Updated(task.id, task.agent_id, "TASK_LOST", "REASON_INVALID_OFFERS"))
            return
        (agent,) = self._release(action.offer_ids)
        for task in action.tasks:
            assert task.agent_id == agent.id
            known = agent.executors().get(task.executor_id)
            assert known is None or known.executor_pieces == task.executor_pieces, "two minds about one executor"
            assert agent.id not in self.drained, "a launch where an end was announced"
            agent.tasks[task.id] = task
            if task.controller:
                self.homes[task.id] = task.controller
        for name in SCALARS:
            assert agent.used(name) <= getattr(agent.total, name), f"more {name} than offered"
        ports = agent.used_ports()
        assert len(ports) == len(set(ports)), "a port twice"
        assert without(as_ranges(ports), [p for low, high in agent.ports for p in range(low, high + 1)]) == ()
        agent.filtered_until = self.now + action.refuse_seconds

    def _next(self, prefix: str) -> str:
        self.serial += 1
        return f"{prefix}-{self.serial}"
