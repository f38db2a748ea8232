"""Docker's engine ends or crashes under the engines that run in it, and comes back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import ipyparallel as ipp
import pytest

from ipymesos.local import LocalMesos
from tests import images
from tests.docker_engine import NETWORKS, DockerEngine, missing
from tests.e2e.kit import CPUS, MEM, Home, Running, containers, executor_ids, sandbox_of
from tests.helpers import eventually

pytestmark = [pytest.mark.mesos, pytest.mark.docker, pytest.mark.skipif(bool(missing()), reason=missing())]
WORK = "import time; time.sleep(600)"


@pytest.fixture(scope="module")
def docker() -> Iterator[DockerEngine]:
    image = images.image("engine")
    bridge = (NETWORKS / "docker0").exists()  # of the machine's own engine
    with DockerEngine() as engine, pytest.MonkeyPatch.context() as environment:
        engine.load(image)
        environment.setenv("DOCKER_HOST", engine.host)
        yield engine
    assert (NETWORKS / "docker0").exists() == bridge


@pytest.fixture(scope="module")
def mesos(docker: DockerEngine) -> Iterator[LocalMesos]:
    """One agent, which stands all of it."""
    with LocalMesos(containerizers="docker,mesos", resources=f"cpus:{CPUS};mem:{MEM}") as running:
        yield running
    assert docker.docker("ps", "--all", "--quiet") == ""


@pytest.fixture(params=[signal.SIGTERM, signal.SIGKILL], ids=["ended", "crashed"])
def blow(request: pytest.FixtureRequest) -> signal.Signals:
    return request.param  # type: ignore[no-any-return]


def again(docker: DockerEngine, live_restore: bool) -> None:
    docker.end(signal.SIGTERM)
    docker.live_restore = live_restore
    docker.start()


def every(docker: DockerEngine) -> set[str]:
    """The containers that there are, ended or not."""
    return set(docker.docker("ps", "--all", "--quiet").split())


def names(cluster: Running) -> set[str]:
    return {container["Name"] for container in cluster.containers()}


def tasks(cluster: Running) -> set[str]:
    status = cluster.status()
    return {status["controller"]["task"]} | {task["task"] for task in status["engines"][cluster.set]["tasks"]}


def end_watched(docker: DockerEngine, mesos: LocalMesos, number: signal.Signals) -> None:
    """End Docker's engine once the agent watches the processes of all containers.

    It notes them when it does, and needs Docker to find them: until then it takes an end of Docker for theirs.
    """

    def watched() -> bool:
        noted = {path.read_text() for path in mesos.work_dir.glob("agents/*/work/meta/**/pids/forked.pid")}
        there = {str(one["State"]["Pid"]) for one in containers(mesos)}
        assert there <= noted, f"the agent has noted {sorted(noted)} of {sorted(there)}"
        return True

    eventually(watched)
    docker.end(number)


def pids(client: ipp.Client) -> list[int]:
    """Of engines that all answer; two of different containers may have the same."""
    return list(client[:].apply_async(os.getpid).get(60))


def test_with_live_restore_nothing_is_lost(home: Home, docker: DockerEngine, blow: signal.Signals) -> None:
    again(docker, live_restore=True)
    older = every(docker)
    with home.running("docker", 2) as cluster:
        view, before, running = cluster.client[:], tasks(cluster), names(cluster)
        view.execute("counter = 1", block=True)
        end_watched(docker, home.mesos, blow)
        view.execute("counter += 1", block=True)  # nobody needs Docker for this
        docker.start()
        cluster.scale(3)  # by the executor that is there
        assert cluster.client[:2].pull("counter", block=True) == [2, 2]
        assert names(cluster) == running and tasks(cluster) > before and cluster.status()["exits"] == []

        # A container that Docker has taken back is one like any other.
        (pack,) = {str(task["container"]) for task in cluster.engines().values()}
        (container,) = [one["Id"] for one in cluster.containers() if f"/{pack}/" in sandbox_of(one)]
        docker.docker("kill", container)
        eventually(lambda: {str(task["container"]) for task in cluster.engines().values()}.isdisjoint({pack}))
        eventually(lambda: sorted(cluster.client.ids) == sorted(cluster.engines()))
        assert len(pids(cluster.client)) == 3 and len(tasks(cluster) & before) == 1
    eventually(lambda: every(docker) <= older)  # the agent removes them, too


def test_a_stop_needs_no_docker(home: Home, docker: DockerEngine) -> None:
    again(docker, live_restore=True)
    with home.running("docker", 2):
        end_watched(docker, home.mesos, signal.SIGKILL)
    assert home.security == set()
    docker.start()


def test_a_crash_while_containers_start(home: Home, docker: DockerEngine) -> None:
    """The agent gives up containers that it does not watch yet, and lets them be; these executors find out and end."""
    again(docker, live_restore=True)
    older = every(docker)
    with home.running("docker", 2) as cluster:
        (pack,) = {str(task["container"]) for task in cluster.engines().values()}
        docker.docker("kill", *[one["Id"] for one in cluster.containers() if f"/{pack}/" in sandbox_of(one)])
        started = eventually(lambda: executor_ids(home.mesos) - {"controller-1", pack})
        docker.end(signal.SIGKILL)
        docker.start()
        engines = cluster.engines()
        eventually(lambda: sorted(cluster.client.ids) == sorted(engines))
        wanted = {"controller-1"} | {str(task["container"]) for task in engines.values()}
        assert eventually(lambda: executor_ids(home.mesos) == wanted, 90), started
    for container in every(docker) - older:  # what the agent has given up, it does not remove
        docker.docker("rm", "--force", container)


def test_without_it_all_is_renewed(home: Home, docker: DockerEngine, blow: signal.Signals) -> None:
    """At once when Docker's engine ends; when it crashes, containers live until it is back."""
    again(docker, live_restore=False)
    with home.running("docker", 2) as cluster, cluster.cluster.connect_client_sync(grace=5) as client:
        client.wait_for_engines(2, timeout=30)
        before, running = tasks(cluster), names(cluster)
        client[:].execute("counter = 1", block=True)
        if blow == signal.SIGKILL:
            end_watched(docker, home.mesos, blow)
            assert client[:].pull("counter", block=True) == [1, 1] and tasks(cluster) == before
            work = client[:].execute(WORK)
        else:
            work = client[:].execute(WORK)
            end_watched(docker, home.mesos, blow)
        docker.start()

        def renewed() -> bool:
            assert not tasks(cluster) & before, cluster.status()
            assert cluster.status()["controller"]["state"] == "running", cluster.status()
            return len(cluster.engines()) == 2

        eventually(renewed, 60)
        with pytest.raises(ipp.error.RemoteError, match="EngineError"):
            work.get(timeout=60)
        eventually(lambda: sorted(client.ids) == sorted(cluster.engines()))
        assert len(pids(client)) == 2 and not names(cluster) & running
        with pytest.raises(ipp.error.RemoteError, match="counter"):
            client[:].pull("counter", block=False).get(60)
