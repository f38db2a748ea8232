"""What our cluster does when operators take an agent away: others first, then the work is finished, then it leaves."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import pytest

import ipymesos
from ipymesos.local import LocalMesos
from ipymesos.local.election import Election
from tests.helpers import eventually
from tests.integration.offers_kit import drain, get, post, schedule_maintenance
from tests.integration.programs import SMALL, Start, executors, frameworks

pytestmark = pytest.mark.mesos
HOUR = 3600.0
GRACE = ("--retire-grace", "30 s")


class World:
    """Three machines, as far as Mesos knows: one for controllers first of all, two for two engines each."""

    def __init__(self, master: str, agents: dict[str, LocalMesos], start: Start) -> None:
        self.master, self.agents, self.start = master, agents, start
        self.fewest = 99  # engines that were usable at any moment since watch()

    def status(self) -> dict[str, Any]:
        return self.start.daemon().status()

    def engines(self) -> list[dict[str, Any]]:
        return list(self.status()["engines"]["engines"]["tasks"])

    def on(self, ip: str) -> list[str]:
        return [task["task"] for task in self.engines() if task["agent"] == ip]

    def id(self, ip: str) -> str:
        return str(next(a["id"] for a in get(self.master, "/slaves")["slaves"] if a["hostname"] == ip))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count meanwhile how many engines can be used."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.05):
                self.fewest = min(self.fewest, self.status()["engines"]["engines"]["running"])

        self.fewest = 99
        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


FRONT, LEFT, RIGHT = "127.0.0.2", "127.0.0.3", "127.0.0.4"


@contextmanager
def world(profile: Path, n: int, *options: str) -> Iterator[World]:
    sizes = {
        FRONT: ("cpus:2;mem:700", "rack:front"),
        LEFT: ("cpus:2;mem:700", "rack:left"),
        RIGHT: ("cpus:1;mem:700", "rack:right"),
    }
    with ExitStack() as stack:
        master = stack.enter_context(LocalMesos(0, election=Election()))
        agents = {}
        for ip, (resources, attributes) in sizes.items():
            agent = LocalMesos(1, ip=ip, resources=resources, attributes=attributes, election=Election(master.master))
            agents[ip] = stack.enter_context(agent)
        with Start(profile, "--master", master.master, "-n", str(n), *SMALL, *GRACE, *options) as start:
            start.running(n)
            yield World(master.master, agents, start)
            start.daemon().stop("enough")
            assert start.wait() == 0, start.error
            assert "Traceback" not in start.error
        assert frameworks(master.master) == []
        eventually(lambda: not [p for agent in agents.values() for p in executors(str(agent.work_dir))], 20)


BACK = ("--controller-attributes", "rack=front")


@ipp.interactive
def wait_for_file(path: str) -> int:
    """A task that ends when it may; returns its process."""
    import os
    import time

    while not os.path.exists(path):
        time.sleep(0.05)
    return os.getpid()


@ipp.interactive
def pid_and_n() -> tuple[int, int | None]:
    import os

    return os.getpid(), globals().get("n")


def test_engines_leave_after_their_work_and_after_others_have_come(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with world(tmp_path, 2, *BACK) as w, ipp.Client(profile_dir=str(tmp_path)) as client:
        client.wait_for_engines(2, timeout=30)
        home = w.engines()[0]["agent"]
        leaving = w.on(home)
        busy = next(task for task in w.engines() if task["task"] in leaving)
        view = client.load_balanced_view(targets=[busy["engine_id"]])
        pid = client[busy["engine_id"]].apply_sync(os.getpid)
        work = view.apply_async(wait_for_file, str(gate))
        with w.watched():
            schedule_maintenance(w.master, [home], time.time() + HOUR, HOUR)
            # Others are there, the busy one still works and the idle ones have left.
            eventually(lambda: len([t for t in w.engines() if t["agent"] != home and t["state"] == "running"]) == 2, 60)
            eventually(lambda: w.on(home) == [busy["task"]], 60)
            assert not work.ready()
            gate.touch()
            assert work.get(30) == pid
            eventually(lambda: not w.on(home), 60)
        assert w.fewest == 2
        (machine,) = get(w.master, "/maintenance/status")["draining_machines"]
        assert [status["status"] for status in machine["statuses"]] == ["ACCEPT"]
        # Nothing new goes there, until the maintenance is over.
        w.start.daemon().want_engines("engines", 3)
        w.start.running(3)
        assert not w.on(home)
        schedule_maintenance(w.master, [], 0.0)


def test_the_controller_moves_and_no_engine_notices(tmp_path: Path) -> None:
    with world(tmp_path, 2) as w:
        home = w.status()["controller"]["agent"]
        with ipymesos.Client(profile_dir=str(tmp_path)) as client:
            client.wait_for_engines(2, timeout=30)
            engines = {t["task"]: t["agent"] for t in w.engines()}
            staying = {task for task, agent in engines.items() if agent != home}
            pids = client[:].apply_async(os.getpid).get_dict(30)
            client[:].push({"n": 41}, block=True)
            controller = w.status()["controller"]["task"]
            schedule_maintenance(w.master, [home], time.time() + HOUR)

            def moved() -> bool:
                status = w.status()
                assert status["controller"]["task"] != controller and status["controller"]["state"] == "running", status
                assert status["controller"]["agent"] != home, status
                assert status["engines"]["engines"]["running"] == 2, status
                return {t["agent"] for t in w.engines()}.isdisjoint({home})

            eventually(moved, 90)
            assert staying <= {t["task"] for t in w.engines()}
            there = eventually(lambda: [t["engine_id"] for t in w.engines() if t["state"] == "running"])
            eventually(lambda: sorted(client.ids) == sorted(there), 30)
            kept = client[:].apply_async(pid_and_n).get(30)
            assert len([pid for pid, n in kept if pid in pids.values() and n == 41]) == len(staying)


def test_an_agent_that_is_drained_at_once_is_left(tmp_path: Path) -> None:
    """DRAIN_AGENT: Mesos itself ends what is there, and offers nothing more of it. Here it is the controller's agent,
    where some engines are too; the others keep what they have."""
    with world(tmp_path, 3) as w, ipymesos.Client(profile_dir=str(tmp_path)) as client:
        client.wait_for_engines(3, timeout=30)
        home, controller = w.status()["controller"]["agent"], w.status()["controller"]["task"]
        gone = {controller, *w.on(home)}
        drain(w.master, w.id(home), 5.0)

        def replaced() -> bool:
            status = w.status()
            running = {task["task"] for task in w.engines()} | {status["controller"]["task"]}
            assert status["engines"]["engines"]["running"] == 3 and running.isdisjoint(gone), status
            return {task["agent"] for task in w.engines()}.isdisjoint({home})

        eventually(replaced, 60)
        reasons = {end["task"]: end["reason"] for end in w.status()["exits"] if end["task"] in gone}
        assert reasons == dict.fromkeys(gone, "REASON_AGENT_DRAINING")
        eventually(lambda: drain_states(w) == {w.id(home): "DRAINED"}, 30)
        eventually(lambda: len(client.ids) == 3, 30)


def drain_states(w: World) -> dict[str, str]:
    agents = get(w.master, "/slaves")["slaves"]
    return {agent["id"]: agent["drain_info"]["state"] for agent in agents if "drain_info" in agent}


def test_a_cluster_waits_for_the_only_agent_that_its_controller_may_have(tmp_path: Path) -> None:
    """The engines live on meanwhile."""
    with world(tmp_path, 2, "--controller-attributes", "rack=right", "--attributes", "rack=left") as w:
        engines = {task["task"] for task in w.engines()}
        drain(w.master, w.id(RIGHT), 1.0)
        eventually(lambda: "rack=right is needed" in w.start.daemon().explain()["summary"], 60)
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > 8)  # nobody gives up
        post(
            w.master, "/api/v1", {"type": "REACTIVATE_AGENT", "reactivate_agent": {"agent_id": {"value": w.id(RIGHT)}}}
        )
        w.start.running(2)
        assert {task["task"] for task in w.engines()} == engines
