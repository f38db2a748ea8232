"""Keys and connection files, against ipyparallel's own reading of them."""

from __future__ import annotations

import base64
import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from ipymesos.connection import Connection, internal_ports
from ipymesos.core.cluster import Cluster, Task
from ipymesos.core.offers import ports_needed
from ipymesos.core.resources import Resources
from ipymesos.core.specs import CONTROLLER, ControllerSpec, EngineSet, EngineSpec, Spec
from ipymesos.paths import Paths

CLIENT = "ssh interface registration control mux task task_scheme iopub notification broadcast".split()
ENGINE = "ssh interface registration control mux task iopub hb_ping hb_pong broadcast".split()
BASE = "key curve_serverkey location pack unpack signature_scheme".split()


def controller(depth: int = 1) -> Task:
    ports = tuple(range(31000, 31000 + ports_needed(depth)))
    return Task("c-1", CONTROLLER, "x-1", "agent", "host", (), (), 0.0, ip="10.1.2.3", ports=ports)


def cluster(task: Task) -> Cluster:
    engine = Task("e-2", "a", "x-2", "agent", "host", (), (), 0.0, controller=task.id)
    spec = Spec(
        ControllerSpec(Resources(), args=("--scheme=pure",)),
        {"a": EngineSet(1, EngineSpec(Resources(), args=("--x=1",)))},
    )
    return Cluster("n", spec, tasks={task.id: task, engine.id: engine})


def test_the_order_of_the_ports_is_ipcontrollers() -> None:
    connection, task = Connection.new(), controller()
    engine, client = connection.engine_info(task), connection.client_info(task)
    assert list(engine) == ENGINE + BASE
    assert list(client) == CLIENT + BASE
    assert [engine[name] for name in ENGINE[2:9]] == list(range(31000, 31007))
    assert engine["broadcast"] == [31007, 31008]
    assert [client[name] for name in ("control", "mux", "task", "iopub", "notification", "broadcast")] == list(
        range(31009, 31015)
    )
    assert internal_ports(task.ports) == (31015, 31016, 31017)
    assert client["registration"] == engine["registration"] == 31000
    assert {client["interface"], engine["interface"]} == {"tcp://10.1.2.3"}


@pytest.mark.parametrize("depth, leaves, internal", [(0, 1, 1), (1, 2, 3), (2, 4, 7), (3, 8, 15)])
def test_every_port_has_one_use(depth: int, leaves: int, internal: int) -> None:
    connection, task = Connection.new(), controller(depth)
    engine, client = connection.engine_info(task), connection.client_info(task)
    used = [engine[n] for n in ENGINE[2:9]] + engine["broadcast"]
    used += [client[n] for n in ("control", "mux", "task", "iopub", "notification", "broadcast")]
    used += internal_ports(task.ports)
    assert used == list(task.ports)
    assert len(engine["broadcast"]) == leaves and len(internal_ports(task.ports)) == internal


@pytest.mark.parametrize("count", [0, 12, 14, 16, 21])
def test_refuses_a_number_of_ports_that_no_controller_has(count: int) -> None:
    with pytest.raises(ValueError, match=f"not {count}"):
        internal_ports(tuple(range(count)))


def test_ipyparallel_loads_the_files(tmp_path: Path) -> None:
    from ipyparallel.controller.app import IPController
    from IPython.core.profiledir import ProfileDir

    connection, task = Connection.new(), controller()
    connection.write_files(Paths(tmp_path), task)
    app = IPController()
    app.profile_dir = ProfileDir.create_profile_dir(str(tmp_path))
    app.load_config_from_json()
    assert app.engine_info == connection.engine_info(task)
    assert app.client_info == connection.client_info(task)
    assert app.location == "10.1.2.3"


def test_curve_is_the_default_and_messages_are_signed_as_well() -> None:
    with_curve, without = Connection.new(), Connection.new(curve=False)
    assert with_curve.curve and len(with_curve.key) == 64
    assert with_curve.engine_info(controller())["curve_serverkey"] == with_curve.curve_publickey
    assert not without.curve and len(without.key) == 64
    assert without.client_info(controller())["curve_serverkey"] is None
    assert Connection.new() != Connection.new() and Connection.new(False) != Connection.new(False)


@pytest.mark.parametrize("curve", [True, False])
def test_nothing_secret_in_its_repr(curve: bool) -> None:
    connection = Connection.new(curve, "x")
    secrets = [s for s in (connection.key, connection.curve_publickey, connection.curve_secretkey) if s]
    assert secrets and not any(s in f"{connection!r} {connection!s}" for s in secrets)
    assert Connection.from_json(json.loads(json.dumps(connection.to_json()))) == connection


def test_files_are_their_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    paths = Paths(tmp_path, "other")
    old = os.umask(0)
    try:
        Connection.new().write_files(paths, controller())
    finally:
        os.umask(old)
    assert paths.client_file.name == "ipcontroller-other-client.json"
    assert {p.name: stat.S_IMODE(p.stat().st_mode) for p in paths.security.iterdir()} == {
        "ipcontroller-other-client.json": 0o600,
        "ipcontroller-other-engine.json": 0o600,
    }
    Connection.remove_files(paths)
    Connection.remove_files(paths)
    assert list(paths.security.iterdir()) == []


def test_the_payload_of_a_controller() -> None:
    connection, task = Connection.new(cluster_id="x"), controller()
    payload = json.loads(connection.payload(task, cluster(task), (3, 11)))
    assert payload["kind"] == "controller" and payload["protocol"] == 1 and payload["python"] == [3, 11]
    assert payload["cluster_id"] == "x" and payload["ip"] == "10.1.2.3" and payload["args"] == ["--scheme=pure"]
    assert payload["ports"] == list(task.ports) and payload["internal_ports"] == [31015, 31016, 31017]
    assert payload["curve_secretkey"] == connection.curve_secretkey
    assert payload["engine_info"] == connection.engine_info(task)
    assert payload["client_info"]["task_scheme"] == "pure"


def test_the_payload_of_an_engine_has_no_secret_key() -> None:
    connection, task = Connection.new(), controller()
    data = connection.payload(cluster(task).tasks["e-2"], cluster(task))
    payload = json.loads(data)
    assert payload == {
        "protocol": 1,
        "python": None,
        "cluster_id": "",
        "kind": "engine",
        "controller": "c-1",
        "engine_info": connection.engine_info(task),
        "args": ["--x=1"],
    }
    assert (
        connection.curve_secretkey.encode() not in data
        and connection.curve_secretkey.encode() not in base64.b64encode(data)
    )


def test_keys_outlive_a_controller() -> None:
    connection, task = Connection.new(), controller()
    other = replace(task, id="c-9", ip="10.9.9.9", ports=tuple(range(32000, 32018)))
    first, second = connection.client_info(task), connection.client_info(other)
    assert first["curve_serverkey"] == second["curve_serverkey"] and second["location"] == "10.9.9.9"
