"""Read what a container has said last when it ends before its executor has spoken: only its stderr says why then."""

from __future__ import annotations

import dataclasses
import functools

from ...core import policy
from ...core.cluster import Cluster
from ...core.messages import Updated
from ...errors import Unreadable
from ..access import in_thread
from .files import Files, Sandbox

TIMEOUT = 2.0  # seconds; an agent that can't be asked must not hold anything up
TAIL = 2000  # bytes
LINES = 12
IN_A_SENTENCE = 3  # lines


class Coroner:
    """Adds to the news of an end what the container has said last, read once for all tasks of a pack."""

    def __init__(self, principal: str, secret: str) -> None:
        self._read = functools.lru_cache(100)(functools.partial(last_words, Files(principal, secret, TIMEOUT)))

    def wants(self, event: object, cluster: Cluster) -> bool:
        task = cluster.tasks.get(event.task_id) if isinstance(event, Updated) else None
        if task is None or task.doomed or not task.endpoint:
            return False
        assert isinstance(event, Updated)
        return policy.came_to_nothing(task, event)

    async def examine(self, event: Updated, cluster: Cluster) -> Updated:
        task = cluster.tasks[event.task_id]
        words = await in_thread(self._read, Sandbox(task.endpoint, cluster.framework_id, task.executor_id))
        if not words:
            return event
        last = " | ".join([line.strip() for line in words.splitlines()][-IN_A_SENTENCE:])
        return dataclasses.replace(event, message=f"{event.message}; it said: {last}", words=words)


def last_words(files: Files, sandbox: Sandbox) -> str:
    """The last lines of the executor's stderr that aren't empty; none when the agent does not tell."""
    try:
        said = files.tail(sandbox, "stderr", TAIL, TAIL).data.decode(errors="replace")
    except Unreadable:
        return ""
    return "\n".join([line.rstrip() for line in said.splitlines() if line.strip()][-LINES:])
