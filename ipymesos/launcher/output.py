"""What a launcher returns as its output: the ends of its tasks' logs, read through the daemon while there is one."""

from __future__ import annotations

import time
from collections.abc import Sequence

from .. import logs
from ..errors import ConfigError, IPyMesosError, Unreadable
from .asker import Daemon

MOST = 16  # logs; a big cluster's engines say much the same
LINES = 200  # of each
PATIENCE = 1.0  # seconds for all of them together: a stop waits for it


def collect(daemon: Daemon, words: Sequence[str], engine_set: str = "") -> str:
    """As much as can be had in time; never fails."""
    asked = Daemon(daemon.file, timeout=PATIENCE)
    deadline = time.monotonic() + PATIENCE
    said: list[logs.Said] = []
    try:
        for name in logs.select(asked.logs(), words, engine_set)[:MOST]:
            if time.monotonic() > deadline:
                break
            said.append(_read(asked, name))
    except IPyMesosError:
        pass  # none is left, or it has no time for us
    return logs.text(said, headers=True)


def _read(daemon: Daemon, name: str) -> logs.Said:
    try:
        return logs.last(daemon, name, LINES)
    except (ConfigError, Unreadable) as error:
        return logs.Said(name, problem=str(error))
