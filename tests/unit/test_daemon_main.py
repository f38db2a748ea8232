"""What a launcher writes to the daemon's standard input."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from ipymesos.config import MesosOptions
from ipymesos.daemon.__main__ import main, read_wish
from ipymesos.daemon.private import PrivateMesos
from ipymesos.errors import ConfigError


@pytest.mark.parametrize(
    "wish",
    [
        b"",
        b"[]",
        b'"x"',
        b"\xff",
        b"{}",
        b'{"options": {}, "private": null}',
        b'{"options": {}, "controller_args": [1], "private": null}',
        b'{"options": 1, "controller_args": [], "private": null}',
        b'{"options": {}, "controller_args": [], "private": 1}',
        b'{"options": {}, "controller_args": [], "private": null, "n": "4"}',
    ],
)
def test_a_wish_that_is_none(wish: bytes) -> None:
    with pytest.raises(ConfigError, match="standard input must hold"):
        read_wish(wish)


def test_a_wish() -> None:
    wish = {"options": {"memory": "3 GB"}, "controller_args": ["--nodb"], "private": None}
    assert read_wish(json.dumps(wish).encode()) == {**wish, "n": None}
    assert read_wish(json.dumps({**wish, "n": 4}).encode())["n"] == 4


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"master": "10.0.0.1:5050"}, None),
        ({"image": "i"}, {"agents": 1, "containerizers": "docker,mesos"}),
        ({"image": "i", "local_agents": 2, "container": "mesos"}, {"agents": 2, "images": ["i"]}),
        ({"image": "i", "controller_image": "c", "container": "mesos"}, {"agents": 1, "images": ["c", "i"]}),
        ({"python": "/my python"}, {"agents": 1, "warm": "exec '/my python' -m ipymesos_executor "}),
        ({}, {"agents": 1, "warm": f"exec {sys.executable} -m ipymesos_executor "}),
    ],
)
def test_what_private_mesos_is_wanted(options: dict[str, object], wanted: dict[str, object] | None) -> None:
    found = MesosOptions.from_options(options).private_mesos
    assert json.loads(json.dumps(found)) == found
    if found is not None and "warm" in found:
        assert found["warm"][0][1:] == ["-m", "ipymesos_executor.warm"] and found["warm"][2] == " >stdout 2>stderr"
        found["warm"] = found["warm"][1]
    assert found == (wanted and {"containerizers": "mesos", **wanted})


def test_a_private_mesos_that_can_not_begin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is told when somebody waits for it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    mesos = PrivateMesos(warm=(["python"], "", ""))
    assert "no folder for its files can be made" in str(mesos.booted.exception())
    mesos.stop()


def test_a_fault_is_said_and_is_the_exit_code(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(str(tmp_path), "", "--resume") == 11
    assert "ipymesos: error: there is nothing to resume" in capsys.readouterr().err
