"""Whether a setting of ipyparallel's controller makes a cluster of packs faster: clusters with one of them each.

All live at once and are asked in turn, as in benchmarks.work, whose work this is.
"""

from __future__ import annotations

from .report import Result, Table, arguments, finish, spread
from .work import FEW, MANY, WORK, Side, measure, ratio

RUNS = 3
USUAL = "as it comes"
# What TaskScheduler, the hub's database and the tree for broadcasts can be told (ipyparallel: reference/configuration).
SETTINGS = {
    USUAL: Side(),
    "scheme lru": Side(controller=("--TaskScheduler.scheme_name=lru",)),
    "hwm 0": Side(controller=("--TaskScheduler.hwm=0",)),
    "hwm 8": Side(controller=("--TaskScheduler.hwm=8",)),
    "db_class dictdb": Side(controller=("--IPController.db_class=dictdb",)),
    "broadcast depth 0": Side(options={"broadcast_scheduler_depth": 0}),
    "broadcast depth 3": Side(options={"broadcast_scheduler_depth": 3}),
}
SHARE = 0.3  # of what benchmarks.work does: there are twice as many clusters


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each work, for each setting (default: {RUNS})")
    args = parser.parse_args()
    runs, share = (2, 0.05) if args.quick else (args.runs, SHARE)
    settings = [setting for setting in SETTINGS if setting != USUAL]
    rows = []
    for n in (FEW, MANY):
        works = [name for name, work in WORK.items() if work.engines == n]
        for name, times in measure(n, runs, share, SETTINGS, works).items():
            usual = times[USUAL]
            speeds = [ratio(times[setting], usual) for setting in settings]
            work = WORK[name]
            rows.append((f"{name} ({work.unit})", spread([t * work.factor for t in usual]), *speeds))
    finish(
        Result(
            "settings",
            "Settings of the controller",
            f"The same work as above, {share:g} of it, on clusters whose controller is told one thing each: what it "
            "takes as it comes, and the speed with each setting as a part of that. More than 1 means faster.",
            (Table("", ("work", USUAL, *settings), rows),),
            remarks=(
                "As it comes: scheme leastload, hwm 1, no database, broadcast depth 1. hwm is how many tasks an engine "
                "may have at once; 0 is any number, which leaves tasks queued at busy engines while others idle.",
                "Scheme pure is not there: ipyparallel's client gives up balanced work under it as soon as engines "
                "come or go otherwise than in the order of their ids.",
            ),
        ),
        args,
    )


if __name__ == "__main__":
    main()
