"""A framework of a few seconds: it registers as a cluster would, takes offers, and runs a task on one or two agents.

Its tasks are a pack's: the same container, executor and imports as of engines, but what is forked looks around instead
of computing (ipymesos_executor.check). With failover_timeout 0 the master ends all of it as soon as we are gone.
"""

from __future__ import annotations

import json
import queue
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .. import mesos
from ..config import MesosOptions
from ..core.cluster import Cluster, Task
from ..core.messages import (
    Acknowledge,
    Action,
    AgentsListed,
    Decline,
    Event,
    Kill,
    Launch,
    Offered,
    Rescinded,
    Revive,
    Subscribed,
    Teardown,
    Updated,
)
from ..core.offers import Lack, Stock, stocks
from ..core.resources import Offer, Resources
from ..core.session import Agent
from ..core.specs import Container, EngineSet, EngineSpec, Spec
from ..daemon.access import Access
from ..daemon.sandbox import Files
from ..daemon.sandbox.coroner import last_words
from ..daemon.sandbox.files import Sandbox
from ..driver import Driver
from ..errors import MesosError, Unreadable

SHARE = Resources(cpus=100, mem=96)  # of the task; its executor has as much again
QUIET = 1.0  # seconds without a new offer, after which those that came are taken for all
GRACE, PARTING = 1.0, 5.0  # seconds for the tasks to end, and for the master to take the last calls
LONG_REFUSAL = 3600.0  # seconds; it ends with the framework
PROTOCOL = 1  # of TaskInfo.data
ENDS = ("TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_LOST", "TASK_DROPPED", "TASK_GONE")


@dataclass(frozen=True)
class Seen:
    """What became of one task: what it found, or why it ended; neither when it took too long. `at`: when it spoke."""

    task: Task
    found: dict[str, Any] | None = None
    ended: str = ""
    at: float = 0.0


