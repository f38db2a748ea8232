"""Judge what was seen before anything is launched: each finding says what to do. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..core.capacity import ever_fits, nearest
from ..core.offers import FUNNEL, one_task, show, stocks
from ..core.resources import SCALARS, Offer
from ..core.session import Agent
from ..core.specs import ControllerSpec, EngineSpec
from ..errors import ConfigError, MasterUnreachable, MesosError, StartFailed, StoreError
from .findings import Finding, fail, ok, skip, warn

OLDEST_MESOS, TESTED_MESOS = (1, 4), (1, 9)  # older: reservations are said in another way; the tests run from 1.9 on
LITTLE_DISK, NO_DISK = 200, 10  # MB


def mesos_version(text: str) -> Finding:
    """Of what the leading master says of itself."""
    found = re.match(r"(\d+)\.(\d+)", text)
    if found is None:
        return warn(
            "version", f"the master says its version is {text!r}", "it is a strange one: the tests know 1.9 to 1.11"
        )
    version = (int(found[1]), int(found[2]))
    if version < OLDEST_MESOS:
        return fail(
            "version", f"Mesos {text}", "Mesos 1.4 is the oldest that can work: use a newer one", MesosError.exit_code
        )
    if version < TESTED_MESOS:
        return warn("version", f"Mesos {text}", "it may work, but the tests know 1.9 to 1.11 only")
    return ok("version", f"Mesos {text}")


@dataclass(frozen=True)
class Profile:
    """What there is of a profile: `security` is why its directory can't be used, or empty; `free` MB on its disk."""

    path: str
    exists: bool
    writable: bool
    security: str = ""
    running: int = 0  # the pid of a scheduler that serves it
    state: bool = False  # tasks of a scheduler that was killed may run
    free: int = 0


def profile(seen: Profile) -> list[Finding]:
    code = StoreError.exit_code
    if not seen.writable:
        return [
            fail(
                "profile",
                f"{seen.path} can't be written to",
                "give yourself the right, or choose another --profile-dir",
                code,
            )
        ]
    if seen.security:
        return [fail("profile", seen.security, "keys are kept there: do that, then try again", code)]
    if seen.running:
        found = warn(
            "profile",
            f"{seen.path}: a cluster runs there (pid {seen.running})",
            "stop it first, or give the next one a --cluster-id",
        )
    elif seen.state:
        found = warn(
            "profile", f"{seen.path}: a scheduler was killed there", "`start --resume` takes over what still runs"
        )
    else:
        found = ok("profile", seen.path if seen.exists else f"{seen.path} will be made")
    return [found, disk("disk", "here", seen.free, code)]


def disk(check: str, where: str, free: int, code: int) -> Finding:
    said = f"{free} MB free {where}"
    if free < NO_DISK:
        return fail(check, said, "nothing can be kept there: make room", code)
    return warn(check, said, "logs and state need some room") if free < LITTLE_DISK else ok(check, said)


def addresses(what: str, problems: Mapping[str, str]) -> Finding:
    """Of the places where the master, or ZooKeeper, shall be: why each doesn't answer, or nothing."""
    dead = {where: problem for where, problem in problems.items() if problem}
    if not dead:
        return ok("address", f"{what} answers at {', '.join(problems)}")
    listed = "; ".join(f"{where}: {problem}" for where, problem in dead.items())
    if len(dead) == len(problems):
        advice = f"is it the right address, does {what} run, does a firewall allow its port?"
        return fail("address", f"{what} can't be reached ({listed})", advice, MasterUnreachable.exit_code)
    return warn("address", f"{what} answers at some addresses only ({listed})", "mend or take out those that are dead")


def registration(error: Exception) -> Finding:
    """Why the master doesn't take the framework."""
    code = int(getattr(error, "exit_code", MesosError.exit_code))
    advice = {
        5: "is it a Mesos master, is one elected, does a firewall allow its port?",
        6: "set principal and secret_file to what the master's --credentials know, or ask its operators",
        7: "set role to one that the master's --roles and --acls allow to this principal",
    }.get(code, "ask the operators of this Mesos")
    name = {5: "registration", 6: "authentication", 7: "role"}.get(code, "registration")
    return fail(name, str(error), advice, code)


