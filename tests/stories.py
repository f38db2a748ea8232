"""Plain builders for the core's tests: offers, specs, and a small hand that plays rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ipymesos.core.cluster import Cluster, Task
from ipymesos.core.messages import Action, EnginesWanted, Event, Launch, Offered, Subscribed, Updated
from ipymesos.core.resources import Offer, Piece, Resources
from ipymesos.core.scheduler import observe, plan, record
from ipymesos.core.session import Everything
from ipymesos.core.specs import Container, ControllerSpec, EngineSpec, Spec

ENGINE = EngineSpec(Resources(cpus=1000, mem=500), pack=Resources(cpus=100, mem=100))
CONTROLLER_SPEC = ControllerSpec(Resources(cpus=500, mem=500))
IMAGE = Container("docker", "some/image:1")


def offer(
    name: str = "o1",
    agent: str = "a1",
    cpus: int = 8000,
    mem: int = 8000,
    ports: tuple[tuple[int, int], ...] = ((31000, 31999),),
    **more: object,
) -> Offer:
    pieces = [Piece("cpus", cpus), Piece("mem", mem)]
    if ports:
        pieces.append(Piece("ports", ranges=ports))
    return Offer(name, agent, f"host-{agent}", "10.0.0.1", tuple(pieces), **more)  # type: ignore[arg-type]


def start(n: int = 0, engine: EngineSpec = ENGINE, controller: ControllerSpec | None = CONTROLLER_SPEC) -> Everything:
    """A cluster that has just subscribed and wants a controller and n engines in the set 'e'."""
    state = Everything(Cluster("test", Spec(controller)))
    if n:
        state = observe(state, EnginesWanted("e", n, engine), 0.0)
    return observe(state, Subscribed("fw", "m:5050"), 0.0)


def step(state: Everything, *events: Event, now: float = 0.0) -> tuple[Everything, list[Action]]:
    """One turn of the loop: what the application does with a batch of events."""
    for event in events:
        state = observe(state, event, now)
    actions = plan(state, now)
    return record(state, actions, now), actions


def launched(actions: Sequence[Action]) -> list[Task]:
    return [task for action in actions if isinstance(action, Launch) for task in action.tasks]


def status(task: Task, word: str, **more: object) -> Updated:
    return Updated(task.id, task.agent_id, f"TASK_{word}", **more)  # type: ignore[arg-type]


def running(n: int, engine: EngineSpec = ENGINE) -> tuple[Everything, list[Task]]:
    """A cluster with its controller and n engines RUNNING, at time 1."""
    state, actions = step(start(n, engine), Offered((offer(cpus=100_000, mem=100_000),)))
    tasks = launched(actions)
    state, _ = step(state, *(status(task, "RUNNING") for task in tasks), now=1.0)
    return state, [state.cluster.tasks[task.id] for task in tasks]


def with_attributes(made: Offer, **attributes: str) -> Offer:
    return replace(made, attributes=tuple(sorted(attributes.items())))
