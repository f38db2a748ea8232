"""What the master tells (docs/scheduler-http-api.md, "Events") -> core events.

The wire is not trusted: a message that is not what it should be becomes None and a line in the log, never an
exception in the thread that reads.
"""

from __future__ import annotations

import base64
import json
import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from ..core.messages import (
    AgentLost,
    AgentsListed,
    Event,
    ExecutorLost,
    InverseOffered,
    InverseRescinded,
    LoadTold,
    Offered,
    QueuesTold,
    Rescinded,
    Subscribed,
    Updated,
)
from ..core.resources import InverseOffer, Offer, Resources
from ..core.session import Agent, Usage
from .resources import EPSILON, UNITS, merged, pieces

Json = Mapping[str, Any]

log = logging.getLogger(__name__)
MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


def event(message: Any) -> Event | None:
    """The core event that `message`, one record of the event stream, stands for; None when it means nothing to us.

    HEARTBEAT and ERROR are the driver's own business; operations on resources, and messages of executors that are
    not ours, are nobody's.
    """
    try:
        translate = TRANSLATIONS.get(message["type"])
        return translate(message) if translate else None
    except MALFORMED as error:
        log.warning("The master sent what we cannot read (%r): %.500r", error, message)
        return None


def _id(message: Json) -> str:
    """One of Mesos' messages that wrap a name."""
    return _text(message["value"])


def _text(value: object) -> str:
    """`value`, which is used as a key: what can't be one must not get further than here."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.100} is no text")
    return value


def _subscribed(message: Json) -> Subscribed:
    master = message["subscribed"].get("master_info", {})
    address = master.get("address", {})
    host = address.get("hostname") or address.get("ip") or master.get("hostname", "")
    port = address.get("port") or master.get("port", 5050)
    return Subscribed(_id(message["subscribed"]["framework_id"]), f"{host}:{port}" if host else "")


def _offers(message: Json) -> Offered:
    offers = []
    for offer in message["offers"].get("offers", ()):
        try:
            offers.append(_offer(offer))
        except MALFORMED as error:  # one bad offer must not hide the others
            log.warning("The master sent an offer that we cannot read (%r): %.500r", error, offer)
    return Offered(tuple(offers))


def _offer(offer: Json) -> Offer:
    window = offer.get("unavailability")
    address = offer.get("url", {}).get("address", {})
    hostname = _text(offer["hostname"])
    ip = _text(address.get("ip") or hostname)
    return Offer(
        id=_id(offer["id"]),
        agent_id=_id(offer["agent_id"]),
        hostname=hostname,
        ip=ip,
        endpoint=f"{f'[{ip}]' if ':' in ip else ip}:{address['port']}" if "port" in address else "",
        pieces=pieces(offer.get("resources", ())),
        attributes=tuple((_text(a["name"]), _attribute(a)) for a in offer.get("attributes", ())),
        role=_role(offer),
        unavailable_from=None if window is None else _window(window)[0],
    )


def _window(unavailability: Json) -> tuple[float, float | None]:
    """When a maintenance begins and ends, in seconds since the epoch; without a duration it never ends."""
    start = int(unavailability["start"]["nanoseconds"])
    duration = unavailability.get("duration", {}).get("nanoseconds")
    return start / 1e9, None if duration is None else (start + int(duration)) / 1e9


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
    return Rescinded(_id(message["rescind"]["offer_id"]))


def _inverse_offers(message: Json) -> InverseOffered:
    offers = []
    for offer in message["inverse_offers"].get("inverse_offers", ()):
        try:
            start, end = _window(offer["unavailability"])
            offers.append(InverseOffer(_id(offer["id"]), _id(offer["agent_id"]), start, end))
        except MALFORMED as error:
            log.warning("The master sent an inverse offer that we cannot read (%r): %.500r", error, offer)
    return InverseOffered(tuple(offers))


def _rescind_inverse(message: Json) -> InverseRescinded:
    return InverseRescinded(_id(message["rescind_inverse_offer"]["inverse_offer_id"]))


def _why(status: Json) -> str:
    """The status' message. For memory the Mesos containerizer adds 40 lines of statistics (cgroups/subsystems)."""
    text = str(status.get("message", ""))
    if status.get("reason") != "REASON_CONTAINER_LIMITATION_MEMORY" or text.startswith("OOM"):
        return text
    return f"OOM: {text.partition('MEMORY STATISTICS')[0].strip()}"


