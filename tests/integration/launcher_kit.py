"""A user's account: an IPython directory of its own, and ipyparallel's own programs run in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import psutil

from ipymesos.daemonfile import DaemonFile
from tests.helpers import eventually

MESOS = ("--controller=mesos", "--engines=mesos")


class Account:
    """Everything a test starts here is known here, and ends with it."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.directory = directory / "ipython"
        self.directory.mkdir()
        taken_out = ("IPYMESOS_MASTER", "IPYMESOS_SECRET", "IPYTHON_DIR")
        self.environment = {k: v for k, v in os.environ.items() if k not in taken_out}
        self.environment.update(environment, IPYTHONDIR=str(self.directory))
        self.started: list[subprocess.Popen[str]] = []

    @property
    def profile(self) -> Path:
        return self.directory / "profile_default"

    @property
    def security(self) -> Path:
        return self.profile / "security"

    # -- programs

    def run(self, *command: str, timeout: float = 90.0) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; its two outputs are one text."""
        return subprocess.run(
            program(command),
            env=self.environment,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a program, whose output goes to output(process)."""
        with open(self.directory / f"output-{len(self.started)}", "w") as output:
            process = subprocess.Popen(
                program(command),
                env=self.environment,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def output(self, process: subprocess.Popen[str]) -> str:
        return (self.directory / f"output-{self.started.index(process)}").read_text()

    # -- what there is

    def daemon(self, cluster_id: str = "") -> DaemonFile:
        """The daemon file, once there is a ready one."""
        path = self.security / f"ipymesos{'-' if cluster_id else ''}{cluster_id}.json"

        def found() -> DaemonFile | None:
            file = DaemonFile.read(path)
            return file if file is not None and file.ready else None

        return eventually(found)  # type: ignore[return-value]

    def client(self, n: int, cluster_id: str = "") -> ipp.Client:
        """A client that sees n engines, by the connection file, as in `ipp.Client(profile=...)`."""
        file = self.security / f"ipcontroller{'-' if cluster_id else ''}{cluster_id}-client.json"
        self.daemon(cluster_id)
        eventually(file.exists)
        client = ipp.Client(str(file), timeout=30)
        try:
            client.wait_for_engines(n, timeout=60)
        except BaseException:
            client.close()
            raise
        return client

    def listed(self) -> list[dict[str, Any]]:
        done = self.run("ipcluster", "list", "-o", "json")
        assert done.returncode == 0, done.stdout
        return list(json.loads(done.stdout.strip().splitlines()[-1]))

    def files(self) -> list[str]:
        """The files that a cluster leaves in the security directory."""
        return sorted(path.name for path in self.security.iterdir())

    def nothing_left(self) -> None:
        """Assert that no daemon, no program and no file is left."""
        assert [p.pid for p in daemons(self.directory)] == []
        assert self.files() == []

    def end(self) -> None:
        """End all that is still there, and fail if there was a daemon that would not end by itself."""
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        left = daemons(self.directory)
        for daemon in left:
            daemon.terminate()
        _, stuck = psutil.wait_procs(left, timeout=30)
        for daemon in stuck:
            daemon.kill()
        assert not stuck, f"these did not end when asked to: {stuck}"


def program(command: tuple[str, ...]) -> list[str]:
    """`ipcluster` is the script beside this Python, `python` is this Python."""
    if command[0] == "python":
        return [sys.executable, *command[1:]]
    return [str(Path(sys.executable).with_name(command[0])), *command[1:]]


def daemons(directory: Path) -> list[psutil.Process]:
    """The daemons of profiles below a directory."""
    found = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if line[1:3] == ["-m", "ipymesos.daemon"] and line[3].startswith(str(directory)):
            found.append(process)
    return found


@contextmanager
def account(directory: Path, **environment: str) -> Iterator[Account]:
    user = Account(directory, **environment)
    try:
        yield user
    finally:
        user.end()
