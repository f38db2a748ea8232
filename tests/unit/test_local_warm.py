"""The process from which executors are forked, as far as it is anybody's who ends it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ipymesos.local import Warm, keeper, settings, warm
from tests.helpers import eventually

SLEEP = [sys.executable, "-c", "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(600)"]


def test_it_says_the_same_as_those_that_it_does_not_import() -> None:
    assert (warm.MARK, warm.DEFAULT_PATH) == (keeper.MARK, settings.DEFAULT_PATH)


def test_nothing_is_left_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = Warm(SLEEP, "begin", "end")
    assert made.process is not None
    eventually(lambda: os.path.exists(made.socket))
    environment = Path(f"/proc/{made.process.pid}/environ").read_bytes().split(b"\0")
    assert f"{keeper.MARK}={made.work_dir}".encode() in environment
    assert [os.stat(path).st_mode & 0o077 for path in (made.work_dir, os.path.dirname(made.socket))] == [0, 0]
    made.stop()
    assert made.process.poll() is not None and not list(tmp_path.iterdir())
    made.stop()


def test_a_program_that_is_none_is_found_out_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = Warm(["/nonexistent/python"], "begin", "end")
    assert made.process is None
    made.stop()
    assert not list(tmp_path.iterdir())
