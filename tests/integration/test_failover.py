"""What our cluster keeps when the leading master dies, when agents die or hang, and when they come back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import psutil
import pytest

import ipymesos
from ipymesos.core.messages import AgentLost, Disconnected, Offered, Subscribed
from ipymesos.local import LocalFleet, LocalMesos, LocalMesosError
from tests.helpers import eventually
from tests.integration.driver_kit import driving
from tests.integration.programs import SMALL, Start, executors, frameworks
from tests.integration.zookeeper import MISSING, ZooKeeperServer

pytestmark = pytest.mark.mesos
needs_zookeeper = pytest.mark.skipif(bool(MISSING), reason=MISSING)

QUICK = {"MESOS_AGENT_PING_TIMEOUT": "1secs", "MESOS_MAX_AGENT_PING_TIMEOUTS": "4"}  # unreachable after four seconds
RACKS = ["rack:front", "rack:back", "rack:back", "rack:back"]
SIZES = ["mem:2000", "mem:400", "mem:400", "mem:400"]  # two engines in each back agent
APART = ("--controller-attributes", "rack=front", "--attributes", "rack=back")


@pytest.fixture(scope="module")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperServer]:
    with ZooKeeperServer(tmp_path_factory.mktemp("zookeeper")) as running:
        yield running


@contextmanager
def cluster(fleet: LocalFleet, profile: Path, n: int, *options: str) -> Iterator[tuple[Start, ipp.Client]]:
    """n engines of our own daemon, and a client; each engine gets a counter, which it keeps as long as it lives."""
    with Start(profile, "--master", fleet.master, "-n", str(n), *SMALL, *options) as start:
        start.running(n)
        with ipp.Client(profile_dir=str(profile)) as client:
            client.wait_for_engines(n, timeout=30)
            yield start, client
            start.daemon().stop("enough")
            assert start.wait() == 0, start.error
        assert "Traceback" not in start.error
    assert frameworks(fleet.leader.master) == []
    eventually(lambda: not [p for agent in fleet.agents for p in executors(str(agent.work_dir))], 20)


def engines(status: dict[str, Any]) -> list[dict[str, Any]]:
    return list(status["engines"]["engines"]["tasks"])


def tasks(status: dict[str, Any]) -> set[str]:
    return {task["task"] for task in engines(status)}


def count(client: ipp.Client, started: bool = False) -> dict[int, int]:
    """Each engine's counter after it was raised, by its process id."""
    client[:].execute("n = 0" if started else "n += 1", block=False).get(60)
    return dict(zip(pids(client), client[:].pull("n", block=False).get(60), strict=True))


def pids(client: ipp.Client) -> list[int]:
    return list(client[:].apply_async(os.getpid).get(60))


def agent_of(fleet: LocalFleet, agent_id: str) -> LocalMesos:
    return next(a for a in fleet.agents if a.pid is not None and a.agents and a.agents[0]["id"] == agent_id)


def on(agent: LocalMesos, status: dict[str, Any]) -> set[str]:
    """The engines on this agent."""
    return {task["task"] for task in engines(status) if task["agent_id"] == agent.agents[0]["id"]}


def distinct(client: ipp.Client, status: dict[str, Any]) -> None:
    """No engine is there twice: neither for Mesos, nor for the hub, nor as a process."""
    running = [task["engine_id"] for task in engines(status) if task["state"] == "running"]
    assert len(set(running)) == len(running)
    eventually(lambda: sorted(client.ids) == sorted(running), 60)  # the hub takes half a minute to miss an engine
    assert len(set(pids(client))) == len(running)


