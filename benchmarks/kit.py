"""What several benchmarks need: a cluster on a Mesos of this machine, its processes, and what these use."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from traitlets.config import Config

import ipymesos
from ipymesos.client import Daemon
from ipymesos.local import LocalMesos

# Of an engine and its like: small, so that many fit onto this machine's agents.
SMALL = {
    "cpus": 0.01,
    "memory": "32 MB",
    "pack_memory": "64 MB",
    "pack_cpus": 0.1,
    "controller_cpus": 0.1,
    "controller_memory": "64 MB",
    "container": "process",
}


class Cluster:
    """A cluster of ours on a Mesos that runs, ended by leaving the `with` block."""

    def __init__(self, mesos: LocalMesos, n: int, **options: Any) -> None:
        self.mesos = mesos
        self._folder = tempfile.TemporaryDirectory(prefix="ipymesos-bench-")
        self.profile = Path(self._folder.name)
        told = {**SMALL, "master": mesos.master, **options}
        self.cluster = ipymesos.Cluster(
            n=n, profile_dir=str(self.profile), config=Config({"MesosLauncher": told}), log_level=40
        )

    def __enter__(self) -> Cluster:
        with contextlib.ExitStack() as stack:
            stack.callback(self._folder.cleanup)
            stack.callback(self.cluster.stop_cluster_sync)
            self.cluster.start_cluster_sync()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def client(self) -> Any:
        return self.cluster.connect_client_sync()

    @property
    def daemon(self) -> Daemon:
        return Daemon.find(self.profile, self.cluster.cluster_id)

    def tasks(self, status: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Of all engine sets."""
        status = status or self.daemon.status()
        return [task for engines in status["engines"].values() for task in engines["tasks"]]

    def processes(self) -> dict[str, list[psutil.Process]]:
        """By role: scheduler, executors, zygotes, engines, hub, and the hub's schedulers."""
        found = {"scheduler": [psutil.Process(self.daemon.pid)], **{role: [] for role in ROLES}}
        for process in processes_under(self.mesos):
            found[role_of(process)].append(process)
        return found


ROLES = ("executors", "zygotes", "engines", "hub", "controller's schedulers")


def processes_under(mesos: LocalMesos) -> Iterator[psutil.Process]:
    """Of all executors of this Mesos."""
    assert mesos.work_dir is not None
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("MESOS_DIRECTORY", "").startswith(f"{mesos.work_dir}/"):
                if "ipymesos_executor" in process.cmdline():
                    yield process


def role_of(process: psutil.Process) -> str:
    """By its place: an executor has a zygote, which has forked engines or a controller, which has its schedulers."""
    depth, parent = 0, process.parent()
    while parent is not None and "ipymesos_executor" in parent.cmdline():
        depth, parent = depth + 1, parent.parent()
    if depth == 2 and process.environ()["MESOS_EXECUTOR_ID"].startswith("controller"):
        return "hub"
    return ("executors", "zygotes", "engines")[depth] if depth < 3 else "controller's schedulers"


@dataclass(frozen=True)
class Use:
    """What processes have used so far."""

    cpu: float = 0.0  # seconds
    switches: int = 0  # voluntary ones: each is the end of a wait, so a wake-up
    rss: float = 0.0  # MB, now
    descriptors: int = 0  # open now

    def since(self, before: Use) -> Use:
        return Use(self.cpu - before.cpu, self.switches - before.switches, self.rss, self.descriptors)


def use(processes: Iterable[psutil.Process]) -> Use:
    total = Use()
    for process in processes:
        with process.oneshot():
            times = process.cpu_times()
            total = Use(
                total.cpu + times.user + times.system,
                total.switches + wakeups(process.pid),
                total.rss + process.memory_info().rss / 1e6,
                total.descriptors + process.num_fds(),
            )
    return total


def wakeups(pid: int) -> int:
    """Of all its threads, since their begin."""
    switches = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        with contextlib.suppress(OSError):  # the thread has ended
            line = next(line for line in status.read_text().splitlines() if line.startswith("voluntary_ctxt"))
            switches += int(line.split()[1])
    return switches


def counters(mesos: LocalMesos) -> dict[str, int]:
    """The master's own, of all calls that it has got."""
    from ipymesos.local.election import get

    return {name: int(value) for name, value in get(mesos.master, "/metrics/snapshot", 30).items()}


def framework_counters(mesos: LocalMesos) -> dict[str, int]:
    """Those of its one framework: "calls", "calls/accept", "offers/sent" and so on (Mesos: docs/monitoring.md)."""
    begin = "master/frameworks/"  # then its name, its id, and what is counted
    return {
        name.removeprefix(begin).split("/", 2)[2]: value
        for name, value in counters(mesos).items()
        if name.startswith(begin)
    }


def wait_for(check: Callable[[], object], seconds: float, what: str, pause: float = 0.02) -> float:
    """When `check` came true, by time.perf_counter()."""
    deadline = time.perf_counter() + seconds
    while not check():
        if time.perf_counter() > deadline:
            raise TimeoutError(f"not {what} within {seconds:g} s")
        time.sleep(pause)
    return time.perf_counter()
