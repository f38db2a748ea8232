"""The task scheduler of our controllers: ipyparallel's, which gives up a dead engine's tasks soon and says why.

It may be told twice of engines that come and go (hub.py), and gives no new task to an engine that retires. When its
controller dies it outlives it for a moment, to answer for what it was given: nobody else knows.
"""

from __future__ import annotations

import signal
from typing import Any

import zmq
from ipyparallel import error, util
from ipyparallel.controller import task_scheduler as upstream
from jupyter_client.session import DELIM

from . import processes
from .move import REASON

LAST_REPLIES = 0.3  # seconds for what an engine has sent before its end to arrive
LONGEST_END = 2  # seconds that this process may outlive its controller
LINGER = 500  # ms for the last words to leave


def without_buffers(parts: list[Any]) -> list[Any]:
    """A message for a hub that keeps no record: what is said, not the data, which would only be encrypted again.

    Behind the delimiter these are signature, header, parent, metadata and content.
    """
    delimiter = next((i for i, part in enumerate(parts) if bytes(part) == DELIM), len(parts))
    return parts[: delimiter + 6]


class TaskScheduler(upstream.TaskScheduler):
    def start(self) -> None:
        self.ids: dict[bytes, int] = {}
        self.reasons: dict[bytes, str] = {}  # why engines have left whose tasks are still to be given up
        self.lost: set[bytes] = set()  # engines whose tasks were given up once
        self.retiring: set[bytes] = set()
        if self.config.IPController.get("db_class") == "nodb":
            send = self.mon_stream.send_multipart
            self.mon_stream.send_multipart = lambda parts, *a, **options: send(without_buffers(parts), *a, **options)
        super().start()
        self.session.send(self.query_stream, "scheduler_request", {})
        processes.die_with_parent(signal.SIGTERM)
        self.loop.asyncio_loop.add_signal_handler(signal.SIGTERM, self._end)

    # --- what the hub says -----------------------------------------------------------------------------------

    @util.log_errors
    def dispatch_query_reply(self, msg: list[bytes]) -> None:
        kind, content = self._read(msg)
        if kind == "retirement":
            self._retire(content["uuid"].encode())
        for engine_id, uuid in content.get("engines", {}).items():
            self._engine_came(uuid.encode(), int(engine_id))

    @util.log_errors
    def dispatch_notification(self, msg: list[bytes]) -> None:
        kind, content = self._read(msg)
        if kind == "registration_notification":
            self._engine_came(content["uuid"].encode(), content["id"])
        elif kind == "unregistration_notification":
            self._engine_gone(content["uuid"].encode(), content.get("reason", ""))

    def _read(self, msg: list[bytes]) -> tuple[str, dict[str, Any]]:
        _, parts = self.session.feed_identities(msg)
        message = self.session.deserialize(parts)
        return message["header"]["msg_type"], message["content"]

    def _engine_came(self, uid: bytes, engine_id: int) -> None:
        if uid in self.targets:
            return
        if self.pending.get(uid):  # it was away only: what it had then was given up, or is now
            self.handle_stranded_tasks(uid)
        self.ids[uid] = engine_id
        self._register_engine(uid)

    def _engine_gone(self, uid: bytes, reason: str) -> None:
        """Upstream waits 5 s for last replies, and leaves tasks waiting that only this engine could do."""
        if uid not in self.targets:
            return
        self.engine_stream.flush()
        index = self.targets.index(uid)
        self.targets.pop(index)
        self.loads.pop(index)
        self.retiring.discard(uid)
        if self.pending[uid]:
            self.reasons[uid] = reason
            self.loop.call_later(LAST_REPLIES, self._give_up, uid)
        else:
            self.completed.pop(uid)
            self.failed.pop(uid)
        self.update_graph(None)

    # --- deaths ----------------------------------------------------------------------------------------------

    def _give_up(self, uid: bytes) -> None:
        if uid not in self.targets:  # as it is when the engine has come back meanwhile
            self.handle_stranded_tasks(uid)

    def handle_stranded_tasks(self, engine: bytes) -> None:
        """Answer for an engine that can't; who has retries left gets another engine."""
        reason = self.reasons.pop(engine, "") or "unknown cause"
        self.lost.add(engine)
        for msg_id, job in list(self.pending[engine].items()):
            if reason == REASON:
                self.retries[msg_id] = 0  # it goes on elsewhere: run again here it would be done twice
            try:
                raise error.EngineError(f"engine {self.ids.get(engine)} died while running task {msg_id}: {reason}")
            except error.EngineError:
                content = error.wrap_exception()
            metadata = {"status": "error", "engine": engine.decode(), "date": util.utcnow()}
            reply = self.session.msg("apply_reply", content, parent=job.header, metadata=metadata)
            parts = self.session.serialize(reply, ident=[engine, job.idents[0]])
            self.dispatch_result([zmq.Message(part) for part in parts])
        self.completed.pop(engine, None)  # none if it has come and gone twice meanwhile
        self.failed.pop(engine, None)

    def dispatch_result(self, raw_msg: list[zmq.Message]) -> None:
        """A reply that nobody waits for any more would spoil the books, or give a task two results."""
        engine = raw_msg[0].bytes
        if engine in self.lost:
            _, parts = self.session.feed_identities(raw_msg, copy=False)
            if self.session.unpack(parts[2].bytes).get("msg_id") not in self.pending.get(engine, {}):
                return
        super().dispatch_result(raw_msg)

    def _end(self) -> None:
        """The controller has died, or ends: whoever waits for a task shall not wait for ever.

        A client that can follow its cluster to another one knows by {"controller": "lost"} that it may ask again.
        """
        signal.alarm(LONGEST_END)
        given = [job for jobs in self.pending.values() for job in jobs.values()]
        for job in [*given, *self.queue_map.values()]:
            try:
                raise error.EngineError(f"task {job.msg_id} was given up: its controller has ended")
            except error.EngineError:
                content = {**error.wrap_exception(), "controller": "lost"}
            self.session.send(self.client_stream, "apply_reply", content, parent=job.header, ident=job.idents[:1])
        self.client_stream.flush()
        self.client_stream.socket.context.destroy(linger=LINGER)
        self.loop.stop()

    # --- retirement ------------------------------------------------------------------------------------------

    def _retire(self, uid: bytes) -> None:
        self.retiring.add(uid)
        self.session.send(self.engine_stream, "retirement", ident=uid)  # behind the last task it is given

    def available_engines(self) -> list[int]:
        found: list[int] = super().available_engines()
        return [index for index in found if self.targets[index] not in self.retiring] if self.retiring else found