def _update(message: Json) -> Updated:
    status = message["update"]["status"]
    said = _said(status.get("data", ""))
    engine_id, busy_ports, controller = (said.get(key) for key in ("engine_id", "busy_ports", "controller"))
    return Updated(
        task_id=_id(status["task_id"]),
        agent_id=_id(status["agent_id"]) if "agent_id" in status else "",
        state=str(status["state"]),
        reason=str(status.get("reason", "")),
        message=_why(status),
        uuid=str(status.get("uuid", "")),
        engine_id=engine_id if _whole(engine_id) else None,
        busy_ports=tuple(p for p in busy_ports if _whole(p)) if isinstance(busy_ports, list) else (),
        final=said.get("final") is True,
        controller=controller if isinstance(controller, str) else "",
    )


def _said(data: str) -> Mapping[str, Any]:
    """What our executor wrote, into status.data or a message; nothing when it is not ours."""
    if not data:
        return {}
    try:
        said = json.loads(base64.b64decode(data, validate=True))
    except MALFORMED:
        return {}
    return said if isinstance(said, dict) else {}


def _message(message: Json) -> LoadTold | QueuesTold | None:
    said, body = _said(message["message"]["data"]), message["message"]
    where = _id(body["executor_id"]), _id(body["agent_id"])
    if isinstance(said.get("queues"), dict):
        return _queues(*where, said["queues"])
    if not isinstance(said.get("load"), dict):
        return None
    load = tuple((str(task), float(seconds)) for task, seconds in said["load"].items())
    used = tuple((str(task), Usage(int(size) >> 20, float(cpu))) for task, (size, cpu) in said.get("used", {}).items())
    if not all(math.isfinite(seconds) for seconds in (*(s for _, s in load), *(u.cpu for _, u in used))):
        raise ValueError("a load without end")
    return LoadTold(*where, load, used)


def _queues(executor_id: str, agent_id: str, said: Json) -> QueuesTold:
    engines = tuple((int(engine_id), (int(one), int(two))) for engine_id, (one, two) in said["engines"].items())
    return QueuesTold(executor_id, agent_id, int(said["waiting"]), int(said["done"]), engines)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _failure(message: Json) -> ExecutorLost | AgentLost:
    failure = message["failure"]
    agent_id = _id(failure["agent_id"]) if "agent_id" in failure else ""
    if "executor_id" in failure:
        return ExecutorLost(_id(failure["executor_id"]), agent_id, int(failure.get("status", -1)))
    return AgentLost(agent_id)


TRANSLATIONS: Mapping[str, Callable[[Json], Event | None]] = {
    "SUBSCRIBED": _subscribed,
    "OFFERS": _offers,
    "INVERSE_OFFERS": _inverse_offers,
    "RESCIND": _rescind,
    "RESCIND_INVERSE_OFFER": _rescind_inverse,
    "UPDATE": _update,
    "FAILURE": _failure,
    "MESSAGE": _message,
}


def agents(listing: Any, roles: Collection[str] = ("*",)) -> AgentsListed | None:
    """What each agent has for `roles`, out of the master's `/slaves`; None when it cannot be read.

    Agents that are away for a moment, or drained, are among them: they may come back.
    """
    try:
        return AgentsListed(tuple(_agent(agent, roles) for agent in listing["slaves"]))
    except MALFORMED as error:
        log.warning("The master sent a list of agents that we cannot read: %r", error)
        return None


def _agent(agent: Json, roles: Collection[str]) -> Agent:
    reserved = agent.get("reserved_resources", {})
    shares = [agent.get("unreserved_resources", agent["resources"])]
    shares += [reserved[role] for role in roles if role in reserved]
    return Agent(
        id=_text(agent["id"]),
        hostname=_text(agent["hostname"]),
        total=_sum(shares),
        ports=sum(end - begin + 1 for share in shares for begin, end in _ranges(share.get("ports", "[]"))),
        attributes=tuple((name, _listed(value)) for name, value in agent.get("attributes", {}).items()),
        used=_sum([agent.get("used_resources", {})]),
        kept=_sum([share for role, share in reserved.items() if role not in roles]),
        active=bool(agent.get("active", True)) and not agent.get("deactivated", False),
    )


def _sum(shares: Iterable[Json]) -> Resources:
    amounts = {
        name: math.floor(sum(float(share.get(name, 0)) for share in shares) * unit + EPSILON)
        for name, unit in UNITS.items()
    }
    return Resources(**amounts)


def _ranges(text: str) -> tuple[tuple[int, int], ...]:
    """ "[31000-31099, 31200-31299]", as the master prints ranges for people."""
    parts = [part.partition("-") for part in text.strip("[] ").split(",") if part.strip()]
    return merged((int(begin), int(end)) for begin, _, end in parts)


def _listed(value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(value)
    return str(value).replace(", ", ",")
