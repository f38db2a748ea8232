"""Agents that crash and come back: where Mesos recovers its executors, nothing of a cluster is lost."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import ipyparallel as ipp
import pytest

from ipymesos.local import LocalMesos, leftovers
from tests import images
from tests.e2e.kit import CPUS, MEM, Home, Running
from tests.helpers import eventually

pytestmark = [
    pytest.mark.mesos,
    pytest.mark.skipif(os.geteuid() != 0, reason="the Mesos containerizer runs images for root only"),
]
ALLOCATE = "held = bytearray(3000 << 20); held[::4096] = b'x' * len(held[::4096])"


@pytest.fixture(scope="module")
def mesos() -> Iterator[LocalMesos]:
    """One agent that can run images; whatever crash there was, its end leaves nothing mounted."""
    known = [] if os.environ.get("IPYMESOS_SKIP_DOCKER") else [images.image("engine")]
    with LocalMesos(images=known, resources=f"cpus:{CPUS};mem:{MEM}") as running:
        yield running
        work_dir = str(running.work_dir)
    assert [path for _, path, _ in leftovers.mounts() if path.startswith(work_dir)] == []
    assert list(Path("/sys/fs/cgroup").glob(f"*/{leftovers.group(work_dir)}")) == []
    assert not os.path.exists(work_dir)


@pytest.fixture(params=["process", pytest.param("mesos", marks=pytest.mark.docker)])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def slow(number: int) -> int:
    time.sleep(0.3)
    return number


slow.__module__ = "__main__"  # else an engine would look for this file


def containers(mesos: LocalMesos) -> list[str]:
    """Control groups of this Mesos' containers, and what is mounted for them."""
    work_dir = str(mesos.work_dir)
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{leftovers.group(work_dir)}/*-*")]
    return groups + [path for _, path, _ in leftovers.mounts() if path.startswith(f"{work_dir}/agents/0/work/pro")]


def failures(cluster: Running) -> list[dict[str, object]]:
    return [end for end in cluster.status()["exits"] if not end["asked"]]


def packs(cluster: Running) -> set[str]:
    return {task["container"] for task in cluster.engines().values()}


def test_engines_live_over_a_crash_of_their_agent(home: Home, kind: str) -> None:
    with home.running(kind, 3) as cluster:
        view = cluster.client[:]
        view.execute("import time; counter = 0", block=True)
        view.execute("counter += 1", block=True)
        pids, before = view.apply_sync(os.getpid), packs(cluster)
        framework = cluster.status()["framework_id"]
        work = cluster.client.load_balanced_view().map_async(slow, range(30))
        home.mesos.kill()
        view.execute("counter += 1", block=True)  # nobody needs the agent for this
        home.mesos.restart()
        assert work.get(60) == list(range(30))
        assert view["counter"] == [2] * 3 and view.apply_sync(os.getpid) == pids
        assert sorted(cluster.engines()) == [0, 1, 2] and packs(cluster) == before
        assert cluster.status()["framework_id"] == framework and failures(cluster) == []

        cluster.scale(4)  # by the executor that was recovered
        assert packs(cluster) == before
        assert cluster.client[[0, 1, 2]]["counter"] == [2] * 3
        left = sorted(cluster.scale(1))
        assert cluster.client[left[0]].apply_sync(os.getpid) in pids
        assert failures(cluster) == []
    eventually(lambda: containers(home.mesos) == [])


def test_a_lack_of_memory_is_told_after_a_crash_too(home: Home, kind: str) -> None:
    """Mesos' own containerizer ends the whole container, and so the pack; it comes again."""
    with home.running(kind, 2, memory="150 MB") as cluster:
        home.mesos.restart()
        greedy = cluster.client[0].execute(ALLOCATE)
        with pytest.raises(ipp.error.RemoteError, match="EngineError"):
            greedy.get(timeout=60)
        ended = failures(cluster)
        assert {end["reason"] for end in ended} == {"REASON_CONTAINER_LIMITATION_MEMORY"}
        for end in ended:
            assert str(end["message"]).startswith("OOM: ") and "\n" not in str(end["message"]), end
        assert len(cluster.engines()) == 2
        cluster.client.wait_for_engines(2, timeout=60)
        assert len(set(cluster.client[:].apply_sync(os.getpid))) == 2


@pytest.mark.docker
@pytest.mark.parametrize("agents", [1, 2])
def test_a_private_mesos_takes_the_image_from_docker(home: Home, agents: int) -> None:
    with home.running("mesos", 2, master="local", local_agents=agents, volumes=[f"{home.ipython}:/mine:ro"]) as cluster:
        assert cluster.client[:].apply_sync(os.listdir, "/mine") == [os.listdir(home.ipython)] * 2
        assert cluster.client[:].apply_sync(os.path.exists, "/opt/ipymesos/bin/python3") == [True] * 2
        assert cluster.status()["controller"]["state"] == "running"
