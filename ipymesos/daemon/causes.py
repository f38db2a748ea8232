"""Why a task has ended, in one word out of a few: what can be counted. The words themselves are in `reason`."""

from __future__ import annotations

from ..core.model import Exit
from ..core.policy import FREE_REASONS

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
