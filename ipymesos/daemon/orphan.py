"""Does anybody still want this cluster? One that a launcher began, and that all have forgotten, ends by itself."""

from __future__ import annotations

from ..core.messages import LoadWanted, StopWanted
from ..core.reasons import span
from .clock import SteadyClock
from .owner import Owner

LONGEST_PAUSE, SHORTEST_PAUSE = 300.0, 1.0  # seconds between two looks at what the engines do


class Orphan:
    """Stops the cluster when nobody has asked the daemon for anything, and no engine was seen at work, in `timeout` s.

    Time in which nobody could have asked counts for nothing: while this process was stopped, or the machine slept (a
    fresh interval begins), and while there is no master to reach the engines by. 0 seconds: never.
    """

    def __init__(self, owner: Owner, clock: SteadyClock, timeout: float) -> None:
        self._owner, self._clock, self._timeout = owner, clock, timeout
        self._pause = min(LONGEST_PAUSE, max(SHORTEST_PAUSE, timeout / 100))
        self._renewed_at = self._looked_at = clock()
        self._sleeps = clock.sleeps

    def renew(self) -> None:
        """Somebody has asked."""
        self._renewed_at = self._clock()

    def look(self) -> None:
        """To be called after each turn."""
        state, now = self._owner.state, self._clock()
        if not self._timeout or state.cluster.stopping:
            return
        if self._sleeps != self._clock.sleeps or not state.session.connected:
            self._sleeps, self._renewed_at = self._clock.sleeps, now
        for load in state.session.loads.values():
            last_work = load.at + min(0.0, max(load.seconds.values(), default=-self._timeout))
            self._renewed_at = max(self._renewed_at, last_work)
        if now - self._looked_at > self._pause:
            self._looked_at = now
            self._owner.post(LoadWanted())
        if now - self._renewed_at > self._timeout:
            asked = f"nobody has asked for this cluster for {span(self._timeout)}, and its engines are idle"
            self._owner.post(StopWanted(f"{asked} (orphan_timeout)"))
