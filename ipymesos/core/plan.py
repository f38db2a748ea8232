"""Compare what is wanted with what is, and say what to ask Mesos for. Never sees an event."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from . import policy
from .messages import (
    Acknowledge,
    Action,
    Decline,
    Kill,
    Launch,
    ListAgents,
    Reconcile,
    Revive,
    ShutdownExecutor,
    Suppress,
    Teardown,
)
from .model import CONTROLLER, Cluster, ControllerSpec, EngineSpec, Everything, Piece, Refusal, State, Task
from .offers import EXECUTOR_SHARE, Lack, Stock, one_task, ports_needed, refusal, stocks

LONG_REFUSAL = 3600.0  # seconds; only offers no better than the refused one are held back, and REVIVE ends it
SHORT_REFUSAL = 1.0  # seconds; after a launch, while more is wanted
REVIVE_AGAIN = 30.0  # seconds between two REVIVEs for the same wish: one may overtake a DECLINE and be lost
KILL_AGAIN = 10.0  # seconds
LIST_AGENTS_AFTER = 2.0  # seconds without any offer
LIST_AGENTS_AGAIN = 60.0  # seconds
LAUNCH_TIMEOUT = 15.0  # seconds without any status after which the master is asked (high-availability guide)
IMPLICIT_RECONCILIATION = 900.0  # seconds (reconciliation.md)
STOP_TIMEOUT = 20.0  # seconds that tasks get to end before the framework is torn down over them


def plan(state: Everything, now: float) -> list[Action]:
    """The actions that bring what is closer to what is wanted, in the order in which they should be sent."""
    session = state.session
    if not session.connected or session.torn_down:
        return []
    actions: list[Action] = [Acknowledge(*receipt) for receipt in session.unacknowledged]
    actions += _kills(state, now)
    actions += [ShutdownExecutor(*executor) for executor in session.empty_executors]
    actions += _offers(state, now)
    actions += _reconciliation(state, now)
    if _may_end(state.cluster, now):
        actions.append(Teardown())
    return actions


def _may_end(cluster: Cluster, now: float) -> bool:
    if not cluster.stopping:
        return False
    overdue = cluster.stopping_since is not None and now - cluster.stopping_since > STOP_TIMEOUT
    return overdue or not cluster.tasks


def surplus(cluster: Cluster) -> Iterator[Task]:
    """Tasks that run and that nobody wants: first those that nobody can use yet, then the youngest."""
    wanted = policy.wanted(cluster)
    for group in {task.group for task in cluster.tasks.values()}:
        counted = policy.live(cluster, group)
        yield from (t for t in cluster.group(group) if t not in counted and t.state is not State.UNREACHABLE)
        excess = len(counted) - wanted.get(group, 0)
        if excess > 0:
            # Of two controllers the newer one stays: it is the one that engines were told to join.
            age = 1 if group == CONTROLLER else -1
            counted.sort(key=lambda t: (t.state is State.RUNNING, age * t.launched_at, t.id))
            yield from counted[:excess]


def _kills(state: Everything, now: float) -> Iterator[Action]:
    for task in sorted(surplus(state.cluster), key=lambda t: t.id):
        if task.kill_sent_at is None or now - task.kill_sent_at >= KILL_AGAIN:
            yield Kill(task.id, task.agent_id)
    for task_id, agent_id in state.session.unknown.items():
        yield Kill(task_id, agent_id)


def _offers(state: Everything, now: float) -> Iterator[Action]:
    session = state.session
    demand = policy.demand(state, now)
    placement = Placement(state.cluster, dict(demand), now)
    for stock in placement.order(stocks(session.offers.values())):
        placement.spend(stock)
    yield from placement.actions
    if not demand:
        if not session.suppressed:
            yield Suppress()
        return
    if not any(placement.missing.values()):
        return
    asked = session.agents_asked_at
    waited = any(now - since >= LIST_AGENTS_AFTER for since in session.missing_since.values())
    if (session.offers or waited) and (asked is None or now - asked >= LIST_AGENTS_AGAIN):
        yield ListAgents()
    grown = any(n > session.demand.get(group, 0) for group, n in demand.items())
    if session.suppressed or grown or now - max(session.revived_at, session.subscribed_at) >= REVIVE_AGAIN:
        yield Revive()


@dataclass
class Placement:
    """One round: what is missing, fitted into what is offered, one agent after the other."""

    cluster: Cluster
    missing: dict[str, int]
    now: float
    actions: list[Action] = field(default_factory=list)

    def __post_init__(self) -> None:
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
        spec = self.cluster.spec.controller
        if CONTROLLER in self.missing and spec is not None:
            by_size.sort(key=lambda s: self._controller_lack(s, spec) is not None)
        return by_size

    def spend(self, stock: Stock) -> None:
        """Launch on this agent whatever fits and is missing; refuse the rest, with reasons."""
        tasks: list[Task] = []
        refusals: list[Refusal] = []
        for group in sorted(self.missing, key=lambda g: g != CONTROLLER):
            spec = policy.spec_of(self.cluster, group)
            if isinstance(spec, ControllerSpec):
                self._controller(stock, spec, tasks, refusals)
            elif isinstance(spec, EngineSpec):
                self._engines(stock, group, spec, tasks, refusals)
        refuse = SHORT_REFUSAL if tasks and any(self.missing.values()) else LONG_REFUSAL
        if tasks:
            self.actions.append(Launch(stock.offer_ids, tuple(tasks), self.serial, refuse, tuple(refusals)))
        else:
            self.actions.append(Decline(stock.offer_ids, refuse, tuple(refusals)))

    def _avoided(self, stock: Stock) -> set[int]:
        return {p for p, until in self.cluster.busy_ports.get(stock.agent_id, {}).items() if until > self.now}

    def _controller_lack(self, stock: Stock, spec: ControllerSpec) -> Lack | None:
        wanted, ports = one_task(spec)
        return stock.lack(wanted, spec.constraints, ports, self._avoided(stock))

    def _controller(self, stock: Stock, spec: ControllerSpec, tasks: list[Task], refusals: list[Refusal]) -> None:
        if not self.missing[CONTROLLER]:
            return
        lack = self._controller_lack(stock, spec)
        if lack is not None:
            refusals.append(refusal(stock, CONTROLLER, lack, self.now))
            return
        executor_pieces, pieces = stock.take(EXECUTOR_SHARE), stock.take(spec.resources)
        port_pieces, ports = stock.take_ports(ports_needed(spec.depth), self._avoided(stock))
        name = self._next(CONTROLLER)
        tasks.append(self._task(stock, CONTROLLER, name, name, pieces + port_pieces, executor_pieces, ports))
        self.missing[CONTROLLER] = 0
        self.controller_id = name

    def _engines(self, stock: Stock, group: str, spec: EngineSpec, tasks: list[Task], refusals: list[Refusal]) -> None:
        if not self.controller_id:
            return  # nothing to join yet, and this agent has not been able to take the controller
        revision = self.cluster.spec.engines[group].revision
        while self.missing[group] > 0:
            pack = self._packs.get((group, revision, stock.agent_id, stock.role))
            if pack is not None and not self._has_room(group, pack):
                pack = None
            needed = spec.resources if pack else spec.resources + spec.pack
            lack = stock.lack(needed, spec.constraints)
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


def _reconciliation(state: Everything, now: float) -> Iterator[Action]:
    """After each subscription until every task is confirmed, with back-off; then implicitly, now and then.

    A launch that nobody has spoken of for long is asked for as well (Mesos: reconciliation.md).
    """
    cluster, session = state.cluster, state.session
    silent = {
        t.id for t in cluster.tasks.values() if t.state is State.LAUNCHING and now - t.launched_at > LAUNCH_TIMEOUT
    }
    doubtful = [t for t in cluster.tasks.values() if t.id in session.unconfirmed or t.id in silent]
    if doubtful:
        wait = min(60.0, 2.0**session.reconcile_tries)
        if session.reconciled_at is None or now - session.reconciled_at >= wait:
            yield Reconcile(tuple((t.id, t.agent_id) for t in doubtful))
    elif now - (session.reconciled_at or session.subscribed_at) >= IMPLICIT_RECONCILIATION:
        yield Reconcile(())
