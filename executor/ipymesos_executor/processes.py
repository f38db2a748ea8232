"""What Linux tells about processes (proc(5)) and does for them (prctl(2)). Nothing here knows of Mesos or engines."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Collection, Iterator

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PAGE, TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")

_libc = ctypes.CDLL(None, use_errno=True)  # loaded once, before any fork


def die_with_parent(signum: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent ends, however that comes about."""
    _prctl(PR_SET_PDEATHSIG, signum)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent has ended, as pid 1 of a container is anyway."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _stats() -> Iterator[tuple[int, list[bytes]]]:
    """Every process that can be seen, and what its stat file says, from its state on."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                yield int(name), file.read().rpartition(b")")[2].split()  # the name before may hold blanks and brackets
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile


def _table() -> Iterator[tuple[int, int, int]]:
    """(pid, parent's pid, session) of every process that can be seen."""
    for pid, fields in _stats():
        yield pid, int(fields[1]), int(fields[3])


def usage(sessions: Collection[int]) -> dict[int, tuple[int, float]]:
    """What these sessions use: resident bytes, and CPU seconds, those of children that have ended included.

    Pages that several processes share count in each. One look at /proc for all.
    """
    used = {session: (0, 0) for session in sessions}
    for _, fields in _stats():
        if (session := int(fields[3])) in used:
            pages, ticks = used[session]
            used[session] = (pages + int(fields[21]), ticks + sum(map(int, fields[11:15])))
    return {session: (pages * PAGE, ticks / TICKS) for session, (pages, ticks) in used.items()}


def session_members(*sessions: int) -> list[int]:
    """The processes of these sessions, their leaders included: one look at /proc for all."""
    return [pid for pid, _, of in _table() if of in sessions]


def children() -> list[int]:
    """Our own, those included that we have adopted."""
    return [pid for pid, parent, _ in _table() if parent == os.getpid()]


def has_ended(child: int) -> bool:
    """A child of ours has, and waits to be reaped: until then its number is given to nobody else."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def descendants(root: int) -> list[int]:
    """Every process below `root`, without `root` itself."""
    children: dict[int, list[int]] = {}
    for pid, parent, _ in _table():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    todo = [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def send(pids: list[int], signum: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, signum)
        except ProcessLookupError:
            continue  # it was faster
