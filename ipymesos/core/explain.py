"""Why am I waiting? One pure function; the CLI, the log, the status page and the launchers show what it says."""

from __future__ import annotations

from dataclasses import dataclass, field

from . import policy
from .model import CONTROLLER, Everything, Refusal, State
from .offers import FUNNEL


@dataclass(frozen=True)
class GroupExplanation:
    """Of the controller or one engine set that is not complete."""

    group: str
    wanted: int
    running: int
    coming: int  # launched, and not yet usable
    since: float  # how long something has been missing, seconds
    refused: dict[str, int]  # agents whose last offer was refused, per reason, in the funnel's order
    best: str  # the most that was offered of what was lacking
    message: str

    def as_dict(self) -> dict[str, object]:
        return {**self.__dict__, "refused": dict(self.refused)}


@dataclass(frozen=True)
class Explanation:
    summary: str  # one line
    text: str  # all of it, for people
    groups: list[GroupExplanation] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        return {"summary": self.summary, "text": self.text, "groups": [g.as_dict() for g in self.groups]}


def explain(state: Everything, now: float) -> Explanation:
    cluster, session = state.cluster, state.session
    if cluster.stopping:
        left = len(cluster.tasks)
        line = f"stopping ({cluster.stopping}): {left} task{'s' * (left != 1)} still to end"
        return Explanation(line, line)
    groups = [_group(state, name, n, now) for name, n in policy.wanted(cluster).items()]
    waiting = [g for g in groups if g.running < g.wanted]
    if not waiting:
        line = "everything that is wanted runs"
        return Explanation(line, line)
    where = f"connected to {session.master}" if session.connected else "not connected to a Mesos master"
    lines = [where] + [line for g in waiting for line in _lines(g)]
    return Explanation("; ".join(f"{_name(g.group)}: {g.message}" for g in waiting), "\n".join(lines), waiting)


def _name(group: str) -> str:
    return "controller" if group == CONTROLLER else f"engine set {group}"


def _group(state: Everything, name: str, wanted: int, now: float) -> GroupExplanation:
    cluster, session = state.cluster, state.session
    alive = policy.live(cluster, name)
    running = len(policy.usable(cluster, name))
    refusals = [r for (group, _), r in session.refusals.items() if group == name]
    counts = {reason: sum(r.reason == reason for r in refusals) for reason in FUNNEL}
    # The refusal that came furthest through the funnel shows the best that was offered.
    best = max(refusals, key=lambda r: (FUNNEL.index(r.reason), _number(r.offered)), default=None)
    since = now - session.missing_since.get(name, now)
    message = _message(state, name, wanted, best, now)
    return GroupExplanation(name, wanted, running, len(alive) - running, since, counts, _sentence(best), message)


def _message(state: Everything, name: str, wanted: int, best: Refusal | None, now: float) -> str:
    cluster, session = state.cluster, state.session
    alive = policy.live(cluster, name)
    lacking = wanted - len(policy.staying(cluster, name))
    setback = cluster.setbacks.get(name)
    if lacking <= 0:
        usable = {task.id for task in policy.usable(cluster, name)}
        coming = [task for task in alive if task.id not in usable]
        if strays := [task for task in coming if task.state is State.RUNNING]:
            return f"{len(strays)} of {len(alive)} engines live on and wait for the new controller"
        states = sorted({task.state.value for task in coming})
        oldest = max((now - task.launched_at for task in coming), default=0.0)
        return f"{len(coming)} of {len(alive)} {' and '.join(states)}, for {oldest:.0f} s"
    if setback is not None and setback.final:
        return setback.message
    if setback is not None and setback.until > now:
        return f"{setback.message}; next try in {setback.until - now:.0f} s"
    if not session.connected:
        return "waiting for the Mesos master"
    if name != CONTROLLER and cluster.controller is None:
        return "waiting for the controller to be launched"
    if best is not None:
        return f"{lacking} missing: {_sentence(best)}"
    if session.offered_at is None:
        return f"{lacking} missing: Mesos has made no offer yet (no agents, or all of their resources are in use)"
    return f"{lacking} missing: no offer for {now - session.offered_at:.0f} s (resources in use by others, or a quota)"


def _sentence(best: Refusal | None) -> str:
    if best is None:
        return ""
    return f"{best.reason}: the best offer, from {best.hostname}, has {best.offered}, and {best.wanted} are needed"


def _number(text: str) -> float:
    try:
        return float(text.split()[0])
    except (ValueError, IndexError):
        return 0.0


def _lines(group: GroupExplanation) -> list[str]:
    name = _name(group.group)
    lines = [
        f"{name}: {group.running} of {group.wanted} running, {group.coming} coming, since {group.since:.0f} s",
        f"  {group.message}",
    ]
    if any(group.refused.values()):
        lines.append("  refused agents: " + ", ".join(f"{reason} {n}" for reason, n in group.refused.items()))
    return lines
