"""The words in which is told what happens: the kinds of events, the causes of an end, and the shape of both.

They are a promise (docs/events.md): new ones may come, none may go or get another meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ..core.cluster import Exit
from ..core.policy import FREE_REASONS

KINDS = {
    "scheduler_started": "The scheduler has begun, for a new cluster.",
    "scheduler_resumed": "The scheduler has begun again, and goes on with what an earlier one left.",
    "trouble": "The scheduler can't do something that it tries again and again, save its state for example.",
    "trouble_over": "It can again.",
    "master_registered": "A Mesos master has taken us as its framework, for the first time or again.",
    "master_lost": "No master answers. What runs goes on running.",
    "framework_removed": "Mesos has ended what an earlier scheduler left; the cluster starts afresh.",
    "controller_launched": "Mesos was asked for the controller.",
    "controller_running": "The controller listens on its ports.",
    "controller_unreachable": "Its agent has lost the master, so nobody knows whether the controller lives.",
    "controller_retiring": "The controller was asked to end.",
    "controller_ended": "The controller has ended.",
    "engines_wanted": "An engine set shall have another number of engines, or other ones.",
    "engines_dropped": "An engine set is wanted no more.",
    "engines_launched": "Mesos was asked for engines.",
    "engines_running": "Engines have become usable: they are registered with a controller that runs.",
    "engines_moved": "Running engines are with another controller than before.",
    "engines_unreachable": "Their agent has lost the master, so nobody knows whether these engines live.",
    "engines_retiring": "Engines were asked to end.",
    "engines_ended": "Engines have ended.",
    "back_off": "A group has failed several times, and rests before the next try.",
    "gave_up": "A group is not tried any more until somebody wishes for it again.",
    "waiting": "Something is wanted and can't be had for the moment; said again when the reason changes.",
    "waiting_over": "It has been launched, or is wanted no more.",
    "agent_draining": "An agent of ours is about to be taken away: what runs there is replaced elsewhere.",
    "agent_stays": "It is not taken away, or is back.",
    "agent_failing": "Launches on an agent fail, so it is left alone for a while if there are others.",
    "agent_works": "A launch on such an agent has worked.",
    "agent_lost": "The master has lost an agent.",
    "stopping": "The end of the cluster is wanted.",
    "stopped": "The scheduler has ended.",
}

# Why a task has ended, in one word out of a few: what can be counted.
CAUSES = {
    "asked": "its end was wanted: scaled down, replaced, or the cluster stopped",
    "finished": "a client shut it down (`rc.shutdown`)",
    "memory": "memory ran out: its container's, or the machine's",
    "signal": "its process was killed by a signal",
    "exit": "its process ended by itself",
    "container": "its container or executor could not be started, or ended",
    "agent": "its agent was lost, removed, restarted or drained",
    "mesos": "Mesos did not take it, or does not know of it",
    "other": "something else: see `reason`",
}

LOST = frozenset(("TASK_LOST", "TASK_GONE", "TASK_GONE_BY_OPERATOR"))
NOT_TAKEN = frozenset(("TASK_ERROR", "TASK_DROPPED", "TASK_UNKNOWN"))


@dataclass(frozen=True)
class Happening:
    """Fields that don't apply have their defaults."""

    kind: str
    text: str  # one line for people
    group: str = ""  # "controller", or the name of an engine set
    tasks: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()  # host names
    reason: str = ""  # in words
    cause: str = ""  # of an end, one of CAUSES; of waiting, one of explain.WHY
    asked: bool | None = None  # of an end: whether we wanted it
    running: int | None = None  # usable engines of the set, after this
    wanted: int | None = None
    seconds: float | None = None  # that it has taken, or will last
    by: str = ""  # who wanted it

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it, without what doesn't apply."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values if v not in ("", (), None)}


def why(end: Exit) -> str:
    """In words: what was said, or at least Mesos' name for it."""
    return end.message.strip() or end.reason or end.state


def cause(end: Exit) -> str:
    """One of CAUSES."""
    reason = end.reason.removeprefix("REASON_")
    if end.state == "TASK_FINISHED":
        return "finished"
    if end.asked:
        return "asked"
    if "MEMORY" in reason or end.message.startswith("OOM"):
        return "memory"
    if end.message.startswith("killed by "):
        return "signal"
    if end.message.startswith("exit status "):
        return "exit"
    if reason.startswith(("SLAVE_", "AGENT_")) or end.state in LOST:
        return "agent"
    if end.state in NOT_TAKEN or end.reason in FREE_REASONS:
        return "mesos"
    if reason.startswith(("CONTAINER", "EXECUTOR", "IMAGE", "COMMAND_EXECUTOR", "IO_SWITCHBOARD")):
        return "container"
    return "other"
