"""What the scheduler costs as a cluster grows: the whole life of up to 50,000 engines on as many agents, simulated.

Everything between the master's bytes and ours is real: events are read from JSON, observed, planned for, recorded,
turned into calls; the state is compared and written as it is saved. What is simulated is Mesos. CPU time of one thread.
"""

from __future__ import annotations

import gc
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ipymesos import mesos
from ipymesos.connection import Connection
from ipymesos.core.explain import explain
from ipymesos.core.messages import Action, EnginesWanted, Event, Ticked
from ipymesos.core.scheduler import observe_all, plan, record
from ipymesos.daemon.store import FileStore, Saved

from . import simulated
from .report import Goal, Plot, Result, Series, Table, arguments, exponent, finish, note

AT_ONCE = 100  # updates that the driver reads with one recv(): the least that a turn sees when many come
PHASES = (
    "offers read",
    "planned",
    "launches written",
    "updates to running",
    "an idle second",
    "why it waits",
    "ended",
)


class Life:
    """Of a cluster with n engines, one on each of n agents."""

    def __init__(self, n: int, folder: Path) -> None:
        self.n, self.now = n, 0.0
        self.store, self.connection = FileStore(folder / f"state-{n}.json"), Connection.new()
        self.state = simulated.wanting(n)
        self.took: dict[str, float] = {}

    def live(self) -> dict[str, float]:
        self.turn([self.read(simulated.SUBSCRIBED)])
        event = simulated.offers(self.n + 1)
        offered = self.timed("offers read", lambda: self.read(event))
        actions = self.timed("planned", lambda: self.turn([offered]))
        self.timed("launches written", lambda: self.write(actions))
        tasks = [(task.id, task.agent_id) for task in self.state.cluster.tasks.values()]
        assert len(tasks) == self.n + 1
        self.timed("why it waits", lambda: explain(self.state, self.now))
        starting, running = (list(simulated.updates(tasks, state)) for state in ("TASK_STARTING", "TASK_RUNNING"))
        self.timed("updates to running", lambda: self.hear([*starting, *running]))
        self.timed("an idle second", lambda: (self.turn([Ticked()]), explain(self.state, self.now)))
        self.turn([EnginesWanted(simulated.ENGINES, 0)])
        ends = list(simulated.updates(tasks[1:], "TASK_KILLED"))
        self.timed("ended", lambda: self.hear(ends))
        assert len(self.state.cluster.tasks) == 1
        return self.took

    def timed(self, phase: str, work: Callable[[], object]) -> list[Action] | Event:
        gc.collect()
        began = time.process_time()
        result = work()
        self.took[phase] = time.process_time() - began
        return result  # type: ignore[return-value]

    def read(self, record: bytes) -> Event:
        event = mesos.event(json.loads(record))
        assert event is not None
        return event

    def hear(self, records: Iterable[bytes]) -> None:
        """Each turn sees what could be read while the one before it went on."""
        rest, at_once = iter(records), AT_ONCE
        while some := list(itertools.islice(rest, at_once)):
            began = time.process_time()
            events = [self.read(record) for record in some]
            middle = time.process_time()
            self.write(self.turn(events))
            at_once = max(AT_ONCE, int(len(some) * (time.process_time() - middle) / (middle - began)))

    def turn(self, events: Sequence[Event]) -> list[Action]:
        """As daemon/owner.py takes one."""
        self.now += 1.0
        state = observe_all(self.state, events, self.now)
        actions = plan(state, self.now)
        acted = record(state, actions, self.now)
        if acted.cluster is not self.state.cluster:
            self.store.save(Saved(acted.cluster, self.connection, {}))
        self.state = acted
        return actions

    def write(self, actions: Iterable[Action]) -> None:
        for action in actions:
            json.dumps(mesos.call(action, self.state.cluster, lambda task: b"x" * 400, lambda task: {}))


def main() -> None:
    args = arguments(__doc__).parse_args()
    sizes = (100, 1000, 5000) if args.quick else (100, 1000, 10_000, 50_000)
    lives = {}
    for n in sizes:
        with tempfile.TemporaryDirectory(prefix="ipymesos-growth-") as folder:
            lives[n] = Life(n, Path(folder)).live()
        note(f"{n} engines: {sum(lives[n].values()):.1f} s of CPU")
    rows = [
        (phase, *(lives[n][phase] * 1000 for n in sizes), exponent(sizes, [lives[n][phase] for n in sizes]))
        for phase in PHASES
    ]
    whole = {n: sum(lives[n].values()) for n in sizes}
    rows.append(("all of it", *(whole[n] * 1000 for n in sizes), exponent(sizes, list(whole.values()))))
    columns = ("ms of CPU", *(f"{n:,} engines".replace(",", " ") for n in sizes), "exponent")
    series = tuple(Series(phase, sizes, tuple(lives[n][phase] for n in sizes)) for phase in PHASES)
    last = rows[-1][-1]
    assert isinstance(last, float)
    finish(
        Result(
            "growth",
            "Cost as a cluster grows",
            "The life of N engines on N agents, without Mesos: one event with all offers, the launches, every engine's"
            " updates to RUNNING, an idle second, the end of all of them.",
            (Table("", columns, rows),),
            (
                Plot(
                    "growth",
                    "The scheduler's CPU time by the number of engines",
                    "engines and agents",
                    "seconds",
                    series,
                ),
            ),
            goals=(
                Goal(
                    f"the scheduler's work for {sizes[-1]:,} engines".replace(",", " "),
                    "grows in proportion (1)",
                    last,
                    last <= 1.2,
                ),
            ),
        ),
        args,
    )


if __name__ == "__main__":
    main()
