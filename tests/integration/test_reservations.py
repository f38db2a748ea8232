"""Reserved resources on a real Mesos: spent first, and repeated in the tasks as the offer said them."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import pytest

from ipymesos.local import LocalMesos
from tests.integration.programs import SMALL, Start

pytestmark = pytest.mark.mesos

RESOURCES = "cpus:2;cpus(ipy):2;mem:4000;mem(ipy):1000;disk:1000;ports:[31000-31099];ports(ipy):[20000-20019]"


def call(master: str, kind: str, **body: Any) -> Any:
    """One call of the master's operator API."""
    data = json.dumps({"type": kind, **({kind.lower(): body} if body else {})}).encode()
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"http://{master}/api/v1", data, headers), timeout=10) as answer:
        text = answer.read()
        return json.loads(text) if text else None


def resources(master: str, name: str) -> list[dict[str, Any]]:
    """The resources of the tasks of this name, as the master lists them."""
    tasks = call(master, "GET_TASKS")["get_tasks"]["tasks"]
    return [resource for task in tasks if task["name"] == name for resource in task["resources"]]


def reserved_for(resource: dict[str, Any]) -> str:
    return "+".join(f"{r['type']}:{r['role']}" for r in resource.get("reservations", ())) or "nobody"


def works(profile: Path, n: int) -> None:
    with ipp.Client(profile_dir=str(profile)) as client:
        client.wait_for_engines(n, timeout=30)
        assert len(set(client[:].apply_sync(os.getpid))) == n


def test_a_static_reservation_is_spent_first(tmp_path: Path) -> None:
    with LocalMesos(resources=RESOURCES) as mesos:
        # 0.9 + 4 x 0.5 cpus and their executors: more than what is reserved, so both kinds are used.
        asked = ("-n", "4", "--role", "ipy", *SMALL, "--controller-cpus", "0.9", "--cpus", "0.5")
        with Start(tmp_path, "--master", mesos.master, *asked) as start:
            status = start.running(4)
            works(tmp_path, 4)
            controller = resources(mesos.master, "ipcontroller")
            assert {r["allocation_info"]["role"] for r in controller} == {"ipy"}
            (ports,) = (r for r in controller if r["name"] == "ports")
            assert reserved_for(ports) == "STATIC:ipy"
            assert ports["ranges"]["range"] == [{"begin": 20000, "end": 20017}]
            assert status["controller"]["ports"] == list(range(20000, 20018))
            used = {reserved_for(r) for r in resources(mesos.master, "ipengine") if r["name"] == "cpus"}
            assert used == {"STATIC:ipy", "nobody"}


def test_a_dynamic_reservation_is_spent_first(tmp_path: Path) -> None:
    with LocalMesos(resources="cpus:4;mem:4000;disk:1000;ports:[31000-31099]") as mesos:
        (agent,) = mesos.agents
        reservation = [{"type": "DYNAMIC", "role": "ipy", "principal": "operator"}]
        ranges = {"range": [{"begin": 31050, "end": 31069}]}
        kept = [{"name": "ports", "type": "RANGES", "ranges": ranges, "reservations": reservation}]
        call(mesos.master, "RESERVE_RESOURCES", agent_id={"value": agent["id"]}, resources=kept)
        with Start(tmp_path, "--master", mesos.master, "-n", "1", "--role", "ipy", *SMALL) as start:
            status = start.running(1)
            works(tmp_path, 1)
            assert status["controller"]["ports"] == list(range(31050, 31068))
            (ports,) = (r for r in resources(mesos.master, "ipcontroller") if r["name"] == "ports")
            assert reserved_for(ports) == "DYNAMIC:ipy"


def test_two_roles(tmp_path: Path) -> None:
    """Offers of two roles can't be accepted together; each task keeps to one."""
    with LocalMesos(resources=RESOURCES) as mesos:
        with Start(tmp_path, "--master", mesos.master, "-n", "3", "--role", "ipy,other", *SMALL) as start:
            start.running(3)
            works(tmp_path, 3)
