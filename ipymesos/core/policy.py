"""What is missing, what a failure costs, and what can never work: the judgements that `plan` rests on."""

from __future__ import annotations

from collections.abc import Mapping

from .cluster import GONE, Cluster, Place, Setback, State, Task, Trouble
from .messages import Updated
from .session import Everything
from .specs import CONTROLLER, ControllerSpec, EngineSpec

LAUNCH_TRIES = 3  # of a group that has never worked, before it is given up
STEADY = 20.0  # seconds in which a running task makes up for earlier failures: what loops dies sooner
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 60.0  # seconds, doubled with each consecutive failure
BUSY_PORTS_REST = 300.0  # seconds that a port held by somebody else is left alone
LEFT_PORTS_REST = 60.0  # seconds that the ports of an ended controller are left alone

TROUBLED = 2  # failed launches in a row after which an agent is left alone, as long as there are others
FIRST_REST, LONGEST_REST = 10.0, 600.0  # seconds, doubled with each further failure

LONGEST_MESSAGE = 600  # characters of what Mesos says; some of its errors print whole protobuf messages
SILENT_REASONS = frozenset(
    f"REASON_{word}" for word in ("EXECUTOR_TERMINATED", "EXECUTOR_REGISTRATION_TIMEOUT", "CONTAINER_LAUNCH_FAILED")
)

# Faults of Mesos or its machines, not of the task: tried again at once, without counting
# (Mesos: task-state-reasons.md, "for agents" and "for the master").
FREE_REASONS = frozenset(
    f"REASON_{word}"
    for word in (
        "INVALID_OFFERS",
        "RECONCILIATION",
        "MASTER_DISCONNECTED",
        "SLAVE_DISCONNECTED",
        "SLAVE_REMOVED",
        "SLAVE_REMOVED_BY_OPERATOR",
        "SLAVE_REREGISTERED",
        "SLAVE_RESTARTED",
        "SLAVE_UNKNOWN",
        "SLAVE_DRAINING",
        "AGENT_DISCONNECTED",
        "AGENT_REMOVED",
        "AGENT_REMOVED_BY_OPERATOR",
        "AGENT_RESTARTED",
        "AGENT_UNKNOWN",
        "AGENT_DRAINING",
        "CONTAINER_PREEMPTED",
        "EXECUTOR_REREGISTRATION_TIMEOUT",
    )
)


def wanted(cluster: Cluster) -> dict[str, int]:
    """How many tasks each group shall have. Nothing, once the end is wanted."""
    if cluster.stopping:
        return {}
    groups = {name: engines.n for name, engines in cluster.spec.engines.items()}
    return {CONTROLLER: 1, **groups} if cluster.spec.controller else groups


def spec_of(cluster: Cluster, group: str) -> ControllerSpec | EngineSpec | None:
    if group == CONTROLLER:
        return cluster.spec.controller
    engines = cluster.spec.engines.get(group)
    return engines.spec if engines else None


def live(cluster: Cluster, group: str) -> list[Task]:
    """The tasks whose end nobody wants and that can be reached."""
    return [t for t in cluster.group(group) if not t.doomed and t.state not in GONE]


def staying(cluster: Cluster, group: str) -> list[Task]:
    """The live tasks that count: those whose agent isn't about to be taken away."""
    return [t for t in live(cluster, group) if t.agent_id not in cluster.draining]


def usable(cluster: Cluster, group: str) -> list[Task]:
    """The live tasks that a client can use now: engines that are with a controller which serves."""
    running = [t for t in live(cluster, group) if t.state is State.RUNNING]
    if group == CONTROLLER:
        return running
    serving = {t.id for t in live(cluster, CONTROLLER) if t.state is State.RUNNING}
    return [t for t in running if t.controller in serving]


def former(cluster: Cluster) -> dict[str, Place]:
    """The ended controllers that engines still look for, those engines as well that we can't reach."""
    named = {task.controller for task in cluster.tasks.values()} if cluster.former else set()
    return {name: place for name, place in cluster.former.items() if name in named}


def missing(cluster: Cluster) -> dict[str, int]:
    """missing = wanted - staying: scaling up, a dead engine, a lost agent and a drained one are all the same."""
    lacking = {group: n - len(staying(cluster, group)) for group, n in wanted(cluster).items()}
    return {group: n for group, n in lacking.items() if n > 0}


