"""What the log of a local Mesos tells of one framework: when it first used an offer, and when its tasks ran.

The master writes a line for each call and each status update, with the time in microseconds, so two schedulers can be
compared by the same witness. How many offers there were its counters know; its longest lines are cut.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

STAMP = r"^[IWE](?P<time>\d{4} \d\d:\d\d:\d\d\.\d{6}) +\d+ master\.cpp:\d+\] "
LINE = re.compile(
    STAMP + r"(?:(?P<subscribed>Received subscription request)|(?P<accept>Processing ACCEPT call)"
    r"|Status update (?P<state>TASK_[A-Z]+) .*? for task (?P<task>\S+) )"
)


@dataclass(frozen=True)
class Story:
    """Seconds count from the subscription."""

    first_accept: float
    running: tuple[float, ...]  # when each task did


def read(log: Path, begin: int = 0) -> Story:
    """From byte `begin` of the log on."""
    with log.open("rb") as file:
        file.seek(begin)
        lines = file.read().decode(errors="replace").splitlines()
    subscribed: float | None = None
    accepted: float | None = None
    running: dict[str, float] = {}
    for line in lines:
        found = LINE.match(line)
        if found is None:
            continue
        at = seconds(found["time"])
        if found["subscribed"] and subscribed is None:
            subscribed = at
        elif found["accept"] and accepted is None:
            accepted = at
        elif found["state"] == "TASK_RUNNING":
            running.setdefault(found["task"], at)
    begun = subscribed or 0.0
    return Story((accepted or begun) - begun, tuple(sorted(at - begun for at in running.values())))


def seconds(clock: str) -> float:
    return (datetime.strptime(clock, "%m%d %H:%M:%S.%f") - datetime(1900, 1, 1)).total_seconds()
