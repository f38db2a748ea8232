"""FrameworkInfo: what we say about ourselves when we subscribe (include/mesos/v1/mesos.proto)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

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


def framework_info(framework: Framework) -> dict[str, Any]:
    """The FrameworkInfo of `framework`; fields that are empty are left out, so that the master fills them in."""
    capabilities = ["PARTITION_AWARE", "TASK_KILLING_STATE", "MULTI_ROLE", "RESERVATION_REFINEMENT"]
    if framework.gpus:
        # gpu-support.md: without it no agent with GPUs is offered, with it every one of them is, so it is a promise
        # to leave those agents to work that needs GPUs.
        capabilities.append("GPU_RESOURCES")
    info: dict[str, Any] = {
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
