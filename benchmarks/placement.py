"""From a registration to running tasks, on a real Mesos with 10, 100 and 1,000 agents; and what each part of it costs.

Ours is measured against a minimal scheduler on pymesos (benchmarks/naive.py), by the log of the same master. Tasks do
nothing: theirs and ours are run by the same small executor. Then the scheduler's mind alone plans up to 100,000 offers,
and both drivers read big events over loopback.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ipymesos import mesos as dialect
from ipymesos.core.messages import Offered, Subscribed
from ipymesos.core.scheduler import observe, plan, record
from ipymesos.local import LocalMesos

from . import simulated, wire
from .kit import counters, framework_counters, wait_for
from .masterlog import Story, read
from .report import Goal, Plot, Result, Series, Spread, Table, arguments, exponent, finish, note, number, spread

EXECUTOR = Path(__file__).with_name("momentary")
AGENT = "cpus:2.2;mem:2000;disk:100"
TASKS = 100
QUIET = 10.0  # seconds that both are watched once their tasks run
OURS, THEIRS = "ipymesos", "first fit on pymesos"


@dataclass(frozen=True)
class Count:
    """By the master's counters, of one framework."""

    calls: int
    offers: int
    accepted: int  # of these


@dataclass(frozen=True)
class Run:
    story: Story
    count: Count  # until all tasks ran
    idle: Count  # in the QUIET seconds after that
    cpu: float  # seconds of the scheduler's process until all tasks ran


def live(agents: int, tasks: int) -> dict[str, Run]:
    """Both, one after the other, each on a Mesos of its own."""
    runs = {}
    for name, scheduler in ((OURS, ours), (THEIRS, theirs)):
        with LocalMesos(agents, resources=[agent(i) for i in range(agents)], start_timeout=120) as local:
            begin = local.log.stat().st_size
            with scheduler(local, tasks) as process:
                wait_for(lambda: running(local) >= tasks, 180, f"{tasks} running tasks", pause=0.1)
                used = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
                cpu = (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")
                time.sleep(0.5)
                count = counted(local)
                time.sleep(QUIET)
                later = counted(local)
                idle = Count(later.calls - count.calls, later.offers - count.offers, later.accepted - count.accepted)
                runs[name] = Run(read(local.log, begin), count, idle, cpu)
        note(f"{agents} agents, {name}: {tasks} tasks run {runs[name].story.running[-1]:.2f} s after the subscription")
    return runs


def agent(i: int) -> str:
    """A few can take a controller; there are not ports enough on one machine for all of a thousand."""
    first, n = (20_000 + 20 * i, 20) if i < 10 else (21_000 + i, 1)
    return f"{AGENT};ports:[{first}-{first + n - 1}]"


def running(local: LocalMesos) -> int:
    return counters(local)["master/tasks_running"]


def counted(local: LocalMesos) -> Count:
    known = framework_counters(local)
    return Count(known["calls"], known["offers/sent"], known["offers/accepted"])


@contextmanager
def ours(local: LocalMesos, tasks: int) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryDirectory(prefix="ipymesos-placement-") as profile:
        environment = {"PYTHONPATH": str(EXECUTOR), "STAY": "1", "PATH": "/usr/bin:/bin"}
        options = {
            "profile-dir": profile,
            "master": local.master,
            "container": "process",
            "cpus": "0.1",
            "memory": "32 MB",
            "pack-cpus": "0.1",
            "pack-memory": "64 MB",
            "controller-cpus": "0.1",
            "controller-memory": "64 MB",
            "environment": json.dumps(environment),
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        command = [sys.executable, "-m", "ipymesos", "start", *words, "-n", str(tasks - 1)]  # the controller is one
        with ended(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)) as process:
            yield process


@contextmanager
def theirs(local: LocalMesos, tasks: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "benchmarks.naive", local.master, str(tasks), str(EXECUTOR)]
    with ended(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)) as process:
        yield process


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def think(n: int, wanted: int) -> float:
    """Seconds of CPU that the scheduler's mind takes for n offers, from the event to the calls."""
    event = dialect.event(json.loads(simulated.offers(n)))
    assert isinstance(event, Offered)
    state = observe(simulated.wanting(wanted), Subscribed("f", "m"), 0.0)
    gc.collect()
    began = time.process_time()
    state = observe(state, event, 0.1)
    actions = plan(state, 0.1)
    state = record(state, actions, 0.1)
    took = time.process_time() - began
    assert len(state.cluster.tasks) == wanted + 1 and not state.session.offers
    return took


