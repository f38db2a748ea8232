"""One life of a cluster, chapter by chapter: `python story.py MESOS`, run by the Python that is to be tried.

Prints one JSON object to stdout: {"versions": {...}, "chapters": {"start": {"seconds": 1.2, "fault": ""}, ...}}. A
chapter with a fault ends early; the next ones are tried all the same, as far as there is a cluster. Only what is
installed is used, nothing of the checkout.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import ipyparallel as ipp
import numpy
import psutil
from traitlets.config import Config

import ipymesos
from ipymesos.client import Daemon
from ipymesos.errors import IPyMesosError
from ipymesos.local import LocalMesos
from ipymesos.local.election import get

T = TypeVar("T")
N = 4  # engines
AGENTS = 2
OFFER = "cpus:8;mem:4000;disk:1000"
SMALL = {"cpus": 0.2, "memory": "128 MB", "pack_memory": "64 MB", "controller_cpus": 0.2, "controller_memory": "300 MB"}
PATIENCE = 60.0  # seconds for anything
NARROWED = 11.0  # seconds of waiting until the master is asked for less (ipymesos/mesos/preferences.py)
TOLD = ("ipymesos", "ipyparallel", "ipykernel", "ipython", "pyzmq", "tornado")


def until(check: Callable[[], T], what: str) -> T:
    """What `check` returns once that is true."""
    deadline = time.monotonic() + PATIENCE
    while not (seen := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {PATIENCE:g} s: {what}; last seen: {seen!r}")
        time.sleep(0.05)
    return seen


def mark(text: str) -> int:
    """On an engine: leave a mark in its namespace."""
    import os

    globals()["story_mark"] = text
    return os.getpid()


def marked() -> tuple[int, str]:
    import os

    return os.getpid(), str(globals().get("story_mark", ""))


class Story:
    def __init__(self, mesos: LocalMesos, folder: Path) -> None:
        self.mesos, self.profile = mesos, folder / "profile"
        self.cluster = ipp.Cluster(
            controller="mesos",
            engines="mesos",
            n=N,
            profile_dir=str(self.profile),
            load_profile=False,
            shutdown_atexit=False,
            log_level=40,
            config=Config({"MesosLauncher": {**SMALL, "container": "process", "master": mesos.master}}),
        )
        self.client: Any = None
        self.marks: dict[int, str] = {}  # by pid of the engine

    # --- chapters, in their order ------------------------------------------------------------------------------

    def start(self) -> None:
        self.client = self.cluster.start_and_connect_sync()
        assert isinstance(self.client, ipymesos.Client)
        self.answering(N)

    def compute(self) -> None:
        """Every way to use engines: direct, balanced, broadcast, output, arrays, errors, interrupts."""
        everybody = self.client[:]
        assert everybody.map_sync(lambda x: x * x, range(20)) == [x * x for x in range(20)]
        assert self.client.load_balanced_view().map_sync(str, range(50)) == [str(x) for x in range(50)]
        assert len(set(self.client.broadcast_view().apply_sync(os.getpid))) == N
        everybody.push({"data": numpy.arange(10_000)}, block=True)
        assert everybody.apply_sync(lambda: int(data.sum())) == [49995000] * N  # type: ignore[name-defined]  # noqa: F821
        shown = everybody.execute("print('said by an engine')", block=True)
        until(lambda: "".join(shown.stdout).count("said by an engine") == N, "what engines print")
        replies = everybody.execute("6 * 7", silent=False, block=True).get()
        assert [one.execute_result["data"]["text/plain"] for one in replies] == ["42"] * N
        try:
            self.client[0].apply_sync(lambda: 1 / 0)
        except ipp.RemoteError as error:
            assert error.ename == "ZeroDivisionError", error
        else:
            raise AssertionError("an error of an engine was not raised")
        sleeper = self.client[0].apply_async(time.sleep, PATIENCE)
        until(lambda: self.client.queue_status(0)["queue"], "a task that runs")
        time.sleep(0.5)
        self.client.send_signal(signal.SIGINT, targets=0, block=True)
        try:
            sleeper.get(timeout=PATIENCE / 2)
        except ipp.RemoteError as error:
            assert error.ename == "KeyboardInterrupt", error
        else:
            raise AssertionError("an interrupt had no effect")

    def scale(self) -> None:
        for n in (N + 2, N):
            self.want(n)
            until(lambda: len(self.client.ids) == n, f"{n} engines")  # noqa: B023
            self.answering(n)
        self.leave_marks()

    def waiting(self) -> None:
        """For what does not fit: says why, later lets the master make fewer offers, then welcomes all again."""
        daemon = self.daemon()
        options = {**SMALL, "container": "process", "master": self.mesos.master}
        daemon.want_engines("big", 2, {**options, "memory": "3500 MB"})  # there is room for one
        until(lambda: daemon.status()["engines"]["big"]["running"] == 1, "one big engine")
        until(lambda: "mem" in str(daemon.explain()), "why the other one waits")
        time.sleep(NARROWED)
        daemon.want_engines("small", 1, options)
        until(lambda: daemon.status()["engines"]["small"]["running"] == 1, "a small engine besides")
        for name in ("big", "small"):
            daemon.drop_engines(name)
        until(lambda: len(daemon.status()["engines"]) == 1 and len(self.client.ids) == N, "their end")

    def engine_killed(self) -> None:
        """Who waits for it hears of it, and another engine comes."""
        victim = self.client.ids[-1]
        pid = self.client[victim].apply_sync(os.getpid)
        waiting = self.client[victim].apply_async(time.sleep, PATIENCE)
        until(lambda: self.client.queue_status(victim)["queue"], "a task that runs")
        os.kill(pid, signal.SIGKILL)
        try:
            waiting.get(timeout=PATIENCE / 2)
        except ipp.RemoteError as error:
            assert error.ename == "EngineError" and "SIGKILL" in error.evalue, error
        else:
            raise AssertionError("nobody was told that the engine has died")
        until(lambda: len(self.client.ids) == N and victim not in self.client.ids, "its replacement")
        self.marks.pop(pid, None)
        self.answering(N)
        self.kept()
        self.leave_marks()

    def scheduler_killed(self) -> None:
        """The launcher starts it again; tasks go on meanwhile; it takes orders again."""
        pid = self.daemon().pid
        work = self.client[:].apply_async(lambda: __import__("time").sleep(1) or 42)
        os.kill(pid, signal.SIGKILL)
        assert work.get(timeout=PATIENCE) == [42] * N
        until(lambda: (found := self.daemon()) and found.pid != pid and found.status()["state"] == "running", "another")
        self.kept()
        self.want(N + 1)
        until(lambda: len(self.client.ids) == N + 1, "one more engine")
        self.want(N)
        until(lambda: len(self.client.ids) == N, "one less")
        self.leave_marks()

    def controller_killed(self) -> None:
        """Engines move to another one, with their namespaces, and so does the client, with what it waits for."""
        port = json.loads(Path(self.cluster.controller.connection_files["client"]).read_text())["registration"]
        listening = next(c.pid for c in psutil.net_connections("tcp4") if c.status == "LISTEN" and c.laddr[1] == port)
        hub = psutil.Process(os.getsid(listening))  # the controller leads a session, in which its schedulers are
        family = [hub, *hub.children(recursive=True)]
        work = self.client[:].apply_async(lambda: __import__("time").sleep(2) or 42)
        time.sleep(0.5)
        for process in family:
            process.suspend()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has died with its parent
                process.kill()
        assert work.get(timeout=PATIENCE) == [42] * N
        self.kept()
        fresh = self.cluster.connect_client_sync()
        try:
            fresh.wait_for_engines(N, timeout=PATIENCE)
        finally:
            fresh.close()

    def mesos_restarted(self) -> None:
        """Master and agents are killed and come back; engines work on, and more can be had."""
        self.mesos.restart()
        self.kept()
        self.want(N + 1)
        until(lambda: len(self.client.ids) == N + 1, "one more engine")
        self.answering(N + 1)

    def stop(self) -> None:
        """Nothing is left, of processes, files and Mesos' tasks."""
        executors = self.executors()
        if self.client is not None:
            self.client.close()
        self.cluster.stop_cluster_sync()
        _, left = psutil.wait_procs(executors, timeout=PATIENCE)
        assert not left and not self.executors(), f"processes are left: {left}"
        files = sorted(path.name for path in (self.profile / "security").iterdir())
        assert not files, f"files are left: {files}"
        frameworks = get(self.mesos.master, "/master/frameworks", 10)["frameworks"]
        assert not frameworks, f"left at the master: {[one['name'] for one in frameworks]}"

    # --- what they share ---------------------------------------------------------------------------------------

    def answering(self, n: int) -> None:
        """Exactly n engines, and all of them answer."""
        self.client.wait_for_engines(n, timeout=PATIENCE)
        pids = self.client[:].apply(os.getpid).get(timeout=PATIENCE)
        assert len(set(pids)) == n == len(self.client.ids), f"{len(set(pids))} processes, ids {self.client.ids}"

    def leave_marks(self) -> None:
        pids = [self.client[i].apply(mark, f"mark {i}").get(timeout=PATIENCE) for i in self.client.ids]
        self.marks = {pid: f"mark {i}" for pid, i in zip(pids, self.client.ids, strict=True)}

    def kept(self) -> None:
        """The engines that we knew are there, and remember."""
        seen = dict(self.client[:].apply(marked).get(timeout=PATIENCE))
        lost = {pid: text for pid, text in self.marks.items() if seen.get(pid) != text}
        assert not lost, f"namespaces are lost: {lost}; there are {seen}"

    def daemon(self) -> Daemon:
        def found() -> Daemon | None:
            try:
                daemon = Daemon.find(self.profile, self.cluster.cluster_id)
            except IPyMesosError:
                return None
            return daemon if daemon.file.ready else None

        return until(found, "a scheduler that runs")

    def want(self, n: int) -> None:
        daemon = self.daemon()
        (engine_set,) = daemon.status()["engines"]
        daemon.want_engines(engine_set, n)

    def executors(self) -> list[psutil.Process]:
        """Whatever runs in a sandbox of this Mesos."""
        found = []
        for process in psutil.process_iter(["environ"]):
            sandbox = (process.info["environ"] or {}).get("MESOS_SANDBOX", "")
            if sandbox.startswith(str(self.mesos.work_dir)):
                found.append(process)
        return found


