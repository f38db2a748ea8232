"""Why am I waiting? One pure function; CLI, log, REST, dashboard, progress bars and launchers show what it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import policy, reasons
from .offers import FUNNEL
from .reasons import Best, Reason, engines, span
from .session import Everything
from .specs import CONTROLLER

# What a group waits for, in a word that programs may rely on.
WHY = {
    "coming": "All that is missing has been launched and will be usable soon.",
    "moving": "Engines that run are on their way to another controller, or wait for one.",
    "failed": "It was given up; only a new wish tries it again.",
    "back_off": "It has failed, and rests before the next try.",
    "disconnected": "There is no Mesos master.",
    "controller": "Engines are launched after the controller.",
    "refused": "Mesos has made offers, and none of them is enough.",
    "busy": "No offers: what the agents have is in use.",
    "too_big": "No offers: no agent that is there now could take it, though one could before.",
    "withheld": "No offers, though there is room: a quota, or somebody else has been offered it.",
    "no_agents": "No offers: this Mesos has no agents.",
    "no_offers": "No offers, and nothing is known of the agents.",
}
FUNNELED = ("refused", "busy", "too_big", "withheld")  # where it is worth knowing what was offered


@dataclass(frozen=True)
class GroupExplanation:
    """Of the controller or one engine set that is not complete. REST and `--output json` show it as it is."""

    group: str  # "controller", or the engine set's name
    why: str  # one of WHY
    wanted: int
    running: int  # usable now
    coming: int  # launched, and not yet usable
    since: float  # when something began to be missing, seconds since the epoch
    waited: float  # for how long, seconds
    offers: int  # that Mesos has made since then
    refused: dict[str, int]  # agents per reason why they can't take the next one, in the funnel's order
    best: Best | None  # the offer that came furthest
    room: int | None  # of an engine set: how many all agents could hold if nothing else ran; None: any number, unknown
    failures: int  # in a row
    next_try: float | None  # when a group that rests after failures is tried again, seconds since the epoch
    message: str  # one sentence
    reason: str  # the same without numbers of what is missing: for a progress bar
    hint: str  # what could help
    words: str  # what the container that failed last has written last, in lines

    def as_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "refused": dict(self.refused), "best": dict(self.best.__dict__) if self.best else None}


@dataclass(frozen=True)
class Explanation:
    summary: str  # one line
    text: str  # all of it, for people
    groups: list[GroupExplanation] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {"summary": self.summary, "text": self.text, "groups": [g.as_dict() for g in self.groups]}


def utc(at: float) -> str:
    """A time of day, as in '08:41:10 UTC'."""
    second = int(at) % 86400
    return f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d} UTC"


def explain(state: Everything, now: float, at: Callable[[float], str] = utc) -> Explanation:
    """`at` says a time as the reader's clock shows it."""
    cluster, session = state.cluster, state.session
    if cluster.stopping:
        return _stopping(state, now)
    missing, wanted = policy.missing(cluster), policy.wanted(cluster)
    short = [name for name, n in wanted.items() if name in missing or len(policy.usable(cluster, name)) < n]
    groups = [_group(state, name, wanted[name], now, at) for name in short]
    if session.connected:
        head = f"connected to {session.master}"
    else:
        head = reasons.disconnected(state, now, at)
    if not groups:
        line = "everything that is wanted runs" if session.connected else head
        return Explanation(line, line)
    summary = [f"{name_of(g.group)}: {g.message}" for g in groups if g.why != "disconnected"]
    if not session.connected:
        summary.insert(0, head)
    lines = [head] + [line for g in groups for line in _lines(g, session.connected, at)]
    return Explanation("; ".join(summary), "\n".join(lines), groups)


def name_of(group: str) -> str:
    return "controller" if group == CONTROLLER else f"engine set {group}"


