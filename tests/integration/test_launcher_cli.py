"""`ipcluster` with our launchers, as it is typed; on the private Mesos of somebody who configured nothing."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipymesos.daemonfile import DaemonFile
from tests.helpers import eventually

from .launcher_kit import MESOS, Account, account, daemons

pytestmark = pytest.mark.mesos


@pytest.fixture
def user(tmp_path: Path) -> Iterator[Account]:
    with account(tmp_path) as user:
        yield user


def test_start_compute_and_interrupt(user: Account) -> None:
    ipcluster = user.start("ipcluster", "start", *MESOS, "-n", "4")
    with user.client(4) as client:
        pids = client[:].apply_sync(os.getpid)
        assert len(set(pids)) == 4
        assert sorted(client.ids) == [0, 1, 2, 3]
    (cluster,) = user.listed()
    assert cluster["controller"]["class"] == cluster["engines"]["class"] == "mesos"
    assert [s["n"] for s in cluster["engines"]["sets"].values()] == [4]

    client_file = user.security / "ipcontroller-client.json"
    assert stat.S_IMODE(client_file.stat().st_mode) == 0o600
    secret = json.loads(client_file.read_text())["curve_serverkey"]
    token = user.daemon().token
    readable = (user.security / "cluster-.json").read_text() + user.output(ipcluster)
    assert secret not in readable and token not in readable

    ipcluster.send_signal(signal.SIGINT)
    assert ipcluster.wait(30) == 0, user.output(ipcluster)
    user.nothing_left()


def test_daemonize_list_engines_clean_and_stop(user: Account) -> None:
    done = user.run("ipcluster", "start", *MESOS, "-n", "2", "--daemonize")
    assert done.returncode == 0, done.stdout
    with user.client(1):  # it came back when there was something to work with
        pass
    again = user.run("ipcluster", "start", *MESOS, "-n", "2")
    assert (again.returncode, "already running" in again.stdout) == (10, True), again.stdout

    refused = user.run("ipcluster", "clean")
    assert refused.returncode != 0
    assert "still running" in refused.stdout
    assert "ipymesos.json" in user.files()

    more = user.start("ipcluster", "engines", "--engines=mesos", "-n", "1")
    with user.client(3) as client:
        assert len(set(client[:].apply_sync(os.getpid))) == 3
        more.send_signal(signal.SIGUSR1)  # is relayed to its engine, which dies of it; another one takes its place
        eventually(lambda: sorted(client.ids) == [0, 1, 3])
    more.send_signal(signal.SIGKILL)  # nothing of it is left to stop its engine, which goes on
    assert more.wait() == -signal.SIGKILL
    with user.client(3):
        pass

    stopped = user.run("ipcluster", "stop")
    assert stopped.returncode == 0, stopped.stdout
    user.nothing_left()
    assert user.run("ipcluster", "stop").returncode == 11


def test_stop_from_another_process_ends_the_one_that_started(user: Account) -> None:
    ipcluster = user.start("ipcluster", "start", *MESOS, "-n", "2", "--cluster-id=two", "--", "--nodb")
    with user.client(2, "two"):
        pass
    stopped = user.run("ipcluster", "stop", "--cluster-id=two")
    assert stopped.returncode == 0, stopped.stdout
    assert ipcluster.wait(30) == 0, user.output(ipcluster)
    user.nothing_left()


def test_a_profile_says_it_all(user: Account) -> None:
    made = user.run("ipython", "profile", "create", "--parallel", "--profile=mesos")
    assert made.returncode == 0, made.stdout
    (user.directory / "profile_mesos" / "ipcluster_config.py").write_text(
        "c.Cluster.controller_launcher_class = 'mesos'\n"
        "c.Cluster.engine_launcher_class = 'mesos'\n"
        "c.MesosLauncher.memory = '256 MB'\n"
        "c.MesosLauncher.environment = {'GREETING': 'hello'}\n"
    )
    done = user.run("ipcluster", "start", "--profile=mesos", "-n", "2", "--daemonize")
    assert done.returncode == 0, done.stdout
    code = (
        "import ipyparallel as ipp\n"
        "rc = ipp.Client(profile='mesos')\n"
        "rc.wait_for_engines(2, timeout=30)\n"
        "print(rc[:].apply_sync(lambda: __import__('os').environ['GREETING']))"
    )
    assert "['hello', 'hello']" in user.run("python", "-c", code).stdout
    stopped = user.run("ipcluster", "stop", "--profile=mesos")
    assert stopped.returncode == 0, stopped.stdout
    assert daemons(user.directory) == []
    assert os.listdir(user.directory / "profile_mesos" / "security") == []


def test_a_lost_terminal_leaves_a_cluster_that_can_be_stopped(user: Account) -> None:
    ipcluster = user.start("ipcluster", "start", *MESOS, "-n", "1")
    with user.client(1) as client:
        eventually((user.security / "cluster-.json").exists)
        ipcluster.kill()
        ipcluster.wait()
        assert len(client[:].apply_sync(os.getpid)) == 1
    assert [c["controller"]["class"] for c in user.listed()] == ["mesos"]
    assert user.run("ipcluster", "stop").returncode == 0
    user.nothing_left()


def test_a_daemon_that_is_killed_is_noticed(user: Account) -> None:
    ipcluster = user.start("ipcluster", "start", *MESOS, "-n", "1")
    with user.client(1):
        eventually(lambda: user.listed()[0].get("engines"))  # ipcluster has seen it, too
    daemon = user.daemon()
    os.kill(daemon.pid, signal.SIGKILL)
    assert ipcluster.wait(30) == 0
    assert f"the scheduler (pid {daemon.pid}) ended without a word" in user.output(ipcluster)
    assert not (user.security / "cluster-.json").exists()
    assert user.listed() == []


def test_interrupted_while_it_starts(user: Account) -> None:
    ipcluster = user.start("ipcluster", "start", *MESOS, "-n", "1", "--MesosLauncher.memory=64 MB")

    def daemon_runs() -> bool:
        return DaemonFile.read(user.security / "ipymesos.json") is not None

    eventually(daemon_runs)
    ipcluster.send_signal(signal.SIGINT)
    ipcluster.wait(30)
    assert "Traceback" not in user.output(ipcluster)
    user.nothing_left()


def test_the_help_lists_our_options(user: Account) -> None:
    done = user.run("ipcluster", "start", "--help-all")
    assert done.returncode == 0, done.stdout
    assert "--MesosLauncher.memory=" in done.stdout
    assert "Memory of one engine (MB, GB)." in done.stdout
    assert "- mesos: ipymesos.launcher:MesosEngineSetLauncher" in done.stdout
