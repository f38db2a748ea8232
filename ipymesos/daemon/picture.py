"""What somebody who watches is shown: the whole cluster at first, then what has changed since they were told last.

The state is frozen, so what is the same object has not changed: a look at a thousand engines that do nothing costs
next to nothing. Pure, and without a key. Who is slow is told less often, never less.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core import policy
from ..core.cluster import Cluster, Task
from ..core.session import Everything, Load, Queues
from ..core.specs import EngineSet
from . import view

WAITING_AGAIN = 1.0  # seconds until the reasons for waiting are told again: they contain times
MOST_AGENTS = 200  # of those that run nothing of ours

News = dict[str, Any]


class Picture:
    """What one watcher has been told. The `facts` go with the cluster's: what the daemon knows of itself."""

    def __init__(self) -> None:
        self._told: Everything | None = None
        self._cluster: News = {}
        self._agents: list[News] = []
        self._waiting: News = {}
        self._waiting_at = 0.0

    def news(self, state: Everything, now: float, facts: Mapping[str, Any]) -> News:
        """What they don't know yet, by kind; empty if there is nothing. docs/dashboard.md says what the kinds are."""
        old, self._told = self._told, state
        news: News = {"first": True} if old is None else {}
        if (told := {**facts, **_cluster(state)}) != self._cluster:
            news["cluster"] = self._cluster = told
        if tasks := _tasks(old.cluster if old else None, state.cluster):
            news["tasks"] = tasks
        if (agents := _agents(state, now)) != self._agents or old is None:
            news["agents"] = self._agents = agents
        self._waits(news, state, now, str(facts.get("trouble", "")))
        if load := _load(old.session.loads if old else {}, state.session.loads):
            news["load"] = load
        queues = state.session.queues
        if queues is not None and (old is None or queues is not old.session.queues) and _serves(state.cluster, queues):
            news["queues"] = {"waiting": queues.waiting, "done": queues.done, "at": queues.at}
            news["queues"]["engines"] = {str(engine_id): list(work) for engine_id, work in queues.engines.items()}
        return {"now": now, **news} if news else {}

    def _waits(self, news: News, state: Everything, now: float, trouble: str) -> None:
        """Why something is waited for, whenever the state has changed or a second has passed."""
        if "cluster" not in news and "tasks" not in news and now - self._waiting_at < WAITING_AGAIN:
            return
        self._waiting_at = now
        said = view.explanation(state, now, trouble)
        if said != self._waiting:
            news["explain"] = self._waiting = said


def _cluster(state: Everything) -> News:
    cluster, session = state.cluster, state.session
    sets = {name: _set(state, name, cluster.spec.engines.get(name)) for name in view.sets(cluster)}
    return {
        "name": cluster.name,
        "framework_id": cluster.framework_id,
        "master": session.master,
        "connected": session.connected,
        "state": view.phase(state),
        "stopping": cluster.stopping,
        "controller": view.controller(cluster),
        "sets": sets,
    }


def _set(state: Everything, name: str, wanted: EngineSet | None) -> News:
    shown = view.engine_set(state, name, tasks=False)
    if wanted is not None:
        spec = wanted.spec
        shown |= {"cpus": spec.resources.cpus / 1000, "memory": spec.resources.mem, "grace": spec.grace}
        shown |= {"image": spec.container.image, "container": spec.container.kind}
    return shown


def _tasks(old: Cluster | None, new: Cluster) -> News:
    """Tasks that are new or different, and the ids of those that have gone."""
    known: Mapping[str, Task] = old.tasks if old is not None else {}
    if new.tasks is known:
        return {}
    changed = [_task(task) for task in new.tasks.values() if known.get(task.id) is not task]
    gone = [name for name in known if name not in new.tasks]
    return {"changed": changed, "gone": gone} if changed or gone or old is None else {}


def _task(task: Task) -> News:
    return {
        "task": task.id,
        "group": task.group,
        "state": "ending" if task.doomed else task.state.value,
        "agent": task.hostname,
        "agent_id": task.agent_id,
        "container": task.executor_id,
        "engine_id": task.engine_id,
        "controller": task.controller,
        "since": task.since or task.launched_at,
        "message": task.message,
    }


def _agents(state: Everything, now: float) -> list[News]:
    """Those on which something of ours runs, and those that could have it: what they have, and why they don't."""
    cluster, session = state.cluster, state.session
    ours = {task.agent_id: task.hostname for task in cluster.tasks.values()}
    listed, failing = {agent.id: agent for agent in session.agents or ()}, policy.failing(state, now)
    refusals: dict[str, list[News]] = {}
    for (_, agent_id), refused in sorted(session.refusals.items()):
        said = {"group": refused.group, "reason": refused.reason, "wanted": refused.wanted, "offered": refused.offered}
        refusals.setdefault(agent_id, []).append({**said, "agent": refused.hostname})
    others = sorted((refusals.keys() | listed.keys()) - ours.keys())[:MOST_AGENTS]
    agents = []
    for agent_id in [*sorted(ours), *others]:
        known, refused = listed.get(agent_id), refusals.get(agent_id, [])
        host = ours.get(agent_id) or (known.hostname if known else refused[0]["agent"])
        drain = cluster.draining.get(agent_id)
        shown: News = {"id": agent_id, "host": host, "refusals": refused}
        shown["draining"] = drain.starts if drain else None
        shown["failing"] = failing.get(agent_id, "")
        if known is not None:
            shown |= {"cpus": known.total.cpus / 1000, "memory": known.total.mem}
        agents.append(shown)
    return agents


def _load(old: Mapping[str, Load], new: Mapping[str, Load]) -> News:
    """By task [since when it works, or since when it is idle, or null, whether it works, MB, share of a CPU or null].

    A share needs two answers.
    """
    if new is old:
        return {}
    told: News = {}
    for name, load in new.items():
        before = old.get(name)
        if load is before:
            continue
        for task in load.seconds.keys() | load.used.keys():
            seconds, used = load.seconds.get(task), load.used.get(task)
            since = None if seconds is None else round(load.at - abs(seconds), 2)
            share, earlier = None, before.used.get(task) if before else None
            if used and before and earlier and load.at > before.at:
                share = round(max(0.0, used.cpu - earlier.cpu) / (load.at - before.at), 2)
            told[task] = [since, bool(seconds and seconds > 0), used.memory if used else None, share]
    return told


def _serves(cluster: Cluster, queues: Queues) -> bool:
    """Are these the queues of the controller that clients use? Another one's are of the past, or of nobody."""
    return cluster.serving is not None and cluster.serving.executor_id == queues.executor_id
