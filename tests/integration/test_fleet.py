"""A Mesos whose masters and agents are processes of their own: what `LocalFleet` promises."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ipymesos.local import Election, LocalFleet, LocalMesos, LocalMesosError
from ipymesos.local.election import get
from tests.helpers import eventually, halt
from tests.integration.plain_framework import Framework
from tests.integration.programs import executors
from tests.integration.zookeeper import MISSING, ZooKeeperServer

pytestmark = pytest.mark.mesos
ROOT = Path(__file__).parents[2]
needs_zookeeper = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperServer]:
    with ZooKeeperServer(tmp_path_factory.mktemp("zookeeper")) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = {child.pid for child in psutil.Process().children(recursive=True)}  # of fixtures that live longer
    yield
    eventually(lambda: {child.pid for child in psutil.Process().children(recursive=True)} <= before, 20)
    assert executors(tmp_path) == [] and list(tmp_path.iterdir()) == []


def active(fleet: LocalFleet) -> set[str]:
    """The ids of the active agents, as the leader tells."""
    try:
        return {agent["id"] for agent in get(fleet.leader.master, "/master/slaves", 10)["slaves"] if agent["active"]}
    except (LocalMesosError, OSError, ValueError) as error:
        raise AssertionError(repr(error)) from error


def ids(fleet: LocalFleet) -> list[str]:
    return [agent.agents[0]["id"] for agent in fleet.agents]


def launch(framework: Framework, fleet: LocalFleet, *tasks: str) -> dict[str, LocalMesos]:
    """Launch tasks; which process is the agent of each."""
    own = dict(zip(ids(fleet), fleet.agents, strict=True))
    found = {}
    for task in tasks:
        found[task] = own[framework.launch(task)]
        framework.wait("UPDATE", task=task, state="TASK_RUNNING")
    return found


def state_of(framework: Framework, task: str) -> str:
    framework.call("RECONCILE", reconcile={"tasks": [{"task_id": {"value": task}}]})
    status: dict[str, Any] = framework.wait("UPDATE", task=task, state="TASK_RUNNING")["update"]["status"]
    return str(status["state"])


def test_each_is_a_process_and_offers_what_it_was_told_to() -> None:
    with LocalFleet(
        3, resources=[f"cpus:{n};mem:1000" for n in (1, 2, 3)], attributes=["rack:a", "rack:b", "rack:c"]
    ) as fleet:
        processes = [fleet.masters[0], *fleet.agents]
        assert len({process.pid for process in processes}) == len({process.master for process in processes}) == 4
        assert fleet.master == fleet.leader.master == fleet.masters[0].master
        found = [agent.agents[0] for agent in fleet.agents]
        assert [(a["resources"]["cpus"], a["attributes"]["rack"]) for a in found] == [(1, "a"), (2, "b"), (3, "c")]
        assert {agent.leader for agent in fleet.agents} == {fleet.master}
        assert active(fleet) == {agent["id"] for agent in found}
        blocks = sorted(agent["resources"]["ports"] for agent in found)
        assert len(set(blocks)) == 3


def test_an_agent_dies_alone_and_comes_back_as_itself() -> None:
    with LocalFleet(2) as fleet, Framework(fleet.master) as framework:
        known = ids(fleet)
        agent = launch(framework, fleet, "spawn-1")["spawn-1"]
        other = fleet.agents[1 - fleet.agents.index(agent)]
        (before,) = [p.pid for p in executors(str(agent.work_dir)) if "plain_framework.py" in " ".join(p.cmdline())]
        agent.kill()
        eventually(lambda: len(active(fleet)) == 1)
        assert other.agents and psutil.pid_exists(before)
        agent.restart()
        assert ids(fleet) == known
        assert state_of(framework, "spawn-1") == "TASK_RUNNING"
        assert psutil.pid_exists(before)
        agent.crash()
        assert not psutil.pid_exists(before) or psutil.Process(before).status() == psutil.STATUS_ZOMBIE
        assert other.agents
        agent.restart()
        assert ids(fleet) == known
        framework.wait("UPDATE", task="spawn-1", state="TASK_FAILED")


def test_an_agent_that_stops_answering_is_unreachable_until_it_answers() -> None:
    quick = {"MESOS_AGENT_PING_TIMEOUT": "1secs", "MESOS_MAX_AGENT_PING_TIMEOUTS": "3"}
    with LocalFleet(2, environment=quick) as fleet:
        known = set(ids(fleet))
        stopped = psutil.Process(fleet.agents[0].pid)
        stopped.suspend()
        eventually(lambda: len(active(fleet)) == 1)
        stopped.resume()
        eventually(lambda: active(fleet) == known)
        stopped.suspend()  # and nothing prevents the end


def test_an_agent_may_be_started_while_there_is_no_master() -> None:
    quick = {"MESOS_AGENT_PING_TIMEOUT": "1secs", "MESOS_MAX_AGENT_PING_TIMEOUTS": "3"}
    with LocalFleet(1, environment=quick) as fleet:
        known = set(ids(fleet))
        fleet.masters[0].kill()
        with pytest.raises(LocalMesosError, match="none of the masters leads"):
            assert fleet.leader
        fleet.agents[0].restart(wait=False)
        fleet.masters[0].restart()
        eventually(lambda: active(fleet) == known, 60)


def test_nothing_stays_of_a_fleet_whose_owner_is_killed(tmp_path: Path) -> None:
    script = (
        "import signal; from ipymesos.local import LocalFleet; fleet = LocalFleet(2).start()\n"
        "print(*[process.pid for process in [*fleet.masters, *fleet.agents]], fleet.master, flush=True)\n"
        "signal.pause()\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    owner = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    with owner.stdout as answer:
        *pids, master = answer.readline().split()
    with Framework(master) as framework:
        framework.launch("spawn-1")
        framework.wait("UPDATE", task="spawn-1", state="TASK_RUNNING")
    assert executors(tmp_path)
    owner.kill()
    owner.wait()
    eventually(lambda: not [pid for pid in pids if psutil.pid_exists(int(pid))])
    eventually(lambda: not executors(tmp_path) and not list(tmp_path.iterdir()))


def test_agents_join_a_master_that_has_its_own() -> None:
    with LocalMesos(agents=1) as one, LocalMesos(agents=2, election=Election(one.master)) as two:
        assert len(one.agents) == 1 and len(two.agents) == 2
        assert len(get(one.master, "/master/slaves", 10)["slaves"]) == 3


@needs_zookeeper
def test_the_leader_dies_and_another_leads_with_all_that_was_known(
    server: ZooKeeperServer, request: pytest.FixtureRequest
) -> None:
    with LocalFleet(2, 3, zookeeper=f"zk://{server.hosts}/{request.node.name}") as fleet:
        known, first = set(ids(fleet)), fleet.leader
        assert {master.leader for master in fleet.masters} == {first.master}
        with Framework(first.master) as framework:
            launch(framework, fleet, "task-1")
        first.kill()
        second = eventually(lambda: active(fleet) == known and fleet.leader, 60)
        assert second is not first
        with Framework(second.master, framework_id=framework.id) as framework:
            assert state_of(framework, "task-1") == "TASK_RUNNING"
            first.restart()
            assert first.leader == second.master
            # Its registry is the others': it may lead next.
            second.kill()
        third = eventually(lambda: active(fleet) == known and fleet.leader, 60)
        assert third is not second
        with Framework(third.master, framework_id=framework.id) as framework:
            assert state_of(framework, "task-1") == "TASK_RUNNING"


@needs_zookeeper
def test_one_master_of_three_can_not_lead_alone(server: ZooKeeperServer, request: pytest.FixtureRequest) -> None:
    impatient = {"MESOS_REGISTRY_FETCH_TIMEOUT": "5secs"}
    with LocalFleet(1, 3, zookeeper=f"zk://{server.hosts}/{request.node.name}", environment=impatient) as fleet:
        known, first = set(ids(fleet)), fleet.leader
        second, third = (master for master in fleet.masters if master is not first)
        first.kill()
        second.kill()
        assert third.wait(60), "it can't get the registry, and gives up"

        def supervised() -> bool:
            for master in fleet.masters:
                if master.pid is None:
                    master.restart(wait=False)
            return active(fleet) == known

        eventually(supervised, 90)


@needs_zookeeper
def test_a_leader_that_hangs_ends_when_it_finds_another_one(
    server: ZooKeeperServer, request: pytest.FixtureRequest
) -> None:
    with LocalFleet(1, 3, zookeeper=f"zk://{server.hosts}/{request.node.name}") as fleet:
        known, first = set(ids(fleet)), fleet.leader
        pid = first.pid
        assert pid is not None
        halt(pid)
        running = next(master for master in fleet.masters if master is not first)
        eventually(lambda: running.leader != first.master, 60)
        os.kill(pid, signal.SIGCONT)
        assert first.wait(30), "there are never two leaders"
        eventually(lambda: active(fleet) == known, 60)
