"""Why a process ended, in words: its exit status, its signal, or the kernel's lack of memory."""

from __future__ import annotations

import signal
import time
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60  # cgroup v1 says "no limit" with a number near 2**63


def words(status: int) -> str:
    """Of an exit code as os.waitstatus_to_exitcode gives it: negative = minus the signal's number."""
    if status >= 0:
        return f"exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"killed by {name}"


class MemoryWatch:
    """The kernel's counter of out-of-memory kills in our own container; cgroup v1 and v2.

    It says how many processes were killed, not which: a kill explains one death by SIGKILL shortly after it. Kills of
    others, the engines' children for example, must not explain anything later, hence the need to `look` regularly.
    `memory.oom_control` (v1) and `memory.events` (v2) count the processes killed in this group; see the
    kernel's admin-guide/cgroup-v1/memory.rst and admin-guide/cgroup-v2.rst.
    """

    recent = 5.0  # seconds

    def __init__(self, root: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> None:
        self._events, self._limit = _files(root, membership)
        self._seen = self._count()
        self._kills: list[float] = []  # when we noticed those that have explained nothing yet

    def look(self) -> None:
        count = self._count()
        self._kills += [time.monotonic()] * (count - self._seen)
        self._seen = count

    def killed(self) -> bool:
        """Was a process that has just died by SIGKILL one of those? Each kill counts for one process."""
        self.look()
        self._kills = [at for at in self._kills if time.monotonic() - at < self.recent]
        if not self._kills:
            return False
        self._kills.pop(0)
        return True

    def message(self) -> str:
        limit = self.limit()
        if limit is None:
            return "OOM: the machine had no memory left"
        return f"OOM: the container's memory limit of {limit} MB was reached"

    def limit(self) -> int | None:
        """MB; None if this container has no limit of its own."""
        try:
            text = self._limit.read_text().strip() if self._limit else "max"
        except OSError:
            return None
        return None if text == "max" or int(text) >= UNLIMITED else int(text) >> 20

    def _count(self) -> int:
        try:
            text = self._events.read_text() if self._events else ""
        except OSError:
            return 0
        for line in text.splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
        return 0


def _files(root: Path, membership: Path) -> tuple[Path | None, Path | None]:
    """The files with the counter and with the limit. In a container the group's own folder is often the root."""
    for line in membership.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            base, events, limit = root / "memory", "memory.oom_control", "memory.limit_in_bytes"
        elif not controllers:
            base, events, limit = root, "memory.events", "memory.max"
        else:
            continue
        for folder in (base / path.lstrip("/"), base):
            if (folder / events).exists():
                return folder / events, folder / limit
    return None, None
