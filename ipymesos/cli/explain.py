"""`explain`: why something waits."""

from __future__ import annotations

import argparse
import json

from .arguments import add_where, daemon


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_where(parser)
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text", help="default: text")


def run(arguments: argparse.Namespace) -> int:
    explanation = daemon(arguments).explain()
    print(json.dumps(explanation, indent=2) if arguments.output == "json" else explanation["text"])
    return 0
