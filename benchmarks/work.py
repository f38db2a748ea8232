"""How fast a cluster works once it is there, beside ipyparallel's local launcher: both live at once, asked in turn.

Round trips of an apply, many small load-balanced tasks, a big push, a broadcast and %px on many engines. ipymesos
encrypts all traffic (CURVE) unless told otherwise, the local launcher does not unless told; so both are measured both
ways.
"""

from __future__ import annotations

import gc
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import ipyparallel as ipp
import numpy
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from ipymesos.local import LocalMesos

from .report import Goal, Plot, Result, Series, Spread, Table, arguments, finish, note, spread

FEW, MANY = 4, 32  # engines
TRIPS = 100  # round trips of one run
OFTEN = 5  # runs of what is short for each of the others: this machine is not equally fast from second to second
TASKS = 10_000
MEGABYTES = 100
RUNS = 3
OFFER = "cpus:64;mem:64000;disk:1000"  # more than there is: nobody uses what it asks for
ENGINE = {"cpus": 0.1, "memory": "64 MB", "container": "process"}
OURS, THEIRS = "ipymesos", "local launcher"


@dataclass(frozen=True)
class Side:
    """One of the clusters that are compared."""

    launcher: str = "mesos"
    curve: bool = True
    controller: tuple[str, ...] = ()  # arguments of its controller
    options: Mapping[str, Any] = field(default_factory=dict)  # of MesosLauncher


SIDES = {
    OURS: Side(),
    f"{THEIRS}, CURVE": Side("local"),
    f"{OURS}, plain": Side(curve=False),
    THEIRS: Side("local", curve=False),
}
# What is compared: alike with alike, and both as they come.
PAIRS = {
    "both CURVE": (OURS, f"{THEIRS}, CURVE"),
    "both plain": (f"{OURS}, plain", THEIRS),
    "as they come": (OURS, THEIRS),
}
WANTED = 0.97  # of the local launcher's speed


@ipp.interactive
def nothing(x: Any = None) -> Any:
    """Sent by value: engines know nothing of this package."""
    return x


@contextmanager
def cluster(side: Side, n: int, master: str) -> Iterator[ipp.Client]:
    config = Config({"MesosLauncher": {**ENGINE, "master": master, "curve": side.curve, **side.options}})
    arguments = list(side.controller)
    if side.launcher == "local" and side.curve:
        arguments.append("--IPController.enable_curve=True")
    with tempfile.TemporaryDirectory(prefix="ipymesos-work-") as folder:
        made = ipp.Cluster(
            controller=side.launcher, engines=side.launcher, n=n, profile_dir=folder, config=config, log_level=40,
            load_profile=False, controller_args=arguments,
        )  # fmt: skip
        try:
            client = made.start_and_connect_sync()
            yield client
            client.close()
        finally:
            made.stop_cluster_sync()


# --- what is measured: each returns seconds, of one thing; a smaller share is for a rough idea ---------------------


