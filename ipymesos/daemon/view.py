"""What the REST API, and with it the command line, shows of the state. Pure, and without a key."""

from __future__ import annotations

import os
import time
from typing import Any

from .. import __version__
from ..core import policy
from ..core.cluster import Cluster, Task
from ..core.explain import Explanation, explain
from ..core.session import Everything
from ..core.specs import CONTROLLER
from .clock import time_of_day


def phase(state: Everything) -> str:
    """Of the whole cluster: starting | running | stopping."""
    if state.cluster.stopping:
        return "stopping"
    return "running" if state.cluster.serving is not None else "starting"


def gave_up(cluster: Cluster, group: str) -> str:
    """Why `group` failed for good and nothing of it lives; empty while there is hope."""
    setback = cluster.setbacks.get(group)
    return setback.message if setback and setback.final and not policy.live(cluster, group) else ""


def status(
    state: Everything, now: float, version: int, cluster_id: str, error: str = "", trouble: str = ""
) -> dict[str, Any]:
    """`error` is why the daemon ends, `trouble` what it can't do at the moment and tries again."""
    cluster, session = state.cluster, state.session
    explanation = explained(state, now)
    messages = {group.group: group.message for group in explanation.groups}
    return {
        "version": version,
        "name": cluster.name,
        "cluster_id": cluster_id,
        "pid": os.getpid(),
        "ipymesos": __version__,
        "master": session.master,
        "framework_id": cluster.framework_id,
        "connected": session.connected,
        "state": phase(state),
        "error": error,
        "trouble": trouble,
        "now": now,
        "controller": controller(cluster, messages.get(CONTROLLER, "")),
        "engines": {name: engine_set(state, name, messages.get(name, "")) for name in sets(cluster)},
        "explain": error or summary(explanation, trouble),
        "exits": [
            {
                "task": end.task_id,
                "group": end.group,
                "agent": end.hostname,
                "at": end.at,
                "state": end.state,
                "reason": end.reason,
                "message": end.message,
                "asked": end.asked,
            }
            for end in cluster.exits
        ],
    }


def sets(cluster: Cluster) -> list[str]:
    """Those that are wanted, and those dropped ones of which something still lives."""
    return sorted({*cluster.spec.engines, *(t.group for t in cluster.tasks.values() if t.group != CONTROLLER)})


def controller(cluster: Cluster, message: str = "") -> dict[str, Any]:
    task = (
        cluster.serving
        or cluster.controller
        or max(cluster.group(CONTROLLER), key=lambda t: t.launched_at, default=None)
    )
    failed = gave_up(cluster, CONTROLLER)
    if task is None:
        state = "failed" if failed else "waiting"
        nothing = {"state": state, "task": "", "agent": "", "agent_id": "", "host": "", "ports": []}
        return {**nothing, "message": failed or message}
    return {
        "state": task.state.value,
        "task": task.id,
        "agent": task.hostname,
        "agent_id": task.agent_id,
        "host": task.ip,
        "ports": list(task.ports),
        "message": task.message or message,
    }


def engine_set(state: Everything, name: str, message: str = "", tasks: bool = True) -> dict[str, Any]:
    cluster = state.cluster
    spec = cluster.spec.engines.get(name)
    running = policy.usable(cluster, name)
    failed = gave_up(cluster, name)
    if spec is None or cluster.stopping:
        word = "stopping"
    elif failed:
        word = "failed"
    else:
        word = "running" if len(running) >= spec.n else "waiting"
    shown = {
        "wanted": spec.n if spec else 0,
        "running": len(running),
        "state": word,
        "message": failed or message,
    }
    if tasks:
        order = sorted(cluster.group(name), key=lambda t: (t.launched_at, len(t.id), t.id))
        shown["tasks"] = [_engine(task) for task in order]
    return shown


def _engine(task: Task) -> dict[str, Any]:
    return {
        "task": task.id,
        "state": task.state.value,
        "agent": task.hostname,
        "agent_id": task.agent_id,
        "container": task.executor_id,
        "engine_id": task.engine_id,
        "since": task.since,
        "message": task.message,
    }


def explanation(state: Everything, now: float, trouble: str = "") -> dict[str, Any]:
    said = explained(state, now)
    return {**said.as_dict(), "summary": summary(said, trouble), "text": "\n".join(filter(None, (trouble, said.text)))}


def explained(state: Everything, now: float) -> Explanation:
    """With times as the clocks of this place show them; our own time may be another one (clock.SteadyClock)."""
    ahead = time.time() - now
    return explain(state, now, lambda at: time_of_day(at + ahead))


def summary(said: Explanation, trouble: str = "") -> str:
    return "; ".join(filter(None, (trouble, said.summary)))
