"""The last replies of an engine: a request that comes again, after its controller has gone, is answered, not run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

MOST = 1024  # replies
MOST_BYTES = 16 << 20  # of their buffers, together


@dataclass(frozen=True)
class Reply:
    kind: str  # apply_reply | execute_reply
    content: dict[str, Any]
    metadata: dict[str, Any]
    buffers: tuple[bytes, ...] = field(repr=False)  # copies: what they were made of may be changed by the next task

    @property
    def size(self) -> int:
        return sum(map(len, self.buffers))


class Replies:
    """By message id, the newest ones within both bounds."""

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept: OrderedDict[str, Reply] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, msg_id: str) -> Reply | None:
        return self._kept.get(msg_id)

    def keep(
        self,
        msg_id: str,
        kind: str,
        content: dict[str, Any],
        metadata: dict[str, Any],
        buffers: Iterable[Any],
        sent: bool,
    ) -> None:
        """One that could not be `sent` is kept whatever its size: nobody has it yet."""
        views = [memoryview(part) for part in buffers]
        size = sum(view.nbytes for view in views)
        if sent and size > self._most_bytes:
            return
        self._drop(msg_id)
        self._kept[msg_id] = Reply(kind, content, metadata, tuple(view.tobytes() for view in views))
        self._bytes += size
        while len(self._kept) > self._most or (self._bytes > self._most_bytes and len(self._kept) > 1):
            self._drop(next(iter(self._kept)))

    def _drop(self, msg_id: str) -> None:
        known = self._kept.pop(msg_id, None)
        if known is not None:
            self._bytes -= known.size
