"""Write down what has happened. Nothing is decided here: `plan` looks at the result only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from . import capacity, policy
from .cluster import Draft, Exit, Place, State, Task
from .messages import (
    AgentLost,
    AgentsHidden,
    AgentsListed,
    Disconnected,
    EnginesDropped,
    EnginesWanted,
    EngineUnwanted,
    Event,
    ExecutorLost,
    InverseOffered,
    InverseRescinded,
    LoadTold,
    LoadWanted,
    Offered,
    QueuesTold,
    Rescinded,
    StopWanted,
    Subscribed,
    Ticked,
    Updated,
)
from .resources import Drain
from .session import Everything, Load, Queues, Session
from .specs import CONTROLLER, EngineSet

# Mesos' task states (mesos.proto, TaskState) and what they make of a task that we know. None: it has ended.
TRANSITIONS: dict[str, State | None] = {
    "TASK_STAGING": State.STAGING,
    "TASK_STARTING": State.STARTING,
    "TASK_RUNNING": State.RUNNING,
    "TASK_KILLING": State.KILLING,
    "TASK_UNREACHABLE": State.UNREACHABLE,
    "TASK_FINISHED": None,
    "TASK_FAILED": None,
    "TASK_KILLED": None,
    "TASK_ERROR": None,
    "TASK_LOST": None,
    "TASK_DROPPED": None,
    "TASK_GONE": None,
    "TASK_GONE_BY_OPERATOR": None,
    "TASK_UNKNOWN": None,
}

EXITS_KEPT = 50
K = TypeVar("K")
V = TypeVar("V")


def observe_all(state: Everything, events: Sequence[Event], now: float) -> Everything:
    """As observe() for one after the other, without a copy of all tasks for each: thousands may come at once."""
    if len(events) > 1:
        state = state.with_cluster(tasks=Draft(state.cluster.tasks))
    for event in events:
        state = observe(state, event, now)
    if isinstance(state.cluster.tasks, Draft):
        state = state.with_cluster(tasks=dict(state.cluster.tasks))
    return state


def observe(state: Everything, event: Event, now: float) -> Everything:
    match event:
        case Subscribed():
            session = replace(
                _kept(state.session),
                connected=True,
                master=event.master,
                subscribed_at=now,
                suppressed=event.suppressed,
                demand=policy.demand(state, now),  # a new subscription is offered everything: no need to revive
                unconfirmed=frozenset(state.cluster.tasks),
            )
            return replace(state, session=session).with_cluster(framework_id=event.framework_id)
        case Disconnected():
            # What the old master offered is void, what it ran is not.
            return replace(state, session=replace(_kept(state.session), lost_at=now, lost=event.reason))
        case Offered():
            return _offered(state, event, now)
        case Rescinded():
            return state.with_session(offers=_but(state.session.offers, event.offer_id))
        case InverseOffered():
            return _inverse_offered(state, event)
        case InverseRescinded():
            state = state.with_session(inverse_offers=_but(state.session.inverse_offers, event.offer_id))
            draining = {a: d for a, d in state.cluster.draining.items() if d.offer_id != event.offer_id}
            return state if draining == state.cluster.draining else state.with_cluster(draining=draining)
        case Updated():
            return _updated(state, event, now)
        case LoadTold():
            if all(task.executor_id != event.executor_id for task in state.cluster.tasks.values()):
                return state  # it has ended meanwhile
            loads = {**state.session.loads, event.executor_id: Load(now, dict(event.load), dict(event.used))}
            return state.with_session(loads=loads, load_asked=_but(state.session.load_asked, event.executor_id))
        case QueuesTold():
            queues = Queues(event.executor_id, now, event.waiting, event.done, dict(event.engines))
            return state.with_session(queues=queues)
        case LoadWanted():
            return state.with_session(load_wanted=True)
        case AgentsListed():
            return _agents_listed(state, event, now)
        case AgentsHidden():
            return state.with_session(agents=None, agents_hidden=event.reason)
        case EnginesWanted():
            return _engines_wanted(state, event)
        case EnginesDropped():
            state = state.with_cluster(proven=state.cluster.proven - {event.group})
            return _with_engines(state, _but(state.cluster.spec.engines, event.group), event.group)
        case EngineUnwanted():
            return _engine_unwanted(state, event)
        case StopWanted():
            if state.cluster.stopping:
                return state
            return state.with_cluster(stopping=event.reason or "asked to stop", stopping_since=now)
        case AgentLost():
            # The master sends a status for each task that such a loss ends.
            state = state.with_session(seen=state.session.seen - {event.agent_id})
            troubles = _but(state.cluster.troubles, event.agent_id)
            return state if troubles == state.cluster.troubles else state.with_cluster(troubles=troubles)
        case ExecutorLost() | Ticked():
            return state


def _kept(session: Session) -> Session:
    """What of a session is true in the next one as well: for how long something has been missing."""
    return Session(
        missing_since=session.missing_since,
        offers_seen=session.offers_seen,
        incomplete_since=session.incomplete_since,
        offers_before=session.offers_before,
    )


def _offered(state: Everything, event: Offered, now: float) -> Everything:
    """Offers also say whether their agents are about to be taken away; it matters where we run something."""
    offers = {**state.session.offers, **{offer.id: offer for offer in event.offers}}
    seen = state.session.seen | {offer.agent_id for offer in event.offers}
    state = state.with_session(offers=offers, offered_at=now, seen=seen)
    draining = dict(state.cluster.draining)
    ours = {task.agent_id for task in state.cluster.tasks.values()}
    for offer in event.offers:
        if offer.unavailable_from is None:
            draining.pop(offer.agent_id, None)
        elif offer.agent_id in ours and offer.agent_id not in draining:
            draining[offer.agent_id] = Drain(offer.unavailable_from)
    return state if draining == state.cluster.draining else state.with_cluster(draining=draining)


def _inverse_offered(state: Everything, event: InverseOffered) -> Everything:
    unanswered = {**state.session.inverse_offers, **{offer.id: offer for offer in event.offers}}
    ours = {task.agent_id for task in state.cluster.tasks.values()}
    draining = {o.agent_id: Drain(o.unavailable_from, o.until, o.id) for o in event.offers if o.agent_id in ours}
    state = state.with_session(inverse_offers=unanswered)
    return state.with_cluster(draining={**state.cluster.draining, **draining}) if draining else state


def _updated(state: Everything, event: Updated, now: float) -> Everything:
    if event.uuid:
        receipt = (event.task_id, event.agent_id, event.uuid)
        if receipt not in state.session.unacknowledged:
            state = state.with_session(unacknowledged={**state.session.unacknowledged, receipt: None})
    if event.state not in TRANSITIONS:
        return state
    target = TRANSITIONS[event.state]
    task = state.cluster.tasks.get(event.task_id)
    if task is None:
        unknown = state.session.unknown
        unknown = _but(unknown, event.task_id) if target is None else {**unknown, event.task_id: event.agent_id}
        return state.with_session(unknown=unknown)
    if task.id in state.session.unconfirmed:
        state = state.with_session(unconfirmed=state.session.unconfirmed - {task.id})
    if target is None:
        return _ended(state, task, event, now)
    moved = replace(
        task,
        state=target,
        since=task.since if target is task.state else now,
        engine_id=task.engine_id if event.engine_id is None else event.engine_id,
        controller=event.controller or task.controller,
        message=event.message,
    )
    state = replace(state, cluster=state.cluster.with_task(moved))
    if target is State.RUNNING and task.state is not State.RUNNING and not task.doomed:
        troubles = _but(state.cluster.troubles, task.agent_id)
        state = state.with_cluster(proven=state.cluster.proven | {task.group}, troubles=troubles)
        setback = state.cluster.setbacks.get(task.group)
        if setback is not None and setback.final:  # given up too early: it does work
            state = state.with_cluster(setbacks=_but(state.cluster.setbacks, task.group))
    return state


def _ended(state: Everything, task: Task, event: Updated, now: float) -> Everything:
    """Drop a task, note its exit, and what its end says about the next try."""
    cluster = state.cluster
    asked = task.doomed or event.state in ("TASK_FINISHED", "TASK_KILLED") or bool(cluster.stopping)
    end = Exit(
        task_id=task.id,
        group=task.group,
        hostname=task.hostname,
        at=now,
        state=event.state,
        reason=event.reason,
        message=event.message,
        asked=asked,
        engine_id=task.engine_id,
        agent_id=task.agent_id,
        endpoint=task.endpoint,
        framework_id=cluster.framework_id,
        executor_id=task.executor_id,
    )
    state = replace(state, cluster=cluster.without_task(task)).with_cluster(exits=(*cluster.exits, end)[-EXITS_KEPT:])
    if not any(other.executor_id == task.executor_id for other in state.cluster.tasks.values()):
        session = state.session
        state = state.with_session(
            empty_executors=(*session.empty_executors, (task.executor_id, task.agent_id)),
            loads=_but(session.loads, task.executor_id),
            load_asked=_but(session.load_asked, task.executor_id),
        )
    if task.ports:
        state = _avoid_ports(state, task, event, now)
    gone = {key: why for key, why in state.session.gone.items() if key[0] != task.id}
    if task.engine_id is not None and event.reason:
        # Said by Mesos, since nobody is left on the agent who could; the hub has to hear it from us as well: the one
        # that knew it, and one that awaits it. A later one may give its id to somebody else.
        for hub in state.cluster.group(CONTROLLER):
            if hub.id == task.controller or task.since < hub.launched_at:
                gone[hub.id, task.engine_id] = event.message or event.reason
    newest = state.cluster.controller
    if task.engine_id is not None and newest is not None and newest.id != task.controller:
        gone[newest.id, task.engine_id] = event.message or event.reason  # it was awaited there
    state = state.with_session(gone=gone, told=_but(state.session.told, task.id))
    if event.state == "TASK_FINISHED" and not task.doomed:
        return _finished(state, task)
    if not asked:
        setback = policy.setback(state.cluster, task, event, now)
        if setback is not None:
            state = state.with_cluster(setbacks={**state.cluster.setbacks, task.group: setback})
        trouble = policy.trouble(state.cluster, task, event, now)
        if trouble is not None:
            state = state.with_cluster(troubles={**state.cluster.troubles, task.agent_id: trouble})
    return state


def _finished(state: Everything, task: Task) -> Everything:
    """A client has ended it through the hub (`rc.shutdown`): it is wanted no more."""
    if task.group == CONTROLLER:
        return state if state.cluster.stopping else state.with_cluster(stopping="the controller was shut down")
    return _wanted_less(state, task.group)


def _wanted_less(state: Everything, group: str) -> Everything:
    wanted = state.cluster.spec.engines.get(group)
    if wanted is None or wanted.n == 0:
        return state
    engines = {**state.cluster.spec.engines, group: replace(wanted, n=wanted.n - 1)}
    return state.with_cluster(spec=replace(state.cluster.spec, engines=engines))


def _engine_unwanted(state: Everything, event: EngineUnwanted) -> Everything:
    """Its end is wanted from now on, so it counts no more; `plan` has it killed. Who didn't count lowers nothing."""
    task = state.cluster.tasks.get(event.task_id)
    if task is None or task.group == CONTROLLER or task.doomed:
        return state
    if not event.replace and task in policy.live(state.cluster, task.group):
        state = _wanted_less(state, task.group)
    return state.with_cluster(tasks={**state.cluster.tasks, task.id: replace(task, doomed=True)})


