"""`stop`: end a cluster."""

from __future__ import annotations

import argparse

from ..errors import IPyMesosError
from .arguments import add_where, daemon, seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_where(parser)
    parser.add_argument(
        "--timeout", type=seconds, default=60.0, metavar="SECONDS", help="how long to wait (default: 60)"
    )


def run(arguments: argparse.Namespace) -> int:
    running = daemon(arguments)
    running.stop("asked to by `ipymesos stop`")
    if not running.join(arguments.timeout):
        raise IPyMesosError(f"the daemon, pid {running.pid}, is still stopping after {arguments.timeout:g} s")
    print("stopped")
    return 0
