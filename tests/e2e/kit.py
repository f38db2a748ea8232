"""Clusters as users start them, on a real Mesos, and what there is to see of them from outside."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import psutil
from traitlets.config import Config

from ipymesos.client import Daemon
from ipymesos.daemonfile import DaemonFile
from ipymesos.local import LocalMesos
from ipymesos.paths import Paths
from tests import images
from tests.helpers import eventually

PROFILE = "mesos"
CPUS, MEM, PORTS = 8, 6000, 40  # of each of the two agents
SMALL = {"cpus": 0.2, "memory": "200 MB", "pack_memory": "64 MB", "controller_cpus": 0.2, "shm_size": "100 MB"}


@dataclass
class Home:
    """A user with an IPython directory of its own, whose clusters go to `mesos`."""

    mesos: LocalMesos
    ipython: Path

    @property
    def profile_dir(self) -> Path:
        return self.ipython / f"profile_{PROFILE}"

    @property
    def security(self) -> set[str]:
        """Names of the files in the profile's security directory."""
        folder = self.profile_dir / "security"
        return {path.name for path in folder.iterdir()} if folder.exists() else set()

    def paths(self, cluster_id: str = "") -> Paths:
        return Paths(self.profile_dir, cluster_id)

    def daemon(self, cluster_id: str = "") -> Daemon:
        return Daemon.find(self.profile_dir, cluster_id)

    def configure(self, kind: str, **options: Any) -> None:
        """Make the profile as the quickstart does, with these options in its ipcluster_config.py."""
        done = program("IPython", "profile", "create", "--parallel", f"--profile={PROFILE}")
        assert done.returncode == 0, done.stderr
        lines = [f"c.Cluster.{which}_launcher_class = 'mesos'" for which in ("controller", "engine")]
        lines += [f"c.MesosLauncher.{name} = {value!r}" for name, value in self.options(kind, options).items()]
        with open(self.profile_dir / "ipcluster_config.py", "a") as file:
            file.write("\n" + "\n".join(lines) + "\n")

    def options(self, kind: str, options: dict[str, Any]) -> dict[str, Any]:
        """The options of a small cluster of that kind (docker, mesos or process), and `options` above them."""
        image = {"image": images.image("engine")} if kind != "process" and "image" not in options else {}
        return {"master": self.mesos.master, "container": kind, **SMALL, **image, **options}

    def cluster(self, kind: str, n: int = 2, *, cluster_id: str = "", **options: Any) -> ipp.Cluster:
        """An ipp.Cluster that is not started yet."""
        config = Config({"MesosLauncher": self.options(kind, options)})
        return ipp.Cluster(
            controller="mesos", engines="mesos", n=n, profile=PROFILE, cluster_id=cluster_id, config=config
        )

    @contextlib.contextmanager
    def running(self, kind: str, n: int = 2, *, cluster_id: str = "", **options: Any) -> Iterator[Running]:
        """A cluster whose n engines answer, stopped at the end."""
        cluster = self.cluster(kind, n, cluster_id=cluster_id, **options)
        cluster.start_cluster_sync()
        try:
            with cluster.connect_client_sync() as client:
                client.wait_for_engines(n, timeout=60)
                yield Running(self, cluster, client)
        finally:
            cluster.stop_cluster_sync()


@dataclass
class Running:
    home: Home
    cluster: ipp.Cluster
    client: ipp.Client

    @property
    def daemon(self) -> Daemon:
        return self.home.daemon(self.cluster.cluster_id)

    @property
    def set(self) -> str:
        """The name of the one engine set."""
        (name,) = self.cluster.engines
        return str(name)

    def status(self) -> dict[str, Any]:
        return self.daemon.status()

    def engines(self) -> dict[int, dict[str, Any]]:
        """The tasks of the engine set by engine id, once all that are wanted run."""

        def ready() -> dict[int, dict[str, Any]] | None:
            found = self.status()["engines"][self.set]
            alive = {task["engine_id"]: task for task in found["tasks"] if task["state"] == "running"}
            return alive if len(alive) == found["wanted"] == len(found["tasks"]) else None

        return eventually(ready) or {}

    def scale(self, n: int) -> dict[int, dict[str, Any]]:
        """Let the set have n engines; its tasks when they run and the hub knows them."""
        self.daemon.want_engines(self.set, n)
        tasks = self.engines()
        eventually(lambda: sorted(self.client.ids) == sorted(tasks))
        return tasks

    def containers(self) -> list[dict[str, Any]]:
        """`docker inspect` of this cluster's containers."""
        framework = self.status()["framework_id"]
        return [one for one in containers(self.home.mesos) if framework in sandbox_of(one)]


