"""The sentences of `explain`: for what one group waits, and what could help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import capacity, policy
from .capacity import ever_fits, fits_now, free, nearest
from .cluster import State, Task
from .offers import FUNNEL, show
from .session import Everything, Refusal
from .specs import CONTROLLER, EngineSpec

LACKS = {
    "cpus": "too few cpus",
    "mem": "too little memory",
    "disk": "too little disk",
    "gpus": "too few gpus",
    "ports": "too few ports",
}
LESS = {"cpus": "cpus", "mem": "memory", "disk": "disk", "gpus": "gpus"}  # the options that ask for less

SILENT = 3.0  # seconds without a word from Mesos that are worth telling

Clock = Callable[[float], str]


@dataclass(frozen=True)
class Best:
    """The offer that came furthest through the funnel, and what it lacked."""

    agent: str  # host name
    reason: str  # one of offers.FUNNEL
    offered: str
    wanted: str


@dataclass(frozen=True)
class Reason:
    why: str  # one of explain.WHY
    text: str
    hint: str = ""
    whole: bool = False  # it says by itself how many are concerned


def span(seconds: float) -> str:
    """'12 s', '3 min', '5 h', '2 d'."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def engines(n: int) -> str:
    return f"{n} engine{'s' * (n != 1)}"


def disconnected(state: Everything, now: float, at: Clock) -> str:
    session = state.session
    text = "waiting for the Mesos master"
    if session.lost_at is not None:
        why = f": {session.lost}" if session.lost else ""
        text = f"no Mesos master answers since {at(session.lost_at)} ({span(now - session.lost_at)}){why}"
    lives_on = session.lost_at is not None or state.cluster.tasks
    return f"{text}; what runs goes on running, and nothing else can begin" if lives_on else text


def best_of(refusals: Sequence[Refusal]) -> Best | None:
    """Of the refusal that came furthest through the funnel, and of those of the one that had most."""
    best = max(refusals, key=lambda r: (FUNNEL.index(r.reason), _number(r.offered)), default=None)
    return Best(best.hostname, best.reason, best.offered, best.wanted) if best else None


def kept_for_others(state: Everything, name: str) -> int:
    """The agents that would do, but keep what is needed for roles that are not ours."""
    spec = policy.spec_of(state.cluster, name)
    lacks = (ever_fits(agent, spec) for agent in state.session.agents or () if agent.active) if spec else ()
    return sum(lack is not None and lack.reason == "role" for lack in lacks)


def room(state: Everything, name: str) -> int | None:
    spec, agents = policy.spec_of(state.cluster, name), state.session.agents
    return capacity.room(spec, agents) if isinstance(spec, EngineSpec) and agents else None


def reason(state: Everything, name: str, lacking: int, best: Best | None, now: float, at: Clock) -> Reason:
    """Why this group isn't complete: the first of these that is so."""
    cluster, session = state.cluster, state.session
    setback = cluster.setbacks.get(name)
    if setback is not None and setback.final:
        return Reason("failed", setback.message, _after_failure(state, name, setback.message), whole=True)
    if lacking <= 0:
        return _coming(state, name, now)
    if setback is not None and setback.until > now:
        rest = setback.until - now
        again = f"next try in {span(rest)}, at {at(setback.until)}" if rest >= 1 else "next try at once"
        hint = _after_failure(state, name, setback.message)
        return Reason("back_off", f"{setback.message}; {again}", hint, whole=True)
    if not session.connected:
        return Reason("disconnected", "waiting for the Mesos master", whole=True)
    if name != CONTROLLER and cluster.controller is None:
        return Reason("controller", "waiting for the controller to be launched", whole=True)
    if best is not None:
        return _refused(state, name, best, now)
    return _no_offers(state, name, now)


def _after_failure(state: Everything, name: str, message: str) -> str:
    if " pull " in f" {message} ":
        image = "`controller_image`, or `image`," if name == CONTROLLER else "`image`"
        return f"is {image} right, and may that agent pull it? `docker pull` there says more"
    spec, agents = policy.spec_of(state.cluster, name), state.session.agents
    found = nearest((agent, ever_fits(agent, spec)) for agent in agents) if spec and agents else None
    return _remedy(name, found[1].reason) if found else ""


def _remedy(name: str, lack: str) -> str:
    """What helps if no agent is big enough."""
    if lack == "ports":
        return (
            "agents offer what their --resources says, as in ports:[31000-32000];"
            " with broadcast_scheduler_depth = 0 the controller needs three ports less"
        )
    if lack == "attributes":
        return f"other {_option(name, 'attributes')}, or agents that have them"
    if lack == "role":
        return "a `role` for which the agents keep it"
    return f"less {_option(name, LESS.get(lack, 'resources'))}, or bigger agents"


# --- launched ------------------------------------------------------------------------------------------------


def _coming(state: Everything, name: str, now: float) -> Reason:
    """All that is missing has been launched."""
    cluster = state.cluster
    usable = {task.id for task in policy.usable(cluster, name)}
    coming = [task for task in policy.live(cluster, name) if task.id not in usable]
    controller = cluster.controller
    there = [task for task in coming if task.state is State.RUNNING and name != CONTROLLER]
    if there and controller is None:
        return Reason("moving", f"{engines(len(there))} live on and wait for a new controller", whole=True)
    if strays := [task for task in there if controller is not None and task.controller != controller.id]:
        text = f"{engines(len(strays))} live on and wait for the new controller"
        if controller is not None and controller.state is not State.RUNNING:
            text += f", which is {_stage(state, [controller], now)}"
        return Reason("moving", text, whole=True)
    if there and controller is not None:
        text = f"{engines(len(there))} wait for the controller, which is {_stage(state, [controller], now)}"
        return Reason("coming", text, whole=True)
    return Reason("coming", _stage(state, coming, now), whole=True)


