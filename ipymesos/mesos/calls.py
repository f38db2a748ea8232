"""Core actions -> what we ask of the master (docs/scheduler-http-api.md, "Calls")."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from typing import Any

from ..core.cluster import Cluster, Task
from ..core.messages import (
    AcceptInverse,
    Acknowledge,
    Action,
    AskLoad,
    Decline,
    Kill,
    Launch,
    Move,
    Reconcile,
    Revive,
    ShutdownExecutor,
    Suppress,
    Teardown,
    TellGone,
)
from .launch import nanoseconds, task_info

Json = dict[str, Any]

ACCEPTED = 3600.0  # seconds until a promise to leave is asked for again; a changed window is told at once


def call(action: Action, cluster: Cluster, payload: Callable[[Task], bytes], address: Callable[[Task], Json]) -> Json:
    """The body of the call that does `action`.

    `payload` gives what a task's executor has to know, secrets included; `address` how engines find a controller,
    without any key: messages pass the master and the agents, and who moves has the keys already.
    Raises TypeError for what is no scheduler call (ListAgents, which the driver asks of another endpoint).
    """
    if isinstance(action, Launch):
        tasks = [task_info(task, cluster, payload) for task in action.tasks]
        operations = {"operations": [{"type": "LAUNCH", "launch": {"task_infos": tasks}}]}
        return _call(cluster, "ACCEPT", _offers(action.offer_ids, action.refuse_seconds) | operations)
    if isinstance(action, Decline):
        return _call(cluster, "DECLINE", _offers(action.offer_ids, action.refuse_seconds))
    if isinstance(action, Suppress):
        return _call(cluster, "SUPPRESS")
    if isinstance(action, Revive):
        return _call(cluster, "REVIVE")
    if isinstance(action, Kill):
        policy = {} if action.grace is None else {"kill_policy": {"grace_period": nanoseconds(action.grace)}}
        return _call(cluster, "KILL", _task(action.task_id, action.agent_id) | policy)
    if isinstance(action, Move):
        move = {"controller": action.controller, "engine_info": address(cluster.tasks[action.controller])}
        return _message(cluster, action.executor_id, action.agent_id, {"move": move, "tasks": list(action.tasks)})
    if isinstance(action, AskLoad):
        return _message(cluster, action.executor_id, action.agent_id, {"load": True})
    if isinstance(action, TellGone):
        gone = {str(engine_id): why for engine_id, why in action.engines}
        return _message(cluster, action.executor_id, action.agent_id, {"gone": gone})
    if isinstance(action, AcceptInverse):
        inverse = {"inverse_offer_ids": [{"value": offer_id} for offer_id in action.offer_ids]}
        return _call(cluster, "ACCEPT_INVERSE_OFFERS", inverse | {"filters": {"refuse_seconds": ACCEPTED}})
    if isinstance(action, ShutdownExecutor):
        executor = {"executor_id": {"value": action.executor_id}, "agent_id": {"value": action.agent_id}}
        return _call(cluster, "SHUTDOWN", executor)
    if isinstance(action, Reconcile):
        return _call(cluster, "RECONCILE", {"tasks": [_task(*pair) for pair in action.tasks]})
    if isinstance(action, Acknowledge):
        return _call(cluster, "ACKNOWLEDGE", _task(action.task_id, action.agent_id) | {"uuid": action.uuid})
    if isinstance(action, Teardown):
        return _call(cluster, "TEARDOWN")
    raise TypeError(f"{action!r} is no call of the scheduler API")


def signal_call(cluster: Cluster, tasks: Iterable[Task], signum: int) -> list[Json]:
    """MESSAGE calls that ask the executors of `tasks` to send them a signal: one call per executor."""
    by_executor: dict[tuple[str, str], list[str]] = {}
    for task in tasks:
        by_executor.setdefault((task.executor_id, task.agent_id), []).append(task.id)
    return [
        _message(cluster, executor_id, agent_id, {"signal": signum, "tasks": ids})
        for (executor_id, agent_id), ids in by_executor.items()
    ]


def _call(cluster: Cluster, kind: str, body: Json | None = None) -> Json:
    """A call of one kind: its body stands under the kind's name in lower case."""
    result: Json = {"type": kind, "framework_id": {"value": cluster.framework_id}}
    if body is not None:
        result[kind.lower()] = body
    return result


def _message(cluster: Cluster, executor_id: str, agent_id: str, content: Json) -> Json:
    """A message to an executor. It may get lost, and is read by whoever can read the network: no secret in it."""
    body = {
        "executor_id": {"value": executor_id},
        "agent_id": {"value": agent_id},
        "data": base64.b64encode(json.dumps(content).encode()).decode("ascii"),
    }
    return _call(cluster, "MESSAGE", body)


def _offers(offer_ids: Iterable[str], refuse_seconds: float) -> Json:
    return {
        "offer_ids": [{"value": offer_id} for offer_id in offer_ids],
        "filters": {"refuse_seconds": refuse_seconds},
    }


def _task(task_id: str, agent_id: str) -> Json:
    # The agent is optional to Mesos, but without it the master has to guess which agent may know (reconciliation.md).
    task: Json = {"task_id": {"value": task_id}}
    if agent_id:
        task["agent_id"] = {"value": agent_id}
    return task
