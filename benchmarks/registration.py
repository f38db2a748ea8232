"""Do hundreds of engines all arrive? Registered with the hub and answering, how soon, and what it costs the hub.

Everything is on this machine: Mesos, the controller and all engines; memory bounds how many there can be.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import ipyparallel as ipp
import psutil

from ipymesos.local import LocalMesos

from .kit import Cluster, Use, use
from .report import Goal, Plot, Result, Series, Table, arguments, finish, note

AGENT = "cpus:64;mem:200000;disk:100"  # as Mesos counts; what is really there bounds the number of engines
SIZES = [62, 125, 250, 500, 1000]
ONE = 16e6  # bytes that an engine may take here
PATIENCE = 240.0  # seconds for all to register
ANSWERS = 60.0  # seconds for all to answer
BEATS = 10.0  # seconds that the heart-beats of idle engines are watched


@dataclass(frozen=True)
class Arrival:
    n: int
    registered: int
    answered: int
    seconds: float  # from the call to the last registration, or to the end of the patience
    answers: float  # from the call to the last answer
    hub: Use  # of the hub's process, until all were registered
    schedulers: Use  # of the controller's other processes
    scheduler: Use  # ours
    memory: float  # MB of PSS for each engine; its executor and zygote are shared out
    beating: float  # percent of a core that the controller takes while everybody is idle
    idling: float  # percent of a core that all engines take then


def arrive(n: int) -> Arrival:
    with LocalMesos(1, resources=AGENT) as mesos:
        began = time.perf_counter()
        with Cluster(mesos, n) as cluster:
            registered = 0
            while registered < n and time.perf_counter() - began < PATIENCE:
                status = cluster.daemon.status()
                registered = sum(engines["running"] for engines in status["engines"].values())
                time.sleep(0.2)  # not so often that it is us who keep the scheduler busy
            seconds = time.perf_counter() - began
            client = cluster.client()
            try:
                answered = answers(client, n)
                whole = time.perf_counter() - began
                processes = cluster.processes()
                costs = {role: use(found) for role, found in processes.items()}
                pack = [*processes["engines"], *processes["executors"], *processes["zygotes"]]
                memory = sum(pss(process) for process in pack) / n
                time.sleep(BEATS)
                later = {role: use(found) for role, found in processes.items()}
            finally:
                client.close()
    percent = {role: (later[role].cpu - costs[role].cpu) / BEATS * 100 for role in costs}
    note(f"{n} engines: {registered} registered after {seconds:.1f} s, {answered} answered after {whole:.1f} s")
    return Arrival(
        n,
        registered,
        answered,
        seconds,
        whole,
        costs["hub"],
        costs["controller's schedulers"],
        costs["scheduler"],
        memory,
        percent["hub"] + percent["controller's schedulers"],
        percent["engines"],
    )


def answers(client: ipp.Client, n: int) -> int:
    """How many engines answer."""
    client.wait_for_engines(n, timeout=ANSWERS, interactive=False, block=True)
    asked = [client[engine_id].apply_async(os.getpid) for engine_id in client.ids]
    client.wait(asked, timeout=ANSWERS)
    return len({result.get() for result in asked if result.ready()})


def pss(process: psutil.Process) -> float:
    return float(process.memory_full_info().pss) / 1e6


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("n", nargs="*", type=int, help=f"engines (default: {' '.join(map(str, SIZES))})")
    args = parser.parse_args()
    sizes = args.n or ([32, 128] if args.quick else SIZES)
    free = psutil.virtual_memory().available
    left_out = [n for n in sizes if n * ONE > free]
    made = [arrive(n) for n in sizes if n not in left_out]
    rows = [
        (
            one.n,
            f"{100 * one.registered / one.n:.0f} %",
            f"{100 * one.answered / one.n:.0f} %",
            one.seconds,
            one.answers,
            one.hub.cpu,
            one.hub.cpu / one.n * 1000,
            one.hub.rss,
            one.hub.descriptors,
            one.schedulers.descriptors,
        )
        for one in made
    ]
    columns = (
        "engines", "registered", "answered", "registered after (s)", "answered after (s)", "hub CPU (s)",
        "hub ms per engine", "hub RSS (MB)", "hub descriptors", "of its schedulers",
    )  # fmt: skip
    costs = [(a.n, a.memory, a.scheduler.cpu, a.scheduler.rss, a.beating, a.idling) for a in made]
    more = (
        "engines", "MB per engine", "our scheduler's CPU (s)", "its RSS (MB)", "controller, idle (% of a core)",
        "all engines, idle (% of a core)",
    )  # fmt: skip
    n = tuple(a.n for a in made)
    most = made[-1]
    finish(
        Result(
            "registration",
            "Registration at size",
            "N engines in one pack, started by one call: the share of them that registered with the hub and answered"
            " an `apply` each, and what that takes. ipyparallel's users report clusters of which half arrives"
            " (ipython/ipyparallel#700).",
            (Table("Arrival", columns, rows), Table("What N engines cost", more, costs)),
            (
                Plot(
                    "registration",
                    "N engines, registered and answering",
                    "engines",
                    "seconds from the call",
                    (
                        Series("registered", n, tuple(a.seconds for a in made)),
                        Series("all answered", n, tuple(a.answers for a in made)),
                        Series("CPU of the hub", n, tuple(a.hub.cpu for a in made)),
                    ),
                ),
            ),
            tuple(f"{left} engines were left out: they don't fit into this machine's memory." for left in left_out),
            (
                Goal(
                    f"registered and answering, of {most.n}",
                    "100 %",
                    f"{100 * min(most.registered, most.answered) / most.n:.1f} %",
                    most.registered == most.answered == most.n,
                ),
            ),
        ),
        args,
    )


if __name__ == "__main__":
    main()
