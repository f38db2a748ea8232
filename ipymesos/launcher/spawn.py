"""Start the daemon of a cluster, so that it outlives the one who started it.

The daemon is a session of its own, writes to a log file, and shares no pipe with us: `ipcluster start --daemonize`
ends at once, a notebook's kernel may be killed, and the cluster goes on. What it must know goes through its standard
input, which everybody else on the machine can't read, unlike arguments and environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ..daemonfile import DaemonFile
from ..errors import IPyMesosError, NotRunning, from_exit_code
from ..paths import Paths
from .asker import Daemon

# Of another cluster, and secret: the daemon's own children (a local Mesos and its tasks) would inherit them.
_FOREIGN = re.compile(r"IPP_CONNECTION_INFO|IPP_SESSION_KEY|IPP_CURVE_\w+|IPP_CLUSTER_ID|IPP_PROFILE_DIR")


class Died(IPyMesosError):
    """The daemon was killed before it could say anything."""


def spawn(paths: Paths, request: dict[str, Any], work_dir: str = ".") -> subprocess.Popen[bytes]:
    """Start the daemon; `request` is its options and arguments. OSError when that is impossible."""
    if paths.log_file.exists():  # of a run that failed: a clean stop removes it
        paths.log_file.replace(paths.log_file.with_suffix(".log.1"))
    process = _start(paths, work_dir, (), subprocess.PIPE)
    assert process.stdin is not None
    try:
        with process.stdin as pipe:
            pipe.write(json.dumps(request).encode())
    except BrokenPipeError:
        pass  # it has ended already: `ready` finds out why
    return process


def resume(paths: Paths, work_dir: str = ".") -> subprocess.Popen[bytes]:
    """Start a daemon in the place of one that was killed; it writes on in the same log."""
    return _start(paths, work_dir, ("--resume",), subprocess.DEVNULL)


def _start(paths: Paths, work_dir: str, arguments: tuple[str, ...], stdin: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ipymesos.daemon", str(paths.profile_dir), paths.cluster_id, *arguments]
    environment = {name: value for name, value in os.environ.items() if not _FOREIGN.fullmatch(name)}
    paths.log_file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(paths.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as log:
        return subprocess.Popen(
            command,
            stdin=stdin,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=work_dir,
            start_new_session=True,
        )


async def ready(process: subprocess.Popen[bytes], paths: Paths, timeout: float) -> Daemon:
    """Wait until the daemon is registered with its master.

    Raises the error that ended it, of the class it had over there, Died, or NotRunning after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        ended = process.poll() is not None  # asked first: what it wrote before it ended is then there to read
        file = DaemonFile.read(paths.daemon_file)
        if file is not None and file.pid == process.pid:
            if file.error:
                raise from_exit_code(file.exit_code, file.error)
            if file.ready and not ended:
                return Daemon(file)
        if ended:
            raise (Died if process.returncode < 0 else IPyMesosError)(
                f"the scheduler ended with exit code {process.returncode} before it was registered with a master; "
                f"the end of {paths.log_file} is:\n{tail(paths.log_file, 20)}"
            )
        if time.monotonic() > deadline:
            raise NotRunning(
                f"the scheduler was not registered with a master after {timeout:g} s; see {paths.log_file}"
            )
        await asyncio.sleep(0.02)


def tail(path: Path, lines: int) -> str:
    """The last lines of a file, '' if there is none."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 65536))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "".join(text.splitlines(keepends=True)[-lines:])