def _avoid_ports(state: Everything, task: Task, event: Updated, now: float) -> Everything:
    """A port that somebody holds, and those a controller has just left, are not tried again for a while.

    By address, since one machine may have several agents, and get new ones.
    """
    old = state.cluster.busy_ports.get(task.ip, {})
    ports = {port: until for port, until in old.items() if until > now}
    ports.update({port: now + policy.LEFT_PORTS_REST for port in task.ports})
    ports.update({port: now + policy.BUSY_PORTS_REST for port in event.busy_ports})
    state = state.with_cluster(former={**state.cluster.former, task.id: Place(task.ip, task.ports)})
    return state.with_cluster(
        busy_ports={**state.cluster.busy_ports, task.ip: ports}, former=policy.former(state.cluster)
    )


def _agents_listed(state: Everything, event: AgentsListed, now: float) -> Everything:
    """The master has told what its agents have in all: what can never fit fails now instead of waiting.

    What has run before waits: the agent that it needs is away, and may come back.
    """
    state = state.with_session(agents=event.agents, agents_hidden="")
    setbacks = dict(state.cluster.setbacks)
    for group in policy.demand(state, now):
        message = capacity.impossible(state.cluster, group, event.agents)
        if message and group not in state.cluster.proven:
            setbacks[group] = policy.gave_up(setbacks.get(group), now, message)
    return state.with_cluster(setbacks=setbacks)


def _engines_wanted(state: Everything, event: EnginesWanted) -> Everything:
    old = state.cluster.spec.engines.get(event.group)
    spec = event.spec or (old.spec if old else None)
    if spec is None:
        raise ValueError(f"engine set {event.group!r} does not exist, so its first wish needs a spec")
    revision = 0 if old is None else old.revision + (spec != old.spec)
    if old is None or spec != old.spec:
        state = state.with_cluster(proven=state.cluster.proven - {event.group})
    engines = {**state.cluster.spec.engines, event.group: EngineSet(event.n, spec, revision)}
    return _with_engines(state, engines, event.group)


def _with_engines(state: Everything, engines: Mapping[str, EngineSet], group: str) -> Everything:
    """A new wish is a new try: what failed before is forgiven."""
    return state.with_cluster(
        spec=replace(state.cluster.spec, engines=engines), setbacks=_but(state.cluster.setbacks, group)
    ).with_session(agents_asked_at=None)


def _but(mapping: Mapping[K, V], key: K) -> dict[K, V]:
    """The mapping without one key, which need not be in it."""
    left = dict(mapping)  # much faster than choosing all others
    left.pop(key, None)
    return left
