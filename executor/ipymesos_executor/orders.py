"""What the scheduler may order by a message: base64 of a JSON object. Mesos may lose one, or deliver it twice.

{"signal": number, "tasks": [ids] or null}: for engines whose control channel can't answer any more
{"move": {"controller": task id, "engine_info": {... without keys}}, "tasks": [ids] or null}: for engines; answered with
    another TASK_RUNNING when it is done, however often it is said
{"load": true}: answered with {"load": {task: seconds its present work has run, or minus how long it is idle},
    "used": {task: [resident bytes, CPU seconds]}}, and by a controller besides with {"queues": ...} (queues.py)
{"gone": {"<engine id>": reason}, "controller": task id or absent}: these engines have died with their executor
"""

from __future__ import annotations

import base64
import json
import signal
from typing import Any

from .tasks import MALFORMED

KEYS = ("key", "curve_serverkey")  # of an engine_info; whatever is said, engines keep theirs


class BadOrder(Exception):
    """Not one of these."""


def read(data: str) -> tuple[str, tuple[Any, ...]]:
    """The order's name and what goes with it: the method of Pack that carries it out, and its arguments."""
    try:
        order = json.loads(base64.b64decode(data))
        if "load" in order:
            return "ask_load", ()
        if "move" in order:
            controller, address = order["move"]["controller"], dict(order["move"]["engine_info"])
            address = {name: value for name, value in address.items() if name not in KEYS}
            return "move", (_text(controller), address, _tasks(order))
        if "gone" in order:
            reasons = {str(int(engine_id)): _text(reason) for engine_id, reason in order["gone"].items()}
            return "gone", (order.get("controller"), reasons)
        return "signal", (signal.Signals(order["signal"]), _tasks(order))
    except MALFORMED as error:
        raise BadOrder(type(error).__name__) from None  # its text could quote anything


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _tasks(order: dict[str, Any]) -> list[str] | None:
    wanted = order.get("tasks")
    return None if wanted is None else [_text(task) for task in wanted]
