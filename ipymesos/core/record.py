"""Write down what is about to be asked for, so that it is saved before it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from . import policy
from .cluster import Task
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
from .session import Everything, Refusal


def record(state: Everything, actions: Sequence[Action], now: float) -> Everything:
    """The state after `actions`. A call proves nothing: only a status update moves a task."""
    cluster, session = state.cluster, state.session
    tasks: dict[str, Task] = {}  # that are new, or are told to end
    answered: set[str] = set()
    refusals: dict[tuple[str, str], Refusal] = {}
    serial = cluster.serial
    for action in actions:
        match action:
            case Launch():
                tasks.update({task.id: task for task in action.tasks})
                serial = max(serial, action.serial)
            case Kill() if action.task_id in cluster.tasks:
                tasks[action.task_id] = replace(cluster.tasks[action.task_id], doomed=True, kill_sent_at=now)
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
            case Acknowledge() if session.unacknowledged:  # one is all
                session = replace(session, unacknowledged={})
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
    # The very same object when nothing durable has changed, so that nothing is saved for nothing; and for what is big
    # but didn't change.
    if tasks:
        cluster = replace(cluster, tasks={**cluster.tasks, **tasks}, serial=serial)
    missing = policy.missing(cluster)
    incomplete = policy.incomplete(cluster, missing)
    offers = session.offers
    if answered:
        offers = {key: offer for key, offer in offers.items() if key not in answered}
    if refusals or any(group not in missing for group, _ in session.refusals):
        known = {**session.refusals, **refusals}
        session = replace(session, refusals={key: refused for key, refused in known.items() if key[0] in missing})
    state = Everything(cluster, session)
    return state.with_session(
        offers=offers,
        missing_since={group: session.missing_since.get(group, now) for group in missing},
        offers_seen=session.offers_seen + len(answered),
        incomplete_since={group: session.incomplete_since.get(group, now) for group in incomplete},
        offers_before={group: session.offers_before.get(group, session.offers_seen) for group in incomplete},
        demand=policy.demand(state, now),
    )
