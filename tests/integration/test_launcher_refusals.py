"""What can't start says why and in whose words, ends `ipcluster` with an exit code, and leaves nothing behind."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import ipyparallel as ipp
import pytest
from traitlets.config import Config

from ipymesos.local import LocalMesos
from tests.helpers import eventually

from .launcher_kit import MESOS, Account, account

pytestmark = pytest.mark.mesos


@pytest.fixture(scope="module")
def mesos() -> Iterator[LocalMesos]:
    """Two small agents."""
    with LocalMesos(agents=2, resources="cpus:2;mem:1000;disk:1000") as mesos:
        yield mesos


@pytest.fixture
def user(tmp_path: Path, mesos: LocalMesos) -> Iterator[Account]:
    with account(tmp_path, IPYMESOS_MASTER=mesos.master) as user:
        yield user


def options(**values: object) -> list[str]:
    # Plain processes, although the master is not `local`: there is no image here.
    small = {"container": "process", "controller_memory": "256 MB", "memory": "64 MB", "cpus": 0.1}
    return [f"--MesosLauncher.{name}={value}" for name, value in {**small, **values}.items()]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "messages"),
    [
        (options(memory="512"), 2, ["memory: '512' has no unit; write '512 MB', '2 GB' or '1 TB'"]),
        (
            options(container=""),
            2,
            ["image: '' is no image; container 'docker' needs one with ipymesos-executor in it"],
        ),
        (
            options(container="mesos"),
            2,
            ["image: '' is no image; container 'mesos' needs one with ipymesos-executor in it"],
        ),
        (
            options(secret_file="/no/such/file", principal="me"),
            2,
            ["secret_file: '/no/such/file' can't be read: No such"],
        ),
        (options(master="127.0.0.1:1", connect_timeout=2), 5, ["127.0.0.1:1 can't be reached"]),
        (options(master="no.such.host.invalid:5050", connect_timeout=2), 5, ["no.such.host.invalid", "resolved"]),
        ([*options(), "-n", "0"], 2, ["n: 0 engines can't be started; write 1 or more"]),
        ([*options(), "-n", "-3"], 2, ["n: -3 engines can't be started; write 1 or more"]),
        (options(memory="5 GB"), 9, ["no agent of this Mesos could ever fit", "MB of memory are needed"]),
        (options(cpus=3), 9, ["no agent of this Mesos could ever fit", "cpus"]),
        (options(controller_memory="5 GB"), 9, ["no agent of this Mesos could ever fit the controller"]),
        (options(attributes="{'rack': 'z'}", start_timeout=3), 9, ["rack"]),
    ],
    ids=lambda value: " ".join(value)[-60:] if isinstance(value, list) else "",
)
def test_start_is_refused(user: Account, arguments: list[str], exit_code: int, messages: list[str]) -> None:
    began = time.monotonic()
    done = user.run("ipcluster", "start", *MESOS, *(() if "-n" in arguments else ("-n", "2")), *arguments)
    assert time.monotonic() - began < 30
    assert "Traceback" not in done.stdout, done.stdout
    for message in messages:
        assert message in done.stdout
    assert done.returncode == exit_code, done.stdout
    assert [name for name in user.files() if name != "ipymesos.json"] == []


def test_daemonize_is_refused_too(user: Account) -> None:
    done = user.run("ipcluster", "start", *MESOS, "-n", "2", "--daemonize", *options(memory="5 GB"))
    assert "no agent of this Mesos could ever fit" in done.stdout
    assert done.returncode == 9, done.stdout
    user.nothing_left()


def test_engines_without_a_cluster(user: Account) -> None:
    done = user.run("ipcluster", "engines", "--engines=mesos", "-n", "1")
    assert "start it with: ipcluster start --controller=mesos --engines=mesos" in done.stdout
    assert done.returncode == 1


def test_what_waits_says_what_it_waits_for_and_gives_up(user: Account, mesos: LocalMesos) -> None:
    """Two users, two clusters on one Mesos; the second finds no room, until its time is over."""

    def cluster(name: str, n: int, start_timeout: float) -> ipp.Cluster:
        config = Config()
        config.MesosLauncher.update(
            container="process", master=mesos.master, controller_memory="256 MB", memory="600 MB", cpus=0.1
        )
        config.MesosLauncher.start_timeout = start_timeout
        return ipp.Cluster(
            controller="mesos",
            engines="mesos",
            config=config,
            load_profile=False,
            profile_dir=str(user.profile),
            cluster_id=name,
            n=n,
            engine_timeout=60,
        )

    first, second = cluster("first", 2, 60), cluster("second", 1, 10)
    try:
        # One engine fits on the agent without a controller, the other does not fit beside it: it is waited for.
        client = first.start_and_connect_sync(n=1)
        assert len(client[:].apply_sync(os.getpid)) == 1
        client.close()
        second.start_cluster_sync()
        engines = second.engine_set
        eventually(lambda: engines.state == "after", 60)
        assert engines.stop_data["exit_code"] == 1
        assert "did not run within 10 s" in engines.reason
        assert "memory" in engines.reason and "728 MB" in engines.reason
        with pytest.raises(ipp.error.EngineError, match="did not run within 10 s"):
            connected = second.connect_client_sync()
            try:
                connected.wait_for_engines(1, timeout=10)
            finally:
                connected.close()
    finally:
        second.stop_cluster_sync()
        first.stop_cluster_sync()
    user.nothing_left()


def test_a_set_that_runs_in_part_goes_on(user: Account) -> None:
    ipcluster = user.start(
        "ipcluster", "start", *MESOS, "-n", "3", *options(memory="500 MB", pack_memory="32 MB", start_timeout=4)
    )
    with user.client(1) as client:
        eventually(lambda: "of 3 running; " in user.output(ipcluster), 30)
        eventually(lambda: "WARNING" in user.output(ipcluster), 30)
        assert len(client[:].apply_sync(os.getpid)) >= 1
    assert ipcluster.poll() is None
    assert user.run("ipcluster", "stop").returncode == 0
    assert ipcluster.wait(30) == 0
    user.nothing_left()
