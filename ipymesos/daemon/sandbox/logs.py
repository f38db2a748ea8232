"""What the REST API answers about logs. Nothing here blocks the loop, and only a few agents are asked at a time."""

from __future__ import annotations

import asyncio
import codecs
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...core.cluster import Cluster
from ...errors import ConfigError, Gone, Unreadable
from ..access import in_thread
from . import sources
from .files import PIECE, Files, Piece, last_lines
from .sources import STREAMS, Source

SCHEDULER = "scheduler"
AT_ONCE = 8  # agents that are asked at a time
LARGEST = 1 << 20  # bytes of one answer with a tail


class Logs:
    """`log_file` is the daemon's own, None when it writes to somebody's terminal."""

    def __init__(self, cluster: Callable[[], Cluster], files: Files, log_file: Path | None) -> None:
        self._cluster, self._files, self._log_file = cluster, files, log_file
        self._few = asyncio.Semaphore(AT_ONCE)

    def listing(self) -> dict[str, Any]:
        known = [source.as_dict() for source in sources.sources(self._cluster())]
        return {"scheduler": str(self._log_file or ""), "logs": known}

    async def read(self, name: str, stream: str, offset: int | None, length: int, tail: int | None) -> dict[str, Any]:
        """A piece of one log from `offset` on, or its last `tail` lines; with neither, its end.

        ConfigError for a name or stream that isn't, Unreadable for what the agent doesn't give.
        """
        if stream not in STREAMS:
            raise ConfigError(f"stream: {stream!r}; allowed are {', '.join(STREAMS)}")
        if name == SCHEDULER:
            about: dict[str, Any] = {"task": SCHEDULER, "group": SCHEDULER, "engine_id": None, "state": "running"}
            source = None
        else:
            source = sources.find(self._cluster(), name)
            about = source.as_dict()
        async with self._few:
            piece = await in_thread(self._piece, source, stream, offset, length, tail)
        text, piece = whole(piece)
        return {**about, "stream": stream, "offset": piece.offset, "next": piece.next, "text": text}

    def _piece(self, source: Source | None, stream: str, offset: int | None, length: int, tail: int | None) -> Piece:
        if source is None:
            return self._own(offset, length, tail)
        name = source.file(stream)
        if tail is not None:
            return self._files.tail(source.sandbox, name, tail, LARGEST)
        if offset is None:
            offset = max(0, self._files.size(source.sandbox, name) - min(length, PIECE))
        return self._files.read(source.sandbox, name, offset, length)

    def _own(self, offset: int | None, length: int, tail: int | None) -> Piece:
        if self._log_file is None:
            raise Gone(f"the scheduler, pid {os.getpid()}, writes to the terminal that it was started in")
        return read_file(self._log_file, offset, length, tail)


def read_file(path: Path, offset: int | None, length: int, tail: int | None) -> Piece:
    """The same of a file on this machine."""
    try:
        with open(path, "rb") as file:
            end = file.seek(0, os.SEEK_END)
            if tail is not None:
                begin = file.seek(max(0, end - LARGEST))
                data = file.read(LARGEST)
                kept = last_lines(data, tail)
                return Piece(begin + len(data) - len(kept), kept)
            begin = file.seek(max(0, end - length) if offset is None else min(offset, end))
            return Piece(begin, file.read(min(length, PIECE)))
    except OSError as error:
        kind = Gone if isinstance(error, FileNotFoundError) else Unreadable
        raise kind(f"{path} can't be read: {error.strerror}") from None


def whole(piece: Piece) -> tuple[str, Piece]:
    """The text of a piece (U+FFFD for what is no UTF-8), and the piece without the halves of characters at its ends."""
    data = piece.data
    begin = next((i for i, byte in enumerate(data[:4]) if byte & 0xC0 != 0x80), 0) if piece.offset else 0
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data[begin:])
    left = len(decoder.getstate()[0])
    return text, Piece(piece.offset + begin, data[begin : len(data) - left])
