"""What the master tells (docs/scheduler-http-api.md, "Events") -> core events.

The wire is not trusted: a message that is not what it should be becomes None and a line in the log, never an
exception in the thread that reads.
"""

from __future__ import annotations

import base64
import json
import logging
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..core.messages import AgentLost, AgentsListed, Event, ExecutorLost, Offered, Rescinded, Subscribed, Updated
from ..core.model import Agent, Offer, Resources
from .resources import EPSILON, UNITS, merged, pieces

Json = Mapping[str, Any]

log = logging.getLogger(__name__)
MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


def event(message: Any) -> Event | None:
    """The core event that `message`, one record of the event stream, stands for; None when it means nothing to us.

    HEARTBEAT and ERROR are the driver's own business; inverse offers, executors' messages and operations on
    resources are nobody's.
    """
    try:
        translate = TRANSLATIONS.get(message["type"])
        return translate(message) if translate else None
    except MALFORMED as error:
        log.warning("The master sent what we cannot read (%r): %.500r", error, message)
        return None


def _subscribed(message: Json) -> Subscribed:
    master = message["subscribed"].get("master_info", {})
    address = master.get("address", {})
    host = address.get("hostname") or address.get("ip") or master.get("hostname", "")
    port = address.get("port") or master.get("port", 5050)
    return Subscribed(message["subscribed"]["framework_id"]["value"], f"{host}:{port}" if host else "")


def _offers(message: Json) -> Offered:
    offers = []
    for offer in message["offers"].get("offers", ()):
        try:
            offers.append(_offer(offer))
        except MALFORMED as error:  # one bad offer must not hide the others
            log.warning("The master sent an offer that we cannot read (%r): %.500r", error, offer)
    return Offered(tuple(offers))


def _offer(offer: Json) -> Offer:
    start = offer.get("unavailability", {}).get("start", {}).get("nanoseconds")
    address = offer.get("url", {}).get("address", {})
    ip = address.get("ip") or offer["hostname"]
    return Offer(
        id=offer["id"]["value"],
        agent_id=offer["agent_id"]["value"],
        hostname=offer["hostname"],
        ip=ip,
        endpoint=f"{f'[{ip}]' if ':' in ip else ip}:{address['port']}" if "port" in address else "",
        pieces=pieces(offer.get("resources", ())),
        attributes=tuple((a["name"], _attribute(a)) for a in offer.get("attributes", ())),
        role=_role(offer),
        unavailable_from=None if start is None else int(start) / 1e9,
    )


def _role(offer: Json) -> str:
    for thing in (offer, *offer.get("resources", ())):
        role = thing.get("allocation_info", {}).get("role")
        if role:
            return str(role)
    return "*"


def _attribute(attribute: Json) -> str:
    """An attribute's value as an operator would write it in --attributes."""
    kind = attribute["type"]
    if kind == "TEXT":
        return str(attribute["text"]["value"])
    if kind == "SCALAR":
        return _number(attribute["scalar"]["value"])
    if kind == "RANGES":
        return "[" + ",".join(f"{r['begin']}-{r['end']}" for r in attribute["ranges"].get("range", ())) + "]"
    if kind == "SET":
        return "{" + ",".join(attribute["set"].get("item", ())) + "}"
    raise ValueError(f"attribute type {kind!r}")


def _number(value: float) -> str:
    return f"{round(float(value), 3):g}" if abs(value) < 1e6 else f"{value:.0f}"


def _rescind(message: Json) -> Rescinded:
    return Rescinded(message["rescind"]["offer_id"]["value"])


def _update(message: Json) -> Updated:
    status = message["update"]["status"]
    said = _said(status.get("data", ""))
    engine_id, busy_ports = said.get("engine_id"), said.get("busy_ports")
    return Updated(
        task_id=status["task_id"]["value"],
        agent_id=status.get("agent_id", {}).get("value", ""),
        state=str(status["state"]),
        reason=str(status.get("reason", "")),
        message=str(status.get("message", "")),
        uuid=str(status.get("uuid", "")),
        engine_id=engine_id if _whole(engine_id) else None,
        busy_ports=tuple(p for p in busy_ports if _whole(p)) if isinstance(busy_ports, list) else (),
        final=said.get("final") is True,
    )


def _said(data: str) -> Mapping[str, Any]:
    """What our executor wrote into status.data; nothing when it is not ours."""
    if not data:
        return {}
    try:
        said = json.loads(base64.b64decode(data, validate=True))
    except MALFORMED:
        return {}
    return said if isinstance(said, dict) else {}


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _failure(message: Json) -> ExecutorLost | AgentLost:
    failure = message["failure"]
    agent_id = failure.get("agent_id", {}).get("value", "")
    if "executor_id" in failure:
        return ExecutorLost(failure["executor_id"]["value"], agent_id, int(failure.get("status", -1)))
    return AgentLost(agent_id)


TRANSLATIONS: Mapping[str, Callable[[Json], Event]] = {
    "SUBSCRIBED": _subscribed,
    "OFFERS": _offers,
    "RESCIND": _rescind,
    "UPDATE": _update,
    "FAILURE": _failure,
}


def agents(listing: Any, roles: Collection[str] = ("*",)) -> AgentsListed | None:
    """What each active agent has for `roles`, out of the master's `/slaves`; None when it cannot be read."""
    try:
        return AgentsListed(tuple(_agent(a, roles) for a in listing["slaves"] if a.get("active", True)))
    except MALFORMED as error:
        log.warning("The master sent a list of agents that we cannot read: %r", error)
        return None


def _agent(agent: Json, roles: Collection[str]) -> Agent:
    reserved = agent.get("reserved_resources", {})
    shares = [agent.get("unreserved_resources", agent["resources"])]
    shares += [reserved[role] for role in roles if role in reserved]
    amounts = {
        name: math.floor(sum(float(share.get(name, 0)) for share in shares) * unit + EPSILON)
        for name, unit in UNITS.items()
    }
    return Agent(
        id=agent["id"],
        hostname=agent["hostname"],
        total=Resources(**amounts),
        ports=sum(end - begin + 1 for share in shares for begin, end in _ranges(share.get("ports", "[]"))),
        attributes=tuple((name, _listed(value)) for name, value in agent.get("attributes", {}).items()),
    )


def _ranges(text: str) -> tuple[tuple[int, int], ...]:
    """ "[31000-31099, 31200-31299]", as the master prints ranges for people."""
    parts = [part.partition("-") for part in text.strip("[] ").split(",") if part.strip()]
    return merged((int(begin), int(end)) for begin, _, end in parts)


def _listed(value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(value)
    return str(value).replace(", ", ",")
