"""`doctor`: try what a first start needs."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from pathlib import Path

from traitlets import TraitError

from ..doctor import judge
from ..doctor.examine import examine
from ..doctor.findings import Finding, exit_code, line, summary
from ..errors import ConfigError
from ..paths import Paths
from .arguments import add_where, seconds
from .options import add_options, chosen_options, locate_profile

DESCRIPTION = """\
Try what a first start needs, with the options that `start` would have: the profile, the way to the master, registration
with principal and role, offers, a small task in the image, the versions of Python and ipyparallel there, the network
between here and the agents, and the clocks. Each line says OK, WARN, FAIL or SKIP, and what to do. Nothing is left.

The exit code is 0 unless something fails, and then the one with which `start` would have ended.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    add_where(parser)
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="how long a task may take to run; images may have to be pulled (default: 60)",
    )
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text", help="default: text")
    add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    logging.getLogger("ipymesos").addHandler(logging.NullHandler())  # the findings say it
    logging.getLogger("ipymesos").propagate = False
    found = []
    for finding in findings(arguments):
        found.append(finding)
        if arguments.output == "text":
            print(line(finding), flush=True)
    if arguments.output == "text":
        print(summary(found))
    else:
        print(json.dumps({"exit_code": exit_code(found), "findings": [one.as_dict() for one in found]}, indent=2))
    return exit_code(found)


def findings(arguments: argparse.Namespace) -> Iterator[Finding]:
    try:
        paths = Paths(directory(arguments), arguments.cluster_id)
        options = chosen_options(arguments, paths.profile_dir)
    except (TraitError, ConfigError) as error:
        yield judge.options(error)
        return
    yield from examine(options, paths, arguments.timeout)


def directory(arguments: argparse.Namespace) -> Path:
    """Of the profile, also if it will only be made at the first start."""
    from IPython.paths import get_ipython_dir

    found = locate_profile(arguments.profile, arguments.profile_dir)
    if found is not None or arguments.profile_dir:
        return found or Path(arguments.profile_dir)
    return Path(get_ipython_dir()) / f"profile_{arguments.profile or 'default'}"
