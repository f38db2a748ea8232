"""`start`: become the daemon of a cluster."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from ..config import MesosOptions
from ..errors import AlreadyRunning, ConfigError, NotRunning
from ..paths import Paths
from .arguments import add_where, daemon, engines
from .options import add_options, chosen_options, locate_profile
from .telling import add_output

DESCRIPTION = """\
Start a cluster: register with Mesos, launch the controller and, with -n, engines. Stays in the foreground and says
what happens; Ctrl-C, or `stop` in another terminal, ends the cluster. When it has been killed, `start --resume` goes on
with what still runs, as if nothing had happened. Without --resume another start takes over, too, but under its own
options: new containers are made by them, engine sets that it doesn't name stay, and what runs goes on running.
A secret is never an argument: --secret-file, or $IPYMESOS_SECRET.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    add_where(parser)
    parser.add_argument(
        "-n", type=engines, metavar="ENGINES", help="how many engines to start, 1 or more (default: none yet)"
    )
    parser.usage = (
        f"{parser.prog} [-n ENGINES] [--profile NAME] [--OPTION VALUE ...] [-- ARGUMENT ...]\n"
        f"       {parser.prog} --resume [--profile NAME]"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on as the scheduler that was killed: its options, its engines"
    )
    parser.add_argument("--options", metavar="-", choices=["-"], help=argparse.SUPPRESS)
    add_output(parser)
    parser.add_argument("--verbose", action="store_true", help="log every request and call, never a key")
    parser.add_argument(
        "controller_args", nargs="*", metavar="-- ARGUMENT", help="arguments for ipcontroller, after --"
    )
    add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    directory = locate_profile(arguments.profile, arguments.profile_dir, create=not arguments.resume)
    launched = bool(arguments.options)
    options: MesosOptions | None = None
    if arguments.resume:
        check_resume(arguments, directory)
    elif launched:
        n, controller_args, options = read_wish(sys.stdin.buffer.read())
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)  # who wrote it needn't stay, and no other file gets the number 0
    else:
        assert directory is not None
        n, controller_args, options = arguments.n, arguments.controller_args, chosen_options(arguments, directory)
    private = None
    if options is not None and options.master == "local":
        from ..daemon.private import PrivateMesos

        private = PrivateMesos(options)  # boots while we go on
    from ..daemon.app import App
    from ..daemon.start import Start

    start = Start(options, n, tuple(controller_args)) if options is not None else None
    assert directory is not None
    paths = Paths(directory, arguments.cluster_id)
    app = App(paths, start, launched, "" if launched else f"{connecting(arguments)}\n{watching(arguments)}", private)
    with telling(arguments, paths, launched):
        app.run()
    return 0


def telling(arguments: argparse.Namespace, paths: Paths, launched: bool) -> contextlib.AbstractContextManager[object]:
    """How it says what happens: lines of a log, in a terminal with a bar below them, or events as JSON."""
    from ..bars import Bar, Progress  # this and App above take long: a private Mesos boots meanwhile
    from .telling import BesideBar, Events, Teller, own

    bar = Bar("" if launched or arguments.output == "json" else None, leave=False)
    log_to_streams(arguments.verbose, launched, BesideBar if bar.where else logging.StreamHandler)
    if (events := None if launched else Events.of(arguments)) is not None:
        logging.getLogger("ipymesos").handlers[:1] = []  # only warnings, which go to standard error
        return Teller(events, paths.daemon_file)
    return Progress(lambda: own(paths.daemon_file), bar=bar, ever=True)


def check_resume(arguments: argparse.Namespace, directory: Path | None) -> None:
    """Refuse what `start --resume` has no use for, and a profile in which there is nothing to resume."""
    chosen = [name for name, value in vars(arguments).items() if name.startswith("option_") and value is not None]
    if chosen or arguments.n is not None or arguments.controller_args:
        name = chosen[0].removeprefix("option_").replace("_", "-") if chosen else "n"
        raise ConfigError(
            f"--resume: the options are those of the start that it goes on with; to change --{name}, leave --resume out"
        )
    if directory is None or not Paths(directory, arguments.cluster_id).state_file.exists():
        try:
            running = daemon(arguments)
        except NotRunning:
            name = f"cluster {arguments.cluster_id!r}" if arguments.cluster_id else "cluster"
            where = directory or arguments.profile_dir or arguments.profile or "default"
            raise NotRunning(f"there is no {name} to resume in the profile {where}: start one without it") from None
        raise AlreadyRunning(f"already running, pid {running.pid}; there is nothing to resume")


def read_wish(data: bytes) -> tuple[int | None, list[str], Any]:
    """What a launcher writes to our standard input: {"options": {...}, "controller_args": [...], "n": 4}."""
    try:
        wish = json.loads(data)
        args, n = wish.get("controller_args", []), wish.get("n")
        if not all(isinstance(arg, str) for arg in args) or not (n is None or isinstance(n, int)):
            raise ValueError("controller_args are texts, and n is a number")
        return n, list(args), MesosOptions.from_options(wish.get("options", {}))
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"--options -: standard input must hold a JSON object of options: {error}") from None


def watching(arguments: argparse.Namespace) -> str:
    """The command that shows the cluster in a browser."""
    where = ("profile_dir", "profile", "cluster_id")
    given = [(name.replace("_", "-"), str(getattr(arguments, name))) for name in where if getattr(arguments, name)]
    said = "".join(f" --{name}={shlex.quote(value)}" for name, value in given)
    return f"see it with: python -m ipymesos dashboard{said}"


def connecting(arguments: argparse.Namespace) -> str:
    """The line of Python with which a client finds the cluster."""
    said = []
    if arguments.profile_dir:
        said.append(f"profile_dir={str(Path(arguments.profile_dir).absolute())!r}")
    elif arguments.profile:
        said.append(f"profile={arguments.profile!r}")
    if arguments.cluster_id:
        said.append(f"cluster_id={arguments.cluster_id!r}")
    return f"connect with: import ipymesos; rc = ipymesos.Client({', '.join(said)})"


def log_to_streams(
    verbose: bool, timestamps: bool, handler: Callable[[TextIO], logging.Handler] = logging.StreamHandler
) -> None:
    """Progress to standard output, warnings to standard error; both with times when it is a daemon's log.

    The error for which the driver gives up is left out: it is the one by which we end, and said then.
    """
    root = logging.getLogger("ipymesos")
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    root.propagate = False
    logging.getLogger("ipymesos.driver").setLevel(logging.DEBUG if verbose else logging.WARNING)
    logging.getLogger("tornado.general").setLevel(logging.ERROR)  # below are mistakes of anybody who can connect
    stamp = "%(asctime)s " if timestamps else ""
    progress, trouble = handler(sys.stdout), handler(sys.stderr)
    progress.addFilter(lambda record: record.levelno < logging.WARNING)
    trouble.setLevel(logging.WARNING)
    trouble.addFilter(lambda record: record.name != "ipymesos.driver.driver" or record.levelno != logging.ERROR)
    progress.setFormatter(logging.Formatter(f"{stamp}%(message)s"))
    trouble.setFormatter(logging.Formatter(f"{stamp}ipymesos: warning: %(message)s"))
    root.handlers[:] = [progress, trouble]
