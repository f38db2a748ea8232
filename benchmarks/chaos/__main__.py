"""Kill and pause whatever a cluster is made of, at random, while it works, and count what is lost.

A real Mesos whose masters and agents are processes of their own, a cluster of ours on it, a counter in the namespace
of each engine, and a stream of load-balanced work with retries. After each fault we wait until every wanted engine
answers again. A table at the end; the exit status is 1 when anything was lost, doubled or left over.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from .faults import FAULTS, Cost, Fault
from .work import Counters, Life, Work
from .world import World

WHOLE_AGAIN = 120.0  # seconds until a cluster that is not whole again is called broken
CALM = (0.5, 4.0)  # seconds between two faults


@dataclass
class Record:
    seconds: list[float] = field(default_factory=list)  # to wanted = live, and every engine answering
    namespaces: int = 0  # lost that should not have been
    broken: int = 0  # not whole again


class Soak:
    def __init__(self, world: World, faults: Sequence[Fault], seed: int) -> None:
        self.world, self.faults, self.chance = world, faults, random.Random(seed)
        self.records = {fault.name: Record() for fault in faults}
        self.dead: set[str] = set()  # lives that ended as they may
        self.lost: list[str] = []
        self.present: dict[str, Life] = {}  # who had answered when the cluster was last whole

    def run(self, minutes: float, counters: Counters) -> None:
        self.counters = counters
        self.whole(time.monotonic())
        end, deck = time.monotonic() + 60 * minutes, list[Fault]()
        while time.monotonic() < end:
            if not deck:
                deck = [fault for fault in self.faults for _ in range(fault.times)]
                self.chance.shuffle(deck)
            self.strike(deck.pop())
            time.sleep(self.chance.uniform(*CALM))

    def strike(self, fault: Fault) -> None:
        record = self.records[fault.name]
        tasks = {task["engine_id"]: name for name, task in self.world.engine_tasks().items()}
        before = self.present
        cost = fault.do(self.world, self.chance)
        if cost is None:
            return
        began = time.monotonic()
        if not self.whole(began):
            record.broken += 1
            print(f"not whole again after {WHOLE_AGAIN:.0f} s: {fault.name}; {self.world.status()}", flush=True)
            return
        record.seconds.append(time.monotonic() - began)
        gone = [life for name, life in before.items() if name not in self.present]
        lost = self.unexcused(gone, tasks, cost)
        record.namespaces += len(lost)
        self.lost += [f"{fault.name}: engine {life.engine_id} ({tasks.get(life.engine_id)})" for life in lost]
        self.dead |= {life.name for life in gone}
        print(f"{record.seconds[-1]:6.1f} s  {fault.name}{f', LOST {lost}' if lost else ''}", flush=True)

    @staticmethod
    def unexcused(gone: list[Life], tasks: dict[int, str], cost: Cost) -> list[Life]:
        lost = [life for life in gone if tasks.get(life.engine_id) not in cost.tasks]
        return lost[cost.retired :]

    def whole(self, since: float) -> bool:
        """Wait until as many engines as are wanted have answered since then, and the scheduler knows as many."""
        n, deadline = self.world.engines, time.monotonic() + WHOLE_AGAIN
        while time.monotonic() < deadline:
            self.present = self.counters.alive(since)
            if len(self.present) >= n and (known := self.world.complete()) is not None:
                if known == {life.engine_id for life in self.present.values()}:
                    return True
                since = time.monotonic()  # some of them have retired since: who answers from now on?
                time.sleep(1.0)
            time.sleep(0.05)
        return False

    def table(self) -> str:
        lines = [
            "| fault | times | median s | worst s | namespaces lost | not whole again |",
            "| --- | --: | --: | --: | --: | --: |",
        ]
        for name, record in self.records.items():
            times = record.seconds
            median, worst = (f"{statistics.median(times):.1f}", f"{max(times):.1f}") if times else ("-", "-")
            lines.append(f"| {name} | {len(times)} | {median} | {worst} | {record.namespaces} | {record.broken} |")
        return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", nargs="?", type=float, default=5.0, help="how long (default: 5)")
    parser.add_argument("--seed", type=int, default=None, help="of a run to repeat (default: a new one, printed)")
    parser.add_argument("--container", choices=["process", "mesos", "docker"], default="process")
    parser.add_argument("--image", default="", help="with ipymesos-executor in it, for mesos and docker")
    parser.add_argument("--agents", type=int, default=3)
    parser.add_argument("--masters", type=int, default=3, help="which elect their leader at a ZooKeeper: 1, 3 or 5")
    parser.add_argument("--engines", type=int, default=12)
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="faults with this word in the name")
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    here = [fault for fault in FAULTS if fault.container in ("", args.container)]
    faults = [fault for fault in here if all(word in fault.name for word in args.only)]
    if not faults:
        parser.error(f"--only: no fault is called so; there are: {', '.join(fault.name for fault in here)}")
    print(f"seed {seed}, {args.minutes:g} minutes, {args.engines} engines on {args.agents} agents, {args.container}")
    with World(args.container, args.image, args.agents, args.engines, args.masters) as world:
        soak = Soak(world, faults, seed)
        with world.client() as client:
            counters = Counters(client)
            work = Work(client, world.ledger, world.ledger_inside, 2 * args.engines, seed)
            counters.start()
            work.start()
            soak.run(args.minutes, counters)
            work.ended.set()
            work.join()
            counters.ended.set()
            counters.join()
        repeated = work.audit(soak.dead)
    return report(soak, work, counters, world, repeated)


def report(soak: Soak, work: Work, counters: Counters, world: World, repeated: int) -> int:
    lost = {
        "namespaces lost": soak.lost + counters.losses.namespaces,
        "results lost": work.losses.results,
        "work doubled": work.losses.doubled + counters.losses.doubled,
        "left over": world.leftovers,
    }
    print(f"\n{soak.table()}\n")
    print(f"{work.done} results, {sum(life.count for life in counters.lives.values())} counts; {repeated} tasks were")
    print("done again because their engine died with the answer (retries)")
    for name, found in lost.items():
        print(f"{name}: {len(found)}")
        for line in found[:20]:
            print(f"  {line}")
    return int(any(lost.values()) or any(record.broken for record in soak.records.values()))


if __name__ == "__main__":
    sys.exit(main())
