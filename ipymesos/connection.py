"""The keys of a cluster, and the few things that contain them. No other module touches a key.

A key leaves this module in three shapes only: the two connection files in the user's profile (0600), the data of a
Mesos task (TaskInfo.data, which no endpoint of Mesos shows), and the state file (0600, by store.py).

With CURVE every socket is encrypted. There is no list of admitted clients, so whoever knows the controller's
*public* key is let in by ZeroMQ: that one is treated as a secret too, and messages are signed besides.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import zmq

from .core.cluster import Cluster, State, Task
from .core.specs import CONTROLLER
from .errors import ConfigError
from .paths import Paths, write_private

PROTOCOL = 1  # of what the executor is sent
DEFAULT_SCHEME = "leastload"  # ipyparallel's own default of TaskScheduler.scheme_name


def _leaves(ports: Sequence[int]) -> int:
    """Leaves of the broadcast tree of a controller with these ports: 12 fixed ones, three more for each leaf."""
    leaves, rest = divmod(len(ports) - 12, 3)
    if rest or leaves < 1 or leaves & (leaves - 1):
        raise ValueError(f"a controller has 15, 18, 24 ... ports, not {len(ports)}")
    return leaves


def internal_ports(ports: Sequence[int]) -> tuple[int, ...]:
    """The last ones of a controller's ports, used between its own processes: broadcast tree and monitor.

    ipcontroller takes its ports in this order: registration; control, mux, task, iopub, hb_ping, hb_pong and the
    broadcast leaves for engines; control, mux, task, iopub, notification and broadcast for clients; then these
    (ipyparallel/controller/app.py, init_hub).
    """
    return tuple(ports[-(2 * _leaves(ports) - 1) :])


def _scheme(args: Sequence[str]) -> str:
    """The task scheduler's scheme, which clients have to know: "pure" is spoken to in another way."""
    for arg in args:
        for option in ("--scheme=", "--TaskScheduler.scheme_name="):
            if arg.startswith(option):
                return arg[len(option) :]
    return DEFAULT_SCHEME


_THERE = (State.STARTING, State.RUNNING, State.UNREACHABLE)  # that one may come back


def _awaited(cluster: Cluster) -> list[int] | None:
    """The ids of the engines that will move to a new controller; None while some engine's isn't known."""
    mine = (t for t in cluster.tasks.values() if t.group != CONTROLLER and not t.doomed)
    engines = [t for t in mine if t.state in _THERE]
    ids = [t.engine_id for t in engines if t.engine_id is not None]
    return sorted(ids) if len(ids) == len(engines) else None


@dataclass(frozen=True)
class Connection:
    """The keys of one cluster. They outlive each of its controllers."""

    cluster_id: str = ""
    key: str = field(default="", repr=False)
    curve_publickey: str = field(default="", repr=False)
    curve_secretkey: str = field(default="", repr=False)

    @classmethod
    def new(cls, curve: bool = True, cluster_id: str = "") -> Connection:
        key = secrets.token_hex(32)  # signs every message, also below CURVE: it costs little, and admits nobody alone
        if not curve:
            return cls(cluster_id, key)
        if not zmq.has("curve"):
            raise ConfigError(
                "curve=True: this build of libzmq can't encrypt; install pyzmq's wheel, or say curve=False"
            )
        public, secret = zmq.curve_keypair()
        return cls(cluster_id, key, public.decode("ascii"), secret.decode("ascii"))

    @property
    def curve(self) -> bool:
        return bool(self.curve_publickey)

    # --- ipyparallel's two dictionaries ----------------------------------------------------------------------

    def engine_info(self, controller: Task) -> dict[str, Any]:
        """What an engine needs to find and to trust `controller`, in the words of ipcontroller-engine.json."""
        ports = controller.ports
        names = ("registration", "control", "mux", "task", "iopub", "hb_ping", "hb_pong")
        return {
            "ssh": "",
            "interface": f"tcp://{controller.ip}",
            **dict(zip(names, ports[:7], strict=True)),
            "broadcast": list(ports[7 : 7 + _leaves(ports)]),
            **self._base(controller),
        }

    def address(self, controller: Task) -> dict[str, Any]:
        """What an engine that knows the keys needs to move to `controller`: no key is sent to it again."""
        info = self.engine_info(controller)
        return {name: value for name, value in info.items() if name not in ("key", "curve_serverkey")}

    def client_info(self, controller: Task, args: Sequence[str] = ()) -> dict[str, Any]:
        """What a client needs, in the words of ipcontroller-client.json. `args` are the controller's."""
        ports = controller.ports
        first = 7 + _leaves(ports)
        control, mux, task, iopub, notification, broadcast = ports[first : first + 6]
        return {
            "ssh": "",
            "interface": f"tcp://{controller.ip}",
            "registration": ports[0],
            "control": control,
            "mux": mux,
            "task": task,
            "task_scheme": _scheme(args),
            "iopub": iopub,
            "notification": notification,
            "broadcast": broadcast,
            **self._base(controller),
        }

    def _base(self, controller: Task) -> dict[str, Any]:
        return {
            "key": self.key,
            "curve_serverkey": self.curve_publickey or None,
            "location": controller.ip,
            "pack": "json",
            "unpack": "json",
            "signature_scheme": "hmac-sha256",
        }

    # --- where they go ---------------------------------------------------------------------------------------

    def payload(self, task: Task, cluster: Cluster, python: tuple[int, int] | None = None) -> bytes:
        """What the executor of `task` is sent. `python` is the version it must run, None lets it run any."""
        common = {
            "protocol": PROTOCOL,
            "python": list(python) if python else None,
            "cluster_id": self.cluster_id,
        }
        if task.group == CONTROLLER:
            args = cluster.spec.controller.args if cluster.spec.controller else ()
            content = {
                **common,
                "kind": "controller",
                "client_info": self.client_info(task, args),
                "engine_info": self.engine_info(task),
                "curve_publickey": self.curve_publickey,
                "curve_secretkey": self.curve_secretkey,
                "ports": list(task.ports),
                "internal_ports": list(internal_ports(task.ports)),
                "ip": task.ip,
                "first_id": 1
                + max((t.engine_id for t in cluster.tasks.values() if t.engine_id is not None), default=-1),
                "awaited": _awaited(cluster),
                "args": list(args),
            }
        else:
            content = {
                **common,
                "kind": "engine",
                "controller": task.controller,
                "engine_info": self.engine_info(cluster.tasks[task.controller]),
                "args": list(cluster.spec.engines[task.group].spec.args),
            }
        return json.dumps(content).encode()

    def write_files(self, paths: Paths, controller: Task, args: Sequence[str] = ()) -> None:
        """The files that `ipyparallel.Client` and `ipcluster engines` look for, readable by their owner alone."""
        for path, info in (
            (paths.engine_file, self.engine_info(controller)),
            (paths.client_file, self.client_info(controller, args)),
        ):
            write_private(path, json.dumps(info, indent=2).encode())

    @staticmethod
    def remove_files(paths: Paths) -> None:
        for path in (paths.client_file, paths.engine_file):
            path.unlink(missing_ok=True)

    # --- for the state file ----------------------------------------------------------------------------------

    def to_json(self) -> dict[str, str]:
        return {
            "cluster_id": self.cluster_id,
            "key": self.key,
            "curve_publickey": self.curve_publickey,
            "curve_secretkey": self.curve_secretkey,
        }

    @classmethod
    def from_json(cls, content: dict[str, str]) -> Connection:
        return cls(**{name: str(content[name]) for name in cls().to_json()})
