"""Our scheduler on a real Mesos, with executors that do at once as they are told; and what operators may ask for."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import threading
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ipymesos import mesos
from ipymesos.connection import Connection
from ipymesos.core.cluster import Cluster, State, Task
from ipymesos.core.messages import Action, EnginesWanted, Event, ListAgents, Teardown
from ipymesos.core.resources import Resources
from ipymesos.core.session import Everything
from ipymesos.core.specs import Container, ControllerSpec, EngineSpec, Spec
from ipymesos.daemon.owner import Owner
from ipymesos.daemon.ticks import pass_time
from ipymesos.driver import Driver
from tests.helpers import eventually

OBEDIENT = Path(__file__).with_name("obedient")
CONTAINER = Container(python=sys.executable, environment=(("PYTHONPATH", str(OBEDIENT)), ("PATH", "/usr/bin:/bin")))
CONTROLLER = ControllerSpec(Resources(100, 64), CONTAINER)
ENGINE = EngineSpec(Resources(500, 64), Resources(100, 32), CONTAINER)

Json = dict[str, Any]
Meddler = Callable[[Json], Sequence[Json]]  # what is sent in the place of one call


class Ours:
    """The scheduler's mind, its driver and its clock, without the daemon around them. A context manager.

    All calls pass through `meddle`, if there is one. At the end the framework is torn down.
    """

    def __init__(self, master: str, meddle: Meddler | None = None, name: str = "ours") -> None:
        self.heard: list[Event] = []
        self.sent: list[Json] = []
        self.errors: list[Exception] = []
        self._meddle = meddle or (lambda call: [call])
        self._connection = Connection.new()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._ended = asyncio.Event()
        self.driver = Driver(mesos.Framework(name, "root"), master, self._on_event, self.errors.append)
        cluster = Cluster(name, Spec(CONTROLLER))
        self.owner = Owner(Everything(cluster), lambda cluster: None, self._send, self.errors.append)
        self.owner.watch(lambda before, after: self.driver.prefer(mesos.preferences(after, self.owner.clock())))

    def __enter__(self) -> Ours:
        self._thread.start()
        self.driver.start()
        self._ticking = asyncio.run_coroutine_threadsafe(pass_time(self.owner, self._ended), self._loop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._ticking.result(10)
        self._send([Teardown()], self.cluster)
        self.driver.flush(10)
        self.driver.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        assert not self.errors

    @property
    def state(self) -> Everything:
        return self.owner.state

    @property
    def cluster(self) -> Cluster:
        return self.owner.state.cluster

    def want(self, n: int, spec: EngineSpec = ENGINE, group: str = "e") -> None:
        self._loop.call_soon_threadsafe(self.owner.post, EnginesWanted(group, n, spec))

    def engines(self, state: State = State.RUNNING) -> list[Task]:
        return [task for task in self.cluster.group("e") if task.state is state and not task.doomed]

    def running(self, n: int, timeout: float = 60.0) -> list[Task]:
        """Wait until exactly n engines run."""

        def look() -> list[Task]:
            assert not self.errors, self.errors
            assert len(self.engines()) == n, (self.cluster.tasks.values(), self.cluster.setbacks)
            return self.engines() or [*self.cluster.tasks.values()]

        found = eventually(look, timeout)
        return found if n else []

    def calls(self, kind: str) -> list[Json]:
        return [call for call in self.sent if call["type"] == kind]

    def _on_event(self, event: Event) -> None:
        self.heard.append(event)
        self._loop.call_soon_threadsafe(self.owner.post, event)

    def _send(self, actions: Sequence[Action], cluster: Cluster) -> None:
        def payload(task: Task) -> bytes:
            return self._connection.payload(task, cluster)

        for action in actions:
            if isinstance(action, ListAgents):
                self.driver.list_agents()
                continue
            calls = self._meddle(mesos.call(action, cluster, payload, self._connection.address))
            self.sent += calls
            self.driver.send(calls)


def get(master: str, path: str) -> Any:
    with urllib.request.urlopen(f"http://{master}{path}", timeout=10) as answer:
        return json.load(answer)


def post(master: str, path: str, content: Any) -> Any:
    """What an operator asks of a master."""
    request = urllib.request.Request(f"http://{master}{path}", json.dumps(content).encode())
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def drain(master: str, agent_id: str, seconds: float | None = None) -> None:
    """DRAIN_AGENT: Mesos ends all tasks there and offers nothing of it (operator-http-api.md)."""
    body: Json = {"agent_id": {"value": agent_id}}
    if seconds is not None:
        body["max_grace_period"] = {"nanoseconds": int(seconds * 1e9)}
    post(master, "/api/v1", {"type": "DRAIN_AGENT", "drain_agent": body})


def schedule_maintenance(master: str, ips: Sequence[str], start: float, duration: float | None = None) -> None:
    """Announce that the machines will be taken away (maintenance.md); none of them: nothing is announced any more."""
    unavailability: Json = {"start": {"nanoseconds": int(start * 1e9)}}
    if duration is not None:
        unavailability["duration"] = {"nanoseconds": int(duration * 1e9)}
    machines = [{"hostname": ip, "ip": ip} for ip in ips]
    windows = [{"machine_ids": machines, "unavailability": unavailability}] if ips else []
    post(master, "/maintenance/schedule", {"windows": windows})


def metrics(master: str) -> dict[str, float]:
    return dict(get(master, "/metrics/snapshot"))


def metric(master: str, framework_id: str, ending: str) -> float:
    """One of the master's figures for one framework, `events/offers` for example."""
    found = [value for name, value in metrics(master).items() if framework_id in name and name.endswith(ending)]
    return sum(found)


def message(call: Json) -> Any:
    """What a MESSAGE says."""
    return json.loads(base64.b64decode(call["message"]["data"]))
