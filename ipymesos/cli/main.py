"""The command line: which commands there are, and what they have in common.

A command is a module of this package: `HELP` is its line in the list, `add_arguments(parser)` its arguments, and
`run(arguments)` does it and returns the exit code. Only the module of the command that is used is loaded: starting the
daemon shall not wait for what it doesn't need.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from traitlets import TraitError

from .. import __version__
from ..errors import ConfigError, IPyMesosError, one_line

COMMANDS = {
    "start": "start a cluster and stay in the foreground",
    "stop": "stop a cluster and wait until it is gone",
    "status": "show the controller, the engines and where they run",
    "scale": "change the number of engines",
    "explain": "say why something waits: what was offered, and what it lacked",
    "events": "show what has happened to a cluster, and why",
    "logs": "show what scheduler, controller and engines have written",
    "metrics": "show what the scheduler counts, for Prometheus",
    "dashboard": "print a link that opens the dashboard in a browser",
    "doctor": "try what a first start needs, and say what to do about what fails",
    "local": "run a real Mesos on this machine until interrupted",
    "demo": "see it work: a private Mesos, four engines, a computation",
    "completion": "print a script by which bash, zsh or tcsh completes commands and options",
}

DESCRIPTION = """\
ipyparallel clusters on Apache Mesos.

With no configuration at all, `python -m ipymesos start -n 4` starts a private Mesos on this machine and four engines
on it; `ipyparallel.Client()` in another terminal then computes on them.
"""

EPILOG = """\
Where the cluster is looked for: --profile NAME, or --profile-dir DIRECTORY, and --cluster-id ID when a profile has
several. The exit code is 0 when all went well; 1: something else than what follows, 2: an option makes no sense, 3: the
state can't be kept, 4: trouble with the master, 5: it can't be reached, 6: it doesn't let us in, 7: it refuses the
framework, 8: it has removed it, 9: the controller or the engines can't be launched, 10: already running, 11: not
running, 12: a log can't be read, 130: interrupted.
"""


def parser(only: str = "", prog: str = "python -m ipymesos") -> argparse.ArgumentParser:
    """With every command; `only` is the one that is used, the others needn't have their arguments."""
    main = Parser(
        prog=prog,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    main.add_argument("--version", action="version", version=f"ipymesos {__version__}")
    commands = main.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for name, help in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if only in ("", name):
            module = import_module(f"{__package__}.{name}")
            command.set_defaults(run=module.run)
            module.add_arguments(command)
    return main


class Parser(argparse.ArgumentParser):
    """Errors as one line in our own words."""

    def error(self, message: str) -> Any:
        raise ConfigError(f"{message} (see `{self.prog} --help`)")


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = parser(next((word for word in words if word in COMMANDS), "")).parse_args(words)
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
