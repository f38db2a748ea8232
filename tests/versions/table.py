"""The table of docs/compatibility.md: one row for each combination that was tried, a hole with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

CHAPTERS = {  # of the story, and what the table calls them
    "start": "start",
    "compute": "compute",
    "scale": "scale",
    "waiting": "wait",
    "engine_killed": "engine killed",
    "scheduler_killed": "scheduler killed",
    "controller_killed": "controller killed",
    "mesos_restarted": "Mesos restarted",
    "stop": "nothing left",
}
COLUMNS = ("Mesos", "Python", "ipyparallel", "ipykernel", *CHAPTERS.values(), "tried", "hole")
BEGIN, END = "<!-- scripts/versions writes from here -->", "<!-- to here -->"
LONGEST = 200  # characters of a reason


@dataclass(frozen=True)
class Trial:
    mesos: str
    python: str  # minor version
    kit: str  # major versions of ipyparallel and ipykernel

    def __str__(self) -> str:
        ipyparallel, ipykernel = self.kit.split("/")
        return f"Mesos {self.mesos}, Python {self.python}, ipyparallel {ipyparallel}, ipykernel {ipykernel}"


def row(trial: Trial, told: Mapping[str, Any], date: str) -> str:
    """`told` is what the story has printed, or {"fault": why there was none}."""
    versions, chapters = told.get("versions", {}), told.get("chapters", {})
    majors = dict(zip(("ipyparallel", "ipykernel"), (f"{major}.*" for major in trial.kit.split("/")), strict=True))
    cells = [trial.mesos, versions.get("python", trial.python)]
    cells += [versions.get(name, wanted) for name, wanted in majors.items()]
    cells += [_verdict(chapters.get(name)) for name in CHAPTERS]
    holes = [f"{name}: {one['fault']}" for name, one in chapters.items() if one["fault"]]
    return f"| {' | '.join([*cells, date, _line(told.get('fault') or '; '.join(holes))])} |"


def _verdict(chapter: Mapping[str, Any] | None) -> str:
    return "-" if chapter is None else "**no**" if chapter["fault"] else "yes"


def _line(text: str) -> str:
    """In one cell of a table."""
    line = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


def trial_of(line: str) -> Trial:
    """What a row of the table is about."""
    mesos, python, ipyparallel, ipykernel = (cell.strip() for cell in line.strip("|").split("|")[:4])
    kit = f"{ipyparallel.partition('.')[0]}/{ipykernel.partition('.')[0]}"
    return Trial(mesos, ".".join(python.split(".")[:2]), kit)


def rewritten(page: str, rows: Mapping[Trial, str], plan: Iterable[Trial]) -> str:
    """The page with these rows in its table; others that are still planned stay as they are."""
    before, _, rest = page.partition(BEGIN)
    between, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"the page lacks {BEGIN!r} or {END!r}")
    old = {trial_of(line): line for line in between.splitlines() if line.startswith("| ") and line[2].isdigit()}
    known = {**old, **rows}
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + " --- |" * len(COLUMNS)]
    lines += [known[trial] for trial in plan if trial in known]
    return f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{after}"
