"""Which engines work, and for how long: one number per process, in memory that the zygote shares with all it forks.

The engine writes, the zygote reads; nobody is asked and nobody waits.
"""

from __future__ import annotations

import mmap
import time

MOST = 1 << 16  # processes of one zygote at a time; more than Linux gives to a container


class Load:
    """In each slot the moment (time.monotonic, the same clock in every process) its present work began; 0: idle."""

    def __init__(self) -> None:
        self._begun = memoryview(mmap.mmap(-1, 8 * MOST)).cast("d")
        self._free = list(range(MOST - 1, -1, -1))

    def take(self) -> int:
        return self._free.pop()

    def give_back(self, slot: int) -> None:
        self._begun[slot] = 0.0
        self._free.append(slot)

    def seconds(self, slot: int) -> float:
        """For how long the work of this slot has run."""
        begun = self._begun[slot]
        return max(1e-3, time.monotonic() - begun) if begun else 0.0

    def mine(self, slot: int) -> Mine:
        return Mine(self._begun[slot : slot + 1])


class Mine:
    """This process' own slot."""

    def __init__(self, begun: memoryview | None = None) -> None:
        self._begun = memoryview(bytearray(8)).cast("d") if begun is None else begun

    @property
    def busy(self) -> bool:
        return bool(self._begun[0])

    def begin(self) -> None:
        self._begun[0] = time.monotonic()

    def end(self) -> None:
        self._begun[0] = 0.0


mine = Mine()  # replaced in whatever the zygote forks
