"""`scale N`: change a number, and tell how the cluster gets there."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TextIO

from ..client import Daemon
from ..errors import ConfigError, IPyMesosError, StartFailed
from .arguments import add_where, daemon, seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_where(parser)
    parser.add_argument("n", type=int, metavar="N", help="how many engines there shall be")
    parser.add_argument("--set", default="", metavar="NAME", help="the engine set; needed when there are several")
    parser.add_argument("--no-wait", action="store_true", help="don't wait until N engines run")
    parser.add_argument(
        "--timeout", type=seconds, default=300.0, metavar="SECONDS", help="how long to wait (default: 300)"
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.n < 1:
        raise ConfigError(f"N: {arguments.n}; 1 engine is the least. `stop` ends the whole cluster")
    running = daemon(arguments)
    return scale(running, arguments.set, arguments.n, wait=not arguments.no_wait, timeout=arguments.timeout)


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