CHAPTERS = (
    Story.start,
    Story.compute,
    Story.scale,
    Story.waiting,
    Story.engine_killed,
    Story.scheduler_killed,
    Story.controller_killed,
    Story.mesos_restarted,
    Story.stop,
)


def tell(release: str) -> dict[str, Any]:
    chapters: dict[str, dict[str, Any]] = {}

    def chapter(name: str, function: Callable[[], Any]) -> bool:
        began, fault = time.monotonic(), ""
        try:
            function()
        except Exception as error:  # whatever it is, the table says it
            traceback.print_exc()
            fault = f"{type(error).__name__}: {error}"
        chapters[name] = {"seconds": round(time.monotonic() - began, 2), "fault": fault}
        return not fault

    with tempfile.TemporaryDirectory(prefix="ipymesos-story-") as folder:
        mesos = LocalMesos(AGENTS, version=release, resources=OFFER)
        if chapter("boot", mesos.start):
            try:
                story = Story(mesos, Path(folder))
                alive = True
                for part in CHAPTERS:
                    if alive or part is Story.stop:
                        ended = chapter(part.__name__, lambda part=part: part(story))  # type: ignore[misc]
                        alive = ended or part is not Story.start
            finally:
                mesos.stop()
    return {"versions": {"python": platform.python_version(), **{n: version(n) for n in TOLD}}, "chapters": chapters}


if __name__ == "__main__":
    print(json.dumps(tell(sys.argv[1])))
