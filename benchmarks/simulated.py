"""A Mesos of any size, as far as the scheduler can tell: the events of its stream, and a cluster that wants tasks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from ipymesos.core.cluster import Cluster
from ipymesos.core.resources import Resources
from ipymesos.core.session import Everything
from ipymesos.core.specs import ControllerSpec, EngineSet, EngineSpec, Spec

ENGINES = "engines"
CPUS, MEM = 1000, 500  # of an engine: thousandths, MB


def wanting(n: int) -> Everything:
    """A cluster that wants a controller and n engines, and has nothing."""
    engine = EngineSpec(Resources(cpus=CPUS, mem=MEM), pack=Resources(cpus=100, mem=100))
    controller = ControllerSpec(Resources(cpus=500, mem=200))
    return Everything(Cluster("simulated", Spec(controller, {ENGINES: EngineSet(n, engine)})))


def offers(n: int) -> bytes:
    """One OFFERS event with the offers of n agents that differ in size, as Mesos writes it (641 bytes for each)."""
    return encoded({"type": "OFFERS", "offers": {"offers": [offer(i) for i in range(n)]}})


def encoded(event: dict[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def offer(i: int) -> dict[str, Any]:
    allocation = {"allocation_info": {"role": "*"}}
    scalars = {"cpus": 2.1 + i % 7, "mem": 1000.0 * (1 + i % 7), "disk": 100.0}
    resources = [
        {**allocation, "name": name, "scalar": {"value": value}, "type": "SCALAR"} for name, value in scalars.items()
    ]
    ports = {"range": [{"begin": 31000, "end": 32000}]}
    address = {"hostname": f"host-{i}", "ip": f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", "port": 5051}
    return {
        "agent_id": {"value": f"{FRAMEWORK[:-5]}-S{i}"},
        **allocation,
        "framework_id": {"value": FRAMEWORK},
        "hostname": address["hostname"],
        "id": {"value": f"{FRAMEWORK[:-5]}-O{i}"},
        "resources": [*resources, {**allocation, "name": "ports", "ranges": ports, "type": "RANGES"}],
        "url": {"address": address, "path": "/slave(1)", "scheme": "http"},
    }


def updates(tasks: Iterable[tuple[str, str]], state: str, **said: Any) -> Iterator[bytes]:
    """An UPDATE event for each (task id, agent id)."""
    for i, (task_id, agent_id) in enumerate(tasks):
        status = {
            "agent_id": {"value": agent_id},
            "source": "SOURCE_EXECUTOR",
            "state": state,
            "task_id": {"value": task_id},
            "timestamp": 1.7e9,
            "uuid": f"{state}-{i}",
            **said,
        }
        yield encoded({"type": "UPDATE", "update": {"status": status}})


FRAMEWORK = "8e1f3bd6-0000-4000-8000-1a2b3c4d5e6f-0000"
SUBSCRIBED = encoded(
    {
        "type": "SUBSCRIBED",
        "subscribed": {"framework_id": {"value": FRAMEWORK}, "heartbeat_interval_seconds": 3600.0},
    }
)
