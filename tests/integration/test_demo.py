"""The demo as a newcomer runs it, to its end and interrupted; nothing may be left of either."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.helpers import eventually

pytestmark = pytest.mark.mesos


def begin(tmp_path: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "ipymesos", "demo", "-n", "2"]
    out = (tmp_path / "out").open("w")
    with out:
        return subprocess.Popen(command, stdout=out, stderr=out, text=True, env=environment, start_new_session=True)


def of(tmp_path: Path) -> list[psutil.Process]:
    """Processes whose environment says that they belong to this test."""
    found = []
    for process in psutil.process_iter(["environ", "status"]):
        environment = process.info["environ"] or {}
        if environment.get("TMPDIR") == str(tmp_path) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def test_the_demo(tmp_path: Path) -> None:
    process = begin(tmp_path)
    assert process.wait(120) == 0, (tmp_path / "out").read_text()
    said = (tmp_path / "out").read_text()
    assert "2 engines ready after" in said
    assert re.search(r"python -m ipymesos status --profile-dir \S+ipymesos-demo-", said)
    rows = re.findall(r"^.* {2}engine (\d)$", said, re.MULTILINE)
    assert len(rows) == 24 and set(rows) == {"0", "1"}
    picture = [line for line in said.splitlines() if re.search(r"  engine \d$", line)]
    assert [line[:76] for line in picture] == [line[:76] for line in reversed(picture)]  # the set is symmetric
    assert said.splitlines()[-1] == "stopped, exit code 0; nothing is left running"
    eventually(lambda: not of(tmp_path), 20)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_the_demo_interrupted(tmp_path: Path) -> None:
    process = begin(tmp_path)
    eventually(lambda: "registered with Mesos master" in (tmp_path / "out").read_text(), 60)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130, (tmp_path / "out").read_text()
    said = (tmp_path / "out").read_text()
    assert "Traceback" not in said and said.splitlines()[-1] == "interrupted"
    eventually(lambda: not of(tmp_path), 20)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