class Trial:
    """Use it in order: register, gather, launch as often as wanted, and finish always. Blocking."""

    def __init__(self, options: MesosOptions, access: Access) -> None:
        framework = options.framework()
        if access.principal:
            framework = replace(framework, principal=access.principal, secret=access.secret)
        self._framework = replace(
            framework, name=f"{framework.name} doctor", failover_timeout=0.0, checkpoint=False, webui_url=""
        )
        self.files = Files(framework.principal, framework.secret)
        self.cluster = Cluster(self._framework.name)
        self.word = secrets.token_hex(8)  # no secret: it only tells our task from somebody else's
        self.tasks: dict[str, Task] = {}
        self._choosy = False  # no more offers are wanted
        self._master = ""
        self._heard: queue.SimpleQueue[Event | Exception] = queue.SimpleQueue()
        self._offers: dict[str, Offer] = {}
        self._agents: Sequence[Agent] | None = None
        self._updates: dict[str, Updated] = {}
        self._driver = Driver(
            self._framework,
            access.master,
            post=self._heard.put,
            fatal=self._heard.put,
            connect_timeout=options.connect_timeout,
        )

    def register(self) -> str:
        """Subscribe; the leading master's address. MesosError when it doesn't take us."""
        self._driver.start()
        while not self.cluster.framework_id:
            self._hear(None)
        self._driver.list_agents()
        return self._master

    def gather(self, patience: float) -> tuple[list[Offer], Sequence[Agent] | None]:
        """What is offered, when no more comes, and all agents if the master lets us see them."""
        deadline = time.monotonic() + patience
        while (left := deadline - time.monotonic()) > 0:
            known = len(self._offers)
            self._hear(min(left, QUIET))
            if known and len(self._offers) == known:
                break
        return list(self._offers.values()), self._agents

    def keep(self, rooms: Sequence[Stock]) -> None:
        """Give everything else that was offered back."""
        kept = {offer_id for stock in rooms for offer_id in stock.offer_ids}
        if others := tuple(offer_id for offer_id in self._offers if offer_id not in kept):
            self._send(Decline(others, LONG_REFUSAL))
        self._offers = {offer_id: offer for offer_id, offer in self._offers.items() if offer_id in kept}
        self._choosy = True

    def offered(self, room: Stock) -> bool:
        """Is it still ours to use?"""
        return all(offer_id in self._offers for offer_id in room.offer_ids)

    def gather_again(self, patience: float) -> None:
        """Let the master offer afresh what was given back."""
        self._choosy = False
        self._send(Revive())
        self.gather(patience)

    def room(self, spec: EngineSpec) -> list[Stock]:
        """Where a task with the constraints of `spec` has room, one place for each agent, the biggest first."""
        need = SHARE + SHARE
        found: dict[str, Stock] = {}
        for stock in sorted(stocks(self._offers.values()), key=lambda s: -s.amount("cpus")):
            lack: Lack | None = stock.lack(need, spec.constraints, 1)
            if lack is None:
                found.setdefault(stock.agent_id, stock)
        return list(found.values())

    def launch(
        self, stock: Stock, container: Container, preload: tuple[str, ...], ip: str, reach: Sequence[tuple[str, int]]
    ) -> Task:
        """Start a task that listens on a port of the offer and tries to reach those places and itself."""
        number = len(self.tasks) + 1
        spec = EngineSpec(resources=SHARE, pack=SHARE, container=container, preload=preload, grace=GRACE)
        executor_pieces, pieces = stock.take(SHARE), stock.take(SHARE)
        port_pieces, ports = stock.take_ports(1, ())
        name = f"check-{number}"
        task = Task(
            id=name,
            group=name,
            executor_id=name,
            agent_id=stock.agent_id,
            hostname=stock.hostname,
            pieces=pieces + port_pieces,
            executor_pieces=executor_pieces,
            launched_at=0.0,
            ip=ip or stock.ip,
            endpoint=stock.endpoint,
            ports=ports,
        )
        self.tasks[name] = task
        sets = {**self.cluster.spec.engines, name: EngineSet(1, spec)}
        self.cluster = replace(self.cluster, spec=Spec(None, sets))
        content = {
            "protocol": PROTOCOL,
            "kind": "check",
            "args": [],
            "engine_info": {},
            "word": self.word,
            "listen": [task.ip, ports[0]],
            "reach": [[task.ip, ports[0]], *map(list, reach)],
        }
        for offer_id in stock.offer_ids:
            self._offers.pop(offer_id, None)
        self._send(Launch(stock.offer_ids, (task,), number, LONG_REFUSAL), json.dumps(content).encode())
        return task

    def outcome(self, task: Task, patience: float) -> Seen:
        """Wait until it has told what it found, has ended, or `patience` seconds are over."""
        deadline = time.monotonic() + patience
        while (left := deadline - time.monotonic()) > 0:
            update = self._updates.get(task.id)
            if update is not None and update.state == "TASK_RUNNING":
                return Seen(task, _object(update.message), at=time.time())
            if update is not None and update.state in ENDS:
                words = last_words(self.files, self._sandbox(task))
                said = update.message or update.reason or update.state
                return Seen(task, ended=f"{said}; it said: {words}" if words else said)
            self._hear(left)
        return Seen(task)

    def log_problem(self, task: Task) -> str:
        """Why its log can't be read from its agent; empty if it can."""
        try:
            self.files.tail(self._sandbox(task), f"check-{task.id}.log", 1, 1000)
        except Unreadable as error:
            return str(error)
        return ""

    def finish(self) -> bool:
        """End tasks, framework and connection; whether the master has confirmed it."""
        clean = not self.cluster.framework_id
        try:
            if not clean:
                for task in self.tasks.values():
                    self._send(Kill(task.id, task.agent_id, GRACE))
                self._await_ends()
                self._send(Teardown())
                clean = self._driver.flush(PARTING)
        finally:
            self._driver.stop()
        return clean

    def _await_ends(self) -> None:
        deadline = time.monotonic() + PARTING
        try:
            while any(name not in self._updates or self._updates[name].state not in ENDS for name in self.tasks):
                if (left := deadline - time.monotonic()) <= 0:
                    return
                self._hear(left)
        except MesosError:
            return  # the connection is gone for good; the teardown will tell

    def _sandbox(self, task: Task) -> Sandbox:
        return Sandbox(task.endpoint, self.cluster.framework_id, task.executor_id)

    def _send(self, action: Action, data: bytes = b"") -> None:
        self._driver.send([mesos.call(action, self.cluster, lambda _: data, lambda _: {})])

    def _hear(self, patience: float | None) -> None:
        """Take one event, or none within `patience` seconds."""
        try:
            event = self._heard.get(timeout=patience)
        except queue.Empty:
            return
        match event:
            case Exception():
                raise event
            case Subscribed():
                self._master = event.master
                self.cluster = replace(self.cluster, framework_id=event.framework_id)
                self._offers.clear()
            case Offered():
                if self._choosy:  # what comes back, or comes now, is others' business
                    self._send(Decline(tuple(offer.id for offer in event.offers), LONG_REFUSAL))
                else:
                    self._offers.update({offer.id: offer for offer in event.offers})
            case Rescinded():
                self._offers.pop(event.offer_id, None)
            case AgentsListed():
                self._agents = event.agents
            case Updated():
                if event.state != "TASK_RUNNING" or event.message:
                    self._updates[event.task_id] = event
                if event.uuid:
                    self._send(Acknowledge(event.task_id, event.agent_id, event.uuid))


def _object(text: str) -> dict[str, Any]:
    """What a check has said; nothing if it isn't what one says."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
