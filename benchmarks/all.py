"""Run every benchmark, or those that are named, one after the other; write docs/benchmarks.md and its pictures.

Results are kept as JSON beside the pictures, so the page shows those that aren't run again as they were.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from .report import Goal, Result, duration, note, show, verdict

# In the order of the page, each with the most seconds that it may take, and with what makes it short enough for all of
# them to take about 20 minutes; --full leaves that away, and then it is more than half an hour.
BENCHMARKS: dict[str, tuple[int, Sequence[str]]] = {
    "start": (1800, ("--runs", "1")),
    "memory": (900, ("32",)),
    "work": (1200, ("--runs", "2")),
    "settings": (1200, ("--runs", "2")),
    "registration": (900, ("125", "500")),
    "placement": (900, ()),
    "recovery": (600, ()),
    "idle": (900, ("--minutes", "2")),
    "growth": (900, ()),
}
HEAD = """\
# Benchmarks

What is measured, on what, and against what: written by `python -m benchmarks.all`, which runs each of the commands
below, one after the other; each says how busy the machine was. Figures are medians, with the least and the most of
several runs where there were several. Seconds belong to the machine, ratios and exponents to the software.
An exponent says with which power of the size a cost grows: 0 is flat, 1 in proportion.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument(
        "--quick", action="store_true", help="a rough idea; nothing in docs/ changes unless --into says so"
    )
    parser.add_argument("--full", action="store_true", help="all sizes and runs: more than half an hour")
    parser.add_argument("--page", action="store_true", help="measure nothing: write the page from what is kept")
    parser.add_argument("--into", type=Path, help="folder of the page (default: docs)")
    args = parser.parse_args()
    if unknown := set(args.only) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    into = args.into or (Path(tempfile.mkdtemp(prefix="ipymesos-benchmarks-")) if args.quick else Path("docs"))
    kept = into / "benchmarks"
    kept.mkdir(parents=True, exist_ok=True)
    wanted = [] if args.page else args.only or list(BENCHMARKS)
    failed = [name for name in wanted if not run(name, kept, options(name, args))]
    write(into)
    if failed:
        print(f"These failed, and are shown as they were before: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def options(name: str, args: argparse.Namespace) -> Sequence[str]:
    return ("--quick",) if args.quick else () if args.full else BENCHMARKS[name][1]


def run(name: str, kept: Path, options: Sequence[str]) -> bool:
    """In a process of its own, so that no benchmark sees another's memory, threads or descriptors."""
    fresh = kept / f"{name}.new"
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(fresh), *options]
    note(f"{name} begins")
    limit, began = BENCHMARKS[name][0], time.monotonic()
    process = subprocess.Popen(command)
    try:
        status = process.wait(limit)
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as error:
        status = end(process)
        if isinstance(error, KeyboardInterrupt):
            raise
        print(f"{name}: not within {limit} s", file=sys.stderr)
    if status == 0 and fresh.exists():
        fresh.replace(kept / f"{name}.json")
    else:
        fresh.unlink(missing_ok=True)
        status = status or 1
    note(f"{name} ended with status {status} after {duration(time.monotonic() - began)}")
    return status == 0


def end(process: subprocess.Popen[bytes]) -> int:
    """As Ctrl-C does, so that it cleans up."""
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def write(into: Path) -> None:
    """The page and the pictures, from whatever results are kept."""
    from .drawing import draw

    kept = into / "benchmarks"
    files = [kept / f"{name}.json" for name in BENCHMARKS]
    results = [Result.load(file) for file in files if file.exists()]
    for result in results:
        for plot in result.plots:
            draw(plot, kept / f"{plot.name}.svg")
    parts = [HEAD.strip()]
    machines = dict.fromkeys(tuple((k, v) for k, v in r.machine.items() if k != "load before") for r in results)
    parts += ["; ".join(f"{name} {value}" for name, value in told) + "." for told in machines]
    if goals := [goal for result in results for goal in result.goals]:
        parts.append(
            "\n".join(["## Goals", "", "| goal | wanted | measured | |", "| --- | --: | --: | --- |", *map(row, goals)])
        )
    parts += [result.markdown("benchmarks") for result in results]
    parts.append(f"All of it took {duration(sum(r.seconds for r in results))}.")
    (into / "benchmarks.md").write_text("\n\n".join(parts) + "\n")
    print(into / "benchmarks.md")


def row(goal: Goal) -> str:
    return f"| {goal.what} | {goal.wanted} | {show(goal.measured)} | {verdict(goal)} |"


if __name__ == "__main__":
    sys.exit(main())
