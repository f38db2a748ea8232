"""One Mesos task of this executor: what it was given, how far it is, and what its end will be called."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from . import check, death

PROTOCOL = 1  # of TaskInfo.data
KINDS = ("controller", "engine", "check")  # a check is nobody's engine: see check.py
GRACE = 3.0  # seconds from SIGTERM to SIGKILL if nobody says otherwise
LONGEST_GRACE = 30 * 86400.0  # seconds
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
OUT_OF_MEMORY = "REASON_CONTAINER_LIMITATION_MEMORY"


UNREADABLE = "the task's data can't be read; scheduler and executor may be of different versions"


class BadTask(Exception):
    """This task can't run here, and it can't anywhere that is like here."""


@dataclass
class Verdict:
    """A terminal status: what Mesos and the scheduler are told."""

    state: str
    message: str = ""
    reason: str = ""
    data: dict[str, Any] | None = None


@dataclass
class Task:
    id: str
    kind: str  # controller | engine | check
    payload: dict[str, Any] = field(repr=False)  # contains keys
    grace: float = GRACE
    log: str = ""
    pid: int | None = None
    engine_id: int | None = None
    running: bool = False
    told: str = ""  # the controller it was last told to join
    asked: bool = False  # a KILL has come
    leaving: bool = False  # the hub has asked it to end
    verdict: Verdict | None = None  # fixed before its process has ended

    def join(self, controller: str, address: dict[str, Any]) -> None:
        """Belong to this controller from now on; `address` is engine_info without keys, empty if it stays as it is."""
        self.payload["controller"] = controller
        self.payload["engine_info"] |= address

    def ended(self, code: int, out_of_memory: str) -> Verdict:
        """What an end with this exit status (negative: a signal) means. `out_of_memory`: how to say so, if it was."""
        if self.verdict is not None:
            return self.verdict
        if self.asked:
            return Verdict("TASK_KILLED")
        if self.leaving:
            return Verdict("TASK_FINISHED", "shut down through the hub")
        if code == 0:
            return Verdict("TASK_FINISHED")
        if out_of_memory:
            return Verdict("TASK_FAILED", out_of_memory, OUT_OF_MEMORY)
        message = death.words(code)
        if not self.running and (last := last_line(self.log)):
            message += f": {last}"
        return Verdict("TASK_FAILED", message)


def read(info: dict[str, Any]) -> Task:
    """A Task from Mesos' TaskInfo; BadTask says what is wrong with it."""
    name = info["task_id"]["value"]
    try:
        payload = json.loads(base64.b64decode(info.get("data", ""), validate=True))
    except MALFORMED:
        raise BadTask(UNREADABLE) from None  # without its cause, which may repeat the data
    theirs = payload.get("protocol") if isinstance(payload, dict) else None
    if theirs != PROTOCOL:
        raise BadTask(
            f"the scheduler speaks protocol {_short(theirs)}, the executor here {PROTOCOL}: "
            "install the same version of ipymesos-executor in the image"
        )
    python, kind = payload.get("python"), payload.get("kind")
    if python is not None and not (_numbers(python, 10_000) and len(python) >= 2):
        raise BadTask(UNREADABLE)
    check_python(python)
    if kind not in KINDS:
        raise BadTask(f"no such kind of task: {_short(kind)}")
    if not _complete(payload, kind):
        raise BadTask(UNREADABLE)
    return Task(name, kind, payload, grace_period(info.get("kill_policy"), GRACE))


def _complete(payload: dict[str, Any], kind: str) -> bool:
    """Is all there that executor and zygote use themselves? What ipyparallel uses is its own to check."""
    args = payload.get("args", [])
    if not isinstance(args, list) or not all(isinstance(arg, str) for arg in args):
        return False
    if not isinstance(payload.get("engine_info"), dict):
        return False
    if kind == "engine":
        return isinstance(payload.get("controller", ""), str)
    if kind == "check":
        return check.complete(payload)
    ports = (payload.get("ports"), payload.get("internal_ports"))
    return isinstance(payload.get("ip"), str) and all(_numbers(some, 65535) for some in ports)


def _short(value: Any) -> str:
    """`value` for people; what is long is no word of ours, and may hold a key."""
    text = repr(value)
    return text if len(text) <= 20 else "?"


def _numbers(value: Any, most: int) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item <= most for item in value)


def check_python(theirs: list[int] | None, ours: tuple[int, ...] = sys.version_info[:3]) -> None:
    """Functions travel as byte code, which only the same minor version of Python understands."""
    if theirs is None or list(theirs[:2]) == list(ours[:2]):
        return
    client = ".".join(map(str, theirs))
    here = ".".join(map(str, ours))
    wanted = ".".join(map(str, theirs[:2]))
    raise BadTask(
        f"the image runs Python {here}, the client {client}: functions can't be shipped between them; "
        f"use an image with Python {wanted} or set check_python = False"
    )


def grace_period(policy: dict[str, Any] | None, default: float) -> float:
    """Seconds, from a Mesos KillPolicy; the default if it has none, or none that could be."""
    try:
        return min(LONGEST_GRACE, max(0.0, int((policy or {})["grace_period"]["nanoseconds"]) / 1e9))
    except MALFORMED:
        return default


def by_controller(engines: Iterable[tuple[dict[str, Any], int | None, str]]) -> dict[str, dict[int, str]]:
    """Of (payload, engine id or None, why it has ended): what each hub is to be told, under its engine_info as JSON."""
    found: dict[str, dict[int, str]] = {}
    for payload, engine_id, reason in engines:
        if engine_id is not None:
            found.setdefault(json.dumps(payload["engine_info"]), {})[engine_id] = reason
    return found


def last_line(path: str, most: int = 300) -> str:
    """The last words of a log file, at most `most` characters."""
    try:
        with open(path, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 4096))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:most] for line in reversed(lines) if line.strip()), "")
