"""Tell those whose subscription came too late which engines have come and gone meanwhile.

A client, and the task scheduler as well, subscribes to the hub's notifications and asks for the present engines at the
same time, over two connections. What the hub publishes after it has answered, and before the subscription has arrived,
is lost to them for ever: with engines that register within a fraction of a second, `Client.wait_for_engines` then waits
in vain. So the hub says such news again, a few times; whoever knows them ignores them.
"""

from __future__ import annotations

from typing import Any

from ipyparallel.controller.hub import Hub
from ipyparallel.controller.task_scheduler import TaskScheduler

AGAIN = (0.2, 0.6, 2.0, 5.0)  # seconds after a connection


def repeat_news(hub: Hub) -> None:
    """Let this hub do it."""
    answer = hub.query_handlers["connection_request"]

    def connection_request(client_id: list[bytes], message: dict[str, Any]) -> None:
        told = {engine_id: engine.uuid for engine_id, engine in hub.engines.items()}
        answer(client_id, message)
        for seconds in AGAIN:
            hub.loop.call_later(seconds, _say_what_changed, hub, told)

    hub.query_handlers["connection_request"] = connection_request


def _say_what_changed(hub: Hub, told: dict[int, str]) -> None:
    now = {engine_id: engine.uuid for engine_id, engine in hub.engines.items()}
    for kind, news in (
        ("registration_notification", now.items() - told.items()),
        ("unregistration_notification", told.items() - now.items()),
    ):
        for engine_id, uuid in sorted(news):
            hub.session.send(hub.notifier, kind, content={"id": engine_id, "uuid": uuid})


class PatientTaskScheduler(TaskScheduler):
    """A TaskScheduler that may be told twice: upstream would count an engine twice, and miss one that has gone."""

    def _register_engine(self, uid: bytes) -> None:
        if uid not in self.targets:
            super()._register_engine(uid)

    def _unregister_engine(self, uid: bytes) -> None:
        if uid in self.targets:
            super()._unregister_engine(uid)
