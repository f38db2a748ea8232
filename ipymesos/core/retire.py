"""Whose end is wanted: the surplus, idle engines first, and what stands on agents that are about to be taken away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from . import policy
from .cluster import Cluster, State, Task
from .messages import Action, AskLoad, Kill
from .session import Everything
from .specs import CONTROLLER, EngineSpec

KILL_AGAIN = 10.0  # seconds
STOP_GRACE = 1.0  # seconds that an engine gets to finish its work when the whole cluster ends
LOAD_FRESH = 2.0  # seconds for which an executor's answer counts
LOAD_WAIT = 1.0  # seconds to wait for one; who doesn't answer is taken for busy
LOAD_AGAIN = 10.0  # seconds until who has not answered is asked once more
DESERTED_AFTER = 30.0  # seconds that a controller which is being replaced waits for its engines to leave
CONTROLLER_MARGIN = 5.0  # seconds before its agent goes away that a controller ends in any case
UNKNOWN = float("inf")


def retire(state: Everything, now: float) -> Iterator[Action]:
    """Kill what nobody wants, and again what has not ended; ask for the load where the choice depends on it."""
    cluster = state.cluster
    for task in sorted(cluster.tasks.values(), key=lambda t: t.id):
        if task.doomed and task.state is not State.UNREACHABLE:
            if task.kill_sent_at is None or now - task.kill_sent_at >= KILL_AGAIN:
                yield _kill(cluster, task, now)
    for group in sorted({task.group for task in cluster.tasks.values()}):
        if group == CONTROLLER and policy.wanted(cluster).get(CONTROLLER):
            yield from (_kill(cluster, task, now) for task in _replaced_controllers(cluster, now))
        else:
            yield from _engines(state, group, now)


def _replaced_controllers(cluster: Cluster, now: float) -> Iterator[Task]:
    """Those that another one stands in for. A controller that runs is left alone while it has engines, for a while."""
    successor = cluster.serving
    if successor is None:
        return
    homes = {t.controller for name in cluster.spec.engines for t in policy.live(cluster, name)}
    for task in policy.live(cluster, CONTROLLER):
        if task.id == successor.id:
            continue
        drain = cluster.draining.get(task.agent_id)
        if task.state is not State.RUNNING:
            # It starts. A better one may replace the one that runs, but not one on an agent that stays.
            if successor.agent_id not in cluster.draining:
                yield task
        elif (
            task.id not in homes
            or now - successor.since > DESERTED_AFTER
            or (drain is not None and drain.starts - now < CONTROLLER_MARGIN)
        ):
            yield task


def _engines(state: Everything, group: str, now: float) -> Iterator[Action]:
    cluster = state.cluster
    n = policy.wanted(cluster).get(group, 0)
    staying = policy.staying(cluster, group)
    stay = {task.id for task in staying}
    leaving = [t for t in policy.live(cluster, group) if t.id not in stay]
    usable = sum(task.id in stay for task in policy.usable(cluster, group))
    replaced = usable + len(leaving) - n  # leaving ones that nobody will miss
    spec = policy.spec_of(cluster, group)
    margin = spec.grace if isinstance(spec, EngineSpec) else 0.0
    last_minute = [t for t in leaving if cluster.draining[t.agent_id].starts - now <= margin]
    doomed: dict[str, Task] = {}
    for pool, excess in ((staying, len(staying) - n), (leaving, max(replaced, len(last_minute)))):
        chosen, questions = _choose(state, pool, excess, now)
        yield from questions
        doomed |= {task.id: task for task in chosen}
    doomed |= {task.id: task for task in last_minute}
    yield from (_kill(cluster, task, now) for task in doomed.values())


def _choose(state: Everything, pool: Sequence[Task], excess: int, now: float) -> tuple[list[Task], list[Action]]:
    """`excess` tasks of the pool: those that nobody can use yet, then idle ones, then those whose work has run for
    the shortest time; among equals the youngest, which hold the least. None yet, and questions, while it isn't known
    who is idle."""
    if excess <= 0:
        return [], []
    running = [t for t in pool if t.state is State.RUNNING]
    if len(pool) - len(running) < excess < len(pool):
        silent = {(t.executor_id, t.agent_id) for t in running if _load(state, t, now) == UNKNOWN}
        asked = state.session.load_asked
        questions: list[Action] = [
            AskLoad(*executor)
            for executor in sorted(silent)
            if executor[0] not in asked or now - asked[executor[0]] >= LOAD_AGAIN
        ]
        if questions or any(now - asked[executor] < LOAD_WAIT for executor, _ in silent):
            return [], questions
    order = sorted(pool, key=lambda t: (t.state is State.RUNNING, _load(state, t, now), -_serial(t)))
    return order[:excess], []


def _serial(task: Task) -> int:
    """The number in a task's id: it grows with each launch."""
    return int(task.id.rpartition("-")[2])


def _load(state: Everything, task: Task, now: float) -> float:
    """Seconds for which the engine's present work has run, 0 when it is idle, UNKNOWN without a fresh answer."""
    known = state.session.loads.get(task.executor_id)
    if known is None or now - known.at > LOAD_FRESH:
        return UNKNOWN
    return max(0.0, known.seconds.get(task.id, UNKNOWN))


def _kill(cluster: Cluster, task: Task, now: float) -> Kill:
    """With the time to finish its work that this end allows: little at a stop, until its agent goes away at a drain."""
    if cluster.stopping:
        return Kill(task.id, task.agent_id, STOP_GRACE)
    drain = cluster.draining.get(task.agent_id)
    spec = policy.spec_of(cluster, task.group)
    if drain is not None and isinstance(spec, EngineSpec) and drain.starts - now > spec.grace:
        return Kill(task.id, task.agent_id, drain.starts - now)
    return Kill(task.id, task.agent_id)
