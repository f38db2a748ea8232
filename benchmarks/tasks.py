"""Many short tasks on many agents: how long they take, and whether any is lost or launched twice.

The whole daemon runs against a real Mesos whose agents are all on this machine; each task is an engine that runs and
ends at once. What happened is told by the master's own counters and by the executors' notes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from ipymesos.client import Daemon
from ipymesos.local import LocalMesos

EXECUTOR = Path(__file__).with_name("momentary")
AGENT = "cpus:2.2;mem:2000;disk:100"  # 20 of these tasks at once
TASK = ("--cpus", "0.1", "--memory", "32 MB", "--pack-cpus", "0.1", "--pack-memory", "64 MB")
CONTROLLER = ("--controller-cpus", "0.1", "--controller-memory", "64 MB")


@dataclass(frozen=True)
class Outcome:
    seconds: float  # from the start of the daemon to the end of the last task
    launched: int  # times that an executor was given a task
    twice: int  # tasks that an executor was given more than once
    finished: int  # this and the next, by the master's count
    lost: int  # any other end, invalid offers aside
    invalid: int  # launches on offers that were gone: they never reached an agent, and were repeated
    updates: int  # to be acknowledged: two for each task, and the controller's first
    acknowledged: int


def run(
    n: int, agents: int, daemon: Sequence[str] = (sys.executable, "-m", "ipymesos"), timeout: float = 900
) -> Outcome:
    """`daemon` is the command that is followed by `start` and its options."""
    with tempfile.TemporaryDirectory(prefix="ipymesos-tasks-") as folder, LocalMesos(agents, resources=AGENT) as mesos:
        profile, launches = Path(folder, "profile"), Path(folder, "launches")
        profile.mkdir(mode=0o700)
        launches.mkdir()
        environment = {"PYTHONPATH": str(EXECUTOR), "LAUNCHES": str(launches), "PATH": "/usr/bin:/bin"}
        options = [
            "--profile-dir",
            str(profile),
            "--master",
            mesos.master,
            "--container",
            "process",
            *TASK,
            *CONTROLLER,
        ]
        options += ["--environment", json.dumps(environment), "-n", str(n)]
        began = time.monotonic()
        process = subprocess.Popen([*daemon, "start", *options], stdout=subprocess.DEVNULL)
        try:
            Daemon.wait_ready(profile, pid=process.pid, timeout=60)
            while ends(mesos)["finished"] < n and process.poll() is None:
                if time.monotonic() - began > timeout:
                    raise TimeoutError(f"not within {timeout} s: {ends(mesos)}")
                time.sleep(0.2)
            seconds = time.monotonic() - began
            outcome = judge(mesos, launches, seconds)
            while outcome.acknowledged < outcome.updates and time.monotonic() - began < seconds + 10:
                time.sleep(0.2)
                outcome = judge(mesos, launches, seconds)
        finally:
            process.terminate()
            process.wait(60)
        return outcome


def judge(mesos: LocalMesos, launches: Path, seconds: float) -> Outcome:
    names = [name for file in launches.iterdir() for name in file.read_text().split() if "engine" in name]
    count, told = Counter(ends(mesos)), counters(mesos)
    invalid = sum(value for name, value in told.items() if name.endswith("reason_invalid_offers"))
    return Outcome(
        seconds=seconds,
        launched=len(names),
        twice=len(names) - len(set(names)),
        finished=count.pop("finished", 0),
        lost=count.total() - invalid,
        invalid=invalid,
        updates=2 * len(names) + 1,
        acknowledged=told["master/valid_status_update_acknowledgements"],
    )


def ends(mesos: LocalMesos) -> Counter[str]:
    """How many of our tasks have ended how."""
    marks = (name.partition("/tasks/terminal/task_") + (value,) for name, value in counters(mesos).items())
    return Counter({end: value for _, found, end, value in marks if found})


def counters(mesos: LocalMesos) -> dict[str, int]:
    with urllib.request.urlopen(f"http://{mesos.master}/metrics/snapshot", timeout=30) as answer:
        return {name: int(value) for name, value in json.load(answer).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n", nargs="?", type=int, default=10_000, help="tasks (default: 10000)")
    parser.add_argument("--agents", type=int, default=50, help="(default: 50)")
    parser.add_argument("--profile", help="write where the daemon's time goes into this file, for pstats")
    args = parser.parse_args()
    profiled = ["-m", "cProfile", "-o", os.path.abspath(args.profile)] if args.profile else []
    outcome = run(args.n, args.agents, (sys.executable, *profiled, "-m", "ipymesos"))
    for field in fields(outcome):
        value = getattr(outcome, field.name)
        print(f"{field.name:>13}  {value:.1f}" if isinstance(value, float) else f"{field.name:>13}  {value}")


if __name__ == "__main__":
    main()
