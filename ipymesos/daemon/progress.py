"""What a person who watches a cluster start wants to read: one line for each thing that has changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..core import policy
from ..core.model import CONTROLLER, Everything, Exit, State, Task
from ..errors import one_line


def lines(before: Everything, after: Everything) -> Iterator[str]:
    """The lines that say what is different in `after`."""
    yield from _master(before, after)
    yield from _controller(before.cluster.controller, after.cluster.controller)
    if not after.cluster.stopping:
        for name in after.cluster.spec.engines:
            yield from _engines(before, after, name)
    yield from _failures(before, after)
    if after.cluster.stopping and not before.cluster.stopping:
        yield f"stopping: {one_line(after.cluster.stopping)}"


def _master(before: Everything, after: Everything) -> Iterator[str]:
    if after.session.connected and not before.session.connected:
        again = " again" if before.cluster.framework_id == after.cluster.framework_id else ""
        yield f"registered{again} with Mesos master {after.session.master} as framework {after.cluster.framework_id}"
    elif before.session.connected and not after.session.connected and not before.session.torn_down:
        yield "lost the Mesos master; what runs goes on running"


def _controller(old: Task | None, new: Task | None) -> Iterator[str]:
    if new is None:
        return
    if old is None or old.id != new.id:
        yield f"controller launched on {new.hostname} ({new.ip}), ports {ranges(new.ports)}"
        old = None
    if new.state is State.RUNNING and (old is None or old.state is not State.RUNNING):
        yield f"controller running after {new.since - new.launched_at:.1f} s"


def _engines(before: Everything, after: Everything, name: str) -> Iterator[str]:
    wanted = after.cluster.spec.engines[name].n
    old_wanted = before.cluster.spec.engines[name].n if name in before.cluster.spec.engines else 0
    old, new = (_running(state, name) for state in (before, after))
    if (old, old_wanted) != (new, wanted):
        hosts = len({t.agent_id for t in policy.live(after.cluster, name)})
        where = f" on {hosts} agent{'s' * (hosts != 1)}" if new else ""
        yield f"engine set {name!r}: {new}/{wanted} engines running{where}"


def _running(state: Everything, name: str) -> int:
    return len(policy.usable(state.cluster, name))


def _failures(before: Everything, after: Everything) -> Iterator[str]:
    seen = {end.task_id for end in before.cluster.exits}
    ends = [end for end in after.cluster.exits if end.task_id not in seen and not end.asked]
    # Engines of one pack mostly end together, and for the same reason.
    for (group, host, state, said), n in Counter((e.group, e.hostname, e.state, why(e)) for e in ends).items():
        what = "controller" if group == CONTROLLER else f"{n} engine{'s' * (n != 1)} of set {group!r}"
        yield f"{what} on {host} ended ({state}): {said}"
    for group, setback in after.cluster.setbacks.items():
        if setback.final and before.cluster.setbacks.get(group) != setback:
            what = "the controller" if group == CONTROLLER else f"engine set {group!r}"
            yield f"gave up {what}: {one_line(setback.message)}"


def why(end: Exit) -> str:
    return one_line(end.message) or end.reason or end.state


def ranges(ports: tuple[int, ...]) -> str:
    """'31000-31017' or '31000-31002, 31010'."""
    runs: list[list[int]] = []
    for port in ports:
        if runs and port == runs[-1][1] + 1:
            runs[-1][1] = port
        else:
            runs.append([port, port])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
