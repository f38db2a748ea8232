"""What is wanted: a controller and sets of engines, and what each of them needs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from .resources import Resources

CONTROLLER = "controller"  # the name of the group that has one task, ipcontroller; engine sets have other names


@dataclass(frozen=True)
class Container:
    """What a task's executor runs in."""

    kind: str = "process"  # docker | mesos | process: the Docker or the Mesos containerizer with an image, or none
    image: str = ""
    force_pull: bool = False
    python: str = "python3"
    environment: tuple[tuple[str, str], ...] = ()
    volumes: tuple[tuple[str, str, str], ...] = ()  # host path, container path, RO | RW
    parameters: tuple[tuple[str, str], ...] = ()  # docker run's own options
    shm_size: int = 0  # MB of /dev/shm; 0 = the containerizer's default
    user: str = ""

    def line(self, arguments: str) -> str:
        """For a shell, of the executor as a process: who else would put its output into the sandbox?"""
        return f"exec {shlex.quote(self.python)} -m ipymesos_executor {arguments} >stdout 2>stderr"


@dataclass(frozen=True)
class ControllerSpec:
    resources: Resources
    container: Container = Container()
    constraints: tuple[tuple[str, str], ...] = ()  # agent attributes that must be equal
    depth: int = 1  # broadcast_scheduler_depth
    args: tuple[str, ...] = ()  # handed to ipcontroller as they are


@dataclass(frozen=True)
class EngineSpec:
    resources: Resources  # of one engine
    pack: Resources = Resources()  # of the executor that holds the engines of one pack
    container: Container = Container()
    constraints: tuple[tuple[str, str], ...] = ()
    per_container: int = 0  # engines in one pack at most; 0 = as many as fit
    args: tuple[str, ...] = ()  # handed to ipengine as they are
    preload: tuple[str, ...] = ()  # modules imported once per pack, before the engines are forked
    grace: float = 5.0  # seconds that an engine gets to finish its work when its end is wanted


@dataclass(frozen=True)
class EngineSet:
    n: int
    spec: EngineSpec
    revision: int = 0  # counts the specs this set has had: a pack keeps to the one it was launched with


@dataclass(frozen=True)
class Spec:
    """What is wanted. An empty Spec wants nothing, and then everything that runs is surplus."""

    controller: ControllerSpec | None = None
    engines: Mapping[str, EngineSet] = field(default_factory=dict)
