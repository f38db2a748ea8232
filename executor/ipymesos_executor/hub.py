"""The hub of our controllers: ipyparallel's, which says also why an engine has left, and what is lost otherwise.

Beyond ipyparallel's protocol it understands:

    unregistration_request {"id", "reason"}   the reason goes on to everybody with unregistration_notification
    retire_request {"id"}                     the engine shall get no new tasks; answered with {"scheduler": bool}: will
                                              a task scheduler send "retirement" after the last task it has given it?
    leave_request {"id"}                      it has done its work; answered when it is unregistered
    scheduler_request {}                      from a task scheduler, which wants to hear of retirements
    connection_request                        its reply says also which ids are "awaited": those of engines that will
                                              move here from a former controller. Who is neither here nor awaited has
                                              ended. Missing or null: nobody knows

A client, and the task scheduler as well, subscribes to the hub's notifications and asks for the present engines at the
same time, over two connections. What the hub publishes after it has answered, and before the subscription has arrived,
is lost to them for ever: with engines that register within a fraction of a second, `Client.wait_for_engines` then waits
in vain. So the hub says such news again, a few times; whoever knows them ignores them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ipyparallel.controller import hub as upstream
from ipyparallel.controller.dictdb import NoDB

AGAIN = (0.2, 0.6, 2.0, 5.0)  # seconds after a connection
SILENT = "it gives no sign of life any more"
RETIRED = "retired"
LAST_REPLIES = 1.0  # seconds for the replies of an engine that leaves to pass the schedulers; its requests are counted
POLL = 0.02  # seconds between two looks whether they have
REQUESTS = ("queue::", "task::", "broadcast::")  # so upstream's lines about them begin
REASONS_KEPT = 1000  # of engines that have left; they are wanted for seconds only

Message = dict[str, Any]


class Laconic(logging.LoggerAdapter):  # type: ignore[type-arg]
    """Without the two lines for each request, which take the hub longer than the request itself."""

    def info(self, msg: object, *args: Any, **kwargs: Any) -> None:
        if not str(msg).startswith(REQUESTS):
            super().info(msg, *args, **kwargs)


class Hub(upstream.Hub):
    def __init__(self, **kwargs: Any) -> None:
        self.reasons: dict[tuple[int, str], str] = {}  # why engines have left, by id and uuid
        self.silent: dict[bytes, Any] = {}  # engines without heartbeat, which may come back, by heart
        self.schedulers: set[bytes] = set()
        self.awaited: set[int] | None = None  # ids of engines that will move here
        self.highest = -1  # id of an engine that has ever been here
        self.tell_highest: Callable[[int], Any] = lambda engine_id: None
        super().__init__(**kwargs)
        if not self.log.isEnabledFor(logging.DEBUG):
            self.log = Laconic(self.log, {})
        self.query_handlers["retire_request"] = self.retire_request
        self.query_handlers["leave_request"] = self.leave_request
        self.query_handlers["scheduler_request"] = self.scheduler_request

    # --- news ----------------------------------------------------------------------------------------------

    def connection_request(self, client_id: list[bytes], msg: Message) -> None:
        told = self._present()
        content = {
            "status": "ok",
            "engines": {str(engine_id): engine.uuid for engine_id, engine in self.engines.items()},
            "awaited": None if self.awaited is None else sorted(self.awaited),
        }
        self.session.send(self.query, "connection_reply", content, parent=msg, ident=client_id)
        for seconds in AGAIN:
            self.loop.call_later(seconds, self._say_what_changed, told)

    def _present(self) -> set[tuple[int, str]]:
        return {(engine_id, engine.uuid) for engine_id, engine in self.engines.items()}

    def _say_what_changed(self, told: set[tuple[int, str]]) -> None:
        now = self._present()
        for engine_id, uuid in sorted(now - told):
            self.session.send(self.notifier, "registration_notification", content={"id": engine_id, "uuid": uuid})
        for engine_id, uuid in sorted(told - now):
            self._say_gone(engine_id, uuid)

    def _say_gone(self, engine_id: int, uuid: str) -> None:
        content = {"id": engine_id, "uuid": uuid, "reason": self.reasons.get((engine_id, uuid), "")}
        self.session.send(self.notifier, "unregistration_notification", content=content)

    # --- what passes by ------------------------------------------------------------------------------------

    def monitor_iopub_message(self, topics: list[bytes], msg: list[bytes]) -> None:
        """With no database only the end of an engine matters; two or more messages of each task need no reading."""
        if not isinstance(self.db, NoDB) or b"shutdown_reply" in msg[1]:  # which is the header
            super().monitor_iopub_message(topics, msg)

    # --- deaths --------------------------------------------------------------------------------------------

    def unregister_engine(self, ident: Any, msg: Message) -> None:
        content = msg["content"]
        engine = self.engines.get(content.get("id"))
        if engine is None:
            self.silent = {heart: known for heart, known in self.silent.items() if known.id != content.get("id")}
            if self.awaited is not None:
                self.awaited.discard(content.get("id"))
            super().unregister_engine(ident, msg)
            return
        notifier, self.notifier = self.notifier, None  # upstream's own news would lack the reason
        try:
            super().unregister_engine(ident, msg)
        finally:
            self.notifier = notifier
        self.reasons[engine.id, engine.uuid] = str(content.get("reason", ""))
        if len(self.reasons) > REASONS_KEPT:
            del self.reasons[next(iter(self.reasons))]
        self._say_gone(engine.id, engine.uuid)

    def handle_stopped_heart(self, heart: bytes) -> None:
        """No heartbeat for long: the process or its machine has been stopped, or the network is cut."""
        engine_id = self.hearts.get(heart)
        if engine_id is None:
            super().handle_stopped_heart(heart)
            return
        engine = self.engines[engine_id]
        self.unregister_engine(heart, {"content": {"id": engine_id, "reason": SILENT}})
        self.silent[heart] = engine

    def handle_new_heart(self, heart: bytes) -> None:
        """Whoever was only silent is welcome again, under its old id; upstream would never know it again."""
        if heart in self.silent and heart not in self.incoming_registrations:
            engine = self.silent[heart]
            self.log.info("registration::engine %s is back", engine.id)
            again = upstream.EngineConnector(id=engine.id, uuid=engine.uuid, ident=heart)
            self.incoming_registrations[heart] = again
        super().handle_new_heart(heart)

    def finish_registration(self, heart: bytes) -> None:
        self.silent.pop(heart, None)
        super().finish_registration(heart)
        if self.awaited is not None:
            self.awaited -= self.engines.keys()
        highest = max([self.highest, *self.engines])
        if highest > self.highest:
            self.highest = highest
            self.tell_highest(highest)

    # --- retirement ----------------------------------------------------------------------------------------

    def scheduler_request(self, idents: list[bytes], msg: Message) -> None:
        self.schedulers.add(idents[0])

    def retire_request(self, idents: list[bytes], msg: Message) -> None:
        engine = self.engines.get(msg["content"]["id"])
        if engine is not None:
            for scheduler in self.schedulers:  # not to clients: they don't know the word
                self.session.send(self.query, "retirement", {"uuid": engine.uuid}, ident=scheduler)
        expect = engine is not None and bool(self.schedulers)
        self.session.send(self.query, "retire_reply", {"scheduler": expect}, parent=msg, ident=idents)

    def leave_request(self, idents: list[bytes], msg: Message, patience: float = LAST_REPLIES) -> None:
        """Answer after its direct requests have been answered: a client that hears of its end takes them for lost."""
        engine_id = msg["content"]["id"]
        if patience > 0 and engine_id in self.engines and self.queues[engine_id]:
            self.loop.call_later(POLL, self.leave_request, idents, msg, patience - POLL)
            return
        self.unregister_engine(idents, {"content": {"id": engine_id, "reason": RETIRED}})
        self.session.send(self.query, "leave_reply", parent=msg, ident=idents)
