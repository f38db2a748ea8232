"""What a cluster costs that has all that it wants and nothing to do: CPU, memory, wake-ups, calls of Mesos."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import psutil

from ipymesos.local import LocalMesos

from .kit import Cluster, Use, framework_counters, use, wait_for
from .report import Goal, Plot, Result, Series, Table, arguments, finish, note

AGENT = "cpus:16;mem:16000;disk:1000"
SETTLING = 20.0  # seconds from the last engine's registration until counting begins
CPU_GOAL = 0.2  # percent of a core
RSS_GOAL = 60.0  # MB


@dataclass(frozen=True)
class Idleness:
    """Of one role: per process, in the time that was watched."""

    processes: int
    cpu: float  # percent of a core
    wakeups: float  # per minute
    rss: float  # MB


def watch(engines: int, agents: int, minutes: float) -> tuple[dict[str, Idleness], dict[str, float]]:
    """By role, and the master's calls per minute."""
    with (
        LocalMesos(agents, resources=AGENT) as mesos,
        Cluster(mesos, engines, engines_per_container=per(engines, agents)) as cluster,
    ):
        wait_for(lambda: [t["state"] for t in cluster.tasks()] == ["running"] * engines, 120, "all engines running")
        time.sleep(SETTLING)
        processes = cluster.processes()
        assert len(processes["executors"]) == agents + 1
        processes["the program that began it"] = [psutil.Process(os.getpid())]
        processes["Mesos (master and agents)"] = [psutil.Process(mesos.pid)]
        asked = framework_counters(mesos)
        before, began = {role: use(found) for role, found in processes.items()}, time.monotonic()
        note(f"{engines} engines on {agents} agents are left alone for {minutes:g} minutes")
        time.sleep(minutes * 60)
        passed = time.monotonic() - began
        after = {role: use(found) for role, found in processes.items()}
        calls = {
            name.removeprefix("calls/"): value - asked[name]
            for name, value in framework_counters(mesos).items()
            if name.startswith("calls/") and value > asked[name]
        }
    made = {role: idleness(after[role].since(before[role]), len(processes[role]), passed) for role in processes}
    return made, {kind: n * 60 / passed for kind, n in calls.items()}


def per(engines: int, agents: int) -> int:
    """So that every agent has a pack."""
    return -(-engines // agents)


def idleness(used: Use, n: int, passed: float) -> Idleness:
    return Idleness(n, used.cpu / n / passed * 100, used.switches / n / passed * 60, used.rss / n)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="to watch (default: 10; 1 if --quick)")
    parser.add_argument("--engines", type=int, default=16, help="(default: 16)")
    parser.add_argument("--agents", type=int, default=2, help="that have a pack each (default: 2)")
    args = parser.parse_args()
    minutes = min(args.minutes, 1.0) if args.quick else args.minutes
    roles, calls = watch(args.engines, args.agents, minutes)
    rows = [(role, one.processes, one.cpu, one.wakeups, one.rss) for role, one in roles.items()]
    columns = ("process", "how many", "CPU of each (% of a core)", "wake-ups of each per minute", "RSS of each (MB)")
    told = [(kind, n) for kind, n in sorted(calls.items())] or [("none", 0)]
    scheduler, executor = roles["scheduler"], roles["executors"]
    shown = [role for role in roles if not role.startswith("Mesos")]
    finish(
        Result(
            "idle",
            "Idling",
            f"A cluster of {args.engines} engines on {args.agents} agents that has all that it wants, left alone for"
            f" {minutes:g} minutes. A wake-up is a voluntary context switch of any thread. RSS counts shared pages in"
            " each process.",
            (Table("", columns, rows), Table("Calls that the master got, per minute", ("call", "per minute"), told)),
            (
                Plot(
                    "idle",
                    "CPU of one process of an idle cluster",
                    "",
                    "percent of a core",
                    (Series("", tuple(shown), tuple(roles[role].cpu for role in shown)),),
                    kind="stack",
                    goal=CPU_GOAL,
                    goal_text=f"goal for the scheduler and executors: {CPU_GOAL:g} %",
                ),
            ),
            goals=(
                Goal(
                    "CPU of the scheduler, idle",
                    f"<= {CPU_GOAL:g} %",
                    f"{scheduler.cpu:.2f} %",
                    scheduler.cpu <= CPU_GOAL,
                ),
                Goal(
                    "CPU of an executor, idle", f"<= {CPU_GOAL:g} %", f"{executor.cpu:.2f} %", executor.cpu <= CPU_GOAL
                ),
                Goal(
                    "RSS of the scheduler", f"<= {RSS_GOAL:g} MB", f"{scheduler.rss:.0f} MB", scheduler.rss <= RSS_GOAL
                ),
            ),
        ),
        args,
    )


if __name__ == "__main__":
    main()
