"""Let an engine set have another number of engines, and wait until it has: for the command line and for Python."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .client import Daemon
from .errors import IPyMesosError, StartFailed

POLL = 1.0  # seconds that one look may wait for news
LOOK = 2.0  # seconds between two looks whether all engines can come at all


def wait_for_engines(
    daemon: Daemon, name: str, n: int, timeout: float, told: Callable[[dict[str, Any]], None] = lambda status: None
) -> None:
    """Until the set has exactly n engines and all of them run; StartFailed says why that won't be, or isn't in time.

    `told` gets each status, once a second at least.
    """
    began = looked = time.monotonic()
    version = None
    while True:
        status = daemon.status(after=version, timeout=POLL)
        version, engines = status["version"], status["engines"].get(name)
        if engines is None or status["state"] == "stopping":
            raise IPyMesosError(status["error"] or "the cluster is stopping")
        told(status)
        if engines["state"] == "failed":
            raise StartFailed(engines["message"])
        if engines["running"] == sum(task["state"] != "killing" for task in engines["tasks"]) == n:
            return
        now = time.monotonic()
        if now - looked > LOOK:
            looked = now
            for group in daemon.explain()["groups"]:
                if group["group"] == name and (why := hopeless(group)):
                    raise StartFailed(why)
        if now - began > timeout:
            raise StartFailed(f"{engines['running']} of {n} engines run after {timeout:g} s: {engines['message']}")


def hopeless(group: dict[str, Any]) -> str:
    """Why not all engines of a set can run, once nothing more of it is on its way; '' while there is hope.

    `group` is one of an explanation's.
    """
    room, wanted = group["room"], group["wanted"]
    if room is None or room >= wanted or group["coming"] or group["why"] not in ("refused", "busy"):
        return ""
    return (
        f"engine set {group['group']}: {group['running']} of {wanted} run, and all agents of this Mesos together have"
        f" room for {room} at most; the others begin when there are more agents: {group['reason']}"
    )
