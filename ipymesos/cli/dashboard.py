"""`dashboard`: a link that opens the dashboard."""

from __future__ import annotations

import argparse
import sys

from .arguments import add_where, daemon

NOTE = "Open it within two minutes. It logs one browser in, once; afterwards the address without the code is enough."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_where(parser)


def run(arguments: argparse.Namespace) -> int:
    running = daemon(arguments)
    print(f"{running.url}/#code={running.login_code()}")  # what stands behind the # is never sent, nor logged
    print(NOTE, file=sys.stderr)
    return 0
