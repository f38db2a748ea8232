"""`ipyparallel.Cluster` with our launchers: ipyparallel's own contract, on the private Mesos of `local`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import pytest
from traitlets.config import Config

from tests.helpers import eventually

from .launcher_kit import Account, account, daemons

pytestmark = pytest.mark.mesos


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    for name in ("IPYMESOS_MASTER", "IPYMESOS_SECRET"):
        monkeypatch.delenv(name, raising=False)
    with account(tmp_path) as user:
        yield user


def cluster(user: Account, **more: Any) -> ipp.Cluster:
    config = Config()
    config.MesosLauncher.memory = "64 MB"
    more.setdefault("config", config)
    return ipp.Cluster(
        controller="mesos",
        engines="mesos",
        profile_dir=str(user.profile),
        load_profile=False,
        shutdown_atexit=False,
        **more,
    )


def test_with(user: Account) -> None:
    mesos = cluster(user, n=3)
    with mesos as client:
        assert sorted(client.ids) == [0, 1, 2]
        assert len(set(client[:].apply_sync(os.getpid))) == 3
        assert (mesos.controller.state, mesos.engine_set.state) == ("running", "running")
        assert mesos.delay == 0
        key = json.loads(Path(mesos.controller.connection_files["client"]).read_text())["curve_serverkey"]
        assert key not in json.dumps(mesos.to_dict())
        assert key not in repr(mesos.engine_set.environment)
    assert mesos.controller is None and mesos.engines == {}
    user.nothing_left()


def test_async_with_several_sets_restart_and_scale(user: Account) -> None:
    async def scenario() -> None:
        async with cluster(user, n=1, cluster_id="several") as client:
            mesos = client.cluster
            second = await mesos.start_engines(2, engine_set_id="second")
            client.wait_for_engines(3, timeout=30)
            before = client[:].apply_sync(os.getpid)

            await mesos.restart_engines(second)
            assert list(mesos.engines)[1:] == [second]
            eventually(lambda: sorted(client.ids)[1:] == [3, 4], 30)
            after = client[:].apply_sync(os.getpid)
            assert len(set(before) & set(after)) == 1  # the first set's

            ended: list[dict[str, Any]] = []
            mesos.engines[second].on_stop(ended.append)
            await mesos.stop_engines(second)
            assert [data["exit_code"] for data in ended] == [0]
            eventually(lambda: client.ids == [0])
            with pytest.raises(Exception, match="the engine set taken already runs; choose another name"):
                await asyncio.gather(*(mesos.start_engines(1, engine_set_id=name) for name in ("taken", "taken")))
            await mesos.stop_engines()

    asyncio.run(scenario())
    user.nothing_left()


def test_signals_reach_the_engines(user: Account) -> None:
    with cluster(user, n=2) as client:
        mesos = client.cluster
        client[:].execute(
            "import signal, time\ngot = 0\ndef note(number, frame): globals().update(got=number)\n"
            "signal.signal(signal.SIGUSR1, note); signal.signal(signal.SIGUSR2, note)",
            block=True,
        )
        for number, sig in ((signal.SIGUSR1, "USR1"), (signal.SIGUSR2, signal.SIGUSR2)):
            mesos.signal_engines_sync(sig)
            eventually(lambda number=number: client[:].pull("got", block=True) == [number] * 2, 20)
        with pytest.raises(Exception, match="signal: 'NONSENSE' is no signal; write a number, or a name"):
            mesos.signal_engines_sync("NONSENSE")
        running = client[:].execute("time.sleep(60)", block=False)
        eventually(lambda: running.sent and client.queue_status()[0]["tasks"] + client.queue_status()[0]["queue"] >= 1)
        mesos.signal_engines_sync("INT")
        with pytest.raises(ipp.error.CompositeError, match="KeyboardInterrupt"):
            running.get(timeout=20)


def test_another_process_takes_over(user: Account) -> None:
    mesos = cluster(user, n=2, cluster_id="left")
    mesos.start_cluster_sync()
    code = (
        "import ipyparallel as ipp, os\n"
        f"cluster = ipp.Cluster.from_file(profile_dir={str(user.profile)!r}, cluster_id='left')\n"
        "client = cluster.connect_client_sync()\n"
        "client.wait_for_engines(2, timeout=30)\n"
        "print(len(set(client[:].apply_sync(os.getpid))), cluster.engine_set.n, cluster.controller.state)\n"
        "client.close()\n"
    )
    done = user.run("python", "-c", code)
    assert "2 2 running" in done.stdout, done.stdout

    # The loop that start_cluster_sync ran on is closed by now: its launchers notice the end all the same.
    controller, engines = mesos.controller, mesos.engine_set
    done = user.run("python", "-c", code + "cluster.stop_cluster_sync()")
    assert done.returncode == 0, done.stdout
    eventually(lambda: (controller.state, engines.state) == ("after", "after"))
    assert (controller.stop_data["exit_code"], engines.stop_data["exit_code"]) == (0, 0)
    mesos.stop_cluster_sync()
    user.nothing_left()


START = (
    "import ipyparallel as ipp\n"
    "cluster = ipp.Cluster(controller='mesos', engines='mesos', n=1, profile='default', cluster_id='', {})\n"
    "client = cluster.start_and_connect_sync()\n"
    "print(client[:].apply_sync(lambda: 'computed'))\n"
)


def test_the_end_of_a_program_is_the_end_of_its_cluster(user: Account) -> None:
    done = user.run("python", "-c", START.format(""))
    assert "['computed']" in done.stdout, done.stdout
    assert "Stopping cluster <Cluster" in done.stdout
    assert "Traceback" not in done.stdout
    user.nothing_left()


def test_a_cluster_may_outlive_its_program(user: Account) -> None:
    done = user.run("python", "-c", START.format("shutdown_atexit=False"))
    assert "['computed']" in done.stdout, done.stdout
    assert len(daemons(user.directory)) == 1
    with user.client(1) as client:
        assert len(client[:].apply_sync(os.getpid)) == 1
    assert user.run("ipcluster", "stop").returncode == 0
    user.nothing_left()


def test_launchers_tell_their_end_once_and_keep_their_output(user: Account) -> None:
    mesos = cluster(user, n=1)
    mesos.start_cluster_sync()
    controller, engines = mesos.controller, mesos.engine_set
    ended: list[str] = []
    controller.on_stop(lambda data: ended.append(data["identifier"]))
    engines.on_stop(lambda data: ended.append(data["identifier"]))
    assert controller.poll() is None and engines.poll() is None
    with pytest.raises(TimeoutError, match="did not end within 0.1 s"):
        asyncio.run(engines.join(0.1))
    info = asyncio.run(controller.get_connection_info())
    assert set(info) == {"client", "engine"}
    controller.signal("TERM")
    asyncio.run(controller.join(30))
    asyncio.run(engines.join(30))
    assert sorted(ended) == sorted([controller.identifier, engines.identifier])
    assert (controller.poll(), engines.poll()) == (0, 0)
    assert "registered with Mesos master" in controller.get_output(remove=True)
    mesos.stop_cluster_sync()
    mesos.stop_cluster_sync()
    assert len(ended) == 2
    assert "registered with Mesos master" in controller.get_output()
    with pytest.raises(Exception, match="the controller was stopped"):
        asyncio.run(controller.get_connection_info())
    user.nothing_left()


def test_a_set_needs_our_controller(user: Account) -> None:
    mesos = ipp.Cluster(controller="local", engines="mesos", profile_dir=str(user.profile), load_profile=False, n=1)
    try:
        with pytest.raises(Exception, match="engines on Mesos need a controller on Mesos, not LocalControllerLauncher"):
            mesos.start_cluster_sync()
    finally:
        mesos.stop_cluster_sync()


def test_local_engines_may_join_our_controller(user: Account) -> None:
    mesos = ipp.Cluster(controller="mesos", engines="local", profile_dir=str(user.profile), load_profile=False, n=1)
    with mesos as client:
        assert len(client[:].apply_sync(os.getpid)) == 1
    user.nothing_left()


def test_in_a_notebook(user: Account) -> None:
    """Where a loop runs already, ipyparallel's synchronous methods work in a thread."""

    async def cell() -> None:
        with cluster(user, n=1) as client:
            engines = client.cluster.engine_set
            assert len(client[:].apply_sync(os.getpid)) == 1
            done = user.run(
                "python",
                "-m",
                "ipymesos",
                "stop",
                "--profile-dir",
                str(user.profile),
                "--cluster-id",
                client.cluster.cluster_id,
            )
            assert done.returncode == 0, done.stdout
            eventually(lambda: engines.state == "after")

    asyncio.run(cell())
    user.nothing_left()
