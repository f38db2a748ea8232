"""What the agents of this Mesos have in all, and what of it is free: what could ever fit, how much, and what can't."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .cluster import Cluster
from .offers import FUNNEL, Lack, one_task, show
from .policy import spec_of
from .resources import SCALARS, Resources
from .session import Agent
from .specs import CONTROLLER, ControllerSpec, EngineSpec


def ever_fits(agent: Agent, spec: ControllerSpec | EngineSpec) -> Lack | None:
    """What the whole agent, with nothing running on it, would lack for one task of this spec."""
    return _lack(agent, agent.total, spec)


def fits_now(agent: Agent, spec: ControllerSpec | EngineSpec) -> Lack | None:
    """What it lacked of free resources when it was listed."""
    return _lack(agent, free(agent), spec)


def free(agent: Agent) -> Resources:
    """What nobody used when it was listed; at most that, since others may use what is kept for them."""
    both = agent.total + agent.kept
    left = {name: getattr(both, name) - getattr(agent.used, name) for name in SCALARS}
    return Resources(**{name: max(0, min(left[name], getattr(agent.total, name))) for name in SCALARS})


def _lack(agent: Agent, have: Resources, spec: ControllerSpec | EngineSpec) -> Lack | None:
    wanted, ports = one_task(spec)
    attributes = dict(agent.attributes)
    for name, value in spec.constraints:
        if attributes.get(name) != value:
            return Lack("attributes", f"{name}={value}", f"{name}={attributes.get(name, 'unset')}")
    for name in SCALARS:
        need, there = getattr(wanted, name), getattr(have, name)
        if there < need:
            kept = getattr(agent.kept, name)
            if there + kept >= need and have == agent.total:
                return Lack(
                    "role", show(name, need), f"{show(name, there)} for our role and {show(name, kept)} for others"
                )
            return Lack(name, show(name, need), show(name, there))
    if agent.ports < ports:
        return Lack("ports", f"{ports} ports", f"{agent.ports} ports")
    return None


def nearest(lacks: Iterable[tuple[Agent, Lack | None]]) -> tuple[Agent, Lack] | None:
    """The agent that came furthest through the funnel, and the biggest of those; None if one lacks nothing."""
    best: tuple[Agent, Lack] | None = None
    rank = (-1, -1, -1)
    for agent, lack in lacks:
        if lack is None:
            return None
        place = FUNNEL.index(lack.reason)
        what = lack.reason if lack.reason in SCALARS else "cpus"
        size = (place, agent.ports if lack.reason == "ports" else getattr(agent.total, what), agent.total.cpus)
        if size > rank:
            best, rank = (agent, lack), size
    return best


def impossible(cluster: Cluster, group: str, agents: Sequence[Agent]) -> str:
    """Why no agent could ever take one task of this group, nothing else running; empty if one could."""
    spec = spec_of(cluster, group)
    found = nearest((agent, ever_fits(agent, spec)) for agent in agents) if spec is not None else None
    if spec is None or found is None:
        return ""
    agent, lack = found
    need, ports = one_task(spec)
    what = "the controller" if group == CONTROLLER else "one engine and its executor"
    amounts = ", ".join(show(name, getattr(need, name)) for name in SCALARS if getattr(need, name))
    more = f" and {ports} ports" if ports else ""
    text = f"no agent of this Mesos could ever fit {what} ({amounts}{more}): "
    if lack.reason == "attributes":
        return f"{text}none has {' and '.join(f'{name}={value}' for name, value in spec.constraints)}; " + (
            f"the nearest, {agent.hostname}, has {lack.offered}"
        )
    return f"{text}the largest, {agent.hostname}, has {lack.offered}{in_all(lack)}, and {lack.wanted} are needed"


def in_all(lack: Lack) -> str:
    return "" if lack.reason in ("role", "attributes") else " in all"


def room(spec: EngineSpec, agents: Iterable[Agent]) -> int | None:
    """How many engines all agents could hold at most, nothing else running; None: any number."""
    counts = [_room(spec, agent) for agent in agents]
    return None if None in counts else sum(n for n in counts if n is not None)


def _room(spec: EngineSpec, agent: Agent) -> int | None:
    if ever_fits(agent, spec) is not None:
        return 0
    most = [
        _engines(getattr(agent.total, name), getattr(spec.resources, name), getattr(spec.pack, name), spec)
        for name in SCALARS
        if getattr(spec.resources, name) or (getattr(spec.pack, name) and spec.per_container)
    ]
    return min(most, default=None)


def _engines(have: int, each: int, pack: int, spec: EngineSpec) -> int:
    """How many fit into `have` of one resource: packs of `per_container`, and one with the rest."""
    if not spec.per_container:
        return (have - pack) // each
    size = pack + spec.per_container * each
    rest = have % size - pack
    last = min(rest // each if each else spec.per_container - 1, spec.per_container - 1) if rest >= 0 else 0
    return have // size * spec.per_container + last
