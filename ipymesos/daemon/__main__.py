"""The daemon as a launcher starts it: python -m ipymesos.daemon PROFILE_DIR CLUSTER_ID [--resume]

Without --resume standard input holds a JSON object, {"options": {...}, "controller_args": [...], "private": {...}}, and
perhaps "n", the size of a first engine set. What PrivateMesos is made with, "private", may be null; as it is known at
once, that Mesos boots while all else is imported.
The exit codes are those of `python -m ipymesos start`; the end of the log, standard error, says why.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

from ..errors import ConfigError, IPyMesosError, one_line


def main(profile_dir: str, cluster_id: str, *flags: str) -> int:
    try:
        run(Path(profile_dir), cluster_id, None if "--resume" in flags else read_wish(sys.stdin.buffer.read()))
        return 0
    except IPyMesosError as error:
        print(f"ipymesos: error: {one_line(str(error))}", file=sys.stderr)
        return error.exit_code


def run(profile_dir: Path, cluster_id: str, wish: dict[str, Any] | None) -> None:
    """`wish` None: go on as the daemon that has died was told to."""
    private = None
    gc.disable()  # what is imported stays: looking through it again and again takes an eighth of the time
    if wish is not None:
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)  # who wrote it needn't stay, and no other file gets the number 0
        if wish["private"] is not None:
            from .private import PrivateMesos

            private = PrivateMesos(**wish["private"])
    from . import launched

    gc.freeze()
    gc.enable()
    launched.run(profile_dir, cluster_id, wish, private)


def read_wish(data: bytes) -> dict[str, Any]:
    try:
        wish = json.loads(data)
        args, private = wish["controller_args"], wish["private"]
        if not all(isinstance(arg, str) for arg in args) or not isinstance(wish["options"], dict):
            raise ValueError("controller_args are texts, and options have names")
        if not (private is None or isinstance(private, dict)) or not isinstance(wish.setdefault("n"), int | None):
            raise ValueError("private has names, or is null; n is a number, or null")
        return dict(wish)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"standard input must hold a JSON object of options: {error!r}") from None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
