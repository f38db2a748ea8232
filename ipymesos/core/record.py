"""Write down what is about to be asked for, so that it is saved before it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from . import policy
from .messages import (
    AcceptInverse,
    Acknowledge,
    Action,
    AskLoad,
    Decline,
    Kill,
    Launch,
    ListAgents,
    Move,
    Reconcile,
    Revive,
    ShutdownExecutor,
    Suppress,
    Teardown,
    TellGone,
)
from .model import Cluster, Everything, Session


def record(state: Everything, actions: Sequence[Action], now: float) -> Everything:
    """The state after `actions`. A call proves nothing: only a status update moves a task."""
    cluster, session = state.cluster, state.session
    tasks = dict(cluster.tasks)
    answered: set[str] = set()
    refusals = dict(session.refusals)
    serial = cluster.serial
    for action in actions:
        match action:
            case Launch():
                tasks.update({task.id: task for task in action.tasks})
                serial = max(serial, action.serial)
            case Kill() if action.task_id in tasks:
                tasks[action.task_id] = replace(tasks[action.task_id], doomed=True, kill_sent_at=now)
            case Kill():
                session = replace(session, unknown={k: v for k, v in session.unknown.items() if k != action.task_id})
            case Move():
                told = {name: (action.controller, now) for name in action.tasks}
                session = replace(session, told={**session.told, **told})
            case AskLoad():
                asked = {**session.load_asked, action.executor_id: now}
                session = replace(session, load_asked=asked, load_wanted=False)
            case TellGone():
                gone = {key: why for key, why in session.gone.items() if key[0] != action.controller}
                session = replace(session, gone=gone)
            case AcceptInverse():
                session = replace(session, inverse_offers={})
            case Acknowledge():
                session = replace(session, unacknowledged=())
            case ShutdownExecutor():
                session = replace(session, empty_executors=())
            case Suppress():
                session = replace(session, suppressed=True)
            case Revive():
                session = replace(session, suppressed=False, revived_at=now)
            case Reconcile():
                tries = session.reconcile_tries + 1 if action.tasks else 0
                session = replace(session, reconciled_at=now, reconcile_tries=tries)
            case ListAgents():
                session = replace(session, agents_asked_at=now)
            case Teardown():
                session = replace(session, torn_down=True)
        if isinstance(action, (Launch, Decline)):
            answered.update(action.offer_ids)
            refusals.update({(r.group, r.agent_id): r for r in action.refusals})
    missing = policy.missing(replace(cluster, tasks=tasks))
    session = replace(
        session,
        offers={key: offer for key, offer in session.offers.items() if key not in answered},
        refusals={key: refused for key, refused in refusals.items() if key[0] in missing},
        missing_since={group: session.missing_since.get(group, now) for group in missing},
        offers_seen=session.offers_seen + len(answered),
        offers_before={group: session.offers_before.get(group, session.offers_seen) for group in missing},
    )
    return _with_demand(Everything(_changed(cluster, tasks, serial), session), now)


def _changed(cluster: Cluster, tasks: dict, serial: int) -> Cluster:  # type: ignore[type-arg]
    """The very same object when nothing durable has changed, so that nothing is saved for nothing."""
    if tasks == cluster.tasks and serial == cluster.serial:
        return cluster
    return replace(cluster, tasks=tasks, serial=serial)


def _with_demand(state: Everything, now: float) -> Everything:
    session: Session = replace(state.session, demand=policy.demand(state, now))
    return replace(state, session=session)
