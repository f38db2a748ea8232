"""What waits, and why: told once it has lasted for a while, and again when the reason is another one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..core.explain import Explanation
from ..core.session import Everything
from ..core.specs import CONTROLLER
from ..errors import one_line
from .vocabulary import Happening

SAY_WHY_AFTER = 5.0  # seconds of waiting, and between two reasons


@dataclass
class _Wait:
    began: float
    quiet_until: float
    said: tuple[str, str] = ("", "")  # why, in words for programs, as it was told


class Waiting:
    """To be asked now and then; keeps what was told of each group."""

    def __init__(self) -> None:
        self._waits: dict[str, _Wait] = {}

    def look(self, state: Everything, said: Explanation, now: float) -> Iterator[Happening]:
        """`said` is the explanation of `state`."""
        reasons = {
            group.group: (group.message, group.why, group.best.reason if group.best else "")
            for group in said.groups
            if group.why != "disconnected"
        }
        if state.cluster.stopping:
            reasons[""] = said.summary, "stopping", ""
        elif not state.session.connected:
            reasons[""] = said.summary, "disconnected", ""
        for name in [name for name in self._waits if name not in reasons]:
            wait = self._waits.pop(name)
            if any(wait.said):
                seconds = round(now - wait.began, 3)
                text = f"{_what(name)} no longer waits, after {seconds:.0f} s"
                yield Happening("waiting_over", text, name, seconds=seconds)
        for name, (message, why, lack) in reasons.items():
            wait = self._waits.setdefault(name, _Wait(now, now + SAY_WHY_AFTER))
            if now > wait.quiet_until and (why, lack) != wait.said:
                wait.said, wait.quiet_until = (why, lack), now + SAY_WHY_AFTER
                reason, seconds = one_line(message), round(now - wait.began, 3)
                text = f"waiting: {_what(name)}: {reason}" if name else reason
                yield Happening("waiting", text, name, reason=reason, cause=why, seconds=seconds)


def _what(group: str) -> str:
    return {"": "the cluster", CONTROLLER: "controller"}.get(group, f"engine set {group!r}")
