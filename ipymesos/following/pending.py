"""The requests of a client that have no answer yet, with all that is needed to send them again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from .plan import Kind, Request, needs

# What may be asked a second time, as it changes nothing.
QUERIES = frozenset({"queue_request", "result_request", "history_request", "db_request"})


@dataclass(eq=False)
class Pending:
    """A request, and how far it has come. Of a broadcast with separate answers, `futures` is one for each engine."""

    stream: Any
    msg: dict[str, Any]
    buffers: list[Any]
    ident: Any
    futures: Mapping[str, Future[Any]]  # by msg_id, or by engine
    kind: Kind | None = None  # None: a question to the hub
    engines: tuple[str, ...] = ()
    held: bool = False  # it waits for its engine, or for the move to end
    sent: int = 0  # how often
    delivered: set[str] = field(default_factory=set)  # of a broadcast: the engines it was sent to by this controller
    started: str = ""  # the engine that has begun it, as iopub told
    pinned: bool = False
    refused: int = 0  # how often a scheduler has called it impossible for the engine that has begun it
    patient: bool = False  # has an end been heard of that may be a move?
    retries: int = 0
    tracked: bool = False  # may its owner ask whether it was sent?

    @property
    def msg_id(self) -> str:
        return str(self.msg["header"]["msg_id"])

    @property
    def metadata(self) -> dict[str, Any]:
        return dict(self.msg["metadata"])

    def request(self) -> Request:
        """The same for plan(), without those who have answered or need not be sent anything."""
        assert self.kind is not None
        engines = self.engines
        if self.kind == "broadcast":
            engines = tuple(e for e in engines if not self.futures[e].done() and e not in self.delivered)
        wanted = needs(self.msg["metadata"]) if self.kind == "balanced" else frozenset()
        return Request(self.msg_id, self.kind, engines, self.started, self.retries, wanted, fresh=not self.sent)

    def heard(self, message: dict[str, Any]) -> None:
        """Something on iopub: has an engine begun it?"""
        begins = message["header"]["msg_type"] == "status" and message["content"].get("execution_state") == "busy"
        engine = message["metadata"].get("engine", "")
        if not begins or not engine or engine == self.started:
            return
        if self.started and self.retries:
            self.retries -= 1  # the scheduler has used one
        self.started = engine

    def keep(self, copied: float) -> None:
        """Copy what its owner may change, as far as ipyparallel allows that before the answer: what was sent as a copy,
        having less than `copied` bytes, and what we may be asked about, whether it was sent.
        """
        if self.tracked or all(memoryview(buffer).nbytes < copied for buffer in self.buffers):
            self.buffers = [_kept(buffer) for buffer in self.buffers]


def _kept(buffer: Any) -> Any:
    if isinstance(buffer, bytes):
        return buffer
    view = memoryview(buffer)
    return buffer if view.readonly else view.tobytes()


class Book:
    """All of them, in the order in which they were made. Changed in the client's IO thread only."""

    def __init__(self) -> None:
        self._pending: dict[str, Pending] = {}

    def __iter__(self) -> Iterator[Pending]:
        return iter(list(self._pending.values()))

    def get(self, msg_id: str) -> Pending | None:
        """The request with this id, or, of a broadcast, with the id of one of its answers."""
        return self._pending.get(msg_id) or self._pending.get(msg_id.rpartition("_")[0])

    def add(self, pending: Pending) -> None:
        """Keep it until it is answered."""
        self._pending[pending.msg_id] = pending
        open_ = [future for future in pending.futures.values() if not future.done()]

        def done(_: Future[Any]) -> None:
            if all(future.done() for future in open_):
                self._pending.pop(pending.msg_id, None)

        for future in open_:
            future.add_done_callback(done)

    def held(self) -> list[Pending]:
        return [pending for pending in self if pending.held]
