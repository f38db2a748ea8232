"""Ask engines which requests they have begun.

What began while the controller died was not told to us. An engine that has moved takes no work from its former
controller any more, so its word counts: what no engine knows may be given to any.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from .pending import Pending
from .words import ControllerLost

if TYPE_CHECKING:
    from .move import Mover

AGAIN = 0.3  # seconds until an engine is asked again, as it may not have been reachable yet
ENOUGH = 1.5  # seconds until one is taken not to know the question


class Survey:
    """Of one move. `former`: the engines that may know our requests."""

    def __init__(self, mover: Mover, former: Iterable[str]) -> None:
        self.former = frozenset(former)
        self._mover = mover
        self._told: set[str] = set()  # who has answered
        self._since = self._asked_at = 0.0
        self._questions: list[Future[Any]] = []

    def over(self, here: Collection[str], waiting: list[Pending]) -> bool:
        """Is known, of those waiting, which were begun by engines that are here? Asks them if not."""
        missing = (self.former & set(here)) - self._told
        asked = [pending.msg_id for pending in waiting if not pending.started]
        if not asked or not missing:
            return True
        now = self._mover.client._io_loop.time()
        self._since = self._since or now
        if now - self._since > ENOUGH:
            self._told |= missing
            for future in self._questions:
                if not future.done():
                    future.set_exception(ControllerLost("not answered"))
            return True
        if now - self._asked_at > AGAIN:
            self._asked_at = now
            for uuid in sorted(missing):
                self._ask(uuid, asked)
        return False

    def _ask(self, uuid: str, msg_ids: list[str]) -> None:
        client = self._mover.client
        content = {"msg_ids": msg_ids}
        future = client._send(client._control_stream, "known_request", content=content, ident=uuid.encode())
        self._questions.append(future)
        future.add_done_callback(lambda future: self._mover.call(self._tell, uuid, future))

    def _tell(self, uuid: str, future: Future[Any]) -> None:
        move = self._mover.move
        if move is None or move.survey is not self or future.exception() is not None or uuid in self._told:
            return
        self._told.add(uuid)
        for msg_id in future.result()["content"].get("known", ()):
            pending = self._mover.book.get(msg_id)
            if pending is not None and pending.held:
                pending.started = uuid
        self._mover.tick()
