"""Task -> TaskInfo with its ExecutorInfo (include/mesos/v1/mesos.proto).

The master compares the ExecutorInfo of every task of one executor and refuses a task whose differs in anything,
so it is made of nothing but the group's spec and Task.executor_id / executor_pieces.
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Callable
from typing import Any

from ..core.cluster import Cluster, Task
from ..core.specs import CONTROLLER, Container
from .resources import resources

Json = dict[str, Any]

GRACE = 5.0  # seconds between asking a controller, or an executor, to end and making it


def task_info(task: Task, cluster: Cluster, payload: Callable[[Task], bytes]) -> Json:
    """The TaskInfo. What is secret is in `data` alone, which neither the master nor the agents show."""
    name = "ipcontroller" if task.group == CONTROLLER else "ipengine"
    grace = GRACE if task.group == CONTROLLER else cluster.spec.engines[task.group].spec.grace
    info: Json = {
        "name": name,
        "task_id": {"value": task.id},
        "agent_id": {"value": task.agent_id},
        "resources": resources(task.pieces),
        "executor": executor_info(task, cluster),
        "data": base64.b64encode(payload(task)).decode("ascii"),
        "kill_policy": {"grace_period": nanoseconds(grace)},
    }
    if task.ports:
        info["discovery"] = {
            "name": name,
            "visibility": "FRAMEWORK",
            "ports": {"ports": [{"number": port, "protocol": "tcp"} for port in task.ports]},
        }
    return info


def executor_info(task: Task, cluster: Cluster) -> Json:
    """The ExecutorInfo that all tasks with this executor_id share."""
    if task.group == CONTROLLER:
        assert cluster.spec.controller is not None, "a controller is launched only when one is wanted"
        container, arguments = cluster.spec.controller.container, ["controller"]
    else:
        spec = cluster.spec.engines[task.group].spec
        container, arguments = spec.container, ["engines"]
        if spec.preload:
            arguments += ["--preload", ",".join(spec.preload)]
    info: Json = {
        "type": "CUSTOM",
        "executor_id": {"value": task.executor_id},
        "framework_id": {"value": cluster.framework_id},
        "name": f"{cluster.name}: {task.group}",
        "source": "ipymesos",
        "resources": resources(task.executor_pieces),
        "command": _command(container, arguments),
        "shutdown_grace_period": nanoseconds(GRACE),
    }
    if container.kind == "docker":
        info["container"] = _docker(container)
    elif container.kind == "mesos":
        info["container"] = _mesos(container)
    return info


def nanoseconds(seconds: float) -> Json:
    """A DurationInfo."""
    return {"nanoseconds": round(seconds * 1e9)}


def _command(container: Container, arguments: list[str]) -> Json:
    command: Json
    program = ["-m", "ipymesos_executor", *arguments]
    if container.kind == "docker":
        # The image's program gets [value] + arguments: no argv[0] among them (docker-containerizer.md).
        command = {"shell": False, "value": container.python, "arguments": program}
    elif container.kind == "mesos":
        # Here argv[0] is among them (mesos/launch.cpp).
        command = {"shell": False, "value": container.python, "arguments": [container.python, *program]}
    else:
        command = {"shell": True, "value": container.line(shlex.join(arguments))}
    if container.environment:
        variables = [{"name": name, "value": value} for name, value in container.environment]
        command["environment"] = {"variables": variables}
    if container.user:
        command["user"] = container.user
    return command


def _docker(container: Container) -> Json:
    # Docker takes `--memory` twice over as the bound for memory and swap together, once and for all. A pack grows
    # with its engines: past that bound the agent would kill it, so swap has no bound of its own.
    parameters = {"memory-swap": "-1"}
    if container.shm_size:
        parameters["shm-size"] = f"{container.shm_size}m"
    theirs = {name for name, _ in container.parameters}
    ours = [(name, value) for name, value in parameters.items() if name not in theirs]
    return {
        "type": "DOCKER",
        "docker": {
            "image": container.image,
            "network": "HOST",
            "force_pull_image": container.force_pull,
            "parameters": [{"key": name, "value": value} for name, value in (*ours, *container.parameters)],
        },
        "volumes": _volumes(container),
    }


def _mesos(container: Container) -> Json:
    # Without network_infos it uses the host's network.
    image = {"type": "DOCKER", "docker": {"name": container.image}, "cached": not container.force_pull}
    info: Json = {"type": "MESOS", "mesos": {"image": image}, "volumes": _volumes(container)}
    if container.shm_size:  # MB; for agents with the isolator namespaces/ipc, others have no bound
        info["linux_info"] = {"ipc_mode": "PRIVATE", "shm_size": container.shm_size}
    return info


def _volumes(container: Container) -> list[Json]:
    return [{"host_path": host, "container_path": inside, "mode": mode} for host, inside, mode in container.volumes]
