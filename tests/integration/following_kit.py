"""Controllers that come and go, engines that move between them, and a profile that says where the controller is."""

from __future__ import annotations

import json
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import psutil
import zmq

from ipymesos.following import Client
from ipymesos.paths import Paths, write_private
from tests.helpers import eventually

from .executor_kit import Zygote, free_ports, payloads


class Moving:
    """One cluster: at most one controller is the published one; engines are told to move when one is."""

    def __init__(self, folder: Path, n: int = 4, curve: bool = True) -> None:
        self.folder = folder
        self.paths = Paths(folder / "profile")
        self.paths.security.mkdir(parents=True)
        self.controllers = Zygote("controller", folder)
        self.engines = Zygote("engines", folder)
        self.count = 0
        self.n = n
        self.told: dict[str, str] = {}  # engine: its controller
        self.clients: list[ipp.Client] = []
        # An address of our own, as others on this machine look for free ports at the same time.
        self.host = f"127.{1 + secrets.randbelow(250)}.{secrets.randbelow(250)}.{1 + secrets.randbelow(250)}"
        self.payload, self.engine = self._payloads(payloads(curve))
        self.first = self.payload
        self.name = self.start()
        self.publish()
        for i in range(n):
            self.new_engine(f"e{i}")
        for i in range(n):
            self.engines.expect("registered", f"e{i}")

    def _payloads(self, pair: tuple[dict[str, Any], dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
        controller, engine = json.loads(json.dumps(pair).replace("127.0.0.1", self.host))
        return controller, engine

    def new_engine(self, task: str) -> None:
        self.told[task] = self.name
        self.engines.start(task, {**self.engine, "controller": self.name})

    def start(self, again: bool = False) -> str:
        """Another controller, with ports of its own unless it is the same `again`, and the same keys. Returns when it
        runs."""
        self.count += 1
        if self.count > 1 and not again:
            ports = free_ports()
            other, engine = self._payloads(payloads(True, ports))
            keys = {key: self.first["engine_info"][key] for key in ("key", "curve_serverkey")}
            curve = {key: self.first[key] for key in ("curve_publickey", "curve_secretkey")}
            other["engine_info"] |= keys
            other["client_info"] |= keys
            engine["engine_info"] |= keys
            self.payload, self.engine = {**other, **curve, "first_id": self.n}, engine
        if again:  # somebody says for a moment, in its place, that it is lost
            eventually(lambda: not self._answers("notification"))
        self.name = f"controller-{self.count}"
        self.controllers.start(self.name, self.payload)
        eventually(self._all_answer)
        return self.name

    def _answers(self, *names: str) -> bool:
        """Does somebody listen on all these ports of the present controller?"""
        with zmq.Context() as context, context.socket(zmq.DEALER) as probe:
            monitor = probe.get_monitor_socket(zmq.EVENT_CONNECTED)
            info = self.payload["client_info"]
            probe.linger = 0
            for port in names or ("registration", "mux", "task", "broadcast", "iopub", "notification", "control"):
                probe.connect(f"tcp://{self.host}:{info[port]}")
                if not monitor.poll(200):
                    probe.disable_monitor()
                    return False
                monitor.recv_multipart()
            probe.disable_monitor()
        return True

    def _all_answer(self) -> bool:
        log = self.folder / f"{self.name}.log"
        assert self._answers(), (self.controllers.listen(), log.read_text() if log.exists() else "no log")
        return True

    def publish(self) -> None:
        write_private(self.paths.client_file, json.dumps(self.payload["client_info"]).encode())

    def kill(self, name: str = "") -> None:
        """Kill a controller with all its processes."""
        process = psutil.Process(int(self.controllers.expect("started", name or self.name)["pid"]))
        family = [process, *process.children(recursive=True)]
        for one in family:
            one.suspend()
        for one in family:
            one.kill()
        psutil.wait_procs(family[1:], timeout=10)

    def move(self, *tasks: str) -> None:
        """Tell these engines, or all, to join the present controller."""
        address = {k: v for k, v in self.engine["engine_info"].items() if k not in ("key", "curve_serverkey")}
        for task in tasks or tuple(self.told):
            self.told[task] = self.name
            order = {"do": "move", "task": task, "controller": self.name, "engine_info": address}
            self.engines.channel.sendall(json.dumps(order).encode() + b"\n")

    def kill_main(self) -> None:
        """Kill the controller's own process: the others of it end by that."""
        os.kill(int(self.controllers.expect("started", self.name)["pid"]), signal.SIGKILL)

    def fail_over(self, *tasks: str, main_only: bool = False) -> None:
        """The controller dies; another one is there, is published, and gets the engines."""
        self.kill_main() if main_only else self.kill()
        self.start()
        self.publish()
        self.move(*tasks)

    def client(self, **options: Any) -> Client:
        client = Client(str(self.paths.client_file), **options)
        self.clients.append(client)
        eventually(lambda: len(client) == self.n)
        return client

    def task(self, engine_id: int) -> str:
        """The engine that has this id."""
        told = [m for m in self.engines.listen() if m["event"] == "registered" and m["engine_id"] == engine_id]
        return str(told[-1]["task"])

    def pid(self, task: str) -> int:
        return int(self.engines.expect("started", task)["pid"])

    def close(self) -> None:
        for client in self.clients:
            client.close(linger=0)
        self.engines.__exit__()
        self.controllers.__exit__()


@contextmanager
def moving(folder: Path, n: int = 4, curve: bool = True) -> Iterator[Moving]:
    made = Moving(folder, n, curve)
    try:
        yield made
    finally:
        made.close()
