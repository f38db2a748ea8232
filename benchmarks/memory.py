"""How much memory an engine takes, idle and with numpy at work, and what engines of one machine can share.

PSS: each page counts by the part that a process has in it (Linux, smaps_rollup), so the sum over processes is what is
really taken. To an engine belongs its share of what exists for engines alone: their executor and zygote, a nanny.
"""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import ipyparallel as ipp
import numpy
import psutil
from traitlets.config import Config

from .report import Cell, Goal, Plot, Result, Series, Table, arguments, finish, note

OURS, THEIRS = "ipymesos", "local launcher"
SIZES = (32, 128)
MOST = 15.0  # MB of an idle engine, the goal
GIGABYTE = 10**9
SETTLE = 2.0  # seconds after the first answer
PATIENCE = 600  # seconds for all engines to arrive; the local launcher's default is 60


@contextlib.contextmanager
def cluster(side: str, n: int) -> Iterator[ipp.Client]:
    """A client of n engines that have answered."""
    launcher = "mesos" if side == OURS else "local"
    with tempfile.TemporaryDirectory(prefix="ipymesos-bench-") as folder:
        options: dict[str, Any] = {"profile_dir": folder, "config": Config(), "load_profile": False, "log_level": 40}
        options["engine_timeout"] = PATIENCE
        made = ipp.Cluster(controller=launcher, engines=launcher, n=n, **options)
        try:
            client = made.start_and_connect_sync()
            client[:].apply_sync(os.getpid)
            time.sleep(SETTLE)
            yield client
            client.close()
        finally:
            made.stop_cluster_sync()


def processes(pids: Sequence[int]) -> set[psutil.Process]:
    """Those of the engines, and those that exist for engines alone."""
    engines = {psutil.Process(pid) for pid in pids}
    helpers = {child for engine in engines for child in engine.children()}  # a nanny is a child of its engine
    for engine in engines:
        zygote = engine.parent()
        if zygote is not None and zygote.pid != os.getpid() and "ipymesos_executor" in " ".join(zygote.cmdline()):
            helpers |= {zygote, *([executor] if (executor := zygote.parent()) else [])}
    return engines | helpers


def pss(those: set[psutil.Process]) -> float:
    """MB of all of them together."""
    return float(sum(process.memory_full_info().pss for process in those)) / 1e6


def idle_and_numpy(side: str, n: int) -> tuple[float, float]:
    """MB of one of n engines before and after it has used numpy."""
    with cluster(side, n) as client:
        those = processes(client[:].apply_sync(os.getpid))
        idle = pss(those) / n
        client[:].execute("import numpy\nnumpy.linalg.svd(numpy.random.rand(50, 50))", block=True)
        return idle, pss(those) / n


# --- one array for all ---------------------------------------------------------------------------------------------


def total(path: str, size: int) -> float:
    """On an engine: map the array of doubles in that file and read all of it."""
    import numpy

    globals()["data"] = numpy.memmap(path, dtype=float, mode="r", shape=(size // 8,))
    return float(globals()["data"].sum())


def shared(client: ipp.Client, n: int, size: int, folder: str) -> tuple[float, float]:
    """(Seconds until all engines have read an array, MB that it takes in all): a file that they map."""
    those = processes(client[:].apply_sync(os.getpid))
    before = pss(those)
    data = numpy.arange(size // 8, dtype=float)
    wanted, began = float(data.sum()), time.perf_counter()
    with tempfile.NamedTemporaryFile(dir=folder, prefix="ipymesos-bench-") as file:
        data.tofile(file)
        file.flush()
        answers = client[:].apply_sync(ipp.interactive(total), file.name, size)
        seconds = time.perf_counter() - began
        assert answers == [wanted] * n
        taken = pss(those) - before
        client[:].execute("del data", block=True)
    return seconds, taken


def pushed(client: ipp.Client, n: int, size: int) -> tuple[float, float]:
    """The same with a copy for each engine."""
    those = processes(client[:].apply_sync(os.getpid))
    before = pss(those)
    data = numpy.arange(size // 8, dtype=float)
    wanted, began = float(data.sum()), time.perf_counter()
    client[:].push({"data": data}, block=True)
    answers = client[:].apply_sync(ipp.interactive(lambda: float(globals()["data"].sum())))
    seconds = time.perf_counter() - began
    assert answers == [wanted] * n
    taken = pss(those) - before
    client[:].execute("del data", block=True)
    del data
    gc.collect()
    return seconds, taken


def sharing(n: int, size: int) -> Table:
    rows: list[list[Cell]] = []
    with tempfile.TemporaryDirectory(prefix="ipymesos-bench-") as folder:
        for name, where in (("memory map of a file", folder), ("memory map in /dev/shm", "/dev/shm")):
            with cluster(OURS, n) as client:
                seconds, taken = shared(client, n, size, where)
            rows.append([name, seconds, taken])
            note(f"{name}: {seconds:.2f} s, {taken:.0f} MB")
    for side in (OURS, THEIRS):
        with cluster(side, n) as client:
            seconds, taken = pushed(client, n, size)
        rows.append([f"pushed, {side}", seconds, taken])
        note(f"pushed, {side}: {seconds:.2f} s, {taken:.0f} MB")
    title = f"An array of {size / 1e9:g} GB on {n} engines, written or sent, and summed up by each"
    return Table(title, ("", "seconds", "MB taken"), rows)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("n", nargs="*", type=int, help=f"engines (default: {' '.join(map(str, SIZES))})")
    parser.add_argument("--ours", action="store_true", help="leave the local launcher out, which takes minutes")
    args = parser.parse_args()
    sizes = args.n or ((8,) if args.quick else SIZES)
    sides = [OURS] if args.ours else [OURS, THEIRS]
    rows: list[list[Cell]] = []
    found: dict[str, dict[int, tuple[float, float]]] = {side: {} for side in sides}
    for n in sizes:
        for side in sides:
            try:
                found[side][n] = idle, busy = idle_and_numpy(side, n)
            except TimeoutError:
                note(f"{side}, {n}: not all within {PATIENCE} s")
                rows.append([n, side, f"not all within {PATIENCE} s", "-"])
                continue
            note(f"{side}, {n}: {idle:.1f} MB idle, {busy:.1f} MB with numpy")
            rows.append([n, side, idle, busy])
    few, size = (2, GIGABYTE // 10) if args.quick else (4, GIGABYTE)
    series = [
        Series(f"{side}, {what}", list(map(str, found[side])), [both[i] for both in found[side].values()])
        for side in sides
        for i, what in enumerate(("idle", "numpy"))
    ]
    goals = [
        Goal(f"an idle engine, of {n}", f"<= {MOST:g} MB", idle, idle <= MOST) for n, (idle, _) in found[OURS].items()
    ]
    result = Result(
        "memory",
        "Memory",
        "MB (PSS) of an engine, with its share of the processes that exist for engines alone.",
        (Table("", ("N", "", "idle", "after using numpy"), rows), sharing(few, size)),
        (Plot("memory", "Memory of one engine", "engines", "MB", series, kind="bars", log=False, goal=MOST),),
        (),
        goals,
    )
    finish(result, args)


if __name__ == "__main__":
    main()
