"""Logs for people: which ones are meant by a few words, what they say, and what they go on to say.

For the command line, the launchers and `Cluster.logs`; all of it blocks, and asks the scheduler by REST.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .client import Daemon
from .errors import ConfigError, NotRunning, Unreadable

SCHEDULER, CONTROLLER = "scheduler", "controller"
ENGINES = ("engine", "engines")  # words for all engines, or that may stand before their numbers
FAILED = 5  # engines that ended without being asked, whose logs are shown when none is named
TAIL, TAIL_OF_SEVERAL = 100, 10  # lines
FIRST_REST, LONGEST_REST = 0.3, 5.0  # seconds between two looks at a log, longer each time when there is no news
EACH = 0.05  # seconds more for each log that is followed besides
FULL = 1 << 15  # bytes; after a piece as big as this the next one is asked for at once


@dataclass(frozen=True)
class Said:
    """A piece of a log. `problem` is why there is none."""

    name: str  # as it was asked for
    text: str = ""
    task: str = ""
    engine_id: int | None = None
    agent: str = ""
    state: str = ""
    next: int = 0
    problem: str = ""

    @property
    def title(self) -> str:
        what = self.name
        if self.task not in ("", SCHEDULER):
            whose = f"engine {self.engine_id}, " if self.engine_id is not None else ""
            what = f"{whose}task {self.task}"
        return f"{what}{f' on {self.agent}' if self.agent else ''}{', ended' if self.state == 'ended' else ''}"


def select(listing: dict[str, Any], words: Sequence[str] = (), engine_set: str = "") -> list[str]:
    """The names of the logs that are meant. Of engines without a number: all that live, of this set.

    Without a word the scheduler, the controller, and the engines that ended lately without being asked to.
    """
    engines = [log for log in listing["logs"] if log["group"] != CONTROLLER and engine_set in ("", log["group"])]
    if engine_set and not engines:
        raise ConfigError(f"--set: no engine set {engine_set!r} has any log")
    living = [log["task"] for log in engines if log["state"] != "ended"]
    if not words:
        if engine_set:
            return living
        failed = [log["task"] for log in engines if log["state"] == "ended" and not log["asked"]]
        return [SCHEDULER, CONTROLLER, *failed[-FAILED:]]
    names: list[str] = []
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word not in ENGINES:
            names.append(word)
        elif not following.isdecimal():
            names += living
    return list(dict.fromkeys(names))


def read(
    daemon: Daemon, words: Sequence[str] = (), *, tail: int | None = None, stream: str = "log", engine_set: str = ""
) -> list[Said]:
    """The last `tail` lines of each log that is meant (by default 100 of one, 10 of several).

    What can't be read among several has a `problem`; of one it is raised (Unreadable, Gone).
    """
    names = select(daemon.logs(), words, engine_set)
    lines = tail if tail is not None else TAIL if len(names) == 1 else TAIL_OF_SEVERAL
    found = []
    for name in names:
        try:
            found.append(last(daemon, name, lines, stream))
        except Unreadable as error:
            if len(names) == 1:
                raise
            found.append(Said(name, problem=str(error)))
        except ConfigError as error:
            if len(names) == 1 or words:
                raise
            found.append(Said(name, problem=str(error)))
    return found


def last(daemon: Daemon, name: str, lines: int, stream: str = "log") -> Said:
    """The last lines of one log. ConfigError if there is none of this name, Unreadable if it can't be had."""
    return _said(name, daemon.log(name, tail=lines, stream=stream))


def text(said: Sequence[Said], headers: bool = False) -> str:
    """All of it, with a line before each log if there are several, as `tail` does it."""
    if len(said) == 1 and not headers:
        return said[0].text
    return "\n".join(f"==> {one.title} <==\n{_ended(one.text or one.problem)}" for one in said)


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def follow(
    daemon: Daemon, words: Sequence[str] = (), *, tail: int | None = None, stream: str = "log", engine_set: str = ""
) -> Iterator[Said]:
    """What `read` gives, and then what is written, until there can't be more: the tasks have ended, or the scheduler.

    "controller" is followed from one controller to the next.
    """
    listing = daemon.logs()
    names = select(listing, words, engine_set)
    lines = tail if tail is not None else TAIL if len(names) == 1 else TAIL_OF_SEVERAL
    followed = []
    for name in names:
        try:
            said = last(daemon, name, lines, stream)
        except (Unreadable, ConfigError) as error:  # it may not have been written yet
            if isinstance(error, ConfigError) and words and name != CONTROLLER:
                raise
            said = Said(name, state=_state(listing, name), problem=str(error))
        yield said
        followed.append(_Followed(said, stream, len(names)))
    while followed := [one for one in followed if not one.over]:
        try:
            for one in followed:
                yield from one.look(daemon)
        except NotRunning:
            return
        time.sleep(max(0.0, min(one.due for one in followed) - time.monotonic()))


def _state(listing: dict[str, Any], name: str) -> str:
    """Of the task whose log this is; "ended" if it is no task's."""
    states = {log["task"]: log["state"] for log in listing["logs"]}
    numbers = {str(log["engine_id"]): log["state"] for log in reversed(listing["logs"])}
    return str(states.get(name) or numbers.get(name) or ("" if name == CONTROLLER else "ended"))


class _Followed:
    """One log of `several`: how far it has been read, and when to look again."""

    def __init__(self, said: Said, stream: str, several: int) -> None:
        self.said, self.stream = said, stream
        self.shortest = self.rest = max(FIRST_REST, several * EACH)
        self.due = 0.0
        self.over = bool(said.problem) and said.state == "ended"

    def look(self, daemon: Daemon) -> Iterator[Said]:
        if time.monotonic() < self.due:
            return
        before = self.said
        new = self._ask(daemon)
        if new.text or (new.problem and new.problem != before.problem):
            yield new
        self.said = new
        news = len(new.text)
        self.rest = self.shortest if news else min(max(LONGEST_REST, self.shortest), self.rest * 1.5)
        self.due = time.monotonic() + (0.0 if news >= FULL else self.rest)
        self.over = new.state == "ended" and not news and new.name != CONTROLLER

    def _ask(self, daemon: Daemon) -> Said:
        name, at = self.said.name, self.said.next
        try:
            answer = daemon.log(name, offset=at, stream=self.stream)
            if self.said.task and answer["task"] != self.said.task:  # another controller has taken its place
                answer = daemon.log(name, offset=0, stream=self.stream)
            elif answer["offset"] < at:
                return replace(_said(name, answer), text=f"[{name}: the log was shortened]\n")
            return _said(name, answer)
        except (Unreadable, ConfigError) as error:
            state = "ended" if isinstance(error, ConfigError) else self.said.state  # nobody knows it any more
            return replace(self.said, text="", state=state, problem=str(error))


def _said(name: str, answer: dict[str, Any]) -> Said:
    return Said(
        name,
        answer["text"],
        answer["task"],
        answer["engine_id"],
        answer.get("agent", ""),
        answer["state"],
        answer["next"],
    )