def _stopping(state: Everything, now: float) -> Explanation:
    cluster, tasks = state.cluster, state.cluster.tasks.values()
    hosts = {task.hostname for task in tasks}
    n = sum(task.group != CONTROLLER for task in tasks)
    left = ["the controller"] if n < len(tasks) else []
    left += [engines(n)] if n else []
    where = f" on {hosts.pop() if len(hosts) == 1 else f'{len(hosts)} agents'}" if hosts else ""
    since = cluster.stopping_since
    for_long = f" for {span(now - since)}" if since is not None and now - since >= 1 else ""
    line = f"stopping{for_long} ({cluster.stopping}): " + (
        f"{' and '.join(left)}{where} still to end" if left else "all tasks have ended"
    )
    if not state.session.connected:
        line += ", and no Mesos master answers"
    return Explanation(line, line)


def _group(state: Everything, name: str, wanted: int, now: float, at: Callable[[float], str]) -> GroupExplanation:
    cluster, session = state.cluster, state.session
    running = len(policy.usable(cluster, name))
    coming = len(policy.live(cluster, name)) - running
    lacking = wanted - len(policy.staying(cluster, name))
    refusals = [r for (group, agent_id), r in session.refusals.items() if group == name and agent_id in session.seen]
    best = reasons.best_of(refusals)
    counts = Counter(refusal.reason for refusal in refusals)
    counts["role"] += reasons.kept_for_others(state, name) if lacking > 0 else 0
    said: Reason = reasons.reason(state, name, lacking, best, now, at)
    setback = cluster.setbacks.get(name)
    resting = setback is not None and not setback.final and setback.until > now
    since = session.incomplete_since.get(name, now)
    room = reasons.room(state, name) if lacking > 0 else None
    crowded = room is not None and room < wanted and said.why in ("refused", "busy")
    return GroupExplanation(
        group=name,
        why=said.why,
        wanted=wanted,
        running=running,
        coming=coming,
        since=since,
        waited=max(0.0, now - since),
        offers=session.offers_seen - session.offers_before.get(name, session.offers_seen),
        refused={reason: counts[reason] for reason in FUNNEL},
        best=best,
        room=room,
        failures=setback.failures if setback else 0,
        next_try=setback.until if setback is not None and resting else None,
        message=_message(state, name, said, lacking, wanted),
        reason=said.text,
        hint=reasons.fewer(name, best) if crowded else said.hint,
        words=setback.words if setback is not None and said.why in ("failed", "back_off") else "",
    )


def _message(state: Everything, name: str, said: Reason, lacking: int, wanted: int) -> str:
    if said.whole or lacking <= 0:
        return said.text
    leaving = len(policy.live(state.cluster, name)) - len(policy.staying(state.cluster, name))
    if leaving:
        what = "it runs on an agent that is" if name == CONTROLLER else f"{engines(leaving)} on agents that are"
        return f"{what} about to be taken away, and no other place is found: {said.text}"
    return said.text if name == CONTROLLER else f"{lacking} of {wanted} missing: {said.text}"


def _lines(group: GroupExplanation, connected: bool, at: Callable[[float], str]) -> list[str]:
    coming = f", {group.coming} coming" if group.coming else ""
    since = f"given up after {group.failures} tries" if group.why == "failed" and group.failures > 1 else ""
    since = since or (
        "given up" if group.why == "failed" else f"waiting since {at(group.since)} ({span(group.waited)})"
    )
    lines = [f"{name_of(group.group)}: {group.running} of {group.wanted} running{coming}, {since}"]
    if connected or group.why != "disconnected":
        lines.append(f"  {group.message}")
    if group.why in FUNNELED:
        refused = ", ".join(f"{reason} {n}" for reason, n in group.refused.items() if n)
        lines.append(f"  offers since then: {group.offers}" + (f"; refused agents: {refused}" if refused else ""))
    if group.room is not None and 0 < group.room < group.wanted:
        lines.append(f"  all agents together could hold {group.room} of these engines, if nothing else ran there")
    if group.words:
        lines += ["  it wrote last:", *(f"    | {line}" for line in group.words.splitlines())]
    if group.hint:
        lines.append(f"  what could help: {group.hint}")
    return lines
