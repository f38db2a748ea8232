"""Plots as SVG, with matplotlib (extra `bench`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot, ticker  # noqa: E402

from .report import Plot, Series, Spread, exponent, number  # noqa: E402

# Okabe and Ito's colours, which those with any kind of colour vision can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555", "#B8A800", "#7B4F2A")
MARKS = "osD^vPX*"
STYLE: Any = {
    "font.size": 11,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.edgecolor": "#666666",
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "svg.hashsalt": "ipymesos",  # the same data make the same file
    "svg.fonttype": "path",
}


def draw(plot: Plot, path: Path) -> None:
    """Into a file whose ending says the format."""
    with matplotlib.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(8, 4.6), layout="constrained")
        {"curves": _curves, "bars": _bars, "stack": _stack}[plot.kind](plot, axes)
        axes.set_title(plot.title)
        if plot.goal is not None:
            line = axes.axvline if plot.kind == "stack" else axes.axhline
            line(plot.goal, color="#333333", linestyle=(0, (5, 4)), linewidth=1.2, label=plot.goal_text)
        if plot.kind == "stack" or len(plot.series) > 4:  # no room inside
            if len(plot.series) > 1 or plot.goal is not None:
                figure.legend(loc="outside lower center", ncols=2)
        elif len(plot.series) > 1 or plot.goal is not None or (plot.kind == "curves" and plot.fit):
            axes.legend(loc="best")
        kept = {"metadata": {"Date": None}} if path.suffix == ".svg" else {"dpi": 110}
        figure.savefig(path, **kept)
        pyplot.close(figure)


def _middle(value: float | Spread) -> float:
    return value.median if isinstance(value, Spread) else value


def _errors(values: Any) -> list[list[float]]:
    """How far the least and the most are from the median."""
    spreads = [v if isinstance(v, Spread) else Spread(v, v, v) for v in values]
    return [[s.median - s.low for s in spreads], [s.high - s.median for s in spreads]]


def _label(series: Series, fit: bool) -> str:
    points = [(x, y) for x, y in zip(series.x, map(_middle, series.y), strict=True) if isinstance(x, (int, float))]
    points = [(x, y) for x, y in points if x > 0 and y > 0]
    if not fit or len({x for x, _ in points}) < 3:
        return series.name
    return f"{series.name}: grows with $N^{{{exponent([x for x, _ in points], [y for _, y in points]):.2f}}}$"


def _curves(plot: Plot, axes: Any) -> None:
    for i, series in enumerate(plot.series):
        axes.errorbar(
            series.x, list(map(_middle, series.y)), yerr=_errors(series.y), label=_label(series, plot.fit and plot.log),
            color=COLOURS[i % len(COLOURS)], marker=MARKS[i % len(MARKS)], markersize=6, linewidth=2, capsize=3,
        )  # fmt: skip
    if plot.log:
        axes.set_xscale("log")
        axes.set_yscale("log")
        ticks = sorted({x for s in plot.series for x in s.x if isinstance(x, (int, float))})
        if len(ticks) <= 9:
            axes.set_xticks(ticks)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: number(int(v) if v == int(v) else v)))
        axes.xaxis.set_minor_formatter(ticker.NullFormatter())
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        low, high = axes.get_ylim()
        few = high / low < 20
        axes.yaxis.set_minor_formatter(
            ticker.FuncFormatter(lambda v, _: number(int(v) if v == int(v) else v)) if few else ticker.NullFormatter()
        )
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)


def _bars(plot: Plot, axes: Any) -> None:
    names = list(dict.fromkeys(str(x) for s in plot.series for x in s.x))
    width = 0.8 / len(plot.series)
    for i, series in enumerate(plot.series):
        places = [names.index(str(x)) + (i - (len(plot.series) - 1) / 2) * width for x in series.x]
        bars = axes.bar(
            places, list(map(_middle, series.y)), width * 0.92, yerr=_errors(series.y), capsize=3,
            color=COLOURS[i % len(COLOURS)], label=series.name, ecolor="#333333",
        )  # fmt: skip
        axes.bar_label(bars, [number(_middle(y)) for y in series.y], padding=3, fontsize=9)
    axes.set_xticks(range(len(names)), names)
    axes.grid(axis="x", visible=False)
    axes.margins(y=0.12)
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)


def _stack(plot: Plot, axes: Any) -> None:
    """Bars that lie, the first on top: room for names."""
    names = list(dict.fromkeys(str(x) for s in plot.series for x in s.x))
    ends = dict.fromkeys(names, 0.0)
    for i, series in enumerate(plot.series):
        values = dict.fromkeys(names, 0.0) | {str(x): _middle(y) for x, y in zip(series.x, series.y, strict=True)}
        axes.barh(
            names, [values[n] for n in names], left=[ends[n] for n in names], height=0.66,
            color=COLOURS[i % len(COLOURS)], label=series.name, edgecolor="white",
        )  # fmt: skip
        ends = {n: ends[n] + values[n] for n in names}
    for place, name in enumerate(names):
        edge = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        where = {"xy": (ends[name], place), "xytext": (5, 0), "textcoords": "offset points"}
        axes.annotate(number(ends[name]), **where, va="center", fontsize=10, bbox=edge)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.1)
    axes.set_ylabel(plot.x)
    axes.set_xlabel(plot.y)
