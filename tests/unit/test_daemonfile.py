"""What is left of daemons that failed."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ipymesos.daemonfile import FAILURES_KEPT, DaemonFile, OwnDaemonFile


def failed(path: Path, age: float) -> Path:
    DaemonFile(2**30, 0.0, error="no such image", exit_code=9).write(path)
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def test_a_new_daemon_forgets_the_old_failures_of_others(tmp_path: Path) -> None:
    old = failed(tmp_path / "ipymesos-1700000000-abcd.json", FAILURES_KEPT + 60)
    fresh = failed(tmp_path / "ipymesos-1700009999-efgh.json", 60)
    unstopped = failed(tmp_path / "ipymesos-1700000000-ijkl.json", FAILURES_KEPT + 60)
    state = tmp_path / "ipymesos-1700000000-ijkl-state.json"
    state.write_text("{}")
    os.utime(state, (0, 0))
    mine = OwnDaemonFile(tmp_path / "ipymesos.json")
    mine.claim()
    assert not old.exists()
    assert fresh.exists()
    assert unstopped.exists() and state.exists()  # its tasks may still run
    read = DaemonFile.read(tmp_path / "ipymesos.json")
    assert read is not None and read.alive and read.token == mine.content.token
    mine.leave(None)
    assert not (tmp_path / "ipymesos.json").exists()
