"""`metrics`: what the scheduler counts, and how Prometheus may come for it."""

from __future__ import annotations

import argparse

from ..daemon import metrics_token
from ..errors import NotRunning
from ..paths import Paths
from .arguments import add_where, daemon
from .options import locate_profile

DESCRIPTION = """\
Show what the scheduler counts, in the format of Prometheus, for which it is at /metrics of the scheduler's address.
Prometheus shows its right to come by a token that opens nothing else: --token-file says in which file that is, for
`credentials_file` in its configuration. See docs/monitoring/README.md.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    add_where(parser)
    parser.add_argument(
        "--token-file",
        action="store_true",
        help="print the name of the file with the token; it is made if there is none, and stays the same from then on",
    )


def run(arguments: argparse.Namespace) -> int:
    if not arguments.token_file:
        print(daemon(arguments).metrics(), end="")
        return 0
    directory = locate_profile(arguments.profile, arguments.profile_dir)
    if directory is None:
        raise NotRunning(f"there is no profile {arguments.profile or arguments.profile_dir or 'default'!r}")
    path = Paths(directory, arguments.cluster_id).metrics_token
    metrics_token.ensure(path)
    print(path)
    return 0
