"""What befalls a daemon from outside: it is killed, stopped for a while, forgotten; its disk is full."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import pytest

from ipymesos.client import Daemon
from ipymesos.config import MesosOptions
from ipymesos.daemonfile import DaemonFile
from ipymesos.errors import IPyMesosError
from ipymesos.launcher import spawn
from ipymesos.local import LocalMesos
from ipymesos.paths import Paths
from tests.helpers import eventually, halt
from tests.integration.programs import SMALL, Start, executors, frameworks, ipymesos

pytestmark = pytest.mark.mesos

OPTIONS = {
    "container": "process",
    "memory": "64 MB",
    "pack_memory": "64 MB",
    "controller_memory": "256 MB",
    "cpus": 0.1,
}


@pytest.fixture(scope="module")
def mesos() -> Iterator[LocalMesos]:
    with LocalMesos(agents=2) as running:
        yield running


@pytest.fixture
def clean(mesos: LocalMesos) -> Iterator[LocalMesos]:
    """The same Mesos, and a look afterwards whether anything was left on it."""
    yield mesos
    eventually(lambda: frameworks(mesos.master) == [], 20)
    eventually(lambda: not executors(mesos.work_dir), 20)


@contextmanager
def launched(profile: Path, options: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon as launchers start it."""
    paths = Paths(profile)
    paths.security.mkdir(parents=True, exist_ok=True)
    wanted = MesosOptions.from_options(options)
    request = {"options": wanted.to_options(), "n": 1, "controller_args": [], "private": wanted.private_mesos}
    process = spawn.spawn(paths, request, str(profile))
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        process.wait(60)


def running(profile: Path, n: int) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        try:
            status = Daemon.find(profile).status()
        except IPyMesosError as error:
            raise AssertionError(str(error)) from error
        assert status["engines"]["engines"]["running"] == n and status["controller"]["state"] == "running", status
        return status

    return eventually(look, 90)  # type: ignore[return-value]


# --- killed --------------------------------------------------------------------------------------------------

KILLER = """
import os, signal, sys
from ipymesos.cli.main import main
from ipymesos.core.messages import Launch
from ipymesos.daemon.app import App

class Dies(App):
    def _send(self, actions, cluster):  # what these actions say has just been saved
        if any(isinstance(action, Launch) for action in actions):
            os.kill(os.getpid(), signal.SIGKILL)
        super()._send(actions, cluster)

import ipymesos.daemon.app
ipymesos.daemon.app.App = Dies
sys.exit(main(sys.argv[1:]))
"""


