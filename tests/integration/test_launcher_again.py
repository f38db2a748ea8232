"""The daemon of `ipcluster` is killed: its launchers start it again, and engines and clients notice nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ipymesos.daemonfile import DaemonFile
from ipymesos.local import LocalMesos
from tests.helpers import eventually
from tests.integration.programs import executors, frameworks

from .launcher_kit import MESOS, Account, account, daemons

pytestmark = pytest.mark.mesos

SMALL = [
    f"--MesosLauncher.{option}"
    for option in ("container=process", "memory=64 MB", "cpus=0.1", "controller_memory=256 MB", "pack_memory=64 MB")
]


@pytest.fixture(scope="module")
def mesos() -> Iterator[LocalMesos]:
    with LocalMesos(agents=2) as mesos:
        yield mesos


@pytest.fixture
def user(tmp_path: Path, mesos: LocalMesos) -> Iterator[Account]:
    with account(tmp_path, IPYMESOS_MASTER=mesos.master) as user:
        yield user
    eventually(lambda: frameworks(mesos.master) == [], 30)
    eventually(lambda: not executors(mesos.work_dir), 30)


def kill(user: Account) -> DaemonFile:
    """Kill the daemon and wait until another one has taken its place."""
    dead = user.daemon()
    os.kill(dead.pid, signal.SIGKILL)
    return next_after(user, dead.pid)


def next_after(user: Account, pid: int) -> DaemonFile:
    def another() -> DaemonFile | None:
        file = user.daemon()
        return file if file.pid != pid and file.alive else None

    return eventually(another)  # type: ignore[return-value]


def test_it_is_started_again_and_nobody_notices(user: Account) -> None:
    ipcluster = user.start("ipcluster", "start", *MESOS, "-n", "2", *SMALL)
    with user.client(2) as client:
        client[:].push({"kept": 42}, block=True)
        pids = client[:].apply_sync(os.getpid)
        dead = user.daemon()
        alive = kill(user)
        assert client[:].pull("kept", block=True) == [42, 42]
        assert client[:].apply_sync(os.getpid) == pids
        assert sorted(client.ids) == [0, 1]
        output = user.output(ipcluster)
        assert f"the scheduler (pid {dead.pid}) ended without a word; starting it again" in output
        eventually(lambda: f"the scheduler is now pid {alive.pid}" in user.output(ipcluster))
        assert ipcluster.poll() is None

        more = user.start("ipcluster", "engines", "--engines=mesos", "-n", "1", *SMALL)
        eventually(lambda: len(client.ids) == 3)
        kill(user)  # the engines' own program follows, too
        assert (ipcluster.poll(), more.poll()) == (None, None)
        more.kill()
        more.wait()
    assert user.run("ipcluster", "stop").returncode == 0
    assert ipcluster.wait(30) == 0, user.output(ipcluster)
    user.nothing_left()


def test_another_process_finds_it_dead(user: Account) -> None:
    """`ipcluster` was killed with its daemon, as when a machine runs out of memory."""
    ipcluster = user.start("ipcluster", "start", *MESOS, "-n", "2", *SMALL)
    with user.client(2) as client:
        eventually(lambda: user.listed()[0].get("engines"))  # ipcluster has seen it, too
        client[:].push({"kept": 42}, block=True)
        ipcluster.kill()
        ipcluster.wait()
        dead = user.daemon()
        os.kill(dead.pid, signal.SIGKILL)
        eventually(lambda: not dead.alive)
        code = (
            "import ipyparallel as ipp\n"
            f"cluster = ipp.Cluster.from_file(profile_dir={str(user.profile)!r})\n"
            "client = cluster.connect_client_sync()\n"
            "client.wait_for_engines(2, timeout=30)\n"
            "print(client[:].pull('kept', block=True), cluster.engine_set.n, cluster.controller.state)\n"
            "client.close()\n"
        )
        done = user.run("python", "-c", code)
        assert "[42, 42] 2 running" in done.stdout, done.stdout
        resumed = next_after(user, dead.pid)
        assert resumed.alive  # it has outlived who has started it, and a joined cluster isn't ended by leaving it
        os.kill(resumed.pid, signal.SIGKILL)
        eventually(lambda: not resumed.alive)
        (listed,) = user.listed()
        assert listed["controller"]["class"] == "mesos"
        assert client[:].pull("kept", block=True) == [42, 42]
        alive = next_after(user, resumed.pid)
        os.kill(alive.pid, signal.SIGKILL)
        eventually(lambda: not alive.alive)
    stopped = user.run("ipcluster", "stop")
    assert stopped.returncode == 0, stopped.stdout
    user.nothing_left()


def test_it_is_not_started_again_for_ever(user: Account) -> None:
    ipcluster = user.start("ipcluster", "start", *MESOS, "-n", "1", *SMALL)
    with user.client(1) as client:
        kept = client[:].apply_sync(os.getpid)
        killer = Killer(user)
        killer.start()
        try:
            assert ipcluster.wait(120) == 0
        finally:
            killer.over.set()
            killer.join()
        assert "it was started again 10 times within 60 s, which is enough" in user.output(ipcluster)
        assert "start --resume` takes over what still runs" in user.output(ipcluster)
        assert client[:].apply_sync(os.getpid) == kept
    resumed = user.start("python", "-m", "ipymesos", "start", "--resume")
    eventually(lambda: user.daemon().pid == resumed.pid)
    assert user.run("python", "-m", "ipymesos", "stop").returncode == 0
    assert resumed.wait(30) == 0, user.output(resumed)


class Killer(threading.Thread):
    """Kills every daemon as soon as it is seen."""

    def __init__(self, user: Account) -> None:
        super().__init__()
        self.user, self.over = user, threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.05):
            for daemon in daemons(self.user.directory):
                with contextlib.suppress(psutil.NoSuchProcess):
                    daemon.kill()


def test_killed_while_it_starts(user: Account) -> None:
    ipcluster = user.start("ipcluster", "start", *MESOS, "-n", "1", *SMALL)
    eventually(lambda: daemons(user.directory))
    (daemon,) = daemons(user.directory)
    daemon.kill()
    with user.client(1) as client:
        assert client[:].apply_sync(os.getpid)
    assert "starting it again" in user.output(ipcluster)
    eventually(lambda: user.listed()[0].get("engines"))  # ipcluster has seen it, too
    ipcluster.send_signal(signal.SIGINT)
    assert ipcluster.wait(30) == 0, user.output(ipcluster)
    user.nothing_left()
