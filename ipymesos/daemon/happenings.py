"""What has happened to the cluster, from two states of it: the words of the log, of the events and of who watches.

Pure. One Happening for all tasks of a group that something has befallen in one turn, so that a thousand engines which
start at once are a few lines.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Any

from ..core import policy
from ..core.cluster import Cluster, Exit, State, Task
from ..core.session import Everything
from ..core.specs import CONTROLLER
from ..errors import one_line
from .vocabulary import Happening, cause, why


def happenings(before: Everything, after: Everything) -> Iterator[Happening]:
    """What is different in `after`, in the order in which it is worth telling."""
    yield from _master(before, after)
    if before.cluster is not after.cluster:
        yield from _agents_of(before, after)
        yield from _wishes(before.cluster, after.cluster)
        if before.cluster.tasks is not after.cluster.tasks:
            yield from _tasks(before.cluster, after.cluster)
        yield from _setbacks(before.cluster, after.cluster)
        if after.cluster.stopping and not before.cluster.stopping:
            reason = one_line(after.cluster.stopping)
            yield Happening("stopping", f"stopping: {reason}", reason=reason)


def _master(before: Everything, after: Everything) -> Iterator[Happening]:
    old, new = before.session, after.session
    if new.connected and not old.connected:
        again = " again" if before.cluster.framework_id == after.cluster.framework_id else ""
        text = f"registered{again} with Mesos master {new.master} as framework {after.cluster.framework_id}"
        yield Happening("master_registered", text)
    elif old.connected and not new.connected and not old.torn_down:
        yield Happening("master_lost", "lost the Mesos master; what runs goes on running")
    elif old.seen is not new.seen and new.subscribed_at == old.subscribed_at:
        for agent_id in sorted(old.seen - new.seen):
            host = _host(before, agent_id)
            yield Happening("agent_lost", f"the master has lost agent {host}", agents=(host,))


def _agents_of(before: Everything, after: Everything) -> Iterator[Happening]:
    old, new = before.cluster, after.cluster
    for agent_id in sorted(new.draining.keys() - old.draining.keys()):
        host, when = _host(before, agent_id), new.draining[agent_id].starts
        at = datetime.fromtimestamp(when, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
        yield Happening("agent_draining", f"agent {host} is to be taken away from {at} on", agents=(host,))
    for agent_id in sorted(old.draining.keys() - new.draining.keys()):
        host = _host(before, agent_id)
        yield Happening("agent_stays", f"agent {host} is not to be taken away any more", agents=(host,))
    for agent_id, trouble in new.troubles.items():
        known = old.troubles.get(agent_id)
        if trouble != known and trouble.failures >= policy.TROUBLED:
            host, rest = _host(before, agent_id), trouble.until - _latest(new)
            text = (
                f"{trouble.failures} launches in a row have failed on agent {host}: it is left alone for {rest:.0f} s"
            )
            yield Happening("agent_failing", f"{text} if there are others", agents=(host,), seconds=round(rest, 3))
    for agent_id in sorted(old.troubles.keys() - new.troubles.keys()):
        if old.troubles[agent_id].failures >= policy.TROUBLED and any(t.agent_id == agent_id for t in _all(new)):
            host = _host(after, agent_id)
            yield Happening("agent_works", f"a launch on agent {host} has worked", agents=(host,))


def _wishes(old: Cluster, new: Cluster) -> Iterator[Happening]:
    if new.stopping or old.spec is new.spec:
        return
    for name, engines in new.spec.engines.items():
        known = old.spec.engines.get(name)
        if known is None or (known.n, known.revision) != (engines.n, engines.revision):
            n, running = engines.n, len(policy.usable(new, name))
            text = f"engine set {name!r}: {n} engine{'s' * (n != 1)} wanted, {running} running"
            yield Happening("engines_wanted", text, name, running=running, wanted=n)
    for name in old.spec.engines.keys() - new.spec.engines.keys():
        yield Happening("engines_dropped", f"engine set {name!r} is wanted no more", name, wanted=0)


# --- tasks ---------------------------------------------------------------------------------------------------


def _tasks(old: Cluster, new: Cluster) -> Iterator[Happening]:
    """One look at all tasks, and another one at those of groups in which something has changed."""
    touched = {name: task for name, task in new.tasks.items() if old.tasks.get(name) is not task}
    ended = [task for name, task in old.tasks.items() if name not in new.tasks]
    groups = {task.group for task in (*touched.values(), *ended)}
    if CONTROLLER in groups:  # with it engines become usable
        groups.update(new.spec.engines)
    for group in dict.fromkeys(g for g in (CONTROLLER, *new.spec.engines, *old.spec.engines, *groups) if g in groups):
        make, usable = _controller if group == CONTROLLER else _engines, policy.usable(new, group)
        became = _became(old, new, [task for task in touched.values() if task.group == group])
        if CONTROLLER in groups:
            known = {task.id: task.controller for task in policy.usable(old, group)}
            fresh = [task for task in usable if known.get(task.id) != task.controller]
        else:
            fresh = [task for task in usable if task.id in touched and not _was_usable(old, task)]
        became["running"] = [task for task in fresh if not _moved(old, task)]
        became["moved"] = [task for task in fresh if _moved(old, task)]
        for what, tasks in became.items():
            if tasks:
                yield from make(new, group, what, tasks, usable)
        yield from _ends(new, group, [task for task in ended if task.group == group], len(usable))


def _became(old: Cluster, new: Cluster, touched: list[Task]) -> dict[str, list[Task]]:
    became: dict[str, list[Task]] = {"launched": [], "unreachable": [], "retiring": []}
    for task in touched:
        known = old.tasks.get(task.id)
        if known is None:
            became["launched"].append(task)
        elif task.state is State.UNREACHABLE and known.state is not State.UNREACHABLE:
            became["unreachable"].append(task)
        elif task.doomed and not known.doomed and not new.stopping:
            became["retiring"].append(task)
    return became


def _was_usable(old: Cluster, task: Task) -> bool:
    """With the same controller, which has not changed."""
    known = old.tasks.get(task.id)
    return known is not None and known.state is State.RUNNING and known.controller == task.controller


def _moved(old: Cluster, task: Task) -> bool:
    known = old.tasks.get(task.id)
    return known is not None and known.state is State.RUNNING and known.controller != task.controller


def _controller(new: Cluster, group: str, what: str, tasks: list[Task], usable: list[Task]) -> Iterator[Happening]:
    for task in tasks:
        seconds = None
        if what == "launched":
            text = f"controller launched on {task.hostname} ({task.ip}), ports {ranges(task.ports)}"
        elif what == "running":
            seconds = round(task.since - task.launched_at, 3)
            text = f"controller running after {seconds:.1f} s"
        elif what == "retiring":
            text = f"controller on {task.hostname} is asked to end"
        else:
            text = f"controller on {task.hostname} is unreachable"
        yield Happening(f"controller_{what}", text, group, (task.id,), (task.hostname,), seconds=seconds)


def _engines(new: Cluster, group: str, what: str, tasks: list[Task], usable: list[Task]) -> Iterator[Happening]:
    running, wanted = len(usable), _wanted(new, group)
    n, hosts = len(tasks), _hosts(tasks)
    some, where = f"{n} engine{'s' * (n != 1)}", hosts[0] if len(hosts) == 1 else f"{len(hosts)} agents"
    if what in ("running", "moved"):
        everywhere = len({task.agent_id for task in usable})
        text = f"{running}/{wanted} engines running on {everywhere} agent{'s' * (everywhere != 1)}"
        text += ", with the new controller" if what == "moved" else ""
    elif what == "retiring":
        text = f"{some} on {where} asked to end"
    else:
        text = f"{some} {what} on {where}"
    yield Happening(
        f"engines_{what}", f"engine set {group!r}: {text}", group, _ids(tasks), hosts, running=running, wanted=wanted
    )


def _ends(new: Cluster, group: str, ended: list[Task], usable: int) -> Iterator[Happening]:
    """Engines of one pack mostly end together, and for the same reason: one Happening for those."""
    if not ended:
        return
    exits = {end.task_id: end for end in new.exits}
    # Only so many exits are kept: of more that end in one turn, a pack's share one.
    packs = {task.executor_id: exits[task.id] for task in ended if task.id in exits}
    alike: dict[tuple[str, str, str, str, bool], list[Task]] = defaultdict(list)
    for task in ended:
        end = exits.get(task.id) or packs.get(task.executor_id) or _unknown(new, task)
        alike[task.hostname, end.state, why(end), cause(end), end.asked].append(task)
    running, wanted = (None, None) if group == CONTROLLER else (usable, _wanted(new, group))
    for (host, state, reason, kind, asked), tasks in alike.items():
        n = len(tasks)
        what = "controller" if group == CONTROLLER else f"{n} engine{'s' * (n != 1)} of set {group!r}"
        said = "as asked" if kind == "asked" else one_line(reason) or "at once with many others"
        left = f"; {running}/{wanted} running" if running is not None and not new.stopping else ""
        yield Happening(
            "controller_ended" if group == CONTROLLER else "engines_ended",
            f"{what} on {host} ended{f' ({state})' if state else ''}: {said}{left}",
            group,
            _ids(tasks),
            (host,),
            one_line(reason),
            kind,
            asked,
            running,
            wanted,
        )


def _unknown(new: Cluster, task: Task) -> Exit:
    """Of a task that has ended with so many others that its exit wasn't kept."""
    return Exit(task.id, task.group, task.hostname, _latest(new), "", asked=task.doomed or bool(new.stopping))


