"""One round of launches: what is missing, fitted into what is offered; every offer gets its answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from . import policy
from .cluster import Cluster, State, Task
from .messages import Action, Decline, Launch
from .offers import EXECUTOR_SHARE, Stock, one_task, refusal
from .resources import Piece, Resources
from .session import Everything, Refusal
from .specs import CONTROLLER, ControllerSpec, EngineSpec

LONG_REFUSAL = 3600.0  # seconds; only offers no better than the refused one are held back, and REVIVE ends it
SHORT_REFUSAL = 1.0  # seconds; after a launch, while more is wanted


@dataclass
class Placement:
    """One round: what is missing, fitted into what is offered, one agent after the other."""

    state: Everything
    missing: dict[str, int]  # by group; what is left of it in the end
    now: float
    launches: list[Launch] = field(default_factory=list)
    declined: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)  # of what is declined

    def __post_init__(self) -> None:
        self.cluster: Cluster = self.state.cluster
        groups = sorted(self.missing, key=lambda group: group != CONTROLLER)
        specs = ((group, policy.spec_of(self.cluster, group)) for group in groups)
        self._wanted = [(group, spec, *one_task(spec)) for group, spec in specs if spec is not None]
        self._failing = policy.failing(self.state, self.now)
        self._former = policy.former(self.cluster)
        self.serial = self.cluster.serial
        controller = self.cluster.controller
        self.controller_id = controller.id if controller else ""
        # (group, revision, agent, role) -> a task of the pack that others may join
        self._packs: dict[tuple[str, int, str, str], Task] = {}
        self._sizes: dict[str, int] = {}
        for task in self.cluster.tasks.values():
            self._sizes[task.executor_id] = self._sizes.get(task.executor_id, 0) + 1
            if not task.doomed and task.state in (State.STARTING, State.RUNNING):
                self._packs[task.group, task.revision, task.agent_id, task.role] = task

    def order(self, offered: Iterable[Stock]) -> list[Stock]:
        """Where a pack lives first, since one more fork is cheaper than a container; then the biggest, so that few
        packs do. The controller's place is found before any engine's."""
        homes = {
            (agent_id, role)
            for (group, revision, agent_id, role), pack in self._packs.items()
            if self.missing.get(group) and self._has_room(group, pack)
        }
        by_size = sorted(
            offered,
            key=lambda s: ((s.agent_id, s.role) not in homes, -s.amount("cpus"), -s.amount("mem"), s.agent_id),
        )
        for stock in by_size:
            stock.failing = self._failing.get(stock.agent_id, "")
        for _, spec, least, ports in self._wanted:
            if isinstance(spec, ControllerSpec):
                able = next((s for s in by_size if not s.lack(least, spec.constraints, ports, self._avoided(s))), None)
                by_size.sort(key=lambda s: s is not able)
        return by_size

    @property
    def actions(self) -> list[Action]:
        """The answers to all offers: one call for what is declined, however many they are."""
        declined = Decline(tuple(self.declined), LONG_REFUSAL, tuple(self.refusals))
        return [*self.launches, declined] if self.declined else [*self.launches]

    def spend(self, stock: Stock) -> None:
        """Launch on this agent whatever fits and is missing; refuse the rest, with reasons."""
        tasks: list[Task] = []
        refusals: list[Refusal] = []
        for group, spec, least, ports in self._wanted:
            if not self.missing[group]:
                continue
            if isinstance(spec, ControllerSpec):
                self._controller(stock, spec, least, ports, tasks, refusals)
            else:
                self._engines(stock, group, spec, least, tasks, refusals)
        if tasks:
            refuse = SHORT_REFUSAL if any(self.missing.values()) else LONG_REFUSAL
            self.launches.append(Launch(stock.offer_ids, tuple(tasks), self.serial, refuse, tuple(refusals)))
        else:
            self.declined += stock.offer_ids
            self.refusals += refusals

    def _avoided(self, stock: Stock) -> set[int]:
        """Ports to leave alone: those that rest, and those where engines still look for a controller that has gone, as
        they would take a new one there for the old one, and be lost for it."""
        resting = {port for port, until in self.cluster.busy_ports.get(stock.ip, {}).items() if until > self.now}
        return resting.union(*(place.ports for place in self._former.values() if place.ip == stock.ip))

    def _controller(
        self,
        stock: Stock,
        spec: ControllerSpec,
        least: Resources,
        n_ports: int,
        tasks: list[Task],
        refusals: list[Refusal],
    ) -> None:
        avoided = self._avoided(stock)
        lack = stock.lack(least, spec.constraints, n_ports, avoided)
        if lack is not None:
            refusals.append(refusal(stock, CONTROLLER, lack, self.now))
            return
        executor_pieces, pieces = stock.take(EXECUTOR_SHARE), stock.take(spec.resources)
        port_pieces, ports = stock.take_ports(n_ports, avoided)
        name = self._next(CONTROLLER)
        tasks.append(self._task(stock, CONTROLLER, name, name, pieces + port_pieces, executor_pieces, ports))
        self.missing[CONTROLLER] = 0
        self.controller_id = name

    def _engines(
        self,
        stock: Stock,
        group: str,
        spec: EngineSpec,
        least: Resources,
        tasks: list[Task],
        refusals: list[Refusal],
    ) -> None:
        if not self.controller_id:
            return  # nothing to join yet, and this agent has not been able to take the controller
        revision = self.cluster.spec.engines[group].revision
        while self.missing[group] > 0:
            pack = self._packs.get((group, revision, stock.agent_id, stock.role))
            if pack is not None and not self._has_room(group, pack):
                pack = None
            lack = stock.lack(spec.resources if pack else least, spec.constraints)
            if lack is not None:
                refusals.append(refusal(stock, group, lack, self.now))
                return
            executor_id = pack.executor_id if pack else self._next(f"pack-{group}")
            executor_pieces = pack.executor_pieces if pack else stock.take(spec.pack)
            name = self._next(f"engine-{group}")
            pieces = stock.take(spec.resources)
            task = self._task(stock, group, name, executor_id, pieces, executor_pieces, revision=revision)
            tasks.append(task)
            self._packs[group, revision, stock.agent_id, stock.role] = task
            self._sizes[executor_id] = self._sizes.get(executor_id, 0) + 1
            self.missing[group] -= 1

    def _has_room(self, group: str, pack: Task) -> bool:
        engines = self.cluster.spec.engines.get(group)
        bound = engines.spec.per_container if engines else 0
        return not bound or self._sizes[pack.executor_id] < bound

    def _next(self, prefix: str) -> str:
        self.serial += 1
        return f"{prefix}-{self.serial}"

    def _task(
        self,
        stock: Stock,
        group: str,
        name: str,
        executor_id: str,
        pieces: tuple[Piece, ...],
        executor_pieces: tuple[Piece, ...],
        ports: tuple[int, ...] = (),
        revision: int = 0,
    ) -> Task:
        return Task(
            id=name,
            group=group,
            executor_id=executor_id,
            agent_id=stock.agent_id,
            hostname=stock.hostname,
            pieces=pieces,
            executor_pieces=executor_pieces,
            launched_at=self.now,
            since=self.now,
            role=stock.role,
            ip=stock.ip,
            endpoint=stock.endpoint,
            ports=ports,
            revision=revision,
            controller="" if group == CONTROLLER else self.controller_id,
        )
