"""What to do with each unanswered request once the controller is another one. Pure: no socket, no clock.

Engines are named by their uuid, which they keep when they move; their ids may change. An engine is *here* when the
present hub knows it, *away* when only a former one did and it may still come, else it is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Kind = Literal["direct", "balanced", "broadcast", "coalescing"]


@dataclass(frozen=True)
class Request:
    """What was asked for and not answered, as far as a move matters."""

    msg_id: str
    kind: Kind
    # Those that have to answer. Of a balanced one: those it may run on, none stands for all.
    engines: tuple[str, ...] = ()
    # The rest is for balanced ones: the engine that has begun it, how often it may be run again after a failure, and
    # the requests that it waits for.
    started: str = ""
    retries: int = 0
    needs: frozenset[str] = frozenset()
    fresh: bool = False  # never sent, so nobody can have begun it


@dataclass(frozen=True)
class Send:
    """Send it to these engines; a balanced one to any of these, none stands for all.

    `pinned`: one engine has begun it, and answers for the one run that there was. `retries` is what is left.
    """

    msg_id: str
    engines: tuple[str, ...] = ()
    pinned: bool = False
    retries: int = 0


@dataclass(frozen=True)
class Lose:
    """This engine, which had to answer it, is gone."""

    msg_id: str
    engine: str


def plan(requests: Iterable[Request], here: Collection[str], away: Collection[str], settled: bool) -> list[Send | Lose]:
    """What to send now and what to give up; what is in neither waits. `requests` in the order they were made.

    `settled`: no engine can have begun a balanced request without our knowing. Until then those wait that were sent
    and that nobody is known to have begun. What one has begun goes first, so that the scheduler knows who is busy.
    """
    begun: list[Send | Lose] = []
    others: list[Send | Lose] = []
    waiting: set[str] = set()
    for request in requests:
        if request.kind == "balanced":
            step = _balanced(request, here, away, (settled or request.fresh) and not request.needs & waiting)
            steps = [] if step is None else [step]
        elif request.kind == "coalescing":
            steps = _together(request, here, away)
        else:
            steps = _separately(request, here, away)
        if not steps:
            waiting.add(request.msg_id)
        first = any(isinstance(step, Send) and step.pinned for step in steps)
        (begun if first else others).extend(steps)
    return begun + others


def _balanced(request: Request, here: Collection[str], away: Collection[str], settled: bool) -> Send | Lose | None:
    if request.started in here:
        return Send(request.msg_id, (request.started,), pinned=True, retries=request.retries)
    if request.started in away:
        return None
    if request.started:
        if not request.retries:
            return Lose(request.msg_id, request.started)
        request = replace(request, started="", retries=request.retries - 1)
    allowed = request.engines
    if allowed and not any(engine in away or engine in here for engine in allowed):
        return Lose(request.msg_id, allowed[0])
    # A scheduler that knows other engines than those allowed calls that impossible, instead of waiting for them.
    if not settled or (allowed and not any(engine in here for engine in allowed)):
        return None
    return Send(request.msg_id, allowed, retries=request.retries)


def _together(request: Request, here: Collection[str], away: Collection[str]) -> list[Send | Lose]:
    """One answer of all: if one of them can't give its part, there is none."""
    gone = [engine for engine in request.engines if engine not in here and engine not in away]
    if gone:
        return [Lose(request.msg_id, gone[0])]
    if all(engine in here for engine in request.engines):
        return [Send(request.msg_id, request.engines)]
    return []


def _separately(request: Request, here: Collection[str], away: Collection[str]) -> list[Send | Lose]:
    back = tuple(engine for engine in request.engines if engine in here)
    steps: list[Send | Lose] = [Send(request.msg_id, back)] if back else []
    steps += [Lose(request.msg_id, engine) for engine in request.engines if engine not in here and engine not in away]
    return steps


@dataclass(frozen=True)
class Done:
    """A balanced request that was answered."""

    engine: str  # which answered it
    ok: bool


def rebase(metadata: Mapping[str, Any], done: Mapping[str, Done]) -> dict[str, Any]:
    """The metadata of a balanced request for a scheduler that has never heard of `done`.

    A scheduler refuses what depends on requests that it does not know. Dependencies that are met are left out, and
    `follow`, "run where that one ran", becomes the engines it may run on. What can't be met stays in: it is refused.
    """
    after, follow = _Dependency(metadata.get("after")), _Dependency(metadata.get("follow"))
    changed = {**metadata, "after": after.without(after.met(done)), "follow": follow.without(follow.met(done))}
    places = {done[msg_id].engine for msg_id in follow.met(done)}
    if places:
        targets = set(metadata.get("targets") or places) & places
        if not targets or (follow.all and len(places) > 1):
            return {**changed, "follow": metadata["follow"]}
        changed["targets"] = sorted(targets)
    return changed


def needs(metadata: Mapping[str, Any]) -> frozenset[str]:
    """The requests that a balanced one waits for."""
    return frozenset(_Dependency(metadata.get("after")).ids + _Dependency(metadata.get("follow")).ids)


class _Dependency:
    """What `after` and `follow` hold: a list of ids, or what ipyparallel.Dependency.as_dict() makes."""

    def __init__(self, given: Any) -> None:
        self.rules = given if isinstance(given, dict) else {"dependencies": list(given or ())}
        self.ids = list(self.rules["dependencies"])
        self.all = bool(self.rules.get("all", True))

    def met(self, done: Mapping[str, Done]) -> list[str]:
        by = {True: self.rules.get("success", True), False: self.rules.get("failure", False)}
        return [msg_id for msg_id in self.ids if msg_id in done and by[done[msg_id].ok]]

    def without(self, met: list[str]) -> Any:
        left = [] if met and not self.all else [msg_id for msg_id in self.ids if msg_id not in met]
        return {**self.rules, "dependencies": left} if len(self.rules) > 1 else left
