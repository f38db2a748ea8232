"""One JSON object per line: what the executor, the zygote and its children say to each other."""

from __future__ import annotations

import json
from typing import Any

# What the zygote says, and what goes with it; `exited` may have an error alone.
NEWS: dict[str, dict[str, type]] = {
    "ready": {},
    "failed": {"message": str},
    "load": {"load": dict},
    "queues": {"task": str, "queues": dict},
    "started": {"task": str, "pid": int},
    "registered": {"task": str, "engine_id": int, "controller": str, "address": dict},
    "known": {"task": str, "engine_id": int},
    "checked": {"task": str, "found": dict},
    "leaving": {"task": str},
    "broken": {"task": str, "message": str},
    "exited": {"task": str, "status": int, "oom": str},
}
# Who is forked from it says these, and it passes them on.
FROM_CHILDREN = ("registered", "known", "checked", "leaving", "broken", "queues")


def encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class Lines:
    """Puts the pieces a stream delivers together again."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The objects that `data` completes. What is none is left out: user code in an engine has the pipe open too."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [message for line in whole if isinstance(message := _parsed(line), dict)]


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def is_news(message: dict[str, Any]) -> bool:
    """Is this one of NEWS, with all that belongs to it?"""
    event = message.get("event")
    wanted = NEWS.get(event) if isinstance(event, str) else None
    if wanted is None:
        return False
    if event == "exited" and "error" in message:
        wanted = {"task": str, "error": str}
    return all(isinstance(message.get(name), kind) for name, kind in wanted.items())
