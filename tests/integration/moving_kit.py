"""Engines that outlive their controllers; and a client that speaks the protocol by hand."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import ipyparallel as ipp
import zmq
from ipymesos_executor.lines import encode
from ipyparallel.serialize import deserialize_object, pack_apply_message
from ipyparallel.util import connect
from jupyter_client.session import Session

from tests.helpers import eventually

from .executor_kit import Zygote, payloads


class Moving:
    """N engines and the controllers they have one after the other, all with the same keys."""

    def __init__(self, folder: Path, n: int = 4, curve: bool = True, preload: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.tasks = [f"e{i}" for i in range(n)]
        self.known = {"c0": payloads(curve)}  # (controller's payload, engine's)
        self.curve = curve
        self.controllers = Zygote("controller", folder)
        self.engines = Zygote("engines", folder, *preload)
        self.clients: list[ipp.Client] = []
        self.last = "c0"

    def __enter__(self) -> Moving:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for client in self.clients:
            client.close()
        self.engines.__exit__()
        self.controllers.__exit__()

    def address(self, *args: str) -> str:
        """A controller that has ports and does not run yet; its name."""
        first, _ = self.known["c0"]
        taken = {port for controller, _ in self.known.values() for port in controller["ports"]}
        controller, engine = payloads(self.curve)
        while taken.intersection(controller["ports"]):
            controller, engine = payloads(self.curve)
        for info in ("engine_info", "client_info"):
            for key in ("key", "curve_serverkey"):
                controller[info][key] = first[info][key]
        for key in ("curve_publickey", "curve_secretkey"):
            controller[key] = first[key]
        controller["args"] = list(args)
        self.last = f"c{len(self.known)}"
        self.known[self.last] = controller, {**engine, "controller": self.last}
        return self.last

    def run(self, name: str) -> str:
        self.controllers.start(name, self.known[name][0])
        self.controllers.expect("started", name)
        return name

    def new_controller(self, *args: str) -> str:
        return self.run(self.address(*args))

    def begin(self) -> ipp.Client:
        """All engines with the first controller."""
        self.run("c0")
        for task in self.tasks:
            self.start(task, "c0")
        self.arrived("c0")
        return self.client("c0")

    def start(self, task: str, controller: str) -> None:
        payload = {**self.known["c0"][1], "engine_info": self.known[controller][0]["engine_info"]}
        self.engines.start(task, {**payload, "controller": controller})

    def kill(self, name: str, signum: int = signal.SIGKILL) -> None:
        os.kill(int(self.controllers.expect("started", name)["pid"]), signum)
        self.controllers.expect("exited", name)

    def move(self, name: str, tasks: Iterable[str] | None = None) -> None:
        info = self.known[name][0]["engine_info"]
        address = {key: value for key, value in info.items() if key not in ("key", "curve_serverkey")}
        for task in tasks or self.tasks:
            order = {"do": "move", "task": task, "controller": name, "engine_info": address}
            self.engines.channel.sendall(encode(order))

    def events(self, task: str, controller: str) -> list[dict[str, Any]]:
        return [
            said
            for said in self.engines.listen()
            if said["event"] == "registered" and said["task"] == task and said["controller"] == controller
        ]

    def arrived(self, name: str, tasks: Iterable[str] | None = None) -> None:
        for task in tasks or self.tasks:
            eventually(lambda task=task: self.events(task, name) or self.engines.expect("started", task, 0) is None)

    def moved(self, name: str) -> ipp.Client:
        """Tell all, wait for all; a new client."""
        self.move(name)
        self.arrived(name)
        return self.client(name)

    def client(self, name: str, n: int | None = None) -> ipp.Client:
        client = ipp.Client(self.known[name][0]["client_info"])
        self.clients.append(client)
        wanted = len(self.tasks) if n is None else n
        eventually(lambda: len(client) == wanted)
        return client

    def log(self, task: str) -> str:
        path = self.folder / f"{task}.log"
        return path.read_text() if path.exists() else ""

    def pid(self, task: str) -> int:
        return int(self.engines.expect("started", task)["pid"])


class ByHand:
    """A client with one socket, which says what it is told to say."""

    def __init__(self, controller: dict[str, Any], session: Session | None = None) -> None:
        info = controller["client_info"]
        self.session = session or Session(key=info["key"].encode(), packer="json", unpacker="json")
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        connect(
            self.socket,
            f"{info['interface']}:{info['mux']}",
            curve_serverkey=(info["curve_serverkey"] or "").encode() or None,
        )

    def close(self) -> None:
        self.socket.close()
        self.context.term()

    def ask(self, uuid: str, function: Any, *args: Any) -> dict[str, Any]:
        """Send it; the message, to send it again."""
        message = self.session.msg("apply_request", content={}, metadata={"again": 0})
        message["kept"] = pack_apply_message(function, args, {})
        self.again(uuid, message)
        return message

    def again(self, uuid: str, message: dict[str, Any]) -> None:
        """With another signature, since ipykernel takes nothing twice."""
        message["metadata"]["again"] += 1
        kept = message["kept"]
        plain = {key: value for key, value in message.items() if key != "kept"}
        self.session.send(self.socket, plain, ident=uuid.encode(), buffers=list(kept))

    def answer(self, timeout: float = 20.0) -> tuple[str, Any]:
        """(message id of the question, result) of the next answer."""
        assert self.socket.poll(timeout * 1000), "no answer"
        _, frames = self.session.feed_identities(self.socket.recv_multipart())
        message = self.session.deserialize(frames)
        assert message["content"]["status"] == "ok", message["content"]
        return message["parent_header"]["msg_id"], deserialize_object(message["buffers"])[0]
