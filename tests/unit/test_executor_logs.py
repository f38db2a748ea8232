"""The bound of the tasks' logs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ipymesos_executor import logs
from ipymesos_executor.logs import Bounds, shorten


def test_a_short_log_stays_as_it_is(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_bytes(b"x" * 100)
    assert not shorten(str(log), 100, 10)
    assert log.read_bytes() == b"x" * 100
    assert not shorten(str(tmp_path / "none"), 100, 10)


def test_a_long_log_keeps_its_last_whole_lines(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_bytes(b"".join(b"line %d\n" % i for i in range(1000)))
    assert shorten(str(log), 5000, 20)
    assert log.read_bytes() == logs.CUT % 0 + b"line 998\nline 999\n"
    log.write_bytes(b"y" * 6000)  # one line that has no end
    assert shorten(str(log), 5000, 20)
    assert log.read_bytes() == logs.CUT % 0 + b"y" * 20


def test_whoever_writes_goes_on_at_the_end(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    talk = "import sys\nfor i in range(3000): print('said', i, flush=True)\nsys.stdin.read(1)\nprint('after')"
    process = subprocess.Popen([sys.executable, "-c", talk], stdin=subprocess.PIPE, stdout=out)
    os.close(out)
    try:
        sizes = []
        while process.poll() is None and (not log.exists() or b"said 2999\n" not in log.read_bytes()):
            shorten(str(log), 8000, 1000)
            sizes.append(log.stat().st_size)
        process.communicate(b"x", timeout=30)
    finally:
        process.kill()
        process.wait()
    lines = log.read_text().splitlines()
    assert lines[-2:] == ["said 2999", "after"] and "has been removed" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"x" * 1000)
    log = tmp_path / "engine.log"
    log.symlink_to(other)
    assert not shorten(str(log), 5, 1)
    assert other.stat().st_size == 1000
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert not shorten(str(fifo), -1, 1)


def test_it_looks_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "engine.log"
    bounds = Bounds(100, 10)
    for wait, left in ((0.0, False), (3600.0, True)):
        monkeypatch.setattr(logs, "POLL", 3600.0)
        log.write_bytes(b"x" * 200)
        bounds.look([str(log)])
        assert (log.stat().st_size == 200) is left, wait