def _setbacks(old: Cluster, new: Cluster) -> Iterator[Happening]:
    for group, setback in new.setbacks.items():
        if old.setbacks.get(group) == setback:
            continue
        reason, rest = one_line(setback.message), setback.until - _latest(new)
        what = "the controller" if group == CONTROLLER else f"engine set {group!r}"
        if setback.final:
            yield Happening("gave_up", f"gave up {what}: {reason}", group, reason=reason)
        elif rest > 0:
            text = f"{what} has failed {setback.failures} times; next try in {rest:.1f} s"
            yield Happening("back_off", text, group, reason=reason, seconds=round(rest, 3))


# --- words ---------------------------------------------------------------------------------------------------


def _wanted(cluster: Cluster, group: str) -> int:
    engines = None if cluster.stopping else cluster.spec.engines.get(group)
    return engines.n if engines else 0


def _latest(cluster: Cluster) -> float:
    """When the last task has ended; what an end has cost is counted from then."""
    return cluster.exits[-1].at if cluster.exits else 0.0


def _all(cluster: Cluster) -> Iterable[Task]:
    return cluster.tasks.values()


def _ids(tasks: Iterable[Task]) -> tuple[str, ...]:
    return tuple(task.id for task in tasks)


def _hosts(tasks: Iterable[Task]) -> tuple[str, ...]:
    return tuple(sorted({task.hostname for task in tasks}))


def _host(state: Everything, agent_id: str) -> str:
    """The agent's host name if we know it, else its id."""
    session = state.session
    known: list[Any] = [*_all(state.cluster), *session.offers.values(), *session.refusals.values()]
    names = (thing.hostname for thing in known if thing.agent_id == agent_id)
    listed = (agent.hostname for agent in session.agents or () if agent.id == agent_id)
    return next(names, None) or next(listed, agent_id)


def ranges(ports: tuple[int, ...]) -> str:
    """'31000-31017' or '31000-31002, 31010'."""
    runs: list[list[int]] = []
    for port in ports:
        if runs and port == runs[-1][1] + 1:
            runs[-1][1] = port
        else:
            runs.append([port, port])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
