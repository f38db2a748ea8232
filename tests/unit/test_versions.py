"""The runner of the version table: what it tries, and what it writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ipymesos.local.archive import RELEASES
from tests.versions import table
from tests.versions.__main__ import NEWEST, PAGE, plan
from tests.versions.environments import KITS, PYTHONS, CannotMake, find
from tests.versions.table import CHAPTERS, Trial

ROOT = Path(__file__).resolve().parents[2]
TRIAL = Trial("1.9.0", "3.11", "9/7")
VERSIONS = {"python": "3.11.7", "ipyparallel": "9.2.0", "ipykernel": "7.4.0"}


def told(**faults: str) -> dict[str, Any]:
    return {
        "versions": VERSIONS,
        "chapters": {name: {"seconds": 1, "fault": faults.get(name, "")} for name in CHAPTERS},
    }


def test_everything_is_tried_at_least_once() -> None:
    trials = plan()
    assert {trial.mesos for trial in trials} == set(RELEASES)
    assert {(trial.python, trial.kit) for trial in trials if trial.mesos == NEWEST} >= {(p, KITS[0]) for p in PYTHONS}
    assert {trial.kit for trial in trials} == set(KITS)
    assert len(trials) == len(set(trials))


def test_a_row_says_what_was_tried_and_where_the_hole_is() -> None:
    whole = table.row(TRIAL, told(), "2026-01-01")
    assert whole == f"| 1.9.0 | 3.11.7 | 9.2.0 | 7.4.0 |{' yes |' * len(CHAPTERS)} 2026-01-01 |  |"
    holed = table.row(TRIAL, told(stop="OSError: a | b\n<x>"), "2026-01-01")
    assert holed.endswith("| **no** | 2026-01-01 | stop: OSError: a \\| b &lt;x> |")
    never = table.row(TRIAL, {"fault": "there is no Python 3.11"}, "2026-01-01")
    assert never == f"| 1.9.0 | 3.11 | 9.* | 7.* |{' - |' * len(CHAPTERS)} 2026-01-01 | there is no Python 3.11 |"
    assert [table.trial_of(row) for row in (whole, holed, never)] == [TRIAL] * 3


def test_rows_that_were_not_tried_again_stay_and_those_no_longer_planned_go() -> None:
    other, gone = Trial("1.10.0", "3.11", "9/7"), Trial("1.0.0", "3.11", "9/7")
    rows = {trial: table.row(trial, told(), "2026-01-01") for trial in (TRIAL, other, gone)}
    page = table.rewritten(f"before\n{table.BEGIN}\n{table.END}\nafter\n", rows, [TRIAL, other, gone])
    new = table.row(other, {"fault": "x"}, "2026-02-02")
    again = table.rewritten(page, {other: new}, [other, TRIAL])
    assert again.startswith(f"before\n{table.BEGIN}\n\n| Mesos |") and again.endswith(f"{table.END}\nafter\n")
    assert [line for line in again.splitlines() if line.startswith("| 1.")] == [new, rows[TRIAL]]
    with pytest.raises(ValueError, match="lacks"):
        table.rewritten("nothing", rows, plan())


def test_the_page_has_a_row_for_everything_that_is_planned() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| 1.") and line.count("|") > 9]
    assert [table.trial_of(row) for row in rows] == plan()


def test_pythons_are_found_or_named() -> None:
    minor = ".".join(map(str, sys.version_info[:2]))
    assert subprocess.check_output([find(minor), "-V"], text=True).startswith(f"Python {minor}.")
    with pytest.raises(CannotMake, match="there is no Python 2.1 "):
        find("2.1")


def test_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.versions", "--list", "--mesos", NEWEST, "--kit", KITS[-1]],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Mesos 1.11.0, Python 3.11, ipyparallel 8, ipykernel 6" in done.stdout.splitlines()
    assert "1.4.3" not in done.stdout
