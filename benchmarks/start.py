"""How long until N engines answer, and how much memory one takes: ipymesos beside ipyparallel's local launcher.

Both sides run through `ipp.Cluster`, in turn, in the same minute. ipymesos' time includes the boot of a private
Mesos, unless --master names one that runs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass

import ipyparallel as ipp
import psutil


@dataclass(frozen=True)
class Run:
    answered: float  # seconds from the call to the last engine's answer
    stopped: float  # seconds of stopping
    memory: float  # MB of PSS per engine; its nanny counts, an executor and its zygote are shared out


def measure(launcher: str, n: int, options: dict[str, object]) -> Run:
    with tempfile.TemporaryDirectory(prefix="ipymesos-bench-") as directory:
        from traitlets.config import Config

        config = Config({"MesosLauncher": options}) if launcher == "mesos" else Config()
        began = time.perf_counter()
        cluster = ipp.Cluster(
            controller=launcher, engines=launcher, n=n, profile_dir=directory, config=config, log_level=40
        )
        client = cluster.start_and_connect_sync()
        try:
            pids = client[:].apply_sync(os.getpid)
            answered = time.perf_counter() - began
            assert len(set(pids)) == n
            memory = memory_of(pids) / n
        finally:
            client.close()
            began = time.perf_counter()
            cluster.stop_cluster_sync()
        return Run(answered, time.perf_counter() - began, memory)


def memory_of(pids: list[int]) -> float:
    """MB of PSS of these engines and of what exists for them alone: nannies, an executor, its zygote."""
    engines = [psutil.Process(pid) for pid in pids]
    helpers = {p for engine in engines for p in engine.children()}  # an engine's nanny
    for engine in engines:
        parent = engine.parent()
        if parent is not None and parent.pid != os.getpid() and "ipymesos_executor" in " ".join(parent.cmdline()):
            helpers |= {p for p in (parent, parent.parent()) if p and "ipymesos_executor" in " ".join(p.cmdline())}
    return sum(p.memory_full_info().pss for p in {*engines, *helpers}) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n", nargs="*", type=int, default=[4, 16, 32], help="engines (default: 4 16 32)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each; the median is shown (default: 3)")
    parser.add_argument("--master", default="local", help="a running Mesos (default: a private one each time)")
    parser.add_argument("--container", default="", choices=["", "process", "docker"])
    parser.add_argument("--image", default="")
    args = parser.parse_args()
    options = {k: v for k, v in vars(args).items() if k in ("master", "container", "image") and v}
    print(f"{'N':>4}  {'launcher':8} {'answered s':>18} {'stopped s':>10} {'MB/engine':>10}")
    for n in args.n:
        runs: dict[str, list[Run]] = {"mesos": [], "local": []}
        for _ in range(args.runs):
            for launcher, made in runs.items():
                made.append(measure(launcher, n, options))
        medians = {}
        for launcher, made in runs.items():
            times = sorted(run.answered for run in made)
            medians[launcher] = Run(
                *(statistics.median(v) for v in zip(*(vars(r).values() for r in made), strict=True))
            )
            spread = f"{medians[launcher].answered:.2f} ({times[0]:.2f}-{times[-1]:.2f})"
            print(
                f"{n:>4}  {launcher:8} {spread:>18} {medians[launcher].stopped:>10.2f} "
                f"{medians[launcher].memory:>10.1f}",
                flush=True,
            )
        ours, theirs = medians["mesos"], medians["local"]
        print(
            f"{'':>4}  {'ratio':8} {ours.answered / theirs.answered:>18.2f} "
            f"{ours.stopped / theirs.stopped:>10.2f} {ours.memory / theirs.memory:>10.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