def main() -> None:
    args = arguments(__doc__).parse_args()
    counts = (10, 100) if args.quick else (10, 100, 1000)
    lives = {agents: live(agents, TASKS) for agents in counts}
    sizes = (100, 1000, 10_000) if args.quick else (100, 1000, 10_000, 100_000)
    few = {n: spread([think(n, 4) for _ in range(5)]) for n in sizes}
    many = {n: spread([think(n, n // 2) for _ in range(5)]) for n in sizes}
    note("the core alone is measured")
    events = (1000, 4000, 10_000) if args.quick else (1000, 4000, 10_000, 40_000)
    reads = {name: {n: wire.measure(name, n)[0] for n in events} for name in ("ours", "pymesos")}
    finish(
        Result(
            "placement",
            "Placement",
            f"{TASKS} tasks that do nothing on 10, 100 and 1,000 agents of one local Mesos, by {OURS} and by a minimal"
            " scheduler (first fit, one executor for each task, default filters) on pymesos; then the parts alone.",
            (table_of_lives(lives), table_of_idling(lives), table_of_thoughts(few, many), table_of_reads(reads)),
            plots(few, many, reads),
            (
                "An offer is wasted when it is declined, or nothing of it is used. First fit fills agents one after the"
                " other as well, so both use few; but it declines each of the others by a call of its own, and is"
                " offered them again every five seconds, Mesos' default.",
                "Of a thousand agents the master itself needs a tenth of a second to offer them all, as the time of the"
                " minimal scheduler shows, which takes the first that comes.",
                "Most of the time between the first accept and the last running task belongs to the agents and the"
                " executors, which share this machine's cores. One executor for many tasks is what makes ours short.",
            ),
            (
                *(
                    Goal(
                        f"a registration to the first accept, {agents} agents",
                        "<= 50 ms",
                        f"{runs[OURS].story.first_accept * 1000:.0f} ms",
                        runs[OURS].story.first_accept <= 0.05,
                    )
                    for agents, runs in lives.items()
                ),
                Goal("1,000 offers planned, half of them used", "<= 50 ms", ms(many[1000]), many[1000].median <= 0.05),
                Goal(
                    f"cost of an offer from {sizes[0]} to {number(sizes[-1])}",
                    "flat: an exponent of 1",
                    f"{exponent(sizes, [few[n].median for n in sizes]):.2f}",
                    exponent(sizes, [few[n].median for n in sizes]) <= 1.1,
                ),
                Goal(
                    "reading a big event",
                    "linear",
                    f"{exponent(events, list(reads['ours'].values())):.2f}",
                    exponent(events, list(reads["ours"].values())) <= 1.15,
                ),
            ),
        ),
        args,
    )


def ms(value: Spread) -> str:
    return f"{value.median * 1000:.1f} ms"


def table_of_lives(lives: dict[int, dict[str, Run]]) -> Table:
    rows = [
        (
            agents,
            name,
            run.story.first_accept * 1000,
            run.story.running[-1],
            len(run.story.running) / run.story.running[-1],
            run.count.offers - run.count.accepted,
            run.count.calls,
            run.cpu,
        )
        for agents, runs in lives.items()
        for name, run in runs.items()
    ]
    columns = (
        "agents", "scheduler", "first accept (ms)", "all run after (s)", "tasks/s", "offers wasted", "calls", "CPU (s)"
    )  # fmt: skip
    return Table("From the subscription, as the master sees it", columns, rows)


def table_of_idling(lives: dict[int, dict[str, Run]]) -> Table:
    rows = [
        (agents, name, run.idle.offers * 60 / QUIET, run.idle.calls * 60 / QUIET)
        for agents, runs in lives.items()
        for name, run in runs.items()
    ]
    return Table("Once everything runs", ("agents", "scheduler", "offers per minute", "calls per minute"), rows)


def table_of_thoughts(few: dict[int, Spread], many: dict[int, Spread]) -> Table:
    rows = [
        (n, scaled(few[n], 1e3), 1e6 / n * few[n].median, scaled(many[n], 1e3), 1e6 / n * many[n].median) for n in few
    ]
    columns = ("offers", "4 engines (ms)", "µs per offer", "an engine for every other offer (ms)", "µs per offer ")
    return Table("The mind alone: observe, plan, record (CPU time)", columns, rows)


def scaled(value: Spread, factor: float) -> Spread:
    return Spread(value.median * factor, value.low * factor, value.high * factor, value.runs)


def table_of_reads(reads: dict[str, dict[int, float]]) -> Table:
    rows = [(n, reads["ours"][n], reads["pymesos"][n], reads["ours"][n] / reads["pymesos"][n]) for n in reads["ours"]]
    return Table(
        "One event with so many offers, read and understood (s of CPU)", ("offers", "ours", "pymesos", "ratio"), rows
    )


def plots(few: dict[int, Spread], many: dict[int, Spread], reads: dict[str, dict[int, float]]) -> tuple[Plot, ...]:
    thoughts = (
        Series("4 engines wanted", tuple(few), tuple(scaled(v, 1e3) for v in few.values())),
        Series("an engine for every other offer", tuple(many), tuple(scaled(v, 1e3) for v in many.values())),
    )
    readers = tuple(Series(name, tuple(told), tuple(told.values())) for name, told in reads.items())
    return (
        Plot("placement-core", "Planning N offers", "offers", "ms of CPU", thoughts),
        Plot("placement-read", "Reading an event with N offers", "offers", "seconds of CPU", readers),
    )


if __name__ == "__main__":
    main()
