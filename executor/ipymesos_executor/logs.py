"""A bound for the tasks' logs in the sandbox: an engine that talks without end must not fill its agent's disk.

The file stays the same one, as the task has it open (to append, so that it goes on where the file ends) and others may
be reading it: what is too long is shortened to its end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

LARGEST = 10 << 20  # bytes; what is written between two looks comes on top
KEPT = 1 << 20  # bytes of the end of a log that has grown beyond that
POLL = 2.0  # seconds between two looks
CUT = b"[what was written before has been removed: this log had grown beyond %d MB]\n"


class Bounds:
    """Looks at the logs every POLL seconds, whenever it is asked to."""

    def __init__(self, largest: int = LARGEST, kept: int = KEPT) -> None:
        self.largest, self.kept = largest, kept
        self._next = 0.0

    def look(self, logs: Iterable[str]) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + POLL
            for log in logs:
                shorten(log, self.largest, self.kept)


def shorten(log: str, largest: int, kept: int) -> bool:
    """Leave the last whole lines of `log`, about `kept` bytes, if it has more than `largest`; whether it had."""
    try:
        if os.lstat(log).st_size <= largest:
            return False
        file = os.open(log, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False  # the task may do with its own log what it likes
    try:
        end = os.pread(file, kept, os.fstat(file).st_size - kept)
        os.ftruncate(file, 0)
        os.write(file, CUT % (largest >> 20) + end[end.find(b"\n") + 1 :])
    except OSError:
        return False  # a full disk, or no ordinary file
    finally:
        os.close(file)
    return True
