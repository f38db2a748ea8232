"""Whom a launcher follows after its daemon is gone; nothing is started here."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from ipymesos.client import Daemon
from ipymesos.daemonfile import DaemonFile, began
from ipymesos.launcher.again import End, Successor, lost
from ipymesos.paths import Paths

DEAD = DaemonFile(2**22 + 1, 1.0, url="http://127.0.0.1:1")


def successor(paths: Paths) -> Successor:
    return Successor(paths, logging.getLogger("test"), threading.Event(), ".", others=lambda: False)


def test_a_clean_stop_has_none(tmp_path: Path) -> None:
    assert successor(Paths(tmp_path)).of(Daemon(DEAD)) == End(0)
    assert not lost(Daemon(DEAD), Paths(tmp_path))


def test_an_error_is_told(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    DaemonFile(DEAD.pid, 1.0, error="no such role", exit_code=7).write(paths.daemon_file)
    paths.state_file.touch()
    assert successor(paths).of(Daemon(DEAD)) == End(7, "no such role")
    assert not lost(Daemon(DEAD), paths)


def test_a_private_mesos_has_died_with_it(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    DEAD.write(paths.daemon_file)
    end = successor(paths).of(Daemon(DEAD))
    assert end == End(
        1, f"the scheduler (pid {DEAD.pid}) ended without a word, and nothing is left (a private Mesos ends with it)"
    )
    assert not lost(Daemon(DEAD), paths)


def test_nobody_starts_it_again(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    DEAD.write(paths.daemon_file)
    paths.state_file.touch()
    assert lost(Daemon(DEAD), paths)
    end = successor(paths).of(Daemon(DEAD))
    assert isinstance(end, End) and "nobody has started it again: `python -m ipymesos start --resume`" in end.reason


def test_another_one_is_there(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    DaemonFile(os.getpid(), began(os.getpid()), url="http://127.0.0.1:2", token="t").write(paths.daemon_file)
    assert lost(Daemon(DEAD), paths)
    found = successor(paths).of(Daemon(DEAD))
    assert isinstance(found, Daemon) and found.pid == os.getpid()
