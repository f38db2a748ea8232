"""The launchers without a Mesos: how they are found, what they write down, and what they refuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from ipyparallel.cluster import launcher as theirs
from traitlets import TraitError
from traitlets.config import Config

from ipymesos.client import Daemon
from ipymesos.daemonfile import DaemonFile, began
from ipymesos.launcher import MesosControllerLauncher, MesosEngineSetLauncher, MesosLauncher
from ipymesos.launcher.again import end_of
from ipymesos.launcher.base import signal_number
from ipymesos.launcher.spawn import tail
from ipymesos.paths import Paths

BOTH = [MesosControllerLauncher, MesosEngineSetLauncher]


@pytest.mark.parametrize(("kind", "cls"), [("controller", MesosControllerLauncher), ("engine", MesosEngineSetLauncher)])
def test_ipyparallel_finds_them_by_name_and_names_them_back(kind: str, cls: type) -> None:
    assert theirs.find_launcher_class("Mesos", kind) is cls
    assert theirs.abbreviate_launcher_class(cls) == "mesos"


@pytest.mark.parametrize("cls", BOTH)
def test_one_section_configures_both(cls: type[MesosLauncher]) -> None:
    config = Config()
    config.MesosLauncher.memory = "3 GB"
    config[cls.__name__].cpus = 2.5
    launcher = cls(config=config)
    assert (launcher.memory, launcher.cpus) == ("3 GB", 2.5)


@pytest.mark.parametrize("cls", BOTH)
def test_a_bad_option_is_refused_at_once(cls: type[MesosLauncher]) -> None:
    config = Config()
    config.MesosLauncher.memory = "3"
    with pytest.raises(TraitError, match="memory: '3' has no unit; write '3 MB'"):
        cls(config=config)


def test_ipyparallels_own_sections_reach_them_too() -> None:
    config = Config()
    config.ControllerLauncher.controller_args = ["--nodb"]
    config.EngineLauncher.engine_args = ["--log-level=20"]
    assert MesosControllerLauncher(config=config).controller_args == ["--nodb"]
    assert MesosEngineSetLauncher(config=config).engine_args == ["--log-level=20"]


def test_what_is_written_down_tells_where_to_look_and_nothing_else() -> None:
    engines = MesosEngineSetLauncher(profile_dir="/p", cluster_id="c", engine_set_id="e", n=3)
    engines.environment["IPP_CONNECTION_INFO"] = "hunter2"
    assert engines.to_dict() == {
        "profile_dir": "/p",
        "cluster_id": "c",
        "state": "before",
        "n": 3,
        "pid": 0,
        "create_time": 0.0,
    }
    assert set(MesosControllerLauncher().to_dict()) == set(engines.to_dict()) - {"n"}


@pytest.mark.parametrize("cls", BOTH)
def test_what_is_gone_is_not_running(cls: type[MesosLauncher], tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    written: dict[str, Any] = {"profile_dir": str(tmp_path), "cluster_id": "", "state": "running", "n": 1}
    with pytest.raises(theirs.NotRunning, match="there is no ipymesos.json"):
        cls.from_dict(written)
    DaemonFile(dead.pid, 1.0, error="the disk is full", exit_code=3).write(Paths(tmp_path).daemon_file)
    with pytest.raises(theirs.NotRunning, match=f"has ended .pid {dead.pid}.: the disk is full"):
        cls.from_dict(written)


def test_a_daemon_that_does_not_answer_is_not_gone(tmp_path: Path) -> None:
    """Its process lives, nobody listens: ipyparallel would forget the cluster, which may still run."""
    myself = psutil.Process()
    file = DaemonFile(myself.pid, began(myself.pid), url="http://127.0.0.1:1", token="t", ready=True)
    file.write(Paths(tmp_path).daemon_file)
    config = Config()
    config.MesosLauncher.memory = "damaged since"
    written = {"profile_dir": str(tmp_path), "cluster_id": "", "state": "running", "n": 5}
    engines = MesosEngineSetLauncher.from_dict(written, config=config, engine_set_id="e")
    controller = MesosControllerLauncher.from_dict(written, config=config)
    try:
        assert (engines.state, engines.n, engines.pid) == ("running", 5, myself.pid)
        assert engines.poll() is None and controller.poll() is None
        assert json.dumps(engines.to_dict()) and "t" != controller.to_dict().get("token")
    finally:
        for launcher in (engines, controller):
            launcher.notify_stop({"exit_code": 0, "identifier": launcher.identifier})


def test_how_a_daemon_ended_is_read_from_its_file(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    gone = DaemonFile(1, 1.0)
    assert end_of(Daemon(gone), paths).exit_code == 0
    DaemonFile(1, 1.0, error="no such role", exit_code=7).write(paths.daemon_file)
    assert (end_of(Daemon(gone), paths).exit_code, end_of(Daemon(gone), paths).reason) == (7, "no such role")
    DaemonFile(1, 1.0, ready=True).write(paths.daemon_file)
    assert end_of(Daemon(gone), paths).reason == "the scheduler (pid 1) ended without a word"
    DaemonFile(2, 1.0, ready=True).write(paths.daemon_file)  # of the next one
    assert end_of(Daemon(gone), paths).exit_code == 0


@pytest.mark.parametrize("sig", [2, "2", "INT", "SIGINT", "int", signal.SIGINT])
def test_signals_have_numbers_and_names(sig: int | str) -> None:
    assert signal_number(sig) == 2
    assert signal_number(0) == 0


@pytest.mark.parametrize("sig", ["NOPE", 4711, -1, None])
def test_what_is_no_signal_is_refused(sig: Any) -> None:
    with pytest.raises(theirs.LauncherError, match="is no signal; write a number, or a name like 'INT' or 'KILL'"):
        signal_number(sig)


def test_arguments_that_the_launch_decides_are_taken_out() -> None:
    controller = MesosControllerLauncher()
    controller.controller_args = ["--ip=10.0.0.1", "--location=here", "--nodb"]
    assert controller._split_controller_args() == ["--nodb"]
    assert controller.controller_ip == "10.0.0.1"
    controller.controller_args = ["--ip=*"]
    controller._split_controller_args()
    assert controller.controller_ip == ""


def test_the_end_of_a_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tail(log, 2) == ""
    log.write_bytes(b"one\ntwo\nthr\xffee\n")
    assert tail(log, 2) == "two\nthr�ee\n"


def test_importing_them_costs_little() -> None:
    """ipyparallel imports every launcher for `ipcluster start`; what talks to Mesos is the daemon's alone."""
    code = (
        "import sys, ipyparallel.cluster.launcher; before = set(sys.modules)\n"
        "import ipymesos.launcher\n"
        "print(*sorted(m for m in set(sys.modules) - before if m.split('.')[0] in ('pymesos', 'addict', 'kazoo'))"
        ", len(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 40, done.stdout
