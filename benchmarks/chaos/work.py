"""What users lose: a counter in each engine's namespace, and a stream of load-balanced work with retries."""

from __future__ import annotations

import itertools
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ipyparallel as ipp
from ipyparallel.util import interactive

PATIENCE = 90.0  # seconds until what has not answered is lost


@interactive
def bump(fresh: str) -> tuple[str, int]:
    """Runs in an engine: count in its namespace, and name it at the first time."""
    global chaos_life, chaos_count
    try:
        chaos_count += 1
    except NameError:
        chaos_life, chaos_count = fresh, 1
    return chaos_life, chaos_count


@interactive
def toil(number: int, seconds: float, ledger: str) -> int:
    """Runs in some engine: work for a while, and leave a line that says where it was done."""
    import os
    import time

    time.sleep(seconds)
    line = f"{number} {globals().get('chaos_life', 'unnamed')}\n".encode()
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line)
    os.close(file)
    return number


@dataclass
class Life:
    """One engine's namespace."""

    name: str
    engine_id: int
    count: int = 0  # the highest that was answered
    seen: float = 0.0  # when it was last asked and answered, by time.monotonic


@dataclass
class Losses:
    namespaces: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)


class Counters(threading.Thread):
    """One request at a time to each engine, for ever: its namespace counts them."""

    def __init__(self, client: ipp.Client) -> None:
        super().__init__(name="counters", daemon=True)
        self.client = client
        self.lives: dict[str, Life] = {}
        self.losses = Losses()
        self.ended = threading.Event()
        self._asked: dict[int, tuple[Any, float]] = {}  # engine id -> request, and when it was sent
        self._sent: Counter[int] = Counter()  # requests to each engine id

    def run(self) -> None:
        while not self.ended.wait(0.05):
            for engine_id in list(self.client.ids):
                if engine_id not in self._asked:
                    try:
                        asked = self.client[engine_id].apply_async(bump, uuid.uuid4().hex)
                        self._asked[engine_id] = asked, time.monotonic()
                        self._sent[engine_id] += 1
                    except (IndexError, KeyError, ipp.error.NoEnginesRegistered):
                        continue  # it has gone in this moment
            for engine_id, (asked, since) in list(self._asked.items()):
                if asked.ready():
                    del self._asked[engine_id]
                    if asked.successful():
                        self._note(engine_id, since, *asked.get())

    def _note(self, engine_id: int, since: float, name: str, count: int) -> None:
        life = self.lives.setdefault(name, Life(name, engine_id))
        if count <= life.count:
            self.losses.namespaces.append(f"engine {engine_id} counted {count} after {life.count}")
        if count > self._sent[engine_id] and life.engine_id == engine_id:
            self.losses.doubled.append(f"engine {engine_id} counted {count} of {self._sent[engine_id]} requests")
        life.count, life.seen, life.engine_id = max(count, life.count), since, engine_id

    def alive(self, since: float) -> dict[str, Life]:
        """The namespaces that have answered what they were asked since then, by time.monotonic."""
        return {name: life for name, life in list(self.lives.items()) if life.seen > since}


class Work(threading.Thread):
    """Load-balanced tasks, as many at a time as keep all engines busy."""

    def __init__(self, client: ipp.Client, ledger: Path, seen_as: str, at_once: int, seed: int) -> None:
        super().__init__(name="work", daemon=True)
        self.view = client.load_balanced_view()
        self.view.retries = 5
        self.ledger, self.seen_as, self.at_once = ledger, seen_as, at_once
        self.chance = random.Random(seed)
        self.losses = Losses()
        self.done = 0
        self.ended = threading.Event()
        self._running: dict[int, tuple[Any, float]] = {}

    def run(self) -> None:
        numbers = itertools.count()
        while not self.ended.wait(0.02):
            while len(self._running) < self.at_once:
                number = next(numbers)
                task = self.view.apply_async(toil, number, self.chance.uniform(0.0, 0.4), self.seen_as)
                self._running[number] = (task, time.monotonic())
            self._collect()
        deadline = time.monotonic() + PATIENCE
        while self._running and time.monotonic() < deadline:
            self._collect()
            time.sleep(0.05)
        self.losses.results += [f"task {number} never answered" for number in self._running]

    def _collect(self) -> None:
        for number, (task, since) in list(self._running.items()):
            if task.ready():
                del self._running[number]
                self.done += 1
                if not task.successful():
                    self.losses.results.append(f"task {number}: {task.exception()!r}"[:300])
                elif task.get() != number:
                    self.losses.results.append(f"task {number} was answered {task.get()}")
            elif time.monotonic() - since > PATIENCE:
                del self._running[number]
                self.losses.results.append(f"task {number} had no answer after {PATIENCE:.0f} s")

    def audit(self, dead: Iterable[str]) -> int:
        """Look for work done twice; returns how often that was right, since the engine had died with its answer."""
        excused = set(dead) | {"unnamed"}
        done: dict[str, list[str]] = {}
        for line in self.ledger.read_text().splitlines():
            number, life = line.split()
            done.setdefault(number, []).append(life)
        repeated = 0
        for number, lives in done.items():
            if len(lives) < 2:
                continue
            if len(set(lives)) == len(lives) and sum(life not in excused for life in lives) <= 1:
                repeated += 1
            else:
                self.losses.doubled.append(f"task {number} was done by {lives}")
        return repeated
