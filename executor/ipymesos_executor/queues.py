"""What the hub knows of work that is under way, for whoever watches. Costs nothing until somebody asks."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ipyparallel.controller.hub import Hub
from tornado.ioloop import IOLoop

Report = Callable[[dict[str, Any]], None]


def queues(hub: Hub) -> dict[str, Any]:
    """Requests that wait for an engine, those that are done, and by engine [direct ones, balanced ones] under way.

    Engines that have nothing to do are left out: there may be thousands.
    """
    work = {engine_id: [len(hub.queues[engine_id]), len(hub.tasks[engine_id])] for engine_id in hub.engines}
    return {
        "waiting": len(hub.unassigned),
        "done": len(hub.all_completed),
        "engines": {str(engine_id): counts for engine_id, counts in work.items() if any(counts)},
    }


def answer(loop: IOLoop, orders: int, hub: Hub, report: Report) -> None:
    """Report the queues whenever something comes through the pipe `orders`, which does not block.

    The controller alone writes to its zygote, so a report may be longer than what a pipe keeps in one piece.
    """

    def asked(fd: int, events: int) -> None:
        if os.read(fd, 1 << 16):
            report({"event": "queues", "queues": queues(hub)})
        else:
            loop.remove_handler(fd)  # the zygote has gone, and we are about to

    loop.add_handler(orders, asked, IOLoop.READ)
