"""Run the story of tests/versions on Mesos releases, Pythons and ipyparallels, and write docs/compatibility.md.

Without options: every release of Mesos with one Python and ipyparallel, every Python and every ipyparallel with the
newest Mesos, and corners. With options: those of them that match; the other rows of the table stay.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

from ipymesos.local.archive import RELEASES, cache_folder

from . import table
from .environments import KITS, PYTHONS, ROOT, CannotMake, Workshop
from .table import Trial

PAGE = ROOT / "docs" / "compatibility.md"
STORY = Path(__file__).with_name("story.py")
USUAL = "3.11", KITS[0]
LONGEST = 600.0  # seconds of one story
NEWEST, OLDEST = list(RELEASES)[-1], next(iter(RELEASES))


def plan() -> list[Trial]:
    trials = [Trial(release, *USUAL) for release in RELEASES]
    trials += [Trial(NEWEST, python, USUAL[1]) for python in PYTHONS]
    trials += [Trial(NEWEST, USUAL[0], kit) for kit in KITS]
    trials += [Trial(OLDEST, python, KITS[0]) for python in (PYTHONS[0], PYTHONS[-1])]
    return list(dict.fromkeys(trials))


def attempt(trial: Trial, workshop: Workshop) -> dict[str, Any]:
    """What the story says, or {"fault": why there is none}."""
    try:
        python = workshop.python(trial.python, trial.kit)
    except CannotMake as error:
        return {"fault": str(error)}
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "IPYMESOS_", "VIRTUAL_ENV"))}
    command = [str(python), str(STORY), trial.mesos]
    try:
        done = subprocess.run(
            command, cwd="/", env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=LONGEST
        )
        return dict(json.loads(done.stdout))
    except subprocess.TimeoutExpired:
        return {"fault": f"the story did not end within {LONGEST:g} s"}
    except ValueError:
        return {"fault": f"the story ended with exit status {done.returncode}"}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/versions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mesos", metavar="V", action="append", choices=list(RELEASES), help=", ".join(RELEASES))
    parser.add_argument("--python", metavar="V", action="append", choices=PYTHONS, help=", ".join(PYTHONS))
    parser.add_argument(
        "--kit", metavar="K", action="append", choices=KITS, help=f"ipyparallel/ipykernel: {', '.join(KITS)}"
    )
    parser.add_argument("--list", action="store_true", help="say what would be tried, and do nothing")
    parser.add_argument("--cache", metavar="DIR", type=Path, help="where the environments are kept, 250 MB each")
    args = parser.parse_args()
    asked = {"mesos": args.mesos, "python": args.python, "kit": args.kit}
    chosen = [t for t in plan() if all(not some or getattr(t, name) in some for name, some in asked.items())]
    if args.list:
        print(*chosen, sep="\n")
        return 0
    workshop = Workshop.open((args.cache or cache_folder() / "versions").absolute())
    faults = 0
    for number, trial in enumerate(chosen, 1):
        print(f"[{number}/{len(chosen)}] {trial}", flush=True)
        row = table.row(trial, attempt(trial, workshop), date.today().isoformat())
        print(row, flush=True)
        faults += not row.endswith("|  |")
        PAGE.write_text(table.rewritten(PAGE.read_text(), {trial: row}, plan()))
    print(f"{len(chosen) - faults} of {len(chosen)} without a hole; the table is in {PAGE.relative_to(ROOT)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
