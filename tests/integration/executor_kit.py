"""A zygote without Mesos: the test is its executor. And the payloads that a scheduler would send."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import ipymesos_executor
import ipyparallel as ipp
import zmq
from ipymesos_executor.lines import Lines, encode

from tests.helpers import eventually

N = 4  # engines
PORTS = 18
FIRST, LAST = 20000, 31000  # below what Linux hands out by itself
SOURCE = str(Path(ipymesos_executor.__file__).parents[1])
MAIN = (
    "import socket, sys; from ipymesos_executor import zygote; "
    "zygote.main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2], sys.argv[3:])"
)


def free_ports(n: int = PORTS) -> list[int]:
    """A run of n TCP ports nobody listens on."""
    start = FIRST + secrets.randbelow((LAST - FIRST) // 50) * 50
    for first in [*range(start, LAST, 50), *range(FIRST, start, 50)]:
        ports = list(range(first, first + n))
        if all(_free(port) for port in ports):
            return ports
    raise RuntimeError("no free ports")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def payloads(curve: bool = True, ports: list[int] | None = None, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """(controller's, engine's), as the scheduler writes them into TaskInfo.data."""
    ports = ports or free_ports()
    public, secret = zmq.curve_keypair() if curve else (b"", b"")
    common = {
        "key": "" if curve else secrets.token_hex(32),
        "curve_serverkey": public.decode() or None,
        "location": "127.0.0.1",
        "pack": "json",
        "unpack": "json",
        "signature_scheme": "hmac-sha256",
        "ssh": "",
        "interface": "tcp://127.0.0.1",
        "registration": ports[0],
    }
    names = ("control", "mux", "task", "iopub", "hb_ping", "hb_pong")
    engine = {**common, **dict(zip(names, ports[1:7], strict=True)), "broadcast": ports[7:9]}
    client = {**common, **dict(zip(names[:3], ports[9:12], strict=True)), "task_scheme": "leastload"}
    client |= {"iopub": ports[12], "notification": ports[13], "broadcast": ports[14]}
    base = {"protocol": 1, "python": list(sys.version_info[:2]), "cluster_id": "", "engine_info": engine, "args": []}
    controller = {
        **base,
        "kind": "controller",
        "client_info": client,
        "curve_publickey": public.decode(),
        "curve_secretkey": secret.decode(),
        "ports": ports,
        "internal_ports": ports[15:],
        "ip": "127.0.0.1",
    }
    return {**controller, **more}, {**base, "kind": "engine"}


def keys(controller: dict[str, Any]) -> list[bytes]:
    info = controller["engine_info"]
    texts = (info["key"], info["curve_serverkey"], controller["curve_secretkey"])
    return [text.encode() for text in texts if text]


class Zygote:
    """A zygote process of its own; `with` ends it and everything below it."""

    def __init__(
        self,
        kind: str,
        folder: Path,
        *preload: str,
        environ: dict[str, str] | None = None,
        extra_path: Path | None = None,
    ) -> None:
        self.folder = folder
        self.channel, theirs = socket.socketpair()
        self.channel.settimeout(0.2)
        path = os.pathsep.join([SOURCE, *([str(extra_path)] if extra_path else [])])
        environ = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(folder), **(environ or {})}
        self.errors = open(folder / f"zygote-{kind}.err", "wb")
        self.process = subprocess.Popen(
            [sys.executable, "-c", MAIN, str(theirs.fileno()), kind, *preload],
            pass_fds=[theirs.fileno()],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stderr=self.errors,
        )
        theirs.close()
        self.lines = Lines()
        self.heard: list[dict[str, Any]] = []

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *exc: object) -> None:
        self.channel.close()
        try:
            self.process.wait(10)
        finally:
            self.process.kill()
            self.process.wait()
            self.errors.close()

    def start(self, task: str, payload: dict[str, Any]) -> None:
        log = str(self.folder / f"{task}.log")
        self.channel.sendall(encode({"do": "start", "task": task, "payload": payload, "log": log}))

    def signal(self, task: str, signum: int, reason: str = "") -> None:
        self.command({"do": "signal", "task": task, "signal": int(signum), "reason": reason})

    def command(self, message: dict[str, Any]) -> None:
        self.channel.sendall(encode(message))

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)

    def listen(self) -> list[dict[str, Any]]:
        try:
            self.heard += self.lines.feed(self.channel.recv(1 << 16))
        except (TimeoutError, ConnectionResetError):
            pass
        return self.heard

    def expect(self, event: str, task: str | None = None, timeout: float = 30.0) -> dict[str, Any]:
        """Wait for this event and return it, with everything it says."""

        def seen() -> dict[str, Any] | None:
            found = [m for m in self.listen() if m["event"] == event and (task is None or m["task"] == task)]
            assert found, (event, task, self.heard, [p.read_text()[-2000:] for p in self.folder.glob("*.log")])
            return found[-1]

        return eventually(seen, timeout)  # type: ignore[return-value]


class Pack:
    """A controller, N engines and a client."""

    def __init__(
        self,
        folder: Path,
        curve: bool = True,
        preload: tuple[str, ...] = ("numpy",),
        args: tuple[str, ...] = (),
        group: Path | None = None,
        **more: Any,
    ) -> None:
        """`group`: a control group's file, for the engines' zygote to be in."""
        self.controller, self.engine = payloads(curve, args=list(args), **more)
        self.controllers = Zygote("controller", folder)
        self.engines = Zygote("engines", folder, *preload)
        if group is not None:
            group.write_text(str(self.engines.process.pid))  # it has its world to import before it looks
        self.controllers.start("ctl", self.controller)
        for i in range(N):
            self.engines.start(f"e{i}", self.engine)
        for i in range(N):
            self.engines.expect("registered", f"e{i}")
        self.started = N - 1
        self.client = ipp.Client(self.controller["client_info"])
        eventually(lambda: len(self.client) == N)

    def pid(self, task: str) -> int:
        zygote = self.controllers if task == "ctl" else self.engines
        return int(zygote.expect("started", task)["pid"])

    def task(self, engine_id: int) -> str:
        return str(next(m["task"] for m in self.engines.heard if m.get("engine_id") == engine_id))

    def new_engine(self, *args: str) -> int:
        """One more, with these arguments; its id."""
        self.started += 1
        self.engines.start(f"e{self.started}", {**self.engine, "args": list(args)})
        engine_id = int(self.engines.expect("registered", f"e{self.started}")["engine_id"])
        eventually(lambda: engine_id in self.client.ids)
        return engine_id

    def close(self) -> None:
        self.client.close()
        self.engines.__exit__()
        self.controllers.__exit__()


@ipp.interactive
def work(seconds: float, path: str = "", size: int = 0) -> tuple[int, bytes]:
    """For engines: leave a line in this file, so that each effect is counted, and sleep; (pid, `size` bytes)."""
    import os
    import time

    if path:
        with open(path, "a") as file:
            file.write(f"{os.getpid()}\n")
    time.sleep(seconds)
    return os.getpid(), bytes(size)


def runs(path: Path) -> list[int]:
    """The pids of those that have begun with work that writes there."""
    return [int(line) for line in path.read_text().split()] if path.exists() else []
