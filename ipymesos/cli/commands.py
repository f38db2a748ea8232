"""The command line: `python -m ipymesos COMMAND`.

Options of `start` come from config.MesosOptions, one for each trait, so that there is one place where an option, its
unit and its help are written. Precedence: command line, profile (ipcluster_config.py), environment, default.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from traitlets import TraitError

from .. import __version__
from ..client import Daemon
from ..daemon import words
from ..daemon.progress import one_line
from ..errors import AlreadyRunning, ConfigError, IPyMesosError, NotRunning
from ..paths import Paths
from .options import add_options, chosen_options, locate_profile
from .scale import scale

DESCRIPTION = """\
ipyparallel clusters on Apache Mesos.

With no configuration at all, `python -m ipymesos start -n 4` starts a private Mesos on this machine and four engines
on it; `ipyparallel.Client()` in another terminal then computes on them.
"""

EPILOG = """\
Where the cluster is looked for: --profile NAME, or --profile-dir DIRECTORY, and --cluster-id ID when a profile has
several. The exit code is 0 when all went well; 2: an option makes no sense, 3: the state can't be kept, 5: the master
can't be reached, 6: it doesn't let us in, 7: it refuses the framework, 8: it has removed it, 9: the controller or the
engines can't be launched, 10: already running, 11: not running.
"""


def parser() -> argparse.ArgumentParser:
    main = Parser(
        prog="python -m ipymesos",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    main.add_argument("--version", action="version", version=f"ipymesos {__version__}")
    commands = main.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)

    def command(name: str, run: Any, help: str, where: bool = True, description: str = "") -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=help,
            description=description or help[0].upper() + help[1:] + ".",
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(run=run)
        if where:
            profile = sub.add_argument_group("where")
            profile.add_argument("--profile", metavar="NAME", default="", help="IPython profile (default: default)")
            profile.add_argument(
                "--profile-dir", metavar="DIRECTORY", default="", help="the profile's directory itself"
            )
            profile.add_argument("--cluster-id", metavar="ID", default="", help="for several clusters in one profile")
        return sub

    start = command("start", run_start, "start a cluster and stay in the foreground", description=START)
    start.add_argument(
        "-n", type=engines, metavar="ENGINES", help="how many engines to start, 1 or more (default: none yet)"
    )
    start.usage = (
        f"{start.prog} [-n ENGINES] [--profile NAME] [--OPTION VALUE ...] [-- ARGUMENT ...]\n"
        f"       {start.prog} --resume [--profile NAME]"
    )
    start.add_argument(
        "--resume", action="store_true", help="go on as the scheduler that was killed: its options, its engines"
    )
    start.add_argument("--options", metavar="-", choices=["-"], help=argparse.SUPPRESS)
    start.add_argument("--verbose", action="store_true", help="log every request and call, never a key")
    start.add_argument("controller_args", nargs="*", metavar="-- ARGUMENT", help="arguments for ipcontroller, after --")
    add_options(start)

    stop = command("stop", run_stop, "stop a cluster and wait until it is gone")
    stop.add_argument("--timeout", type=seconds, default=60.0, metavar="SECONDS", help="how long to wait (default: 60)")

    status = command("status", run_status, "show the controller, the engines and where they run")
    status.add_argument("-o", "--output", choices=["table", "json"], default="table", help="default: table")

    rescale = command("scale", run_scale, "change the number of engines")
    rescale.add_argument("n", type=int, metavar="N", help="how many engines there shall be")
    rescale.add_argument("--set", default="", metavar="NAME", help="the engine set; needed when there are several")
    rescale.add_argument("--no-wait", action="store_true", help="don't wait until N engines run")
    rescale.add_argument(
        "--timeout", type=seconds, default=300.0, metavar="SECONDS", help="how long to wait (default: 300)"
    )

    explain = command("explain", run_explain, "say why something waits: what was offered, and what it lacked")
    explain.add_argument("-o", "--output", choices=["text", "json"], default="text", help="default: text")

    local = command("local", run_local, "run a real Mesos on this machine until interrupted", where=False)
    from ..local.cli import add_arguments

    add_arguments(local)

    demo = command("demo", run_demo, "see it work: a private Mesos, four engines, a computation", where=False)
    demo.add_argument("-n", type=engines, default=4, metavar="ENGINES", help="how many engines (default: 4)")
    return main


START = """\
Start a cluster: register with Mesos, launch the controller and, with -n, engines. Stays in the foreground and says
what happens; Ctrl-C, or `stop` in another terminal, ends the cluster. When it has been killed, `start --resume` goes on
with what still runs, as if nothing had happened. Without --resume another start takes over, too, but under its own
options: new containers are made by them, engine sets that it doesn't name stay, and what runs goes on running.
A secret is never an argument: --secret-file, or $IPYMESOS_SECRET.
"""


class Parser(argparse.ArgumentParser):
    """Errors as one line in our own words."""

    def error(self, message: str) -> Any:
        raise ConfigError(f"{message} (see `{self.prog} --help`)")


def main(argv: Sequence[str] | None = None) -> int:
    try:
        arguments = parser().parse_args(argv)
        return int(arguments.run(arguments) or 0)
    except TraitError as error:
        return fail(ConfigError(str(error)))
    except IPyMesosError as error:
        return fail(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone, as in `status | head`
        return 0


def fail(error: IPyMesosError) -> int:
    print(f"ipymesos: error: {one_line(str(error))}", file=sys.stderr)
    return error.exit_code


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


def daemon(arguments: argparse.Namespace) -> Daemon:
    directory = locate_profile(arguments.profile, arguments.profile_dir)
    if directory is None:
        raise NotRunning(f"there is no profile {arguments.profile or arguments.profile_dir or 'default'!r}")
    return Daemon.find(directory, arguments.cluster_id)


# --- the commands --------------------------------------------------------------------------------------------


def run_start(arguments: argparse.Namespace) -> int:
    from ..daemon.app import App
    from ..daemon.start import Start

    directory = locate_profile(arguments.profile, arguments.profile_dir, create=not arguments.resume)
    launched, start = bool(arguments.options), None
    if arguments.resume:
        check_resume(arguments, directory)
    elif launched:
        n, controller_args, options = read_wish(sys.stdin.buffer.read())
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)  # who wrote it needn't stay, and no other file gets the number 0
        start = Start(options, n, tuple(controller_args))
    else:
        assert directory is not None
        start = Start(chosen_options(arguments, directory), arguments.n, tuple(arguments.controller_args))
    log_to_streams(arguments.verbose, timestamps=launched)
    assert directory is not None
    App(Paths(directory, arguments.cluster_id), start, launched, "" if launched else connecting(arguments)).run()
    return 0


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
    from ..config import MesosOptions

    try:
        wish = json.loads(data)
        args, n = wish.get("controller_args", []), wish.get("n")
        if not all(isinstance(arg, str) for arg in args) or not (n is None or isinstance(n, int)):
            raise ValueError("controller_args are texts, and n is a number")
        return n, list(args), MesosOptions.from_options(wish.get("options", {}))
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"--options -: standard input must hold a JSON object of options: {error}") from None


def connecting(arguments: argparse.Namespace) -> str:
    """The line of Python with which a client finds the cluster."""
    said = []
    if arguments.profile_dir:
        said.append(f"profile_dir={str(Path(arguments.profile_dir).absolute())!r}")
    elif arguments.profile:
        said.append(f"profile={arguments.profile!r}")
    if arguments.cluster_id:
        said.append(f"cluster_id={arguments.cluster_id!r}")
    return f"connect with: import ipyparallel as ipp; rc = ipp.Client({', '.join(said)})"


def log_to_streams(verbose: bool, timestamps: bool) -> None:
    """Progress to standard output, warnings to standard error; both with times when it is a daemon's log.

    The error for which the driver gives up is left out: it is the one by which we end, and said then.
    """
    root = logging.getLogger("ipymesos")
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    root.propagate = False
    logging.getLogger("ipymesos.driver").setLevel(logging.DEBUG if verbose else logging.WARNING)
    logging.getLogger("tornado.general").setLevel(logging.ERROR)  # below are mistakes of anybody who can connect
    stamp = "%(asctime)s " if timestamps else ""
    progress, trouble = logging.StreamHandler(sys.stdout), logging.StreamHandler(sys.stderr)
    progress.addFilter(lambda record: record.levelno < logging.WARNING)
    trouble.setLevel(logging.WARNING)
    trouble.addFilter(lambda record: record.name != "ipymesos.driver.driver" or record.levelno != logging.ERROR)
    progress.setFormatter(logging.Formatter(f"{stamp}%(message)s"))
    trouble.setFormatter(logging.Formatter(f"{stamp}ipymesos: warning: %(message)s"))
    root.handlers[:] = [progress, trouble]


def run_stop(arguments: argparse.Namespace) -> int:
    running = daemon(arguments)
    running.stop("asked to by `ipymesos stop`")
    if not running.join(arguments.timeout):
        raise IPyMesosError(f"the daemon, pid {running.pid}, is still stopping after {arguments.timeout:g} s")
    print("stopped")
    return 0


def run_status(arguments: argparse.Namespace) -> int:
    status = daemon(arguments).status()
    print(json.dumps(status, indent=2) if arguments.output == "json" else words.status(status))
    return 0


def run_explain(arguments: argparse.Namespace) -> int:
    explanation = daemon(arguments).explain()
    print(json.dumps(explanation, indent=2) if arguments.output == "json" else explanation["text"])
    return 0


def run_scale(arguments: argparse.Namespace) -> int:
    if arguments.n < 1:
        raise ConfigError(f"N: {arguments.n}; 1 engine is the least. `stop` ends the whole cluster")
    running = daemon(arguments)
    return scale(running, arguments.set, arguments.n, wait=not arguments.no_wait, timeout=arguments.timeout)


def run_local(arguments: argparse.Namespace) -> int:
    from ..local.cli import run

    return run(arguments)


def run_demo(arguments: argparse.Namespace) -> int:
    from .demo import run

    return run(arguments.n)
