"""What is counted while a cluster runs. Plain numbers; daemon/exposition.py tells Prometheus of them.

What a label may be is fixed and little: no task, agent or user is one, so that a cluster of ten thousand engines has as
many series as one of ten. Engine sets are, but only those that there are.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence

from ..core.cluster import State
from ..core.messages import Action, Decline, Event, Offered, Updated
from ..core.observe import TRANSITIONS
from ..core.session import Everything
from ..core.specs import CONTROLLER
from .vocabulary import Happening

START_SECONDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0)
TURN_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class Histogram:
    """How often a time was in which range. `bounds` are seconds, growing; what is above all is counted, too."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds, self.sum = tuple(bounds), 0.0
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def cumulated(self) -> list[tuple[str, float]]:
        """(upper bound, how many were not above it), as Prometheus wants it."""
        total, told = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self._counts, strict=True):
            total += count
            told.append((bound, float(total)))
        return told


def kind_of(group: str) -> str:
    return "controller" if group == CONTROLLER else "engine"


class Metrics:
    """Of one run of the scheduler, but for `joined` and `left`: engines that an earlier one left count as joined."""

    def __init__(self, state: Everything) -> None:
        self.offers = self.registrations = self.losses = self.left = 0
        self.declined: Counter[str] = Counter()  # reason
        self.calls: Counter[str] = Counter()  # action
        self.updates: Counter[str] = Counter()  # Mesos' states
        self.ended: Counter[tuple[str, str]] = Counter()  # kind, cause
        self.events: Counter[str] = Counter()  # kind of happening
        self.starts = {kind: Histogram(START_SECONDS) for kind in ("controller", "engine")}
        self.turns = Histogram(TURN_SECONDS)
        engines = (t for t in state.cluster.tasks.values() if t.group != CONTROLLER)
        self._joined = {task.id for task in engines if task.state is State.RUNNING}
        self.joined = len(self._joined)

    def came(self, event: Event) -> None:
        """From Mesos."""
        if isinstance(event, Offered):
            self.offers += len(event.offers)
        elif isinstance(event, Updated):
            self.updates[event.state if event.state in TRANSITIONS else "other"] += 1

    def asked(self, actions: Iterable[Action]) -> None:
        """Of Mesos."""
        for action in actions:
            self.calls[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(action).__name__).lower()] += 1
            if isinstance(action, Decline):
                # An agent's offer is declined for all groups at once; what it lacked for the first one is the reason.
                reasons = {refusal.agent_id: refusal.reason for refusal in reversed(action.refusals)}
                self.declined.update(reasons.values())
                self.declined["not_wanted"] += max(0, len(action.offer_ids) - len(reasons))

    def happened(self, happening: Happening, state: Everything) -> None:
        """`state` is that after it."""
        self.events[happening.kind] += 1
        kind = kind_of(happening.group)
        match happening.kind:
            case "master_registered":
                self.registrations += 1
            case "master_lost":
                self.losses += 1
            case "controller_running":
                self.starts[kind].observe(happening.seconds or 0.0)
            case "engines_running":
                for task in (state.cluster.tasks[name] for name in happening.tasks if name not in self._joined):
                    self._joined.add(task.id)
                    self.joined += 1
                    self.starts[kind].observe(task.since - task.launched_at)
            case "controller_ended" | "engines_ended":
                self.ended[kind, happening.cause] += len(happening.tasks)
                gone = self._joined.intersection(happening.tasks)
                self._joined -= gone
                self.left += len(gone)
