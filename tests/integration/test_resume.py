"""A daemon that was killed goes on: its options, its engines, and nothing that a client would notice."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import ipyparallel as ipp
import pytest

from ipymesos.client import Daemon
from ipymesos.daemonfile import DaemonFile
from ipymesos.local import LocalMesos
from ipymesos.paths import Paths
from tests.helpers import eventually
from tests.integration.programs import SMALL, Start, executors, frameworks, ipymesos

pytestmark = pytest.mark.mesos


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


def files(profile: Path) -> set[str]:
    return {path.name for path in (profile / "security").iterdir()}


def kill(start: Start) -> None:
    start.process.kill()
    start.wait()


def test_it_goes_on_with_the_options_it_was_started_with(clean: LocalMesos, tmp_path: Path) -> None:
    where = ("--profile-dir", str(tmp_path))
    with Start(
        tmp_path, "--master", clean.master, "-n", "2", "--framework-name", "mine", *SMALL, "--", "--nodb"
    ) as first:
        before = first.running(2)
        assert ipymesos("scale", "3", *where).returncode == 0
        with ipp.Client(profile_dir=str(tmp_path)) as client:
            client.wait_for_engines(3, timeout=30)
            client[:].push({"kept": 42}, block=True)
            pids = client[:].apply_sync(os.getpid)
            kill(first)
            assert "--resume" in ipymesos("status", *where).stderr
            with Start(tmp_path, "--resume") as second:
                after = second.running(3)
                assert after["framework_id"] == before["framework_id"] and after["name"] == "mine"
                assert client[:].pull("kept", block=True) == [42] * 3
                assert client[:].apply_sync(os.getpid) == pids
                assert ipymesos("scale", "4", *where).returncode == 0  # by the same options
                tasks = json.loads(ipymesos("status", "-o", "json", *where).stdout)["engines"]["engines"]["tasks"]
                assert len(tasks) == 4
                state = json.loads(Paths(tmp_path).state_file.read_text())
                assert state["cluster"]["spec"]["controller"]["args"] == ["--nodb"]
                again = ipymesos("start", "--resume", *where)
                assert again.returncode == 10 and f"already running, pid {second.process.pid}" in again.stderr
                assert ipymesos("stop", *where).returncode == 0
                assert second.wait() == 0
    assert files(tmp_path) == set()


def test_one_that_was_stopping_goes_on_stopping(clean: LocalMesos, tmp_path: Path) -> None:
    with Start(tmp_path, "--master", clean.master, "-n", "1", *SMALL) as first:
        first.running(1)
        state = Paths(tmp_path).state_file
        first.daemon().stop("enough")
        eventually(lambda: not state.exists() or json.loads(state.read_text())["cluster"]["stopping"])
        kill(first)
    if state.exists():
        with Start(tmp_path, "--resume") as second:
            assert second.wait() == 0, second.error
    assert files(tmp_path) - {"ipymesos.lock", "ipymesos.json"} == set()


def test_there_is_nothing_to_resume(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "none"):
        done = ipymesos("start", "--resume", "--profile-dir", str(directory))
        assert done.returncode == 11 and "there is no cluster to resume in the profile" in done.stderr
    assert list(tmp_path.iterdir()) == []
    done = ipymesos("start", "--resume", "--memory", "2 GB", "--profile-dir", str(tmp_path))
    assert done.returncode == 2 and "to change --memory, leave --resume out" in done.stderr


def test_only_one_of_two_that_start_at_once_gets_it(clean: LocalMesos, tmp_path: Path) -> None:
    with Start(tmp_path, "--master", clean.master, "-n", "1", *SMALL) as first:
        first.running(1)
        kill(first)
    rivals = [Start(tmp_path, "--resume") for _ in range(3)]
    try:
        eventually(lambda: sum(rival.process.poll() is not None for rival in rivals) == 2)
        assert sorted(str(rival.process.poll()) for rival in rivals) == ["10", "10", "None"]
        (winner,) = (rival for rival in rivals if rival.process.poll() is None)
        assert winner.daemon().pid == winner.process.pid
        winner.running(1)
        winner.daemon().stop("enough")
        assert winner.wait() == 0
    finally:
        for rival in rivals:
            rival.__exit__()
    assert files(tmp_path) == set()


def test_it_waits_for_its_master_as_long_as_it_takes(tmp_path: Path) -> None:
    with LocalMesos(agents=1) as own:
        arguments = ("--master", own.master, "--connect-timeout", "1 s", "-n", "1")
        with Start(tmp_path, *arguments, *SMALL) as first:
            before = first.running(1)
            own.kill()
            kill(first)
        with Start(tmp_path, "--resume") as second:
            eventually(lambda: "waiting for the Mesos master" in "".join(second.out), 30)
            assert second.process.poll() is None
            assert "waiting for the Mesos master" in ipymesos("explain", "--profile-dir", str(tmp_path)).stdout
            own.restart()
            after = second.running(1)
            assert after["framework_id"] == before["framework_id"]
            second.daemon().stop("enough")
            assert second.wait() == 0, second.error
        eventually(lambda: not executors(own.work_dir), 20)


def test_a_private_mesos_leaves_the_state_of_another_cluster_alone(clean: LocalMesos, tmp_path: Path) -> None:
    with Start(tmp_path, "--master", clean.master, "-n", "1", *SMALL) as first:
        first.running(1)
        kill(first)
    state = Paths(tmp_path).state_file.read_bytes()
    with Start(tmp_path, "-n", "1", *SMALL, environment={"IPYMESOS_MASTER": ""}) as other:
        assert other.wait() == 3 and "is the state of a cluster on another Mesos" in other.error
    assert Paths(tmp_path).state_file.read_bytes() == state
    with Start(tmp_path, "--resume") as second:
        second.running(1)
        second.process.send_signal(signal.SIGTERM)
        assert second.wait() == 0


def test_a_state_that_cannot_be_used_is_left_alone(tmp_path: Path) -> None:
    path = Paths(tmp_path).state_file
    path.parent.mkdir(parents=True)
    for content in ('{"version": 99}', "{", '{"version": 2, "cluster": {"name": "x"}}'):
        path.touch(0o600)
        path.write_text(content)
        for arguments in (("--resume",), ("--master", "127.0.0.1:1", *SMALL)):
            done = ipymesos("start", *arguments, "--profile-dir", str(tmp_path))
            assert done.returncode == 3 and str(path) in done.stderr, done.stderr
            assert path.read_text() == content
    assert DaemonFile.read(Paths(tmp_path).daemon_file) is not None
    with pytest.raises(Exception, match="move it away"):
        Daemon.find(tmp_path)