def trips(view: Any, count: int) -> float:
    """Of the middle one."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        view.apply_sync(nothing)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def direct(client: ipp.Client, share: float) -> float:
    return trips(client[client.ids[0]], max(10, int(TRIPS * share)))


def balanced(client: ipp.Client, share: float) -> float:
    return trips(client.load_balanced_view(), max(10, int(TRIPS * share)))


def tasks(client: ipp.Client, share: float) -> float:
    count = int(TASKS * share)
    began = time.perf_counter()
    client.load_balanced_view().map_async(nothing, range(count), chunksize=1).get()
    seconds = time.perf_counter() - began
    client.purge_everything()
    return seconds / count


def push(client: ipp.Client, share: float, targets: Any = 0) -> float:
    data = numpy.random.default_rng(0).integers(0, 256, int(MEGABYTES * 1e6 * share), dtype=numpy.uint8)
    began = time.perf_counter()
    client[targets].push({"data": data}, block=True)
    seconds = time.perf_counter() - began
    client[targets].execute("del data", block=True)
    return seconds / share


def push_all(client: ipp.Client, share: float) -> float:
    return push(client, share, slice(None))


def broadcast(client: ipp.Client, share: float) -> float:
    return trips(client.broadcast_view(), max(10, int(TRIPS * share / 5)))


def px(client: ipp.Client, share: float) -> float:
    """Of the middle one of some `%px` in a shell, as a notebook runs them."""
    shell = InteractiveShell.instance()
    view = client[:]
    view.block = True  # as `Cluster.start_and_connect(activate=True)` has it
    view.activate()
    times = []
    for _ in range(max(3, int(10 * share))):
        began = time.perf_counter()
        with redirect_stdout(io.StringIO()):
            shell.run_line_magic("px", "import os; pid = os.getpid()")
        times.append(time.perf_counter() - began)
    return statistics.median(times)


Measure = Callable[[ipp.Client, float], float]


@dataclass(frozen=True)
class Work:
    engines: int
    unit: str
    how: Measure
    often: int = 1

    @property
    def factor(self) -> float:
        """Of these units there are so many in a second."""
        return {"s": 1.0, "ms": 1e3}[self.unit]


WORK = {
    "apply, direct": Work(FEW, "ms", direct, OFTEN),
    "apply, load-balanced": Work(FEW, "ms", balanced, OFTEN),
    "one of many small tasks, load-balanced": Work(FEW, "ms", tasks),
    f"push {MEGABYTES} MB to one": Work(FEW, "s", push, OFTEN),
    f"push {MEGABYTES} MB to all {FEW}": Work(FEW, "s", push_all),
    f"apply to all {MANY}, broadcast": Work(MANY, "ms", broadcast, OFTEN),
    f"%px on {MANY}": Work(MANY, "ms", px, OFTEN),
}


def measure(
    n: int, runs: int, share: float, sides: Mapping[str, Side], works: Collection[str]
) -> dict[str, dict[str, list[float]]]:
    """Seconds by work and side. In each run all sides take their turn with the same work, first one, then another."""
    found: dict[str, dict[str, list[float]]] = {name: {side: [] for side in sides} for name in works}
    names = list(sides)
    with LocalMesos(1, resources=OFFER) as mesos, ExitStack() as stack:
        clients = {}
        for side in sides:
            clients[side] = stack.enter_context(cluster(sides[side], n, mesos.master))
            clients[side][:].apply_sync(nothing)
        for name in works:
            how = WORK[name].how
            for side in sides:
                how(clients[side], min(share, 0.05))  # imports, connections, caches
            for run in range(runs * WORK[name].often):
                order = [*names[run % len(names) :], *names[: run % len(names)]]
                for side in order:
                    gc.collect()
                    found[name][side].append(how(clients[side], share))
            note(f"{name}: " + ", ".join(f"{s} {statistics.median(t):.4f}" for s, t in found[name].items()))
    return found


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Our speed as a part of theirs; each run beside its neighbour."""
    return spread([their / our for our, their in zip(ours, theirs, strict=True)])


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="work with this in its name")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each work, for each side (default: {RUNS})")
    args = parser.parse_args()
    runs, share = (2, 0.1) if args.quick else (args.runs, 1.0)
    times: dict[str, dict[str, list[float]]] = {}
    for n in (FEW, MANY):
        if works := [name for name, work in WORK.items() if work.engines == n and args.only in name]:
            times |= measure(n, runs, share, SIDES, works)
    rows, compared, goals = [], [], []
    for name, sides in times.items():
        work = WORK[name]
        rows.append((f"{name} ({work.unit})", *(spread([t * work.factor for t in sides[side]]) for side in SIDES)))
        ratios = {pair: ratio(sides[ours], sides[theirs]) for pair, (ours, theirs) in PAIRS.items()}
        compared.append((name, *ratios.values()))
        worst = min(ratios["both CURVE"].median, ratios["both plain"].median)
        goals.append(Goal(f"{name}: speed beside the local launcher, alike", f">= {WANTED}", worst, worst >= WANTED))
    bars = Plot(
        "work", "Speed, as a part of the local launcher's", "", "ratio",
        [Series(pair, [row[0] for row in compared], [row[i + 1] for row in compared]) for i, pair in enumerate(PAIRS)],
        kind="bars", goal=1.0, goal_text="as fast",
    )  # fmt: skip
    finish(
        Result(
            "work",
            "Work",
            f"What a cluster of {FEW} engines ({MANY} for %px) takes for it; the many tasks are {int(TASKS * share)}. "
            "In the second table more than 1 means that ipymesos is faster.",
            (
                Table("Time", ("work", *SIDES), rows),
                Table("Speed beside the local launcher's", ("work", *PAIRS), compared),
            ),
            (bars,),
            (
                "All four clusters live at the same time and take turns with the same work. A ratio is the median of "
                "those of neighbouring turns; where they reach from well below 1 to well above it, the machine was "
                "not equally fast from second to second, and small differences mean nothing.",
                "As it comes, ipymesos' traffic is encrypted (CURVE; `curve = False` makes it plain), and that of the "
                "local launcher is plain (`enable_curve` encrypts it).",
            ),
            goals,
        ),
        args,
    )


if __name__ == "__main__":
    main()