def test_killed_between_save_and_send(clean: LocalMesos, tmp_path: Path) -> None:
    """What was saved and never sent is found to be missing by asking the master, and launched once."""
    arguments = ["start", "--profile-dir", str(tmp_path), "--master", clean.master, "-n", "2", *SMALL]
    done = subprocess.run([sys.executable, "-c", KILLER, *arguments], capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done
    saved = json.loads(Paths(tmp_path).state_file.read_text())["cluster"]["tasks"]
    assert {task["state"] for task in saved.values()} == {"launching"} and len(saved) == 3
    with Start(tmp_path, "--resume") as second:
        status = second.running(2)
        tasks = {task["task"] for task in status["engines"]["engines"]["tasks"]}
        assert not tasks & set(saved)  # no id is used twice
        with ipp.Client(profile_dir=str(tmp_path)) as client:
            client.wait_for_engines(2, timeout=30)
            assert len(set(client[:].apply_sync(os.getpid))) == 2
        second.daemon().stop("enough")
        assert second.wait() == 0


def test_killed_at_any_moment(clean: LocalMesos, tmp_path: Path) -> None:
    """Ten times while it starts, scales and does nothing: no engine loses its counter, and none is there twice."""
    seed = int(os.environ.get("IPYMESOS_SEED", random.randrange(10**6)))
    print(f"IPYMESOS_SEED={seed}")
    dice = random.Random(seed)
    where = ("--profile-dir", str(tmp_path))
    start, n = Start(tmp_path, "--master", clean.master, "-n", "3", *SMALL), 3
    try:
        start.running(3)
        with ipp.Client(profile_dir=str(tmp_path)) as client:
            client.wait_for_engines(3, timeout=30)
            client[:].push({"counter": 0}, block=True)
            counted = client[:].apply_async(os.getpid).get_dict(timeout=30)  # engine -> its process
            for turn in range(1, 11):
                if turn % 3 == 0:  # in the middle of a growth; afterwards the number is one of the two
                    n += 1
                    eventually(lambda s=start: serves(s, tmp_path), 60)
                    scale = subprocess.Popen([sys.executable, "-m", "ipymesos", "scale", str(n), *where])
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        scale.wait(dice.uniform(0.3, 1.5))
                    start.process.kill()
                    scale.wait(60)
                else:
                    with pytest.raises(subprocess.TimeoutExpired):
                        start.process.wait(dice.uniform(0.0, 1.5))
                    start.process.kill()
                start.wait()
                client[list(counted)].execute("counter += 1", block=True)
                start = Start(tmp_path, "--resume")
                n = wanted(tmp_path)
                kept = client[list(counted)].pull("counter", block=True)
                assert kept == [turn] * len(counted), (seed, turn)
            status = start.running(n)
            assert len(status["engines"]["engines"]["tasks"]) == n
            client.wait_for_engines(n, timeout=60)
            eventually(lambda: len(client.ids) == n)
            pids = client[:].apply_async(os.getpid).get_dict(timeout=30)
            assert {engine: pids[engine] for engine in counted} == counted and len(set(pids.values())) == n
        start.daemon().stop("enough")
        assert start.wait() == 0, start.error
    finally:
        start.__exit__()


def serves(start: Start, profile: Path) -> bool:
    """It can be asked for something."""
    file = DaemonFile.read(Paths(profile).daemon_file)
    return file is not None and file.pid == start.process.pid and file.ready


def wanted(profile: Path) -> int:
    """How many engines the state wants, which is all that a dead daemon has promised."""
    state = json.loads(Paths(profile).state_file.read_text())
    return int(state["cluster"]["spec"]["engines"]["engines"]["n"])


# --- stopped, and forgotten ----------------------------------------------------------------------------------


def test_a_forgotten_cluster_ends_by_itself(clean: LocalMesos, tmp_path: Path) -> None:
    with launched(tmp_path, {**OPTIONS, "master": clean.master, "orphan_timeout": "15 s"}) as process:
        running(tmp_path, 1)
        with ipp.Client(profile_dir=str(tmp_path)) as client:
            client.wait_for_engines(1, timeout=30)
            busy = client[:].execute("import time; time.sleep(30); done = True", block=False)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(22)  # nobody asks, but an engine works
            busy.get(timeout=30)
            assert client[:].pull("done", block=True) == [True]
        assert process.wait(60) == 0
    log = Paths(tmp_path).log_file.read_text()
    assert "nobody has asked for this cluster for 15 s, and its engines are idle (orphan_timeout)" in log


def test_a_daemon_does_not_count_its_own_sleep(clean: LocalMesos, tmp_path: Path) -> None:
    with launched(tmp_path, {**OPTIONS, "master": clean.master, "orphan_timeout": "14 s"}) as process:
        before = running(tmp_path, 1)
        halt(process.pid)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(20)
        process.send_signal(signal.SIGCONT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(5)
        after = running(tmp_path, 1)
        assert after["state"] == "running" and after["pid"] == process.pid
        assert after["engines"]["engines"]["tasks"][0]["task"] == before["engines"]["engines"]["tasks"][0]["task"]
        Daemon.find(tmp_path).stop("enough")
        assert process.wait(60) == 0


def test_one_that_a_person_started_stays(clean: LocalMesos, tmp_path: Path) -> None:
    """There is not even an option for it."""
    done = ipymesos("start", "--orphan-timeout", "1 s", "--profile-dir", str(tmp_path))
    assert done.returncode == 2 and "--orphan-timeout" in done.stderr


# --- a full disk ---------------------------------------------------------------------------------------------


def test_a_full_disk_stops_nothing_that_runs(clean: LocalMesos, tmp_path: Path) -> None:
    """Files may not grow beyond a few bytes: nothing new is launched, what runs goes on, and later all is made up."""
    where = ("--profile-dir", str(tmp_path))
    with Start(tmp_path, "--master", clean.master, "-n", "1", *SMALL) as start:
        start.running(1)
        daemon = start.daemon()
        state = Paths(tmp_path).state_file.read_bytes()
        _, hard = resource.prlimit(start.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(start.process.pid, resource.RLIMIT_FSIZE, (100, hard))
        daemon.want_engines("engines", 2)
        eventually(lambda: "can't be kept in" in daemon.status()["trouble"])
        assert "can't be kept in" in ipymesos("explain", *where).stdout
        assert "can't be kept in" in ipymesos("status", *where).stdout
        with ipp.Client(profile_dir=str(tmp_path)) as client:
            client.wait_for_engines(1, timeout=30)
            assert client[:].apply_sync(os.getpid)
        assert len(daemon.status()["engines"]["engines"]["tasks"]) == 1
        assert Paths(tmp_path).state_file.read_bytes() == state
        resource.prlimit(start.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert start.running(2)["trouble"] == ""
        assert "the state is saved again" in start.error
        assert [path.name for path in Paths(tmp_path).security.glob(".*")] == []

        resource.prlimit(start.process.pid, resource.RLIMIT_FSIZE, (100, hard))
        daemon.stop("with a full disk")  # needs no room
        assert start.wait() == 0, start.error
    assert {path.name for path in Paths(tmp_path).security.iterdir()} == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_full_file_system(clean: LocalMesos, tmp_path: Path) -> None:
    security = Paths(tmp_path).security
    security.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", str(security)], check=True)
    try:
        with Start(tmp_path, "--master", clean.master, "-n", "1", *SMALL) as start:
            start.running(1)
            daemon, ballast = start.daemon(), security / "ballast"
            with pytest.raises(OSError), open(ballast, "wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            daemon.want_engines("engines", 2)
            eventually(lambda: "No space left" in daemon.status()["trouble"])
            ballast.unlink()
            start.running(2)
            daemon.stop("enough")
            assert start.wait() == 0, start.error
        with open(ballast, "wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(bytes(4096))
        done = ipymesos("start", "--master", clean.master, "--profile-dir", str(tmp_path), *SMALL)
        assert done.returncode == 3 and "can't be written" in done.stderr
        assert DaemonFile.read(Paths(tmp_path).daemon_file) is None
    finally:
        subprocess.run(["umount", str(security)], check=True)
