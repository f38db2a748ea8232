"""`start`: become the daemon of a cluster."""

from __future__ import annotations

import argparse
import contextlib
import logging
import shlex
from pathlib import Path

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
    add_output(parser)
    parser.add_argument("--verbose", action="store_true", help="log every request and call, never a key")
    parser.add_argument(
        "controller_args", nargs="*", metavar="-- ARGUMENT", help="arguments for ipcontroller, after --"
    )
    add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    directory = locate_profile(arguments.profile, arguments.profile_dir, create=not arguments.resume)
    options = private = None
    if arguments.resume:
        check_resume(arguments, directory)
    else:
        assert directory is not None
        options = chosen_options(arguments, directory)
        if (wanted := options.private_mesos) is not None:
            from ..daemon.private import PrivateMesos

            private = PrivateMesos(**wanted)  # boots while we go on
    from ..daemon.app import App
    from ..daemon.start import Start

    start = Start(options, arguments.n, tuple(arguments.controller_args)) if options is not None else None
    assert directory is not None
    paths = Paths(directory, arguments.cluster_id)
    app = App(paths, start, hint=f"{connecting(arguments)}\n{watching(arguments)}", private=private)
    with telling(arguments, paths):
        app.run()
    return 0


def telling(arguments: argparse.Namespace, paths: Paths) -> contextlib.AbstractContextManager[object]:
    """How it says what happens: lines of a log, in a terminal with a bar below them, or events as JSON."""
    from ..bars import Bar, Progress  # this and App above take long: a private Mesos boots meanwhile
    from ..daemon.output import log_to_streams
    from .telling import BesideBar, Events, Teller, own

    bar = Bar("" if arguments.output == "json" else None, leave=False)
    log_to_streams(arguments.verbose, False, BesideBar if bar.where else logging.StreamHandler)
    if (events := Events.of(arguments)) is not None:
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
