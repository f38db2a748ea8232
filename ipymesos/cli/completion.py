"""`completion SHELL`: a script that teaches the shell our commands and options."""

from __future__ import annotations

import argparse

DESCRIPTION = """\
Print a script for the shell. With bash:

    ipymesos completion bash > ~/.local/share/bash-completion/completions/ipymesos

With zsh, into a folder of $fpath as the file _ipymesos; with tcsh, into a file that ~/.tcshrc sources.
"""
SHELLS = ("bash", "zsh", "tcsh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument("shell", choices=SHELLS, help="the shell that shall complete what you type")


def run(arguments: argparse.Namespace) -> int:
    import shtab

    from .main import parser

    print(shtab.complete(parser(prog="ipymesos"), arguments.shell))
    return 0
