"""A scheduler of a few lines, to launch the executor on a real Mesos and hear what it says."""

from __future__ import annotations

import base64
import json
import signal
import sys
from typing import Any

_interrupt = signal.getsignal(signal.SIGINT)
from pymesos import MesosSchedulerDriver, Scheduler  # noqa: E402

from tests.helpers import eventually  # noqa: E402

signal.signal(signal.SIGINT, _interrupt)

TERMINAL = {"TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_LOST", "TASK_ERROR", "TASK_DROPPED", "TASK_GONE"}


def command(kind: str, *arguments: str) -> str:
    """The shell form of a process container: the agent's own sandbox gets the output."""
    return " ".join(["exec", sys.executable, "-m", "ipymesos_executor", kind, *arguments, ">stdout", "2>stderr"])


def data(payload: dict[str, Any]) -> str:
    return base64.b64encode(json.dumps(payload).encode()).decode()


class Playground(Scheduler):
    """One framework; `with` tears it down. Offers are kept, updates are kept, nothing is decided."""

    def __init__(self, master: str, checkpoint: bool = False, **framework: Any) -> None:
        info = {
            "user": "root",
            "name": "executor tests",
            "checkpoint": checkpoint,
            "failover_timeout": 60.0,
            "capabilities": [{"type": "TASK_KILLING_STATE"}, {"type": "PARTITION_AWARE"}],
            **framework,
        }
        self.driver = MesosSchedulerDriver(self, info, master, use_addict=False)
        self.offers: list[dict[str, Any]] = []
        self.updates: list[dict[str, Any]] = []
        self.lost: list[tuple[str, int]] = []
        self.messages: list[dict[str, Any]] = []
        self.agent = ""  # where we launched last
        self.environment: dict[str, str] = {}  # of executors
        self.image = ""  # of executors; empty: they are processes

    def __enter__(self) -> Playground:
        self.driver.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.driver.stop()
        self.driver.join()

    def resourceOffers(self, driver: Any, offers: list[dict[str, Any]]) -> None:
        self.offers += offers

    def offerRescinded(self, driver: Any, offer_id: dict[str, Any]) -> None:
        self.offers = [offer for offer in self.offers if offer["id"] != offer_id]

    def statusUpdate(self, driver: Any, status: dict[str, Any]) -> None:
        self.updates.append(status)

    def executorLost(self, driver: Any, executor_id: dict[str, Any], agent_id: Any, status: int) -> None:
        self.lost.append((executor_id["value"], status))

    def frameworkMessage(self, driver: Any, executor_id: Any, agent_id: Any, message: str) -> None:
        self.messages.append(json.loads(base64.b64decode(message)))

    def order(self, executor: str, **order: Any) -> None:
        """A message to an executor."""
        self.driver.sendFrameworkMessage({"value": executor}, {"value": self.agent}, data(order))

    def kill(self, task: str, grace: float) -> None:
        """With so many seconds from SIGTERM to SIGKILL; pymesos knows no kill_policy."""
        policy = {"grace_period": {"nanoseconds": int(grace * 1e9)}}
        kill = {"task_id": {"value": task}, "kill_policy": policy}
        self.driver._send({"type": "KILL", "framework_id": {"value": self.driver.framework_id}, "kill": kill})

    def launch(self, executor: str, kind: str, tasks: dict[str, dict[str, Any]], *arguments: str, **more: Any) -> None:
        """Launch these tasks (id -> payload) on one executor."""
        offer = eventually(lambda: self.offers and self.offers.pop(0))
        variables = [{"name": name, "value": value} for name, value in self.environment.items()]
        info: dict[str, Any] = {
            "executor_id": {"value": executor},
            "framework_id": {"value": self.driver.framework_id},
            "command": {**self.command(kind, *arguments), "environment": {"variables": variables}},
            "resources": [scalar("cpus", 0.1), scalar("mem", 64)],
        }
        if self.image:
            docker = {"image": self.image, "network": "HOST"}
            info["container"] = {"type": "DOCKER", "docker": docker}
        infos = [
            {
                "task_id": {"value": name},
                "name": name,
                "agent_id": offer["agent_id"],
                "executor": info,
                "data": data(payload),
                "resources": [scalar("cpus", 0.1), scalar("mem", 64)],
                **more,
            }
            for name, payload in tasks.items()
        ]
        self.driver.launchTasks(offer["id"], infos, {"refuse_seconds": 0.0})
        self.agent = offer["agent_id"]["value"]

    def command(self, kind: str, *arguments: str) -> dict[str, Any]:
        if self.image:
            return {"shell": False, "value": "python3", "arguments": ["-m", "ipymesos_executor", kind, *arguments]}
        return {"shell": True, "value": command(kind, *arguments)}

    def states(self, task: str) -> list[str]:
        """Each state once, in order: an update may be delivered more than once. Whether it was said to start depends
        on how long it took."""
        found: list[str] = []
        for update in self.updates:
            if update["task_id"]["value"] == task and update["state"] not in ("TASK_STARTING", *found[-1:]):
                found.append(update["state"])
        return found

    def expect(self, task: str, state: str, timeout: float = 30.0) -> dict[str, Any]:
        """Wait for this state; its status, with `data` decoded."""

        def seen() -> dict[str, Any]:
            mine = [u for u in self.updates if u["task_id"]["value"] == task]
            found = [u for u in mine if u["state"] == state]
            assert found, (task, state, [(u["state"], u.get("message")) for u in mine])
            return found[0]

        status = dict(eventually(seen, timeout))
        status["data"] = json.loads(base64.b64decode(status["data"])) if status.get("data") else {}
        return status


def scalar(name: str, value: float) -> dict[str, Any]:
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}}
