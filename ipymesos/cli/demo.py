"""See it work: a private Mesos on this machine, a few engines, and a computation whose result can be looked at."""

from __future__ import annotations

import argparse
import collections
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

import ipyparallel as ipp

from ..client import Daemon
from ..errors import IPyMesosError, StartFailed
from .arguments import engines

WIDTH, HEIGHT = 76, 24
SHADES = " .:-=+*#%@"
STOP_TIMEOUT = 60.0  # seconds


@ipp.interactive  # sent whole, so that the engines need no ipymesos
def mandelbrot_row(task: tuple[int, int, int, int]) -> tuple[int, list[int], int]:
    """Row `y` of the Mandelbrot set: its number, how long each point stays (0 to `most`), and who computed it."""
    import os

    y, width, height, most = task
    counts = []
    for x in range(width):
        c = complex(-2.3 + 3.2 * x / width, -1.2 + 2.4 * (y + 0.5) / height)
        z, count = 0j, 0
        while abs(z) <= 2.0 and count < most:
            z, count = z * z + c, count + 1
        counts.append(count)
    return y, counts, os.getpid()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", type=engines, default=4, metavar="ENGINES", help="how many engines (default: 4)")


def run(arguments: argparse.Namespace) -> int:
    return show(arguments.n)


def show(n: int, most: int = 20_000) -> int:
    """The whole demo with n engines; returns the exit code. `most` is the depth of the picture, and so its cost."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ipymesos-demo-") as directory:
        process = begin(directory, n)
        try:
            daemon = Daemon.wait_ready(directory, pid=process.pid, timeout=120.0)
            print(f"daemon, pid {daemon.pid}, answers at {daemon.url}")
            print(f"look at it with: python -m ipymesos status --profile-dir {directory}", flush=True)
            wait_for_engines(daemon, n)
            print(f"{n} engines ready after {time.monotonic() - began:.1f} s", flush=True)
            with ipp.Client(profile_dir=directory) as client:
                client.wait_for_engines(n, timeout=60)
                compute(client, most)
            daemon.stop("the demo is over")
            code = process.wait(STOP_TIMEOUT)
            print(f"stopped, exit code {code}; nothing is left running")
            return code
        except BaseException:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)  # it stops the cluster cleanly
            process.wait(STOP_TIMEOUT)
            raise


def begin(directory: str, n: int) -> subprocess.Popen[bytes]:
    """The daemon, in a session of its own so that Ctrl-C is ours to handle; it tells its progress on our terminal."""
    command = [sys.executable, "-m", "ipymesos", "start", "--profile-dir", directory, "-n", str(n)]
    options = ["--master", "local", "--container", "process", "--memory", "256 MB"]
    return subprocess.Popen(
        command + options, stdin=subprocess.DEVNULL, start_new_session=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )


def wait_for_engines(daemon: Daemon, n: int) -> None:
    version = None
    while True:
        status = daemon.status(after=version, timeout=10.0)
        version = status["version"]
        engines = status["engines"].get("engines", {"running": 0})
        if status["error"] or status["state"] == "stopping":
            raise StartFailed(status["error"] or "the cluster is stopping")
        if status["controller"]["state"] == "running" and engines["running"] >= n:
            return


def compute(client: Any, most: int) -> None:
    """Rows are handed out one by one to whoever is free; then the picture, and who computed what."""
    began = time.monotonic()
    view = client.load_balanced_view()
    rows = [(y, WIDTH, HEIGHT, most) for y in range(HEIGHT)]
    result = view.map_async(mandelbrot_row, rows, chunksize=1, ordered=False)
    picture: dict[int, list[int]] = {}
    workers: dict[int, int] = {}
    for y, counts, pid in result:
        picture[y], workers[y] = counts, pid
    took = time.monotonic() - began
    names = {pid: i for i, pid in enumerate(sorted(set(workers.values())))}
    print()
    for y in range(HEIGHT):
        print("".join(shade(count, most) for count in picture[y]) + f"  engine {names[workers[y]]}")
    print()
    done = collections.Counter(workers.values())
    for pid, i in names.items():
        print(f"engine {i}, process {pid}: {done[pid]} rows")
    points = sum(sum(row) for row in picture.values())
    print(f"{points:,} steps in {took:.1f} s on {len(names)} engines", flush=True)
    if len(picture) != HEIGHT:
        raise IPyMesosError(f"only {len(picture)} of {HEIGHT} rows came back")


def shade(count: int, most: int) -> str:
    if count >= most:
        return SHADES[-1]
    return SHADES[min(len(SHADES) - 2, count.bit_length() - 1)]
