"""What the arguments of several commands have in common."""

from __future__ import annotations

import argparse

from ..client import Daemon
from ..errors import NotRunning
from .options import locate_profile


def add_where(parser: argparse.ArgumentParser) -> None:
    """Which cluster is meant."""
    where = parser.add_argument_group("where")
    where.add_argument("--profile", metavar="NAME", default="", help="IPython profile (default: default)")
    where.add_argument("--profile-dir", metavar="DIRECTORY", default="", help="the profile's directory itself")
    where.add_argument("--cluster-id", metavar="ID", default="", help="for several clusters in one profile")


def daemon(arguments: argparse.Namespace) -> Daemon:
    directory = locate_profile(arguments.profile, arguments.profile_dir)
    if directory is None:
        raise NotRunning(f"there is no profile {arguments.profile or arguments.profile_dir or 'default'!r}")
    return CommandLine.find(directory, arguments.cluster_id)


class CommandLine(Daemon):
    who = "command line"


def engines(text: str) -> int:
    try:
        n = int(text)
    except ValueError:
        n = 0
    if not 1 <= n <= 10_000:
        raise argparse.ArgumentTypeError(
            f"{text!r} engines can't be started; a whole number from 1 to 10000 is allowed"
        )
    return n


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value
