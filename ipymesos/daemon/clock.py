"""The time by which the daemon lives: seconds since the epoch, without the jumps of the machine's clock."""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST_STEP = 10.0  # seconds; who asks once a second and finds that more have passed has slept
CLOSE = 1.0  # seconds from the machine's clock that are near enough


class SteadyClock:
    """Goes on with the machine's monotonic clock, and approaches its time of day by going faster or slower.

    So setting the clock by hours makes nothing too old and nothing wait for hours: our seconds are half as long or
    twice as long until both agree. Time in which this process did not run (a closed laptop, SIGSTOP) counts for
    LONGEST_STEP seconds at most; `sleeps` counts such times.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._now, self._asked_at = wall(), monotonic()
        self.sleeps = 0

    def __call__(self) -> float:
        asked_at = self._monotonic()
        passed, self._asked_at = asked_at - self._asked_at, asked_at
        if passed > LONGEST_STEP:
            self.sleeps += 1
            passed = LONGEST_STEP
        ahead = self._now + passed - self._wall()
        self._now += passed * (0.5 if ahead > CLOSE else 2.0 if ahead < -CLOSE else 1.0)
        return self._now


def time_of_day(at: float) -> str:
    """As clocks show it here: '08:41:10', or 'Nov 21 08:41' when it was not today."""
    then, today = time.localtime(at), time.localtime()
    return time.strftime("%H:%M:%S" if then[:3] == today[:3] else "%b %d %H:%M", then)
