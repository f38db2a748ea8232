"""Read what a task's executor has written, from its agent (Mesos: docs/sandbox.md, "Via the /files endpoint").

For one purpose: a container that ends before its executor has spoken says why in its stderr only.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import http.client
import json
import urllib.parse
import urllib.request

from ..core import policy
from ..core.messages import Updated
from ..core.model import Cluster
from .private import in_thread

TIMEOUT = 2.0  # seconds; an agent that can't be asked must not hold anything up
TAIL = 2000  # characters


class Coroner:
    """Adds to the news of an end what the container has said last, read once for all tasks of a pack."""

    def __init__(self, principal: str, secret: str) -> None:
        self._read = functools.lru_cache(100)(functools.partial(last_words, principal=principal, secret=secret))

    def wants(self, event: object, cluster: Cluster) -> bool:
        task = cluster.tasks.get(event.task_id) if isinstance(event, Updated) else None
        if task is None or task.doomed or not task.endpoint:
            return False
        assert isinstance(event, Updated)
        return policy.came_to_nothing(task, event)

    async def examine(self, event: Updated, cluster: Cluster) -> Updated:
        task = cluster.tasks[event.task_id]
        words = await in_thread(self._read, task.endpoint, cluster.framework_id, task.executor_id)
        return dataclasses.replace(event, message=f"{event.message}; it said: {words}") if words else event


def last_words(
    endpoint: str, framework_id: str, executor_id: str, principal: str = "", secret: str = "", lines: int = 3
) -> str:
    """The last `lines` of the executor's stderr, joined by " | "; empty when the agent does not tell."""
    try:
        end = _read(endpoint, framework_id, executor_id, -1, principal, secret)["offset"]
        text = _read(endpoint, framework_id, executor_id, max(0, end - TAIL), principal, secret)["data"]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, RecursionError):
        return ""
    said = [line.strip() for line in str(text).splitlines() if line.strip()]
    return " | ".join(said[-lines:])


def _read(endpoint: str, framework_id: str, executor_id: str, offset: int, principal: str, secret: str) -> dict:
    """One piece of the file; offset -1 asks for its length only."""
    path = f"/frameworks/{framework_id}/executors/{executor_id}/runs/latest/stderr"
    query = urllib.parse.urlencode({"path": path, "offset": offset, "length": TAIL})
    request = urllib.request.Request(f"http://{endpoint}/files/read?{query}")
    if principal:
        credentials = base64.b64encode(f"{principal}:{secret}".encode()).decode()
        request.add_header("Authorization", f"Basic {credentials}")
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        return json.load(answer)
