"""How commands that take a while tell how far they are: a bar in a terminal, lines elsewhere, or events as JSON."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import threading
from pathlib import Path
from types import TracebackType

from ..client import Daemon
from ..daemonfile import DaemonFile
from ..errors import NotRunning
from ..paths import Paths
from .options import locate_profile

POLL = 1.0  # seconds that one request waits for events


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        choices=["text", "json"],
        default="text",
        help="json: what happens as events, one JSON object a line, as `events` shows them (default: text, with a"
        " progress bar in a terminal)",
    )


class Events:
    """The events of a cluster from now on, as JSON lines on standard output."""

    def __init__(self, path: Path) -> None:
        self._path = path
        from ..daemon import journal

        self._read = journal.read
        self._last = max((event["seq"] for event in self._read(path)), default=0)

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Events | None:
        """None unless JSON was asked for."""
        directory = locate_profile(arguments.profile, arguments.profile_dir)
        if arguments.output != "json" or directory is None:
            return None
        return cls(Paths(directory, arguments.cluster_id).events_file)

    def show(self, daemon: Daemon | None, timeout: float = 0.0) -> None:
        """Those that are new, for which it waits `timeout` seconds; without a scheduler, those that it has left."""
        try:
            new = self._read(self._path) if daemon is None else daemon.events(self._last, timeout)
        except NotRunning:
            new = self._read(self._path)
        for event in new:
            if event["seq"] > self._last:
                self._last = event["seq"]
                print(json.dumps(event), flush=True)


class Teller:
    """Prints the events of the scheduler that this process is, while a `with` block runs it."""

    def __init__(self, events: Events, file: Path) -> None:
        self._events, self._file = events, file
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ipymesos-events", daemon=True)

    def __enter__(self) -> Teller:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._events.show(None)

    def _run(self) -> None:
        while not self._ended.wait(0.05):
            if (daemon := own(self._file)) is not None:
                self._events.show(daemon, POLL)


def own(path: Path) -> Daemon | None:
    """The client of the scheduler whose daemon file this is, once it listens."""
    file = DaemonFile.read(path)
    return Daemon(file, timeout=POLL) if file is not None and file.alive and file.url and not file.error else None


class BesideBar(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes lines above a progress bar instead of into it."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=self.stream or sys.stderr)