def offers(made: Sequence[Offer], agents: Sequence[Agent] | None, waited: float) -> Finding:
    if made:
        hosts = {offer.agent_id for offer in made}
        return ok("offers", f"{len(hosts)} agent{'s' * (len(hosts) != 1)} offered {_total(made)}")
    code = StartFailed.exit_code
    said = f"no offer within {waited:g} s"
    if agents is None:
        return fail(
            "offers", said, "ask the operators: are there agents, is there a quota, is the role in use up?", code
        )
    if not agents:
        return fail("offers", f"{said}: this Mesos has no agents", "start mesos-agent on some machines", code)
    return fail(
        "offers",
        f"{said}, though there are {len(agents)} agents: their resources are in use, or kept for other roles",
        "wait for others to end, or ask the operators for a reservation, quota or weight for the role",
        code,
    )


def _total(made: Sequence[Offer]) -> str:
    amounts = {name: sum(p.amount for o in made for p in o.pieces if p.name == name) for name in SCALARS}
    ports = sum(high - low + 1 for o in made for p in o.pieces for low, high in p.ranges)
    return ", ".join([show(name, amount) for name, amount in amounts.items() if amount] + [f"{ports} ports"])


def fit(
    check: str, spec: ControllerSpec | EngineSpec, made: Sequence[Offer], agents: Sequence[Agent] | None
) -> Finding:
    """Whether one task of this spec fits into what is offered, or ever could into an agent."""
    wanted, ports = one_task(spec)
    what = ", ".join(show(name, getattr(wanted, name)) for name in SCALARS if getattr(wanted, name))
    needs = f"{what}{f' and {ports} ports' if ports else ''}"
    lacks = [(stock, stock.lack(wanted, spec.constraints, ports)) for stock in stocks(made)]
    fitting = [stock for stock, lack in lacks if lack is None]
    if fitting:
        return ok(check, f"needs {needs}: fits on {len(fitting)} of {len(lacks)} agents")
    if not lacks:
        return skip(check, f"needs {needs}; nothing is offered")
    stock, lack = max(((s, k) for s, k in lacks if k), key=lambda pair: FUNNEL.index(pair[1].reason))
    said = f"needs {needs}: the best offer, from {stock.hostname}, has {lack.offered} of {lack.wanted}"
    best = nearest((agent, ever_fits(agent, spec)) for agent in agents) if agents else None
    if best is None and agents:
        return warn(check, said, "it fits when others have ended; wait, or ask for less")
    return fail(check, said, LESS[lack.reason], StartFailed.exit_code)


LESS = {
    "role": "ask for less, or for another role",
    "attributes": "set attributes (of the controller: controller_attributes) to what some agent has",
    "draining": "wait until the maintenance is over",
    "cpus": "ask for less: cpus, pack_cpus, controller_cpus",
    "mem": "ask for less: memory, pack_memory, controller_memory",
    "disk": "ask for less disk",
    "gpus": "ask for fewer gpus, and set gpus from the start: agents with GPUs are offered to nobody else",
    "ports": "the agents must offer ports (--resources=...;ports:[31000-32000]); broadcast_scheduler_depth=0 needs few",
}


def left(clean: bool) -> Finding:
    if clean:
        return ok("cleaning up", "the trial has ended; nothing is left of it")
    return fail(
        "cleaning up",
        "the master didn't confirm the end of the trial",
        "it ends by itself as soon as the master sees that we are gone (failover_timeout 0); Mesos' pages tell",
        MesosError.exit_code,
    )


def options(error: Exception) -> Finding:
    return fail("options", str(error), "see `python -m ipymesos start --help`", ConfigError.exit_code)
