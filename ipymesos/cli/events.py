"""`events`: what has happened to a cluster, and why; also when it has ended."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ..daemon import journal
from ..errors import NotRunning, one_line
from ..paths import Paths
from .arguments import add_where, daemon
from .options import locate_profile

DESCRIPTION = """\
Show what has happened to a cluster, and why: one line for each event, or with --output json one JSON object, whose
fields docs/events.md describes. Of a cluster that has ended they are shown until another one begins in its place.
With -f, go on with what happens until the cluster ends.
"""
POLL = 60.0  # seconds that one request waits for news


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    add_where(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what happens, until the cluster ends")
    parser.add_argument(
        "--after", type=number, metavar="N", default=0, help="only events after number N (default: all that are kept)"
    )
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text", help="default: text")


def number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,15}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of an event")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    for event in events(arguments):
        print(json.dumps(event) if arguments.output == "json" else line(event), flush=arguments.follow)
    return 0


def events(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """From the scheduler while there is one, then from what it has left."""
    last, running = arguments.after, None
    try:
        running = daemon(arguments)
        while (new := running.events(last, POLL if arguments.follow else 0.0)) or arguments.follow:
            for event in new:
                last = event["seq"]
                yield event
    except NotRunning:
        kept = left(arguments)
        if kept is None and running is None:
            raise
        yield from (event for event in kept or () if event["seq"] > last)


def left(arguments: argparse.Namespace) -> list[dict[str, Any]] | None:
    """What is in the file; None if there is none."""
    directory = locate_profile(arguments.profile, arguments.profile_dir)
    path = Paths(directory, arguments.cluster_id).events_file if directory else None
    return journal.read(path) if path and (path.exists() or journal.older(path).exists()) else None


def line(event: dict[str, Any]) -> str:
    """'2026-11-22 10:23:45  engine set 'a': 2 engines launched on host', in local time."""
    text = one_line(event["text"])
    try:
        at = datetime.fromisoformat(event["at"].replace("Z", "+00:00")).astimezone()
    except (ValueError, OverflowError):
        return text
    by = f" (by {one_line(str(event['by']))})" if event.get("by") else ""
    return f"{at:%Y-%m-%d %H:%M:%S}  {text}{by}"
