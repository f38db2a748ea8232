"""A minimal scheduler on pymesos, as its examples and tfmesos are written: first fit, one executor for each task, one
call for each offer, default filters. It is what ours is measured against.

    python -m benchmarks.naive MASTER TASKS PYTHONPATH
"""

from __future__ import annotations

import getpass
import signal
import sys
import uuid
from typing import Any

from pymesos import MesosSchedulerDriver, Scheduler

CPUS, MEM = 0.1, 32
EXECUTOR_CPUS, EXECUTOR_MEM = 0.1, 64


class FirstFit(Scheduler):
    def __init__(self, n: int, path: str) -> None:
        self.waiting = n
        self.path = path

    def resourceOffers(self, driver: Any, offers: list[Any]) -> None:
        for offer in offers:
            cpus, mem = amount(offer, "cpus"), amount(offer, "mem")
            tasks = []
            while self.waiting and cpus >= CPUS + EXECUTOR_CPUS and mem >= MEM + EXECUTOR_MEM:
                tasks.append(self.task(offer))
                cpus, mem = cpus - CPUS - EXECUTOR_CPUS, mem - MEM - EXECUTOR_MEM
                self.waiting -= 1
            if tasks:
                driver.launchTasks(offer["id"], tasks)
            else:
                driver.declineOffer(offer["id"])

    def task(self, offer: Any) -> dict[str, Any]:
        name = f"engine-{uuid.uuid4()}"
        variables = {"PYTHONPATH": self.path, "STAY": "1", "PATH": "/usr/bin:/bin"}
        executor = {
            "type": "CUSTOM",
            "executor_id": {"value": f"pack-{name}"},
            "resources": [scalar("cpus", EXECUTOR_CPUS), scalar("mem", EXECUTOR_MEM)],
            "command": {
                "shell": True,
                "value": f"exec {sys.executable} -m ipymesos_executor engines >stdout 2>stderr",
                "environment": {"variables": [{"name": k, "value": v} for k, v in variables.items()]},
            },
        }
        return {
            "name": "engine",
            "task_id": {"value": name},
            "agent_id": offer["agent_id"],
            "resources": [scalar("cpus", CPUS), scalar("mem", MEM)],
            "executor": executor,
        }


def amount(offer: Any, name: str) -> float:
    return sum(float(r["scalar"]["value"]) for r in offer["resources"] if r["name"] == name)


def scalar(name: str, value: float) -> dict[str, Any]:
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}}


def main() -> None:
    master, n, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    framework = {"user": getpass.getuser(), "name": "first fit", "checkpoint": True, "failover_timeout": 60.0}
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # in the driver's thread as well
    driver = MesosSchedulerDriver(FirstFit(n, path), framework, master)
    driver.start()
    signal.sigwait({signal.SIGTERM})
    driver.stop()


if __name__ == "__main__":
    main()
