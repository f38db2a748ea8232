"""What the daemon writes: to a terminal, or into a log of its own."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TextIO


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
