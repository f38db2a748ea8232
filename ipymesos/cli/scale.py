"""`scale N`: change a number, and tell how the cluster gets there."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..bars import Bar, stage
from ..errors import ConfigError
from ..scaling import wait_for_engines
from .arguments import add_where, daemon, seconds
from .telling import Events, add_output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_where(parser)
    parser.add_argument("n", type=int, metavar="N", help="how many engines there shall be")
    parser.add_argument("--set", default="", metavar="NAME", help="the engine set; needed when there are several")
    parser.add_argument("--no-wait", action="store_true", help="don't wait until N engines run")
    parser.add_argument(
        "--timeout", type=seconds, default=300.0, metavar="SECONDS", help="how long to wait (default: 300)"
    )
    add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    n, name = arguments.n, arguments.set
    if n < 1:
        raise ConfigError(f"N: {n}; 1 engine is the least. `stop` ends the whole cluster")
    running = daemon(arguments)
    sets = list(running.status()["engines"])
    if not name:
        if len(sets) > 1:
            raise ConfigError(f"--set: there are several engine sets, say which: {', '.join(sets)}")
        name = sets[0] if sets else "engines"
    events, said, bar = Events.of(arguments), "", Bar()
    running.want_engines(name, n)

    def tell(status: dict[str, Any]) -> None:
        nonlocal said
        if events is not None:
            events.show(running)
        elif bar.where:
            bar.show(stage(status, name))
        elif said != (line := f"{status['engines'][name]['running']}/{status['engines'][name]['wanted']} running"):
            print(line, flush=True)
            said = line

    if events is None:
        print(f"engine set {name}: {n} wanted", flush=True)
    try:
        if not arguments.no_wait:
            wait_for_engines(running, name, n, arguments.timeout, tell)
    finally:
        bar.close()
        if events is not None:
            events.show(running)
            sys.stdout.flush()
    return 0
