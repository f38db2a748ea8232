"""How long until N engines answer, from the user's call on: ipymesos beside what one would use instead.

The sides take turns, each run in a process of its own, as a user's notebook is one. ipymesos' time includes its
scheduler and the boot of a private Mesos, unless --master names one that runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from .report import Cell, Goal, Plot, Result, Series, Spread, Table, arguments, finish, note, spread

OURS, DOCKER, THEIRS, DASK = "ipymesos", "ipymesos, Docker", "local launcher", "dask LocalCluster"
SIZES = (1, 4, 16, 32, 64, 128)
PATIENCE = 180  # seconds for all engines to arrive; who needs longer than that has not done it
SLOW = 64  # engines from which on the others run once: they take minutes
GOALS = {4: 0.25, 16: 0.15, 32: 0.08}  # of the local launcher's time
GOAL_SECONDS = {32: 2.0, 128: 5.0}
# What ends at these moments, in this order; some of it goes on at the same time as what comes before.
STAGES = {
    "scheduler begins": "the call, ipp.Cluster and the launcher",
    "registered": "scheduler imported, private Mesos booted, registered",
    "launched": "offer, and what to do with it",
    "containers": "containers made, executors begin",
    "first engine": "imports",
    "controller": "controller listens, by way of Mesos",
    "last engine": "forks",
    "known": "engines registered, client connected",
    "answered": "first apply",
}


@dataclass(frozen=True)
class Run:
    seconds: float  # from the call to the last answer
    stopping: float
    stages: dict[str, float] = field(default_factory=dict)  # seconds after the call at which each was over


# --- one run, in a process of its own ------------------------------------------------------------------------------


def ipyparallel_run(launcher: str, n: int, options: dict[str, Any]) -> Run:
    import ipyparallel as ipp
    from traitlets.config import Config

    with tempfile.TemporaryDirectory(prefix="ipymesos-bench-") as folder:
        config = Config({"MesosLauncher": options}) if launcher == "mesos" else Config()
        began, clock = time.time(), time.perf_counter()
        made: dict[str, Any] = dict(profile_dir=folder, config=config, load_profile=False, log_level=40)
        made["engine_timeout"] = PATIENCE  # the others need longer than their default for a hundred
        cluster = ipp.Cluster(controller=launcher, engines=launcher, n=n, **made)
        client = cluster.start_and_connect_sync()
        known = time.time()
        try:
            pids = client[:].apply_sync(os.getpid)
            seconds = time.perf_counter() - clock
            assert len(set(pids)) == n, f"{len(set(pids))} of {n} engines have answered"
            ours = launcher == "mesos" and "image" not in options  # a container has process ids of its own
            stages = stages_of(Path(folder), cluster.cluster_id, pids) if ours else {}
        finally:
            client.close()
            clock = time.perf_counter()
            cluster.stop_cluster_sync()
        stages |= {"known": known, "answered": began + seconds}
        return Run(seconds, time.perf_counter() - clock, {name: at - began for name, at in stages.items()})


def stages_of(profile: Path, cluster_id: str, pids: Sequence[int]) -> dict[str, float]:
    """When each was over, by the scheduler's own events and by the kernel's account of when processes began."""
    from ipymesos.client import Daemon

    daemon = Daemon.find(profile, cluster_id)
    happened: dict[str, list[float]] = {}
    for event in daemon.events():
        happened.setdefault(event["kind"], []).append(datetime.fromisoformat(event["at"]).timestamp())
    engines = sorted(map(began, pids))
    executors = {psutil.Process(psutil.Process(pid).ppid()).ppid() for pid in pids}  # above their zygotes
    return {
        "scheduler begins": began(daemon.pid),
        "registered": happened["master_registered"][0],
        "launched": happened["controller_launched"][0],
        "containers": max(map(began, executors)),
        "first engine": engines[0],
        "last engine": engines[-1],
        "controller": happened["controller_running"][0],
    }


def began(pid: int) -> float:
    """When this process began, by time.time(); psutil's own figure is that of a clock of whole seconds."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return boot + ticks / os.sysconf("SC_CLK_TCK")


def dask_run(n: int) -> Run:
    from distributed import Client, LocalCluster

    clock = time.perf_counter()
    quiet: dict[str, Any] = {"dashboard_address": None, "silence_logs": logging.CRITICAL}
    with LocalCluster(n_workers=n, threads_per_worker=1, processes=True, **quiet) as cluster:
        with Client(cluster) as client:
            client.wait_for_workers(n)
            pids = client.run(os.getpid)
            seconds = time.perf_counter() - clock
            assert len(set(pids.values())) == n, f"{len(pids)} of {n} workers have answered"
            clock = time.perf_counter()
    return Run(seconds, time.perf_counter() - clock)


def one(side: str, n: int, options: dict[str, Any]) -> Run:
    """Everything that a user has imported is imported, the rest is not."""
    if side == DASK:
        return dask_run(n)
    import ipyparallel  # noqa: F401

    return ipyparallel_run("local" if side == THEIRS else "mesos", n, options)


# --- all runs ------------------------------------------------------------------------------------------------------


