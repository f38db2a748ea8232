"""Which engines work, and for how long: one number per process, in memory that the zygote shares with all it forks.

The engine writes, the zygote reads; nobody is asked and nobody waits.
"""

from __future__ import annotations

import mmap
import time

MOST = 1 << 16  # processes of one zygote at a time; more than Linux gives to a container


class Load:
    """In each slot the moment its present work began, or minus the moment its last work ended.

    By time.monotonic, the same clock in every process.
    """

    def __init__(self) -> None:
        self._since = memoryview(mmap.mmap(-1, 8 * MOST)).cast("d")
        self._free = list(range(MOST - 1, -1, -1))

    def take(self) -> int:
        slot = self._free.pop()
        self._since[slot] = -time.monotonic()
        return slot

    def give_back(self, slot: int) -> None:
        self._free.append(slot)

    def seconds(self, slot: int) -> float:
        """For how long the work of this slot has run; minus how long it has been idle."""
        since = self._since[slot]
        return max(1e-3, time.monotonic() - since) if since > 0 else min(0.0, -since - time.monotonic())

    def mine(self, slot: int) -> Mine:
        return Mine(self._since[slot : slot + 1])


class Mine:
    """This process' own slot."""

    def __init__(self, since: memoryview | None = None) -> None:
        self._since = memoryview(bytearray(8)).cast("d") if since is None else since

    @property
    def busy(self) -> bool:
        return bool(self._since[0] > 0)

    def begin(self) -> None:
        self._since[0] = time.monotonic()

    def end(self) -> None:
        self._since[0] = -time.monotonic()


mine = Mine()  # replaced in whatever the zygote forks
