"""`status`: what there is."""

from __future__ import annotations

import argparse
import json

from ..daemon import words
from .arguments import add_where, daemon


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_where(parser)
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table", help="default: table")


def run(arguments: argparse.Namespace) -> int:
    status = daemon(arguments).status()
    print(json.dumps(status, indent=2) if arguments.output == "json" else words.status(status))
    return 0