def apart(side: str, n: int, options: dict[str, Any]) -> Run | None:
    """None if not all of them have arrived in time."""
    command = [sys.executable, "-m", "benchmarks.start", "--one", json.dumps([side, n, options])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            said, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                end(psutil.Process(process.pid))
    if process.returncode:
        raise RuntimeError(f"{side} with {n} engines ended with status {process.returncode}")
    return Run(**json.loads(said.splitlines()[-1]))


def end(process: psutil.Process) -> None:
    """And all that it has started."""
    everybody = [process, *process.children(recursive=True)]
    for one in everybody:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(everybody, 10)


def measure(sizes: Sequence[int], sides: dict[str, dict[str, Any]], runs: int) -> dict[str, dict[int, list[Run]]]:
    """By side and size. One run of each side, and then the next of each; no more of one that did not arrive."""
    made: dict[str, dict[int, list[Run]]] = {side: {n: [] for n in sizes} for side in sides}
    for n in sizes:
        for turn in range(runs):
            for side, options in sides.items():
                if turn and ((n >= SLOW and side in (THEIRS, DASK)) or not made[side][n]):
                    continue
                if (run := apart(side, n, options)) is None:
                    note(f"{side}, {n}: not all within {PATIENCE} s")
                    continue
                made[side][n].append(run)
                note(f"{side}, {n}: {run.seconds:.2f} s")
    return made


def result(made: dict[str, dict[int, list[Run]]]) -> Result:
    sizes = list(made[OURS])
    times = {
        side: {n: spread([run.seconds for run in runs]) for n, runs in by.items() if runs} for side, by in made.items()
    }
    stops = {
        side: {n: spread([run.stopping for run in runs]) for n, runs in by.items() if runs} for side, by in made.items()
    }
    rows: list[list[Cell]] = []
    for n in sizes:
        row: list[Cell] = [n, *(times[side].get(n, f"not within {PATIENCE}") for side in made)]
        for side in (THEIRS, DASK):
            if side in made:
                row.append(times[OURS][n].median / times[side][n].median if n in times[side] else "-")
        rows.append(row)
    ratios = [f"ratio to {side}" for side in (THEIRS, DASK) if side in made]
    tables = [
        Table("Seconds until all engines have answered", ("N", *made, *ratios), rows),
        Table("Where the seconds go (medians)", ("", *map(str, sizes)), stage_rows(made[OURS], sizes)),
        Table("Seconds of stopping", ("N", *made), [[n, *(stops[side].get(n, "-") for side in made)] for n in sizes]),
    ]
    curves = [Series(side, list(by), list(by.values())) for side, by in times.items()]
    parts = stage_rows(made[OURS], sizes)
    bars = [Series(str(row[0]), list(map(str, sizes)), [float(v) for v in row[1:]]) for row in parts]  # type: ignore[arg-type]
    return Result(
        "start",
        "Start",
        "Seconds from the call, `ipp.Cluster(...).start_and_connect()`, until every engine has answered an `apply`, "
        "each in a fresh process that has imported ipyparallel. ipymesos boots a private Mesos meanwhile.",
        tables,
        (
            Plot("start", "Until N engines answer", "engines", "seconds", curves, fit=False),
            Plot("start-stages", "Where ipymesos' seconds go", "engines", "seconds", bars, kind="stack", log=False),
        ),
        (
            "The stages follow each other by the scheduler's events and the kernel's times of processes; on two cores "
            "they overlap, so each is what it adds to the one before.",
        ),
        goals(times),
    )


def stage_rows(by: dict[int, list[Run]], sizes: Sequence[int]) -> list[list[Cell]]:
    """What each stage adds, in seconds: medians over the runs."""
    lasts = {n: [lengths(run) for run in by[n]] for n in sizes}
    return [[text, *(statistics.median(run[name] for run in lasts[n]) for n in sizes)] for name, text in STAGES.items()]


def lengths(run: Run) -> dict[str, float]:
    """What each stage adds to those before it."""
    found, before = {}, 0.0
    for name in STAGES:
        end = max(before, run.stages[name])
        found[name], before = end - before, end
    return found


def goals(times: dict[str, dict[int, Spread]]) -> list[Goal]:
    found = []
    for n, most in GOALS.items():
        if n in times[OURS] and n in times.get(THEIRS, {}):
            ratio = times[OURS][n].median / times[THEIRS][n].median
            found.append(
                Goal(f"{n} engines answer, in times of the local launcher's", f"<= {most}", ratio, ratio <= most)
            )
    for n, seconds in GOAL_SECONDS.items():
        if n in times[OURS]:
            taken = times[OURS][n]
            found.append(Goal(f"{n} engines answer", f"<= {seconds:g} s", taken, taken.median <= seconds))
    return found


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("n", nargs="*", type=int, help=f"engines (default: {' '.join(map(str, SIZES))})")
    parser.add_argument("--runs", type=int, help=f"of each; the others only once from {SLOW} on (default: 3)")
    parser.add_argument("--master", default="local", help="a running Mesos (default: a private one each time)")
    parser.add_argument("--image", default="", help="measure with Docker, too: an image that is present")
    parser.add_argument("--without", action="append", default=[], choices=[THEIRS, DASK], help="leave this one out")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        with contextlib.redirect_stdout(sys.stderr):
            run = one(*json.loads(args.one))
        print(json.dumps(vars(run)))
        return
    ours = {"master": args.master}
    sides: dict[str, dict[str, Any]] = {OURS: ours, THEIRS: {}, DASK: {}}
    if args.image:
        sides[DOCKER] = {**ours, "container": "docker", "image": args.image}
    sides = {side: options for side, options in sides.items() if side not in args.without}
    sizes = args.n or ((4, 32) if args.quick else SIZES)
    finish(result(measure(sizes, sides, args.runs or (1 if args.quick else 3))), args)


if __name__ == "__main__":
    main()
