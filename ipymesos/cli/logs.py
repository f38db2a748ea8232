"""`logs`: what scheduler, controller and engines have written, wherever they run or ran."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import Any

from .. import logs
from ..client import Daemon
from ..errors import NotRunning
from ..paths import Paths
from .arguments import add_where, daemon
from .options import locate_profile

DESCRIPTION = """\
Show what scheduler, controller and engines have written. Those of controller and engines are read from the agents that
they run on, also after their end, until the agent removes them (see docs/logs.md).

  logs                  the ends of the scheduler's and the controller's, and of engines that ended unasked
  logs scheduler -f     what the scheduler does
  logs engine 3         of the engine whose number is 3
  logs engines          of each engine that lives
  logs TASK             of a task, as `status` and `logs --list` name it
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    add_where(parser)
    parser.add_argument("what", nargs="*", metavar="WHAT", help="scheduler, controller, engine N, engines, or a task")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is written")
    parser.add_argument(
        "--tail", type=lines, metavar="N", help="how many lines at first (default: 100 of one log, 10 of several)"
    )
    parser.add_argument("--set", default="", metavar="NAME", help="engines of this set only")
    parser.add_argument(
        "--stream",
        choices=["log", "stdout", "stderr"],
        default="log",
        help="log is the task's own; stdout and stderr are its container's, where the executor writes (default: log)",
    )
    parser.add_argument("--list", action="store_true", help="show whose logs there are")
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text", help="default: text")


def lines(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of lines")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    try:
        running = daemon(arguments)
    except NotRunning as error:
        if arguments.what != [logs.SCHEDULER]:
            raise
        print(last_words(arguments, error), end="")
        return 0
    if arguments.list:
        show_list(running, arguments.output)
        return 0
    how: dict[str, Any] = {"tail": arguments.tail, "stream": arguments.stream, "engine_set": arguments.set}
    if arguments.follow:
        show(logs.follow(running, arguments.what, **how), arguments.output, headers=None)
    else:
        said = logs.read(running, arguments.what, **how)
        show(said, arguments.output, headers=len(said) > 1)
    return 0


def last_words(arguments: argparse.Namespace, error: NotRunning) -> str:
    """The log of a scheduler that is no more, if it has left one."""
    directory = locate_profile(arguments.profile, arguments.profile_dir)
    if directory is None:
        raise error
    file = Paths(directory, arguments.cluster_id).log_file
    for path in (file, file.with_suffix(".log.1")):
        if path.exists():
            text = path.read_text(errors="replace").splitlines(keepends=True)
            return "".join(text[-(logs.TAIL if arguments.tail is None else arguments.tail) or len(text) :])
    raise error


def show(said: Any, output: str, headers: bool | None) -> None:
    """`headers` None: when a second log begins to speak, and then whenever it is another one's turn."""
    last = ""
    for one in said:
        if output == "json":
            print(json.dumps(dataclasses.asdict(one)), flush=True)
            continue
        if headers or (headers is None and last not in ("", one.title)):
            print(f"==> {one.title} <==")
        last = one.title
        ended = one.text.endswith("\n") or not one.text
        sys.stdout.write(one.text if ended or headers is None else f"{one.text}\n")
        if one.problem:
            print(f"({one.problem})", file=sys.stderr if headers is None else sys.stdout)
        sys.stdout.flush()


def show_list(running: Daemon, output: str) -> None:
    from ..daemon import words

    listing = running.logs()
    if output == "json":
        print(json.dumps(listing, indent=2))
        return
    if listing["scheduler"]:
        print(f"scheduler: {listing['scheduler']}")
    rows: list[tuple[str, ...]] = [("ENGINE", "TASK", "STATE", "SET", "AGENT")]
    for log in listing["logs"]:
        number = "-" if log["engine_id"] is None else str(log["engine_id"])
        rows.append((number, log["task"], log["state"], log["group"], words.agent(log)))
    print("\n".join(words.table(rows)))
