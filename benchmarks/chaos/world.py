"""What the faults happen to: a Mesos of several processes, a cluster of ours on it, and a look at all of its parts."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from traitlets.config import Config

import ipymesos
from ipymesos.client import Daemon
from ipymesos.errors import IPyMesosError
from ipymesos.local import LocalFleet, LocalMesosError
from tests.integration.zookeeper import ZooKeeperServer

SMALL = {"cpus": 0.2, "memory": "200 MB", "pack_memory": "64 MB", "controller_cpus": 0.2, "retire_grace": 5.0}
AGENT = "cpus:8;mem:8000;disk:4000;ports:[{0}-{1}]"


@dataclass(frozen=True)
class Part:
    """One process of the cluster on an agent."""

    pid: int
    role: str  # executor | zygote | engine | controller
    executor: str  # Mesos' id of the executor it belongs to
    task: str = ""  # of an engine or the controller


class World:
    """A context manager: everything is up inside, and `leftovers` tells afterwards what has stayed."""

    def __init__(self, container: str, image: str, agents: int, engines: int, masters: int = 1) -> None:
        self.container, self.engines = container, engines
        self.root = Path(os.path.realpath(tempfile.mkdtemp(prefix="ipymesos-chaos-")))
        ports = [(22000 + 100 * i, 22099 + 100 * i) for i in range(agents)]
        self.zookeeper = ZooKeeperServer(self.root / "zookeeper")
        self.fleet = LocalFleet(
            agents,
            masters,
            zookeeper=f"zk://{self.zookeeper.hosts}/mesos",
            resources=[AGENT.format(*pair) for pair in ports],
            containerizers="docker,mesos" if container == "docker" else "mesos",
            images=[image] if container == "mesos" else None,
        )
        self.ledger = self.root / "ledger" / "work"
        self.ledger.parent.mkdir()
        self.ledger.touch()
        self.ledger_inside = str(self.ledger) if container == "process" else "/ledger/work"
        self.options: dict[str, Any] = {**SMALL, "container": container}
        if container != "process":
            self.options |= {"image": image, "volumes": [f"{self.ledger.parent}:/ledger"]}
        self.leftovers: list[str] = []

    def __enter__(self) -> World:
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, self.root)
            stack.enter_context(self.zookeeper)
            self.fleet.start()
            stack.callback(self.fleet.stop)
            self.options["master"] = self.fleet.master
            self.cluster = ipymesos.Cluster(
                n=self.engines,
                profile_dir=str(self.root / "profile"),
                config=Config({"MesosLauncher": self.options}),
                log_level=40,
            )
            stack.callback(self._stop_cluster)
            self.cluster.start_cluster_sync()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _stop_cluster(self) -> None:
        """Stop, and look for what is left while Mesos still runs: its end takes everything with it."""
        self.cluster.stop_cluster_sync()
        for _ in psutil.wait_procs([psutil.Process(part.pid) for part in self.parts()], timeout=10)[1]:
            continue
        self.leftovers += [f"process {part.pid}: {part.role} of {part.executor}" for part in self.parts()]
        security = self.root / "profile" / "security"
        self.leftovers += [f"file {path.name}" for path in security.iterdir()]
        with contextlib.suppress(LocalMesosError):
            self.leftovers += [f"framework {name}" for name in self.frameworks()]

    def client(self) -> Any:
        client = self.cluster.connect_client_sync()
        client.wait_for_engines(self.engines, timeout=120)
        return client

    def revive_masters(self) -> None:
        """Whoever keeps masters going would start again those that have ended."""
        for master in self.fleet.masters:
            if master.pid is None:
                master.restart(wait=False)

    def frameworks(self) -> list[str]:
        from ipymesos.local.election import get

        return [f["name"] for f in get(self.fleet.leader.master, "/master/frameworks", 10)["frameworks"]]

    # --- its parts -------------------------------------------------------------------------------------------

    def daemon(self, patience: float = 60.0) -> Daemon:
        """The scheduler that lives, once there is one."""
        deadline = time.monotonic() + patience
        while True:
            try:
                return Daemon.find(self.root / "profile", self.cluster.cluster_id)
            except IPyMesosError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def status(self) -> dict[str, Any] | None:
        """What the scheduler says; None while there is none."""
        try:
            return self.daemon(patience=0.0).status()
        except IPyMesosError:
            return None

    def engine_tasks(self) -> dict[str, dict[str, Any]]:
        """The tasks of engines by their ids, whatever their state."""
        status = self.status()
        return {task["task"]: task for one in (status["engines"].values() if status else ()) for task in one["tasks"]}

    def complete(self) -> set[int] | None:
        """The engines' ids when all that are wanted can be used and there are no others; else None."""
        status, n = self.status(), self.engines
        if status is None or status["state"] != "running":
            return None
        (engines,) = status["engines"].values()
        if not engines["wanted"] == engines["running"] == len(engines["tasks"]) == n:
            return None
        return {task["engine_id"] for task in engines["tasks"]}

    def parts(self) -> list[Part]:
        """The processes of our executors, found by what they are: an executor, its zygote, and what that has forked."""
        found = []
        for process in psutil.process_iter(["cmdline", "environ", "ppid"]):
            environment = process.info["environ"] or {}
            directory = environment.get("MESOS_DIRECTORY", "")
            if "ipymesos_executor" not in (process.info["cmdline"] or []) or not directory.startswith(
                self._sandboxes()
            ):
                continue
            with contextlib.suppress(psutil.NoSuchProcess, OSError):
                found.append(self._part(process, environment["MESOS_EXECUTOR_ID"]))
        return found

    def _sandboxes(self) -> tuple[str, ...]:
        return tuple(str(agent.work_dir) for agent in self.fleet.agents if agent.work_dir is not None)

    @staticmethod
    def _part(process: psutil.Process, executor: str) -> Part:
        for file in Path(f"/proc/{process.pid}/fd").iterdir():  # ipykernel puts pipes in the place of 1 and 2
            kind, _, task = Path(os.readlink(file)).name.partition("-")
            if kind in ("engine", "controller") and task.endswith(".log"):
                return Part(process.pid, kind, executor, task.removesuffix(".log"))
        parent = process.parent()
        inside = parent is not None and "ipymesos_executor" in parent.cmdline()
        return Part(process.pid, "zygote" if inside else "executor", executor)