def _stage(state: Everything, tasks: list[Task], now: float) -> str:
    """How far launched tasks are: '2 staging for 40 s on host-a1 (...), 1 starting for 3 s'; of the controller alone
    without its number."""
    said = []
    for stage in (State.RUNNING, State.STARTING, State.STAGING, State.LAUNCHING):
        some = [task for task in tasks if task.state is stage]
        if not some:
            continue
        hosts = sorted({task.hostname for task in some})
        where = hosts[0] if len(hosts) == 1 else f"{len(hosts)} agents"
        number = "" if some[0].group == CONTROLLER else f"{len(some)} "
        longest = span(now - min(task.launched_at for task in some))
        said.append(f"{number}{stage.value} on {where} for {longest}{_doing(state, some[0], now)}")
    return ", ".join(said)


def _doing(state: Everything, task: Task, now: float) -> str:
    spec = policy.spec_of(state.cluster, task.group)
    # Mesos says STAGING only to those who ask, so both words mean that the container is made.
    staging = task.state is State.STAGING or (task.state is State.LAUNCHING and now - task.launched_at >= SILENT)
    if staging and spec is not None and spec.container.image:
        return f" (an agent that has not got the image {spec.container.image!r} pulls it now)"
    if staging:
        return " (the agent makes its container)"
    if task.state is State.STARTING and task.group == CONTROLLER:
        return " (it does not listen on its ports yet)"
    if task.state is State.STARTING:
        return " (not registered with the controller yet)"
    return ""


# --- not launched --------------------------------------------------------------------------------------------


def _refused(state: Everything, name: str, best: Best, now: float) -> Reason:
    if best.reason == "attributes":
        text = f"no offer has the attributes that are wanted: the best, from {best.agent}, has {best.offered}"
        return Reason("refused", f"{text}, and {best.wanted} is needed", _remedy(name, "attributes"))
    if best.reason == "draining":
        text = f"every agent that would do is about to be taken away for maintenance, {best.agent} for example"
        return Reason("refused", text)
    if best.reason == "failing":
        untils = [known.until for known in state.cluster.troubles.values() if known.until > now]
        again = f", and the next try is in {span(min(untils) - now)}" if untils else ""
        text = f"every agent that would do is left alone for a while: {best.agent} has {best.offered}{again}"
        return Reason("refused", text)
    text = f"{LACKS[best.reason]}: the best offer, from {best.agent}, has {best.offered}, and {best.wanted} are needed"
    spec, agents = policy.spec_of(state.cluster, name), state.session.agents
    if best.reason == "ports" or (spec and agents and nearest((agent, ever_fits(agent, spec)) for agent in agents)):
        return Reason("refused", text, _remedy(name, best.reason))
    return Reason("refused", text, _patience(name, best.reason))


def fewer(name: str, best: Best | None) -> str:
    """What helps if all agents together are too small."""
    less = LESS.get(best.reason, "resources") if best else "resources"
    return f"fewer engines, less {_option(name, less)} for each, or more agents"


def _patience(name: str, lack: str) -> str:
    return f"wait until others give it back, or ask for less {_option(name, LESS.get(lack, 'resources'))}"


def _no_offers(state: Everything, name: str, now: float) -> Reason:
    session, spec = state.session, policy.spec_of(state.cluster, name)
    since = "" if session.offered_at is None else f" for {span(now - session.offered_at)}"
    if session.agents is None or spec is None:
        text = f"Mesos has made no offer{since or ' yet'}"
        if session.agents_hidden:
            return Reason("no_offers", f"{text}, and does not tell which agents it has ({session.agents_hidden})")
        return Reason("no_offers", f"{text} (no agents, or all that they have is in use)")
    there = [agent for agent in session.agents if agent.active]
    if not there:
        away = len(session.agents)
        known = f": all {away} that it knows are away or drained" if away else ""
        return Reason("no_agents", f"this Mesos has no agents{known}", "start agents, or name another `master`")
    if found := nearest((agent, ever_fits(agent, spec)) for agent in there):
        agent, lack = found
        are = "is" if lack.reason == "attributes" else "are"
        text = f"no agent that is there now could take it: the nearest, {agent.hostname}, has {lack.offered}"
        text += f"{capacity.in_all(lack)}, and {lack.wanted} {are} needed"
        return Reason("too_big", text, f"wait until one that could comes back; or {_remedy(name, lack.reason)}")
    fitting = [agent for agent in there if ever_fits(agent, spec) is None]
    if found := nearest((agent, fits_now(agent, spec)) for agent in fitting):
        agent, lack = found
        which = f"all {len(fitting)} agents that are big enough are" if len(fitting) > 1 else f"{agent.hostname} is"
        text = f"{which} in use: {lack.offered} are free"
        text += f" on {agent.hostname}" if len(fitting) > 1 else ""
        return Reason("busy", f"{text}, and {lack.wanted} are needed", _patience(name, lack.reason))
    agent = max((a for a in fitting if fits_now(a, spec) is None), key=lambda a: (free(a).cpus, free(a).mem))
    left = free(agent)
    text = (
        f"Mesos makes no offers{since}, though {agent.hostname} has {show('cpus', left.cpus)} and"
        f" {show('mem', left.mem)} free"
    )
    hint = "a quota of the `role`, or of other roles, may hold it back, or another framework has been offered it"
    return Reason("withheld", text, hint)


def _option(name: str, what: str) -> str:
    return f"`controller_{what}`" if name == CONTROLLER and what != "resources" else f"`{what}`"


def _number(text: str) -> float:
    try:
        return float(text.split()[0])
    except (ValueError, IndexError):
        return 0.0
