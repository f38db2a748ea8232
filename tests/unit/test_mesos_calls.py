"""What the core asks for becomes calls, word for word."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from ipymesos import mesos
from ipymesos.core.cluster import Cluster, Task
from ipymesos.core.messages import (
    AcceptInverse,
    Acknowledge,
    Action,
    AskLoad,
    Decline,
    Kill,
    Launch,
    ListAgents,
    Move,
    Reconcile,
    Revive,
    ShutdownExecutor,
    Suppress,
    Teardown,
    TellGone,
)
from ipymesos.core.resources import Piece, Resources
from ipymesos.core.specs import CONTROLLER, Container, ControllerSpec, EngineSet, EngineSpec, Spec

SECRET = b'{"key": "a-secret"}'
DOCKER = Container(
    kind="docker",
    image="some/engine:1",
    force_pull=True,
    python="/opt/bin/python3",
    environment=(("A", "1"), ("B", "two words")),
    volumes=(("/data", "/mnt/data", "RO"),),
    parameters=(("cap-add", "SYS_PTRACE"),),
    shm_size=1000,
    user="jane",
)
SPEC = Spec(
    controller=ControllerSpec(Resources(500, 512), Container(python="/my env/python")),
    engines={
        "e": EngineSet(2, EngineSpec(Resources(1000, 512), container=DOCKER, preload=("numpy", "scipy"), grace=30.5))
    },
)
CLUSTER = Cluster("mine", SPEC, framework_id="f1")
ALLOCATED = '{"allocation_info":{"role":"ipy"}}'
CONTROLLER_TASK = Task(
    id="c-1",
    group=CONTROLLER,
    executor_id="x-1",
    agent_id="a1",
    hostname="h1",
    pieces=(Piece("cpus", 400, origin=ALLOCATED), Piece("ports", ranges=((31000, 31000), (31001, 31001)))),
    executor_pieces=(Piece("cpus", 100), Piece("mem", 32)),
    launched_at=1.0,
    ports=(31001, 31000),
)
ENGINE = replace(CONTROLLER_TASK, id="e-1", group="e", executor_id="x-2", pieces=(Piece("mem", 512),), ports=())


def call(action: Action) -> dict[str, Any]:
    return mesos.call(action, CLUSTER, lambda task: SECRET, lambda task: {})


@pytest.mark.parametrize(
    "action, kind, body",
    [
        (
            Decline(("o1", "o2"), 5.0),
            "DECLINE",
            {"offer_ids": [{"value": "o1"}, {"value": "o2"}], "filters": {"refuse_seconds": 5.0}},
        ),
        (Suppress(), "SUPPRESS", None),
        (Revive(), "REVIVE", None),
        (Teardown(), "TEARDOWN", None),
        (Kill("t1", "a1"), "KILL", {"task_id": {"value": "t1"}, "agent_id": {"value": "a1"}}),
        (
            Kill("t1", "a1", grace=0.5),
            "KILL",
            {
                "task_id": {"value": "t1"},
                "agent_id": {"value": "a1"},
                "kill_policy": {"grace_period": {"nanoseconds": 500_000_000}},
            },
        ),
        (
            AcceptInverse(("i1", "i2")),
            "ACCEPT_INVERSE_OFFERS",
            {"inverse_offer_ids": [{"value": "i1"}, {"value": "i2"}], "filters": {"refuse_seconds": 3600.0}},
        ),
        (ShutdownExecutor("x1", "a1"), "SHUTDOWN", {"executor_id": {"value": "x1"}, "agent_id": {"value": "a1"}}),
        (Reconcile(()), "RECONCILE", {"tasks": []}),
        (
            Reconcile((("t1", "a1"), ("t2", ""))),
            "RECONCILE",
            {"tasks": [{"task_id": {"value": "t1"}, "agent_id": {"value": "a1"}}, {"task_id": {"value": "t2"}}]},
        ),
        (
            Acknowledge("t1", "a1", "dXVpZA=="),
            "ACKNOWLEDGE",
            {"task_id": {"value": "t1"}, "agent_id": {"value": "a1"}, "uuid": "dXVpZA=="},
        ),
    ],
)
def test_calls(action: Action, kind: str, body: dict[str, Any] | None) -> None:
    expected: dict[str, Any] = {"type": kind, "framework_id": {"value": "f1"}}
    if body is not None:
        expected[kind.lower()] = body
    assert call(action) == expected


def test_listing_agents_is_no_call() -> None:
    with pytest.raises(TypeError, match="ListAgents"):
        call(ListAgents())


def said(action: Action) -> Any:
    """What the message says that `action` becomes."""
    cluster = replace(CLUSTER, tasks={"c-1": CONTROLLER_TASK})
    sent = mesos.call(action, cluster, lambda task: SECRET, lambda task: {"at": task.ports})
    assert (sent["type"], sent["message"]["executor_id"], sent["message"]["agent_id"]) == (
        "MESSAGE",
        {"value": "x1"},
        {"value": "a1"},
    )
    return json.loads(base64.b64decode(sent["message"]["data"]))


def test_messages_to_executors() -> None:
    assert said(Move("x1", "a1", ("e-1", "e-2"), "c-1")) == {
        "move": {"controller": "c-1", "engine_info": {"at": [31001, 31000]}},
        "tasks": ["e-1", "e-2"],
    }
    assert said(AskLoad("x1", "a1")) == {"load": True}
    assert said(TellGone("c-1", "x1", "a1", ((3, "killed by SIGSEGV"),))) == {"gone": {"3": "killed by SIGSEGV"}}


def test_a_launch() -> None:
    accept = call(Launch(("o1", "o2"), (CONTROLLER_TASK, ENGINE), serial=4, refuse_seconds=3.0))
    assert accept["type"] == "ACCEPT" and accept["framework_id"] == {"value": "f1"}
    assert accept["accept"]["offer_ids"] == [{"value": "o1"}, {"value": "o2"}]
    assert accept["accept"]["filters"] == {"refuse_seconds": 3.0}
    (operation,) = accept["accept"]["operations"]
    assert operation["type"] == "LAUNCH"
    infos = operation["launch"]["task_infos"]
    assert infos == [mesos.task_info(t, CLUSTER, lambda task: SECRET) for t in (CONTROLLER_TASK, ENGINE)]


def test_the_controllers_task() -> None:
    assert mesos.task_info(CONTROLLER_TASK, CLUSTER, lambda task: SECRET) == {
        "name": "ipcontroller",
        "task_id": {"value": "c-1"},
        "agent_id": {"value": "a1"},
        "resources": [
            {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.4}, "allocation_info": {"role": "ipy"}},
            {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 31000, "end": 31001}]}},
        ],
        "executor": {
            "type": "CUSTOM",
            "executor_id": {"value": "x-1"},
            "framework_id": {"value": "f1"},
            "name": "mine: controller",
            "source": "ipymesos",
            "resources": [
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
                {"name": "mem", "type": "SCALAR", "scalar": {"value": 32.0}},
            ],
            "command": {
                "shell": True,
                "value": "exec '/my env/python' -m ipymesos_executor controller >stdout 2>stderr",
            },
            "shutdown_grace_period": {"nanoseconds": 5_000_000_000},
        },
        "data": base64.b64encode(SECRET).decode(),
        "kill_policy": {"grace_period": {"nanoseconds": 5_000_000_000}},
        "discovery": {
            "name": "ipcontroller",
            "visibility": "FRAMEWORK",
            "ports": {"ports": [{"number": 31001, "protocol": "tcp"}, {"number": 31000, "protocol": "tcp"}]},
        },
    }


def test_an_engine_in_docker() -> None:
    info = mesos.task_info(ENGINE, CLUSTER, lambda task: SECRET)
    assert info["name"] == "ipengine" and "discovery" not in info
    assert info["kill_policy"] == {"grace_period": {"nanoseconds": 30_500_000_000}}, "also for a drain by the operator"
    assert info["executor"]["command"] == {
        "shell": False,
        "value": "/opt/bin/python3",
        "arguments": ["-m", "ipymesos_executor", "engines", "--preload", "numpy,scipy"],
        "environment": {"variables": [{"name": "A", "value": "1"}, {"name": "B", "value": "two words"}]},
        "user": "jane",
    }
    assert info["executor"]["container"] == {
        "type": "DOCKER",
        "docker": {
            "image": "some/engine:1",
            "network": "HOST",
            "force_pull_image": True,
            "parameters": [
                {"key": "memory-swap", "value": "-1"},
                {"key": "shm-size", "value": "1000m"},
                {"key": "cap-add", "value": "SYS_PTRACE"},
            ],
        },
        "volumes": [{"host_path": "/data", "container_path": "/mnt/data", "mode": "RO"}],
    }


def test_an_engine_in_an_image_without_docker() -> None:
    container = replace(DOCKER, kind="mesos", parameters=(), force_pull=False)
    spec = replace(SPEC, engines={"e": EngineSet(1, EngineSpec(Resources(), container=container))})
    info = mesos.executor_info(ENGINE, replace(CLUSTER, spec=spec))
    assert (info["command"]["shell"], info["command"]["value"]) == (False, "/opt/bin/python3")
    assert info["command"]["arguments"] == ["/opt/bin/python3", "-m", "ipymesos_executor", "engines"]
    assert info["container"] == {
        "type": "MESOS",
        "mesos": {"image": {"type": "DOCKER", "docker": {"name": "some/engine:1"}, "cached": True}},
        "volumes": [{"host_path": "/data", "container_path": "/mnt/data", "mode": "RO"}],
        "linux_info": {"ipc_mode": "PRIVATE", "shm_size": 1000},
    }


def test_the_users_docker_parameters_win() -> None:
    container = replace(DOCKER, parameters=(("shm-size", "2g"), ("ulimit", "a=1"), ("ulimit", "b=2")))
    spec = replace(SPEC, engines={"e": EngineSet(1, EngineSpec(Resources(), container=container))})
    info = mesos.executor_info(ENGINE, replace(CLUSTER, spec=spec))
    assert [(p["key"], p["value"]) for p in info["container"]["docker"]["parameters"]] == [
        ("memory-swap", "-1"),
        ("shm-size", "2g"),
        ("ulimit", "a=1"),
        ("ulimit", "b=2"),
    ]


def test_the_tasks_of_a_pack_agree_about_their_executor() -> None:
    other = replace(ENGINE, id="e-2", pieces=(Piece("cpus", 1),), launched_at=99.0, engine_id=4, controller="c-9")
    assert mesos.executor_info(ENGINE, CLUSTER) == mesos.executor_info(other, replace(CLUSTER, serial=77))


def test_no_secret_outside_of_data() -> None:
    info = mesos.task_info(ENGINE, CLUSTER, lambda task: SECRET)
    del info["data"]
    text = json.dumps(info)
    assert "secret" not in text and base64.b64encode(SECRET).decode()[:12] not in text


def test_signals_go_once_to_each_executor() -> None:
    second = replace(ENGINE, id="e-2")
    elsewhere = replace(ENGINE, id="e-3", executor_id="x-3", agent_id="a2")
    calls = mesos.signal_call(CLUSTER, [ENGINE, elsewhere, second], 2)
    assert [(c["message"]["executor_id"], c["message"]["agent_id"]) for c in calls] == [
        ({"value": "x-2"}, {"value": "a1"}),
        ({"value": "x-3"}, {"value": "a2"}),
    ]
    assert {c["type"] for c in calls} == {"MESSAGE"} and calls[0]["framework_id"] == {"value": "f1"}
    said = [json.loads(base64.b64decode(c["message"]["data"])) for c in calls]
    assert said == [{"signal": 2, "tasks": ["e-1", "e-2"]}, {"signal": 2, "tasks": ["e-3"]}]
    assert mesos.signal_call(CLUSTER, [], 2) == []


def test_what_we_say_about_ourselves() -> None:
    framework = mesos.Framework("mine", "jane", roles=("a", "b"), principal="ipy", secret="hush", webui_url="http://x/")
    assert mesos.framework_info(framework) == {
        "name": "mine",
        "user": "jane",
        "roles": ["a", "b"],
        "principal": "ipy",
        "checkpoint": True,
        "failover_timeout": 604800.0,
        "webui_url": "http://x/",
        "capabilities": [
            {"type": "PARTITION_AWARE"},
            {"type": "TASK_KILLING_STATE"},
            {"type": "MULTI_ROLE"},
            {"type": "RESERVATION_REFINEMENT"},
        ],
    }
    assert "hush" not in repr(framework)


def test_gpus_and_an_id_are_said_only_when_there_are_any() -> None:
    info = mesos.framework_info(mesos.Framework("mine", "jane", gpus=True, id="f1", hostname="h"))
    assert {"type": "GPU_RESOURCES"} in info["capabilities"]
    assert info["id"] == {"value": "f1"} and info["hostname"] == "h" and info["roles"] == ["*"]
