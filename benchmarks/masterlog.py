"""What the log of a local Mesos tells of one framework: when it asked for what, and when its tasks ran.

The master writes a line for each call and each status update, with the time in microseconds, so two schedulers can be
compared by the same witness.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

STAMP = r"^[IWE](?P<time>\d{4} \d\d:\d\d:\d\d\.\d{6}) +\d+ master\.cpp:\d+\] "
LINE = re.compile(
    STAMP + r"(?:(?P<subscribed>Received subscription request)|Sending offers \[(?P<offers>[^]]*)\]"
    r"|Processing (?P<call>[A-Z_]+) call(?: for offers: \[(?P<answered>[^]]*)\])?"
    r"|Status update (?P<state>TASK_[A-Z]+) .*? for task (?P<task>\S+) )"
)


@dataclass(frozen=True)
class Story:
    """Seconds count from the subscription."""

    first_accept: float
    last_accept: float
    running: tuple[float, ...]  # when each task did
    offers: int  # that were made
    used: int  # offers that were accepted
    calls: Counter[str]  # by kind, of all that name offers, and of all others the master writes of


def read(log: Path, begin: int = 0) -> Story:
    """From byte `begin` of the log on."""
    with log.open("rb") as file:
        file.seek(begin)
        lines = file.read().decode(errors="replace").splitlines()
    subscribed: float | None = None
    accepts: list[float] = []
    running: dict[str, float] = {}
    calls: Counter[str] = Counter()
    offers = used = 0
    for line in lines:
        found = LINE.match(line)
        if found is None:
            continue
        at = seconds(found["time"])
        if found["subscribed"] and subscribed is None:
            subscribed = at
        elif found["offers"]:
            offers += found["offers"].count(",") + 1
        elif found["call"]:
            calls[found["call"]] += 1
            if found["call"] == "ACCEPT":
                accepts.append(at)
                used += (found["answered"] or "").count(",") + 1
        elif found["state"] == "TASK_RUNNING":
            running.setdefault(found["task"], at)
    begun = subscribed or 0.0
    moments = [at - begun for at in accepts] or [0.0]
    return Story(moments[0], moments[-1], tuple(sorted(at - begun for at in running.values())), offers, used, calls)


def seconds(clock: str) -> float:
    return (datetime.strptime(clock, "%m%d %H:%M:%S.%f") - datetime(1900, 1, 1)).total_seconds()
