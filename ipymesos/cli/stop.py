"""`stop`: end a cluster."""

from __future__ import annotations

import argparse
import time

from ..bars import Progress, ending
from ..client import Daemon
from ..errors import IPyMesosError
from .arguments import add_where, daemon, seconds
from .telling import POLL, Events, add_output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_where(parser)
    parser.add_argument(
        "--timeout", type=seconds, default=60.0, metavar="SECONDS", help="how long to wait (default: 60)"
    )
    add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    running = daemon(arguments)
    events = Events.of(arguments)
    running.stop("asked to by `ipymesos stop`")
    if events is not None:
        ended = follow(running, events, arguments.timeout)
    else:
        with Progress(lambda: running if running.alive else None, ending):
            ended = running.join(arguments.timeout)
    if not ended:
        raise IPyMesosError(f"the daemon, pid {running.pid}, is still stopping after {arguments.timeout:g} s")
    if events is None:
        print("stopped")
    return 0


def follow(running: Daemon, events: Events, timeout: float) -> bool:
    """Show what happens until the daemon has ended; False if it hasn't in time."""
    deadline = time.monotonic() + timeout
    while running.alive and (left := deadline - time.monotonic()) > 0:
        events.show(running, min(POLL, left))
        running.join(0.1)
    events.show(None)
    return not running.alive
