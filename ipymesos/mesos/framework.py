"""FrameworkInfo: what we say about ourselves when we subscribe (include/mesos/v1/mesos.proto)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .preferences import Preferences, offer_constraints, offer_filters

Json = dict[str, Any]

WEEK = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Framework:
    """Who we are. `secret` proves `principal` to the master, by HTTP Basic, and is said to nobody else."""

    name: str
    user: str  # whom the agents run the executors as
    roles: tuple[str, ...] = ("*",)
    principal: str = ""
    secret: str = field(default="", repr=False)
    checkpoint: bool = True  # tasks outlive a restart of their agent
    failover_timeout: float = WEEK  # seconds that tasks live on without a scheduler
    webui_url: str = ""
    hostname: str = ""
    gpus: bool = False
    id: str = ""  # given by the master at the first registration; repeated at every later one


def framework_info(framework: Framework) -> Json:
    """The FrameworkInfo of `framework`; fields that are empty are left out, so that the master fills them in."""
    capabilities = ["PARTITION_AWARE", "TASK_KILLING_STATE", "MULTI_ROLE", "RESERVATION_REFINEMENT"]
    if framework.gpus:
        # gpu-support.md: without it no agent with GPUs is offered, with it every one of them is, so it is a promise
        # to leave those agents to work that needs GPUs.
        capabilities.append("GPU_RESOURCES")
    info: Json = {
        "name": framework.name,
        "user": framework.user,
        "roles": list(framework.roles),
        "checkpoint": framework.checkpoint,
        "failover_timeout": framework.failover_timeout,
        "capabilities": [{"type": capability} for capability in capabilities],
    }
    for name in ("principal", "webui_url", "hostname"):
        if getattr(framework, name):
            info[name] = getattr(framework, name)
    if framework.id:
        info["id"] = {"value": framework.id}
    return info


def subscribe(info: Json, preferences: Preferences) -> Json:
    """SUBSCRIBE. What not every master knows is said after it, since what was said here could not be changed there."""
    call: Json = {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}
    if preferences.suppressed:
        call["subscribe"]["suppressed_roles"] = info["roles"]
    if "id" in info:
        call["framework_id"] = info["id"]
    return call


def takes_updates(subscribed: Json) -> bool:
    """Whether the master that sent this SUBSCRIBED knows UPDATE_FRAMEWORK; it came with Mesos 1.9, as draining did."""
    master = subscribed.get("master_info")
    capabilities = master.get("capabilities") if isinstance(master, dict) else None
    return isinstance(capabilities, list) and {"type": "AGENT_DRAINING"} in capabilities


def update_framework(info: Json, framework_id: str, preferences: Preferences) -> Json:
    """UPDATE_FRAMEWORK: the same framework, other preferences. All of them: what is left out is forgotten."""
    identity = {"value": framework_id}
    roles = info["roles"]
    update: Json = {"framework_info": {**info, "id": identity}}
    if filters := offer_filters(preferences, roles):
        update["framework_info"]["offer_filters"] = filters
    if constraints := offer_constraints(preferences, roles):
        update["offer_constraints"] = constraints
    return {"type": "UPDATE_FRAMEWORK", "framework_id": identity, "update_framework": update}
