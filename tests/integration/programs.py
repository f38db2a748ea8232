"""`python -m ipymesos` as a user runs it: a process of its own, its output, its files, and nothing left of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from ipymesos.client import Daemon
from tests.helpers import eventually

SMALL = (
    "--memory",
    "128 MB",
    "--pack-memory",
    "64 MB",
    "--cpus",
    "0.1",
    "--container",
    "process",
    "--controller-memory",
    "256 MB",
)


def ipymesos(*arguments: str, timeout: float = 60.0, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "ipymesos", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, **more)


class Start:
    """`python -m ipymesos start` in the background, for a `with` statement that leaves no process behind."""

    def __init__(
        self, profile: Path, *arguments: str, environment: dict[str, str] | None = None, stdin: str | None = None
    ):
        self.profile = profile
        command = [sys.executable, "-m", "ipymesos", "start", "--profile-dir", str(profile), *arguments]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            start_new_session=True,
        )
        if stdin is not None:
            assert self.process.stdin is not None
            self.process.stdin.write(stdin)
            self.process.stdin.close()
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=lines.extend, args=(stream,))
            for lines, stream in ((self.out, self.process.stdout), (self.err, self.process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Start:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            finally:
                self.process.kill()
        self.wait()

    def wait(self, timeout: float = 60.0) -> int:
        code = self.process.wait(timeout)
        for reader in self._readers:
            reader.join(timeout)
        return code

    @property
    def error(self) -> str:
        return "".join(self.err)

    def daemon(self, timeout: float = 60.0) -> Daemon:
        return Daemon.wait_ready(self.profile, pid=self.process.pid, timeout=timeout)

    def running(self, n: int, name: str = "engines", timeout: float = 60.0) -> dict[str, Any]:
        """Wait until the controller and n engines run; the status then."""
        daemon = self.daemon(timeout)

        def look() -> dict[str, Any] | None:
            if self.process.poll() is not None:
                raise RuntimeError(f"the daemon ended with {self.process.poll()}: {self.out} {self.err}")
            status = daemon.status()
            assert not status["error"], status
            assert status["controller"]["state"] == "running", status
            assert status["engines"].get(name, {"running": 0})["running"] == n, status
            return status

        return eventually(look, timeout)  # type: ignore[return-value]


def frameworks(master: str, kind: str = "frameworks", secret: Sequence[str] = ()) -> list[dict[str, Any]]:
    """What the master knows of frameworks: `frameworks` or `completed_frameworks`."""
    with urllib.request.urlopen(f"http://{master}/master/frameworks", timeout=10) as answer:
        return list(json.load(answer)[kind])


def executors(sandboxes: Path | str) -> list[psutil.Process]:
    """The processes that run in the sandboxes under a Mesos work directory."""
    found = []
    for process in psutil.process_iter(["cwd", "status"]):
        if (process.info["cwd"] or "").startswith(f"{sandboxes}/") and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found