def program(module: str, *arguments: str, timeout: float = 90.0, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run `python -m module arguments` to its end, as in a shell of its own."""
    return subprocess.run([sys.executable, "-m", module, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=timeout, **more)  # fmt: skip


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def sandbox_of(container: dict[str, Any]) -> str:
    """Where the host has the sandbox of this container, if it is one of an agent's."""
    return next((str(m["Source"]) for m in container["Mounts"] if m["Destination"] == "/mnt/mesos/sandbox"), "")


def containers(mesos: LocalMesos) -> list[dict[str, Any]]:
    """`docker inspect` of every running container of this Mesos. Ended ones are kept for a while by the agent."""
    if os.environ.get("IPYMESOS_SKIP_DOCKER"):
        return []
    found = []
    for name in docker("ps", "--quiet", "--filter", "name=mesos-").split():
        done = subprocess.run(["docker", "inspect", name], capture_output=True, text=True, timeout=60)
        if done.returncode == 0:  # else it has been removed meanwhile
            found += json.loads(done.stdout)
    return [one for one in found if sandbox_of(one).startswith(f"{mesos.work_dir}/")]


def ask(address: str, path: str, body: object = None, login: tuple[str, str] | None = None) -> Any:
    """A JSON answer of the master or an agent; with `body` a call of the operator API. `login`: principal, secret."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if login is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
    request = urllib.request.Request(f"http://{address}{path}", data, headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def frameworks(mesos: LocalMesos) -> list[str]:
    """Names and ids of the frameworks that the master does not know to be completed."""
    return [f"{f['name']} {f['id']}" for f in ask(mesos.master, "/master/frameworks")["frameworks"]]


def executors(mesos: LocalMesos) -> list[str]:
    """Processes of executors under this Mesos, and of anything that these have started."""
    return [f"{process.pid} {' '.join(process.info['cmdline'] or [])}" for process in _executors(mesos)]


def executor_ids(mesos: LocalMesos) -> set[str]:
    """Mesos' ids of the executors that these processes are of."""
    return {process.info["environ"]["MESOS_EXECUTOR_ID"] for process in _executors(mesos)}


def _executors(mesos: LocalMesos) -> Iterator[psutil.Process]:
    sandboxes = f"{mesos.work_dir}/agents"
    for process in psutil.process_iter(["cmdline", "environ"]):
        environment, line = process.info["environ"] or {}, process.info["cmdline"] or []
        ours = "ipymesos_executor" in line or "MESOS_EXECUTOR_ID" in environment
        if ours and environment.get("MESOS_DIRECTORY", "").startswith(sandboxes):
            yield process


def daemons(ipython: Path) -> list[str]:
    """Our daemons that serve profiles below this directory."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "ipymesos" in line and any(word.startswith(str(ipython)) for word in line):
            found.append(f"{process.pid} {' '.join(line)}")
    return found


def nothing_left(home: Home, failed: bool = False) -> None:
    """Fail unless every trace of this user's clusters is gone; `failed` starts may leave the file that says why."""
    __tracebackhide__ = True

    def gone() -> bool:
        assert daemons(home.ipython) == []
        assert frameworks(home.mesos) == []
        assert executors(home.mesos) == []
        assert containers(home.mesos) == []
        return True

    eventually(gone, 20)
    for path in (home.profile_dir / "security").glob("ipymesos*.json") if failed else ():
        said = DaemonFile.read(path)
        assert said is not None and said.error and not said.token, path
        path.unlink()
    assert not home.security, home.security
