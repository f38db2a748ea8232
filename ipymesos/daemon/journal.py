"""The events of a cluster: numbered, in memory for who asks, and in a file that outlives the scheduler.

JSON lines in a file of mode 0600 next to the log; when it has LIMIT bytes it becomes the older of two, and the former
older one goes. What can't be written, as on a full disk, is kept in memory only: nothing waits for it. What is torn,
since the scheduler was killed while it wrote, is skipped. The file stays when the cluster has ended, for who asks what
has happened, until the next cluster of that name begins; numbers go on even then.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .vocabulary import Happening

LIMIT = 512 << 10  # bytes of each of the two files, and of both in memory

log = logging.getLogger("ipymesos.daemon")


class Journal:
    """Of the file `path`, with what it holds already unless `fresh`. Belongs to the loop's thread; `clock`: seconds."""

    def __init__(self, path: Path, clock: Callable[[], float], fresh: bool = False, limit: int = LIMIT) -> None:
        self.trouble = ""  # why events aren't written at the moment
        self.unwritten = 0  # events that are not in the file
        self._path, self._clock, self._limit = path, clock, limit
        self._kept: deque[tuple[int, dict[str, Any]]] = deque()  # bytes of the line, event
        self._bytes = 0
        self._descriptor: int | None = None
        self._size, self._torn, self._over = 0, False, False
        self._news = asyncio.Event()
        known = read(path, limit)
        self.last = known[-1]["seq"] if known else 0
        if fresh:
            self._remove()
        else:
            for event in known:
                self._keep(event, len(json.dumps(event)))

    def add(self, happening: Happening) -> dict[str, Any]:
        """Give it a number and a time."""
        self.last += 1
        at = datetime.fromtimestamp(self._clock(), timezone.utc).isoformat(timespec="milliseconds")
        event = {"seq": self.last, "at": at.replace("+00:00", "Z"), **happening.as_dict()}
        line = json.dumps(event).encode() + b"\n"
        self._keep(event, len(line))
        self._write(line)
        self._wake()
        return event

    def after(self, seq: int) -> list[dict[str, Any]]:
        """The events that came after number `seq` and are still known."""
        new: list[dict[str, Any]] = []
        for _, event in reversed(self._kept):
            if event["seq"] <= seq:
                break
            new.append(event)
        return new[::-1]

    async def wait(self, seq: int, timeout: float) -> None:
        """Until there are events after number `seq`, for `timeout` seconds at most."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while self.last <= seq and not self._over and (left := deadline - loop.time()) > 0:
            try:
                await asyncio.wait_for(self._news.wait(), left)
            except asyncio.TimeoutError:
                return

    def close(self) -> None:
        """Nothing more will happen: nobody has to wait for it."""
        self._over = True
        self._wake()
        self._shut()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _keep(self, event: dict[str, Any], size: int) -> None:
        self._kept.append((size, event))
        self._bytes += size
        while self._bytes > 2 * self._limit and len(self._kept) > 1:
            self._bytes -= self._kept.popleft()[0]

    # --- the file ------------------------------------------------------------------------------------------------

    def _write(self, line: bytes) -> None:
        try:
            if self._descriptor is None:
                self._open()
            if self._size and self._size + len(line) > self._limit:
                self._turn_over()
            assert self._descriptor is not None
            if self._torn:
                line = b"\n" + line
            self._torn = True
            written = os.write(self._descriptor, line)
            self._size += written
            self._torn = written < len(line)
            if self._torn:
                raise OSError("only a part could be written")
        except OSError as error:
            self.unwritten += 1
            if not self.trouble:
                log.warning("events can't be kept in %s: %s", self._path, error.strerror or error)
            self.trouble = str(error.strerror or error)
        else:
            self.trouble = ""

    def _open(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, 0o600)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                raise OSError("it is no file of ours: move it away")
            os.fchmod(descriptor, 0o600)
            self._size = status.st_size
            self._torn = bool(self._size) and os.pread(descriptor, 1, self._size - 1) != b"\n"
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def _turn_over(self) -> None:
        self._shut()
        os.replace(self._path, older(self._path))
        self._open()

    def _shut(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def _remove(self) -> None:
        for path in (older(self._path), self._path):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s can't be removed: %s", path, error.strerror or error)


def older(path: Path) -> Path:
    return path.with_name(f"{path.stem}.1{path.suffix}")


def read(path: Path, limit: int = LIMIT) -> list[dict[str, Any]]:
    """The events that the two files hold, by number; without what can't be read or understood. Never raises."""
    lines = (line for file in (older(path), path) for line in _lines(file, limit))
    return list(_growing(event for line in lines for event in parse(line)))


def _lines(path: Path, limit: int) -> list[bytes]:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                return []
            file.seek(max(0, status.st_size - 2 * limit))  # an event may be larger than the limit, but not by much
            return file.read(2 * limit).split(b"\n")
    except OSError:
        return []


def parse(line: bytes) -> Iterator[dict[str, Any]]:
    """The event of a line; none if the line is torn, or no event."""
    try:
        event = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return
    if not isinstance(event, dict):
        return
    seq = event.get("seq")
    texts = [event.get(name) for name in ("at", "kind", "text")]
    if type(seq) is int and 0 < seq < 2**53 and all(isinstance(text, str) for text in texts):
        yield event


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _growing(events: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    last = 0
    for event in events:
        if event["seq"] > last:
            last = event["seq"]
            yield event
