"""A Mesos framework of a few lines, straight on the HTTP API: shows what a cluster does, with nothing of ours between.

`Framework` is its scheduler. Run as a program, this file is its executor: it says RUNNING for each task, KILLED when
asked, reconnects to a restarted agent, and understands the names of tasks: "spawn..." starts a `sleep` in a session
of its own first. Python's standard library only, so that it runs anywhere.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any


def records(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """The events of a RecordIO stream: each has its length in decimal and a newline in front of it."""
    while True:
        size = response.readline()
        if not size:
            return
        yield json.loads(response.read(int(size)))


class Framework:
    """Subscribed on construction; `events` has everything that the master said. Use as a context manager."""

    def __init__(
        self, master: str, framework_id: str = "", credentials: str = "", roles: list[str] | None = None
    ) -> None:
        self.master, self.credentials = master, credentials
        info: dict[str, Any] = {
            "name": "plain",
            "user": "root" if os.geteuid() == 0 else os.environ.get("USER", "nobody"),
            "checkpoint": True,
            "failover_timeout": 600,
            "roles": roles or ["*"],
            "capabilities": [{"type": "MULTI_ROLE"}],
        }
        if framework_id:
            info["id"] = {"value": framework_id}
        body: dict[str, Any] = {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}
        if framework_id:
            body["framework_id"] = {"value": framework_id}
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.seen: list[dict[str, Any]] = []
        self.connection = http.client.HTTPConnection(master, timeout=60)
        self.connection.request("POST", "/api/v1/scheduler", json.dumps(body), self.headers())
        self.socket: socket.socket = self.connection.sock
        response = self.connection.getresponse()
        if response.status != 200:
            text = response.read().decode()
            self.connection.close()
            raise ConnectionRefusedError(f"{response.status}: {text}")
        self.stream_id = response.headers["Mesos-Stream-Id"]
        self.thread = threading.Thread(target=self._read, args=(response,), daemon=True)
        self.thread.start()
        self.id: str = self.wait("SUBSCRIBED")["subscribed"]["framework_id"]["value"]

    def __enter__(self) -> Framework:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)  # closing alone would wait for the reader, and that for the master
        self.thread.join()
        self.connection.close()

    def headers(self, stream: str = "") -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.credentials:
            headers["Authorization"] = "Basic " + base64.b64encode(self.credentials.encode()).decode()
        return headers | ({"Mesos-Stream-Id": stream} if stream else {})

    def _read(self, response: http.client.HTTPResponse) -> None:
        try:
            for event in records(response):
                self.events.put(event)
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            return  # the master is gone, or we are

    def wait(self, kind: str, timeout: float = 30.0, **wanted: str) -> dict[str, Any]:
        """The next event of that type, and for UPDATE of that task and state; queue.Empty when there is none."""
        deadline = time.monotonic() + timeout
        while True:
            event = self.events.get(timeout=max(0.0, deadline - time.monotonic()))
            self.seen.append(event)
            if event["type"] == "UPDATE":
                status = event["update"]["status"]
                if "uuid" in status:
                    self.acknowledge(status)
                if (
                    kind != "UPDATE"
                    or status["task_id"]["value"] != wanted["task"]
                    or status["state"] != wanted["state"]
                ):
                    continue
            if event["type"] == kind:
                return event

    def call(self, kind: str, **fields: Any) -> None:
        body = {"type": kind, "framework_id": {"value": self.id}, **fields}
        connection = http.client.HTTPConnection(self.master, timeout=10)
        try:
            connection.request("POST", "/api/v1/scheduler", json.dumps(body), self.headers(self.stream_id))
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if response.status != 202:
            raise ConnectionError(f"{kind}: {response.status} {text}")

    def acknowledge(self, status: dict[str, Any]) -> None:
        names = ("agent_id", "task_id", "uuid")
        self.call("ACKNOWLEDGE", acknowledge={name: status[name] for name in names})

    def launch(self, task: str, command: dict[str, Any] | None = None, container: dict[str, Any] | None = None) -> str:
        """Launch one task on the first agent that is offered; its agent's id. The executor is this file."""
        offer = self.wait("OFFERS")["offers"]["offers"][0]
        amounts = [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
                   {"name": "mem", "type": "SCALAR", "scalar": {"value": 64.0}}]  # fmt: skip
        executor: dict[str, Any] = {
            "type": "CUSTOM",
            "executor_id": {"value": f"executor-{task}"},
            "framework_id": {"value": self.id},
            "command": command or {"shell": True, "value": f"exec {sys.executable} {__file__} >stdout 2>stderr"},
            "resources": amounts,
        }
        if container:
            executor["container"] = container
        info = {"name": task, "task_id": {"value": task}, "agent_id": offer["agent_id"], "executor": executor,
                "resources": amounts}  # fmt: skip
        operation = {"type": "LAUNCH", "launch": {"task_infos": [info]}}
        self.call(
            "ACCEPT", accept={"offer_ids": [offer["id"]], "operations": [operation], "filters": {"refuse_seconds": 0}}
        )
        agent: str = offer["agent_id"]["value"]
        return agent


class Executor:
    """The executor side; one thread, since it only answers."""

    def __init__(self) -> None:
        environment = os.environ
        name, _, self.agent = environment["MESOS_SLAVE_PID"].partition("@")
        self.path = f"/{name}/api/v1/executor"
        self.ids = {
            "framework_id": {"value": environment["MESOS_FRAMEWORK_ID"]},
            "executor_id": {"value": environment["MESOS_EXECUTOR_ID"]},
        }
        self.tasks: dict[str, dict[str, Any]] = {}
        self.updates: dict[str, dict[str, Any]] = {}

    def post(self, body: dict[str, Any]) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(self.agent, timeout=3600)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        connection.request("POST", self.path, json.dumps(self.ids | body), headers)
        return connection, connection.getresponse()

    def update(self, task: str, state: str) -> None:
        status = {
            "task_id": {"value": task},
            "executor_id": self.ids["executor_id"],
            "source": "SOURCE_EXECUTOR",
            "state": state,
            "uuid": base64.b64encode(uuid.uuid4().bytes).decode(),
        }
        self.updates[status["uuid"]] = {"status": status}
        connection, response = self.post({"type": "UPDATE", "update": {"status": status}})
        response.read()
        connection.close()

    def run(self) -> None:
        while True:
            subscribe = {
                "unacknowledged_tasks": list(self.tasks.values()),
                "unacknowledged_updates": list(self.updates.values()),
            }
            try:
                connection, response = self.post({"type": "SUBSCRIBE", "subscribe": subscribe})
                if response.status == 200:
                    for event in records(response):
                        self.handle(event)
                connection.close()
            except (OSError, http.client.HTTPException):
                print("no agent", file=sys.stderr, flush=True)
            time.sleep(0.1)

    def handle(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "LAUNCH":
            task = event["launch"]["task"]
            name = task["task_id"]["value"]
            if name.startswith("spawn"):
                subprocess.Popen(["sleep", "1000"], start_new_session=True, env={})
            self.tasks[name] = task
            self.update(name, "TASK_RUNNING")
        elif kind == "KILL":
            self.update(event["kill"]["task_id"]["value"], "TASK_KILLED")
        elif kind == "ACKNOWLEDGED":
            self.updates.pop(event["acknowledged"]["uuid"], None)
            self.tasks.pop(event["acknowledged"]["task_id"]["value"], None)
        elif kind == "SHUTDOWN":
            sys.exit(0)


if __name__ == "__main__":
    Executor().run()
