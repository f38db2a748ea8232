"""How soon a cluster is what it should be: scaled up and down, and after each of its parts is killed (SIGKILL).

Seconds count from the call, or the kill, until a client gets the answers: of the engines that are wanted, of the one
that replaces the dead one, of all engines through the controller that stands in. All on a Mesos of this machine, on a
new cluster for each run: what dies again and again is waited with, twice as long each time.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from ipymesos.errors import IPyMesosError
from ipymesos.local import LocalMesos

from .kit import Cluster, wait_for
from .report import Goal, Plot, Result, Series, Spread, Table, arguments, finish, note, spread

AGENT = "cpus:16;mem:16000;disk:1000"
FEW, MANY = 4, 32
PATIENCE = 60.0  # seconds for each of these


class Story:
    """One cluster to which all of it happens."""

    def __init__(self, cluster: Cluster, client: Any) -> None:
        self.cluster, self.client = cluster, client
        (self.group,) = cluster.daemon.status()["engines"]

    def whole(self, n: int) -> bool:
        """Mesos, the scheduler and the client agree that there are n engines."""
        tasks = [task["state"] for task in self.cluster.tasks()]
        return len(self.client.ids) == n and tasks == ["running"] * n

    def rest(self, n: int = FEW) -> None:
        """Until nothing moves any more."""
        wait_for(lambda: self.whole(n), PATIENCE, f"{n} engines at rest")
        time.sleep(1.0)

    def scale(self, n: int) -> float:
        """Until n engines answer, and no others are left."""
        began = time.perf_counter()
        self.cluster.daemon.want_engines(self.group, n)
        wait_for(lambda: len(self.client.ids) == n, PATIENCE, f"{n} engines")
        assert len(set(self.client[:].apply_sync(os.getpid))) == n
        return time.perf_counter() - began

    def up(self) -> float:
        return self.scale(MANY)

    def down(self) -> float:
        took = self.scale(FEW)
        self.rest()
        return took

    def engine_killed(self) -> float:
        known = set(self.client.ids)
        victim = self.client[max(known)].apply_sync(os.getpid)
        began = time.perf_counter()
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: set(self.client.ids) - known, PATIENCE, "another engine", pause=0.005)
        (new,) = set(self.client.ids) - known
        assert self.client[new].apply_sync(os.getpid) != victim
        took = time.perf_counter() - began
        self.rest()
        return took

    def scheduler_killed(self) -> float:
        pids = self.client[:].apply_sync(os.getpid)
        daemon = self.cluster.daemon
        began = time.perf_counter()
        os.kill(daemon.pid, signal.SIGKILL)
        wait_for(lambda: self.resumed(daemon.pid), PATIENCE, "another scheduler")
        took = time.perf_counter() - began
        assert self.client[:].apply_sync(os.getpid) == pids, "engines were lost"
        self.rest()
        return took

    def resumed(self, former: int) -> bool:
        """Whether another scheduler is registered, and has found the tasks as they were."""
        try:
            daemon = self.cluster.daemon
            return daemon.pid != former and daemon.status()["state"] == "running"
        except IPyMesosError:
            return False

    def controller_killed(self) -> float:
        pids = sorted(self.client[:].apply_sync(os.getpid))
        (hub,) = self.cluster.processes()["hub"]
        began = time.perf_counter()
        hub.kill()
        answers = self.client[:].apply_async(os.getpid).get(timeout=PATIENCE)
        took = time.perf_counter() - began
        assert sorted(answers) == pids, "engines were lost"
        self.rest()
        return took


CHAPTERS: dict[str, tuple[Callable[[Story], float], float | None]] = {  # each with its goal, in seconds
    f"{FEW} -> {MANY} engines, all answer": (Story.up, None),
    f"{MANY} -> {FEW} engines, the others have left": (Story.down, None),
    "engine killed, its replacement answers": (Story.engine_killed, 2.0),
    "scheduler killed, another one has resumed": (Story.scheduler_killed, None),
    "controller killed, all engines answer through another": (Story.controller_killed, None),
}


def measure(runs: int) -> dict[str, Spread]:
    times: dict[str, list[float]] = {name: [] for name in CHAPTERS}
    with LocalMesos(2, resources=AGENT) as mesos:
        for _ in range(runs):
            with Cluster(mesos, FEW) as cluster:
                client = cluster.client()
                try:
                    client.wait_for_engines(FEW, timeout=PATIENCE, interactive=False)
                    story = Story(cluster, client)
                    for name, (chapter, _goal) in CHAPTERS.items():
                        times[name].append(chapter(story))
                        note(f"{name}: {times[name][-1]:.2f} s")
                finally:
                    client.close()
    return {name: spread(found) for name, found in times.items()}


def main() -> None:
    args = arguments(__doc__).parse_args()
    times = measure(2 if args.quick else 5)
    finish(
        Result(
            "recovery",
            "Scaling and recovery",
            "Seconds until a client gets the answers again, on a cluster of four engines whose parts are killed"
            " (SIGKILL) one after the other, each of them once; what dies again soon is started with a growing"
            " delay; engines that live keep their processes and namespaces throughout, which"
            " is checked.",
            (Table("", ("what happens", "s"), tuple(times.items())),),
            (
                Plot(
                    "recovery",
                    "Scaling and recovery",
                    "",
                    "seconds",
                    (Series("", tuple(times), tuple(times.values())),),
                    kind="stack",
                    goal=2.0,
                    goal_text="goal for an engine: 2 s",
                ),
            ),
            goals=tuple(
                Goal(name, f"<= {goal:g} s", times[name], times[name].median <= goal)
                for name, (_, goal) in CHAPTERS.items()
                if goal is not None
            ),
        ),
        args,
    )


if __name__ == "__main__":
    main()