@needs_zookeeper
def test_a_driver_finds_the_next_leader_with_everything(
    zookeeper: ZooKeeperServer, request: pytest.FixtureRequest
) -> None:
    with LocalFleet(2, 3, zookeeper=f"zk://{zookeeper.hosts}/{request.node.name}") as fleet:
        first = fleet.leader
        with driving(fleet.master) as (driver, heard):
            one = heard.wait(Subscribed)
            assert one.master == first.master
            eventually(lambda: len({offer.agent_id for event in heard.of(Offered) for offer in event.offers}) == 2)
            first.kill()
            heard.wait(Disconnected)
            two = heard.wait(Subscribed, 2, timeout=60)
            assert two.framework_id == one.framework_id
            assert two.master == fleet.leader.master != one.master
            later = heard.events.index(two)
            eventually(
                lambda: len({o.agent_id for e in heard.events[later:] if isinstance(e, Offered) for o in e.offers}) == 2
            )
            assert not heard.of(AgentLost)
            driver.send([{"type": "TEARDOWN", "framework_id": {"value": two.framework_id}}])
            assert driver.flush(10)


@needs_zookeeper
def test_the_leading_master_dies(zookeeper: ZooKeeperServer, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with LocalFleet(2, 3, zookeeper=f"zk://{zookeeper.hosts}/{request.node.name}") as fleet:
        with cluster(fleet, tmp_path, 2) as (start, client):
            before, first = start.running(2), fleet.leader
            assert set(count(client, started=True).values()) == {0}
            first.kill()
            assert set(count(client).values()) == {1}, "engines need no master"
            daemon = start.daemon()
            eventually(lambda: daemon.status()["connected"] and daemon.status()["master"] != first.master, 60)
            after = start.running(2)
            assert after["master"] == fleet.leader.master
            assert after["framework_id"] == before["framework_id"]
            assert after["controller"]["task"] == before["controller"]["task"] and tasks(after) == tasks(before)
            daemon.want_engines("engines", 3)
            assert tasks(start.running(3)) > tasks(before), "offers come"
            client.wait_for_engines(3, timeout=30)
            assert set(client[:2].pull("n", block=False).get(60)) == {1}
            first.restart()


def test_an_agent_dies_and_comes_back(tmp_path: Path) -> None:
    with (
        LocalFleet(4, attributes=RACKS, resources=SIZES) as fleet,
        cluster(fleet, tmp_path, 3, *APART) as (start, client),
    ):
        before = start.running(3)
        known = count(client, started=True)
        agent = agent_of(fleet, engines(before)[0]["agent_id"])
        found = agent.agents[0]["id"]
        agent.kill()
        assert count(client) == dict.fromkeys(known, 1), "engines need no agent"
        agent.restart()
        assert agent.agents[0]["id"] == found
        after = start.running(3)
        assert tasks(after) == tasks(before)
        assert count(client) == dict.fromkeys(known, 2)
        distinct(client, after)
        # It obeys as before.
        start.daemon().want_engines("engines", 1)
        start.running(1)
        eventually(lambda: len(client.ids) == 1)


def test_the_controllers_agent_dies_and_comes_back(tmp_path: Path) -> None:
    with (
        LocalFleet(4, attributes=RACKS, resources=SIZES) as fleet,
        cluster(fleet, tmp_path, 2, *APART) as (start, client),
    ):
        before = start.running(2)
        known = count(client, started=True)
        agent = agent_of(fleet, before["controller"]["agent_id"])
        agent.kill()
        assert count(client) == dict.fromkeys(known, 1), "the hub needs no agent"
        agent.restart()
        after = start.running(2)
        assert after["controller"]["task"] == before["controller"]["task"]
        assert count(client) == dict.fromkeys(known, 2)


def test_a_machine_is_lost(tmp_path: Path) -> None:
    """Agent and engines at once: they are replaced on another agent, and those that live keep what they know."""
    with LocalFleet(4, attributes=RACKS, resources=SIZES, environment=QUICK) as fleet:
        with cluster(fleet, tmp_path, 4, *APART) as (start, client):
            before = start.running(4)
            known = count(client, started=True)
            lost = agent_of(fleet, engines(before)[0]["agent_id"])
            gone = on(lost, before)
            assert len(gone) == 2
            lost.crash()

            def replaced() -> dict[str, Any]:
                status = start.daemon().status()
                assert status["engines"]["engines"]["running"] == 4 and not gone & {
                    task["task"] for task in engines(status) if task["state"] == "running"
                }, status
                return status

            after = eventually(replaced, 90)
            assert tasks(before) - gone <= tasks(after)
            distinct(client, after)
            assert len(set(pids(client)) & set(known)) == 2
            lost.restart()
            eventually(lambda: len(engines(start.daemon().status())) == 4, 60)
            distinct(client, start.running(4))


def test_a_machine_starts_again(tmp_path: Path) -> None:
    """Sooner than the master takes its agent for lost: the agent itself tells what has ended, and the hub hears it."""
    with (
        LocalFleet(4, attributes=RACKS, resources=SIZES) as fleet,
        cluster(fleet, tmp_path, 4, *APART) as (start, client),
    ):
        before = start.running(4)
        known = count(client, started=True)
        agent = agent_of(fleet, engines(before)[0]["agent_id"])
        name, gone = agent.agents[0]["id"], on(agent, before)
        agent.crash()
        agent.restart()
        assert agent.agents[0]["id"] == name
        eventually(lambda: not gone & tasks(start.daemon().status()), 60)
        after = start.running(4)
        assert tasks(before) - gone < tasks(after)
        distinct(client, after)
        assert len(set(pids(client)) & set(known)) == 2


def test_an_agent_hangs_for_a_moment(tmp_path: Path) -> None:
    """Shorter than the master's patience: nobody notices, nothing is lost."""
    with (
        LocalFleet(4, attributes=RACKS, resources=SIZES) as fleet,
        cluster(fleet, tmp_path, 3, *APART) as (start, client),
    ):
        before = start.running(3)
        known = count(client, started=True)
        process = psutil.Process(agent_of(fleet, engines(before)[0]["agent_id"]).pid)
        process.suspend()
        start.daemon().want_engines("engines", 4)
        assert count(client) == dict.fromkeys(known, 1)
        process.resume()
        after = start.running(4)
        assert tasks(before) < tasks(after)
        distinct(client, after)


def test_an_agent_is_cut_off_and_returns(tmp_path: Path) -> None:
    """Longer than that: its engines are replaced; when it is back there are too many for a moment, never one twice."""
    with LocalFleet(4, attributes=RACKS, resources=SIZES, environment=QUICK) as fleet:
        with cluster(fleet, tmp_path, 4, *APART) as (start, client):
            before = start.running(4)
            known = count(client, started=True)
            agent = agent_of(fleet, engines(before)[0]["agent_id"])
            away = on(agent, before)
            assert len(away) == 2
            process = psutil.Process(agent.pid)
            process.suspend()

            def replaced() -> dict[str, Any]:
                status = start.daemon().status()
                states = {task["task"]: task["state"] for task in engines(status)}
                assert {states.get(task) for task in away} == {"unreachable"}, status
                assert status["engines"]["engines"]["running"] == 4, status
                return status

            eventually(replaced, 90)
            process.resume()

            def settled() -> dict[str, Any]:
                status = start.daemon().status()
                assert [task["state"] for task in engines(status)] == ["running"] * 4, status
                return status

            after = eventually(settled, 90)
            distinct(client, after)
            asked = [end for end in after["exits"] if end["group"] == "engines"]
            assert len(asked) == len(away), "as many have ended as were too many, and no more"
            assert len(set(pids(client)) & set(known)) >= 2


@needs_zookeeper
def test_masters_and_agents_die_in_turn(
    zookeeper: ZooKeeperServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with LocalFleet(2, 3, zookeeper=f"zk://{zookeeper.hosts}/{request.node.name}") as fleet:
        with cluster(fleet, tmp_path, 2) as (start, client):
            before = start.running(2)
            known = count(client, started=True)
            for turn in (1, 2):
                leader = eventually(lambda: leading(fleet), 60)
                leader.kill()
                for agent in fleet.agents:  # while nobody leads
                    agent.restart(wait=False)
                leader.restart(wait=False)
                eventually(lambda: leading(fleet) and all(agent_is_there(agent) for agent in fleet.agents), 60)
                eventually(lambda: start.daemon().status()["connected"], 60)
                after = start.running(2)
                assert tasks(after) == tasks(before)
                assert after["controller"]["task"] == before["controller"]["task"]
                assert count(client) == dict.fromkeys(known, turn)
            distinct(client, after)


def leading(fleet: LocalFleet) -> LocalMesos | None:
    try:
        return fleet.leader
    except LocalMesosError:
        return None


def agent_is_there(agent: LocalMesos) -> bool:
    try:
        return bool(agent.agents)
    except (OSError, ValueError):
        return False


FRONTS = ["rack:front", "rack:front", "rack:back"]


def moved(start: Start, before: dict[str, Any]) -> dict[str, Any]:
    """The status once another controller serves the same engines, and there is no other."""

    def look() -> dict[str, Any]:
        status = start.daemon().status()
        assert status["controller"]["state"] == "running", status
        assert status["controller"]["task"] != before["controller"]["task"], status
        assert status["engines"]["engines"]["running"] == len(tasks(before)), status
        return status

    after = eventually(look, 90)
    assert tasks(after) == tasks(before)
    return after


def controllers(fleet: LocalFleet) -> list[str]:
    """The controllers' tasks that the master has as running."""
    found = frameworks(fleet.master)[0]["tasks"]
    return [t["id"] for t in found if t["state"] == "TASK_RUNNING" and t["id"].startswith("controller")]


def test_the_controllers_machine_is_lost(tmp_path: Path) -> None:
    with LocalFleet(3, attributes=FRONTS, environment=QUICK) as fleet:
        with cluster(fleet, tmp_path, 2, *APART) as (start, client):
            before = start.running(2)
            known = count(client, started=True)
            lost = agent_of(fleet, before["controller"]["agent_id"])
            lost.crash()
            after = moved(start, before)
            with ipymesos.Client(profile_dir=str(tmp_path)) as again:
                again.wait_for_engines(2, timeout=30)
                assert count(again) == dict.fromkeys(known, 1), "the engines have moved with all that they know"
                distinct(again, after)
                lost.restart()
                assert controllers(fleet) == [after["controller"]["task"]]
                assert count(again) == dict.fromkeys(known, 2)


def test_the_controllers_agent_is_cut_off_and_returns(tmp_path: Path) -> None:
    """Two controllers for a moment; the engines are with one of them, and the other one goes."""
    with LocalFleet(3, attributes=FRONTS, environment=QUICK) as fleet:
        with cluster(fleet, tmp_path, 2, *APART) as (start, client):
            before = start.running(2)
            known = count(client, started=True)
            process = psutil.Process(agent_of(fleet, before["controller"]["agent_id"]).pid)
            process.suspend()
            eventually(lambda: moved(start, before), 90)
            process.resume()
            eventually(lambda: len(controllers(fleet)) == 1, 60)
            after = start.running(2)
            assert tasks(after) == tasks(before)
            with ipymesos.Client(profile_dir=str(tmp_path)) as again:
                again.wait_for_engines(2, timeout=30)
                assert count(again) == dict.fromkeys(known, 1)
                distinct(again, after)


@needs_zookeeper
def test_zookeeper_goes_and_comes_back(tmp_path: Path) -> None:
    """Without it masters don't lead; what runs goes on, and is there for the next leader."""
    with ZooKeeperServer(tmp_path / "zookeeper") as server:
        with LocalFleet(1, 3, zookeeper=f"zk://{server.hosts}/mesos") as fleet:
            with cluster(fleet, tmp_path / "profile", 2) as (start, client):
                before, leader = start.running(2), fleet.leader
                known = count(client, started=True)
                server.kill()
                assert leader.wait(60), "a leader that can't be sure of it ends"
                assert count(client) == dict.fromkeys(known, 1)
                server.start()
                leader.restart(wait=False)
                eventually(lambda: leading(fleet) and agent_is_there(fleet.agents[0]), 60)
                eventually(lambda: start.daemon().status()["connected"], 60)
                after = start.running(2)
                assert after["framework_id"] == before["framework_id"] and tasks(after) == tasks(before)
                assert count(client) == dict.fromkeys(known, 2)