def incomplete(cluster: Cluster, missing: Mapping[str, int]) -> list[str]:
    """The groups that are not all usable: something is `missing`, or was launched and isn't ready."""
    serving = {t.id for t in cluster.group(CONTROLLER) if t.state is State.RUNNING and not t.doomed}

    def ready(task: Task) -> bool:
        return task.doomed or task.state is State.RUNNING and (task.group == CONTROLLER or task.controller in serving)

    return [g for g in wanted(cluster) if g in missing or not all(ready(task) for task in cluster.group(g))]


def demand(state: Everything, now: float) -> dict[str, int]:
    """What is missing and may be tried now: groups that wait after a failure, or were given up, ask for nothing."""
    setbacks = state.cluster.setbacks
    return {
        group: n
        for group, n in missing(state.cluster).items()
        if group not in setbacks or (not setbacks[group].final and setbacks[group].until <= now)
    }


def setback(cluster: Cluster, task: Task, event: Updated, now: float) -> Setback | None:
    """What an unasked end means for the next try of its group; None: nothing."""
    old = cluster.setbacks.get(task.group)
    if task.state is State.RUNNING and now - task.since >= STEADY:
        old = None
    if event.final or event.state == "TASK_ERROR":  # Mesos will not take such a task, however often it is sent
        return gave_up(old, now, describe_failure(cluster, task, event), task.executor_id, event.words)
    if event.reason in FREE_REASONS or event.busy_ports or event.state in ("TASK_UNKNOWN", "TASK_GONE"):
        return old
    if old and (old.final or old.executor_id == task.executor_id):
        return old
    message = describe_failure(cluster, task, event)
    failures = old.failures + 1 if old else 1
    if task.group not in cluster.proven and failures >= LAUNCH_TRIES:
        return gave_up(old, now, f"{message} (tried {failures} times)", task.executor_id, event.words)
    # The first failure of something that has worked costs nothing: it is replaced at once.
    worked = task.group in cluster.proven
    steps = failures - 2 if worked else failures - 1
    delay = 0.0 if steps < 0 else min(LONGEST_BACKOFF, FIRST_BACKOFF * 2**steps)
    return Setback(failures, now + delay, message, executor_id=task.executor_id, words=event.words)


def trouble(cluster: Cluster, task: Task, event: Updated, now: float) -> Trouble | None:
    """What an unasked end says about its agent; None: nothing. Only launches that came to nothing count."""
    old = cluster.troubles.get(task.agent_id)
    if task.state is State.RUNNING or event.final or event.reason in FREE_REASONS or event.busy_ports:
        return old
    if old is not None and old.executor_id == task.executor_id:
        return old
    failures = old.failures + 1 if old else 1
    rest = 0.0 if failures < TROUBLED else min(LONGEST_REST, FIRST_REST * 2 ** (failures - TROUBLED))
    return Trouble(failures, now + rest, task.executor_id)


def failing(state: Everything, now: float) -> dict[str, str]:
    """The agents that are left alone for now, and why; none if all agents fail alike: then it's not the agents."""
    rests = {name: known for name, known in state.cluster.troubles.items() if known.until > now}
    if not rests or not state.session.seen - rests.keys():
        return {}
    return {name: f"{known.failures} failed launches" for name, known in rests.items()}


def gave_up(old: Setback | None, now: float, message: str, executor_id: str = "", words: str = "") -> Setback:
    return Setback((old.failures if old else 0) + 1, now, message, True, executor_id, words)


def describe_failure(cluster: Cluster, task: Task, event: Updated) -> str:
    """One sentence for a person: what failed, where, in which image, and what Mesos says of it."""
    spec = spec_of(cluster, task.group)
    what = "the controller" if task.group == CONTROLLER else "an engine"
    image = f" in image {spec.container.image!r}" if spec and spec.container.image else ""
    said = event.message.strip()[:LONGEST_MESSAGE] or event.reason or event.state
    text = f"{what} on {task.hostname}{image} failed: {said}"
    if came_to_nothing(task, event) and " pull " not in f" {said} ":
        where = f"the image {spec.container.image!r}" if spec and spec.container.image else "that agent's Python"
        text += f"; the executor never came up: is ipymesos-executor installed in {where}?"
    return text


def came_to_nothing(task: Task, event: Updated) -> bool:
    """Its container has ended before the executor spoke: only what it wrote into its sandbox says why."""
    return event.reason in SILENT_REASONS and task.state in (State.LAUNCHING, State.STAGING)
