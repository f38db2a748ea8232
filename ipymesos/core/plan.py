"""Compare what is wanted with what is, and say what to ask Mesos for. Never sees an event."""

from __future__ import annotations

from collections.abc import Iterator

from . import policy
from .cluster import Cluster, State
from .messages import (
    AcceptInverse,
    Acknowledge,
    Action,
    AskLoad,
    Kill,
    ListAgents,
    Move,
    Reconcile,
    Revive,
    ShutdownExecutor,
    Suppress,
    Teardown,
    TellGone,
)
from .offers import stocks
from .placement import Placement
from .retire import retire
from .session import Everything
from .specs import CONTROLLER

REVIVE_AGAIN = 30.0  # seconds between two REVIVEs for the same wish: one may overtake a DECLINE and be lost
LIST_AGENTS_AFTER = 2.0  # seconds without any offer
LIST_AGENTS_AGAIN = 60.0  # seconds
LAUNCH_TIMEOUT = 15.0  # seconds without any status after which the master is asked (high-availability guide)
IMPLICIT_RECONCILIATION = 900.0  # seconds (reconciliation.md)
STOP_TIMEOUT = 20.0  # seconds that tasks get to end before the framework is torn down over them
MOVE_AGAIN = 3.0  # seconds: a message to an executor may get lost


def plan(state: Everything, now: float) -> list[Action]:
    """The actions that bring what is closer to what is wanted, in the order in which they should be sent."""
    session = state.session
    if not session.connected or session.torn_down:
        return []
    actions: list[Action] = [Acknowledge(*receipt) for receipt in session.unacknowledged]
    actions += retire(state, now)
    actions += [Kill(task_id, agent_id) for task_id, agent_id in session.unknown.items()]
    actions += [ShutdownExecutor(*executor) for executor in session.empty_executors]
    actions += _offers(state, now)
    if session.inverse_offers:
        actions.append(AcceptInverse(tuple(session.inverse_offers)))
    actions += _messages(state, now)
    actions += _reconciliation(state, now)
    if _may_end(state.cluster, now):
        actions.append(Teardown())
    return actions


def _may_end(cluster: Cluster, now: float) -> bool:
    if not cluster.stopping:
        return False
    overdue = cluster.stopping_since is not None and now - cluster.stopping_since > STOP_TIMEOUT
    return overdue or not cluster.tasks


def _offers(state: Everything, now: float) -> Iterator[Action]:
    session = state.session
    demand = policy.demand(state, now)
    missing = dict(demand)
    if session.offers:
        placement = Placement(state, missing, now)
        for stock in placement.order(stocks(session.offers.values())):
            placement.spend(stock)
        yield from placement.actions
    if not demand:
        if not session.suppressed:
            yield Suppress()
        return
    if not any(missing.values()):
        return
    asked = session.agents_asked_at
    waited = any(now - since >= LIST_AGENTS_AFTER for since in session.missing_since.values())
    if (session.offers or waited) and (asked is None or now - asked >= LIST_AGENTS_AGAIN):
        yield ListAgents()
    grown = any(n > session.demand.get(group, 0) for group, n in demand.items())
    if session.suppressed or grown or now - max(session.revived_at, session.subscribed_at) >= REVIVE_AGAIN:
        yield Revive()


def _messages(state: Everything, now: float) -> Iterator[Action]:
    """What executors are told or asked."""
    cluster, session = state.cluster, state.session
    controller = cluster.controller
    for name in sorted({name for name, _ in session.gone}):
        if (hub := cluster.tasks[name]).state is State.RUNNING:
            gone = sorted((engine_id, why) for (known, engine_id), why in session.gone.items() if known == name)
            yield TellGone(hub.id, hub.executor_id, hub.agent_id, tuple(gone))
    engines = [t for name in cluster.spec.engines for t in policy.live(cluster, name)]
    if session.load_wanted:
        everybody = [*engines, *policy.live(cluster, CONTROLLER)]
        running = {(t.executor_id, t.agent_id) for t in everybody if t.state is State.RUNNING}
        yield from (AskLoad(*executor) for executor in sorted(running))
    if controller is None:
        return
    strays: dict[tuple[str, str], list[str]] = {}
    for task in engines:
        told, at = session.told.get(task.id, ("", 0.0))
        if task.controller == controller.id or task.state not in (State.STARTING, State.RUNNING):
            continue
        if told != controller.id or now - at >= MOVE_AGAIN:
            strays.setdefault((task.executor_id, task.agent_id), []).append(task.id)
    for (executor_id, agent_id), names in strays.items():
        yield Move(executor_id, agent_id, tuple(names), controller.id)


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
