"""What tests share: waiting, and nothing else that could hide a fault."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def eventually(check: Callable[[], T], timeout: float = 30.0, interval: float = 0.05) -> T:
    """Call `check` until it returns something true, and return that; seconds for both times.

    An AssertionError counts as "not yet". At the end the AssertionError says what was seen last, so that a
    failed wait explains itself. Any other exception is a fault of the test or the product and passes at once.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            seen: object = check()
            if seen:
                return seen  # type: ignore[return-value]
        except AssertionError as error:
            seen = error
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout:g} s; last seen: {seen!r}")
        time.sleep(interval)


def halt(pid: int) -> None:
    """SIGSTOP, and wait until every thread stands: on a busy machine one may run on for a while, and answer."""
    os.kill(pid, signal.SIGSTOP)
    # /proc/PID/task/TID/stat: the state follows the command's name, which is in brackets (proc_pid_stat(5)).
    eventually(
        lambda: (
            {stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")}
            == {"T"}
        )
    )
