"""What a benchmark hands back: tables and plots, to be printed, kept as JSON, or shown as Markdown with pictures.

A benchmark is a module with a `main()` that parses `arguments(__doc__)`, measures, and ends with `finish()`:

    args = arguments(__doc__).parse_args()
    times = spread([run() for _ in range(3)])
    table = Table("", ("N", "answers after (s)", "ratio"), ((4, times, times.median / other.median),))
    curve = Plot("start", "Time until N engines answer", "engines", "seconds", (Series("ipymesos", (4,), (times,)),))
    finish(Result("start", "Start", "what it shows", (table,), (curve,), ("a remark",)), args)

`python -m benchmarks.all` runs them all and writes docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

_BEGAN = time.monotonic()


@dataclass(frozen=True)
class Spread:
    """What several runs gave: the median, the least and the most."""

    median: float
    low: float
    high: float
    runs: int = 1

    def __str__(self) -> str:
        if self.runs == 1:
            return number(self.median)
        return f"{number(self.median)} ({number(self.low)}-{number(self.high)})"


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values), len(values))


Cell = str | int | float | Spread


@dataclass(frozen=True)
class Table:
    title: str  # empty when there is one table only
    columns: Sequence[str]  # with their units
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Series:
    name: str
    x: Sequence[float | str]
    y: Sequence[float | Spread]


@dataclass(frozen=True)
class Plot:
    """`kind`: "curves" (x and y logarithmic unless `log` is False; fitted exponents in the legend when `fit`),
    "bars" (one group for each x, one bar in it for each series) or "stack" (one bar for each x, made of the series).
    """

    name: str  # of its file
    title: str
    x: str  # what it is, with its unit
    y: str
    series: Sequence[Series]
    kind: str = "curves"
    log: bool = True
    fit: bool = True
    goal: float | None = None  # a dashed line at this y
    goal_text: str = "goal"


@dataclass(frozen=True)
class Goal:
    what: str  # "engine killed: its replacement answers"
    wanted: str  # "<= 2 s"
    measured: Cell
    met: bool


@dataclass(frozen=True)
class Result:
    name: str  # the module's
    title: str
    shows: str  # in a sentence or two, with the units of what is counted
    tables: Sequence[Table]
    plots: Sequence[Plot] = ()
    remarks: Sequence[str] = ()
    goals: Sequence[Goal] = ()
    command: str = ""  # this and the rest are filled in by finish()
    seconds: float = 0.0  # that all of it took
    machine: Mapping[str, str] = field(default_factory=dict)
    at: str = ""

    def text(self) -> str:
        """For a terminal."""
        parts = [f"{self.title}\n{'=' * len(self.title)}\n{self.shows}"]
        for table in self.tables:
            cells = [[str(c) for c in table.columns], *([show(c) for c in row] for row in table.rows)]
            widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
            padded = [[c.rjust(w) for c, w in zip(r[1:], widths[1:], strict=True)] for r in cells]
            lines = ["  ".join([r[0].ljust(widths[0]), *rest]) for r, rest in zip(cells, padded, strict=True)]
            lines.insert(1, "  ".join("-" * w for w in widths))
            parts.append("\n".join([*([table.title] if table.title else []), *lines]))
        parts += [f"goal: {g.what} {g.wanted}: {show(g.measured)}, {verdict(g)}" for g in self.goals]
        parts += [f"* {remark}" for remark in self.remarks]
        return "\n\n".join(parts)

    def markdown(self, pictures: str) -> str:
        """A section of a page; `pictures` is the folder of the plots, seen from that page."""
        parts = [f"## {self.title}", self.shows]
        for table in self.tables:
            head = "| " + " | ".join(table.columns) + " |"
            rule = "| " + " | ".join("---" if i == 0 else "--:" for i in range(len(table.columns))) + " |"
            rows = ["| " + " | ".join(show(c).replace("|", "\\|") for c in row) + " |" for row in table.rows]
            parts.append("\n".join([*([f"**{table.title}**", ""] if table.title else []), head, rule, *rows]))
        parts += [f"![{plot.title}]({pictures}/{plot.name}.svg)" for plot in self.plots]
        if self.remarks:
            parts.append("\n".join(f"* {remark}" for remark in self.remarks))
        when = f"{self.at}; the machine's load was {self.machine.get('load before')} before"
        parts.append(f"`{self.command}` took {duration(self.seconds)} on {when}.")
        return "\n\n".join(parts)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @staticmethod
    def load(path: Path) -> Result:
        told: dict[str, Any] = json.loads(path.read_text())
        tables = tuple(
            Table(t["title"], tuple(t["columns"]), tuple(tuple(map(_cell, row)) for row in t["rows"]))
            for t in told.pop("tables")
        )
        goals = tuple(Goal(**{**g, "measured": _cell(g["measured"])}) for g in told.pop("goals"))
        plots = tuple(
            Plot(**{**p, "series": tuple(Series(s["name"], s["x"], tuple(map(_cell, s["y"]))) for s in p["series"])})
            for p in told.pop("plots")
        )
        return Result(**{**told, "remarks": tuple(told["remarks"])}, tables=tables, plots=plots, goals=goals)


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """The power of x with which y grows, by least squares of their logarithms: 0 is flat, 1 linear, 2 quadratic."""
    return statistics.linear_regression([math.log(v) for v in x], [math.log(v) for v in y]).slope


def number(value: float) -> str:
    """Three digits that count, but never fewer than all of a whole number."""
    if isinstance(value, int) or value == 0:
        return f"{value:,}".replace(",", "\N{THIN SPACE}") if abs(value) >= 10_000 else f"{value:.0f}"
    if abs(value) >= 100:
        return number(round(value))
    return f"{value:.{max(0, min(6, 2 - math.floor(math.log10(abs(value)))))}f}"


def show(cell: Cell) -> str:
    return cell if isinstance(cell, str) else str(cell) if isinstance(cell, Spread) else number(cell)


def verdict(goal: Goal) -> str:
    return "met" if goal.met else "not met"


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def machine() -> dict[str, str]:
    """Whatever the figures depend on; no name of this machine, no path."""
    model = next((line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if "model name" in line), "")
    system = next((line.partition("=")[2].strip('"') for line in _lines("/etc/os-release") if "PRETTY" in line), "")
    packages = ("ipyparallel", "ipykernel", "pyzmq", "pymesos", "tornado")
    from ipymesos.local.archive import DEFAULT_VERSION

    return {
        "processor": f"{os.cpu_count()} cores, {model or platform.machine()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{system}, Linux {'.'.join(platform.release().split('.')[:2])}",
        "Python": platform.python_version(),
        "Mesos": DEFAULT_VERSION,
        **{name: metadata.version(name) for name in packages},
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller runs: a rough idea")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the result here as well")
    parser.set_defaults(machine=machine())  # before there is any load of its own
    return parser


def finish(result: Result, args: argparse.Namespace) -> None:
    """Print the result, and keep it where `--json` says."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    words = [w for i, w in enumerate(sys.argv[1:]) if not (w.startswith("--json") or sys.argv[i] == "--json")]
    filled = {
        **{name: getattr(result, name) for name in result.__dataclass_fields__},
        "command": shlex.join(["python", "-m", spec.name if spec else f"benchmarks.{result.name}", *words]),
        "seconds": time.monotonic() - _BEGAN,
        "machine": args.machine,
        "at": datetime.now(timezone.utc).strftime("%d %B %Y, %H:%M UTC"),
    }
    result = Result(**filled)
    print(result.text(), flush=True)
    if args.json:
        result.save(args.json)


def note(text: str) -> None:
    """Progress, apart from the result."""
    print(f"{time.monotonic() - _BEGAN:7.1f} s  {text}", file=sys.stderr, flush=True)


def _cell(value: Any) -> Any:
    return Spread(**value) if isinstance(value, dict) else value


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if os.path.exists(path) else []
