"""`scale N`: change a number, and tell how the cluster gets there."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from ..client import Daemon
from ..errors import ConfigError, IPyMesosError, StartFailed


def scale(daemon: Daemon, name: str, n: int, wait: bool, timeout: float, out: TextIO = sys.stdout) -> int:
    """Let engine set `name` (the only one if empty) have n engines, and tell how it gets there."""
    sets = list(daemon.status()["engines"])
    if not name:
        if len(sets) > 1:
            raise ConfigError(f"--set: there are several engine sets, say which: {', '.join(sets)}")
        name = sets[0] if sets else "engines"
    daemon.want_engines(name, n)
    print(f"engine set {name}: {n} wanted", file=out, flush=True)
    deadline, version, said = time.monotonic() + timeout, None, ""
    while wait:
        status = daemon.status(after=version, timeout=5.0)
        version, engines = status["version"], status["engines"].get(name)
        if engines is None or status["state"] == "stopping":
            raise IPyMesosError(status["error"] or "the cluster is stopping")
        alive = sum(task["state"] != "killing" for task in engines["tasks"])
        line = f"{engines['running']}/{engines['wanted']} running"
        if line != said:
            print(line, file=out, flush=True)
            said = line
        if engines["state"] == "failed":
            raise StartFailed(engines["message"])
        if engines["running"] == alive == n:
            return 0
        if time.monotonic() > deadline:
            raise StartFailed(f"{engines['running']} of {n} engines run after {timeout:g} s: {engines['message']}")
    return 0
