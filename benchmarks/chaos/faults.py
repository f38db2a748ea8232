"""What can be done to a cluster. Each fault says which tasks it may cost; what else ends has been lost for nothing."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ipymesos.errors import IPyMesosError

from .world import Part, World

PAUSE = (1.0, 6.0)  # seconds of a SIGSTOP
MORE = 3  # engines
AWAY = (0.0, 3.0)  # seconds until a killed agent or master is started again


@dataclass(frozen=True)
class Cost:
    """What a fault may take with it: these tasks, and so many others that were retired as asked for."""

    tasks: frozenset[str] = frozenset()
    retired: int = 0


NOTHING = Cost()
Do = Callable[[World, random.Random], Cost | None]  # None: there was nothing to hit


@dataclass(frozen=True)
class Fault:
    name: str
    do: Do
    times: int = 1  # in each round
    container: str = ""  # needs this kind of container


def _parts(world: World, role: str, controller: bool = False) -> list[Part]:
    found = [part for part in world.parts() if part.role == role]
    return [part for part in found if part.executor.startswith("controller-") == controller]


def _cost(world: World, part: Part) -> Cost:
    """The tasks that end with this process."""
    if part.role in ("engine", "controller"):
        return Cost(frozenset({part.task}))
    return Cost(frozenset(other.task for other in world.parts() if other.executor == part.executor and other.task))


def _kill(role: str, controller: bool = False) -> Do:
    def do(world: World, chance: random.Random) -> Cost | None:
        parts = _parts(world, role, controller)
        if not parts:
            return None
        part = chance.choice(parts)
        cost = _cost(world, part)
        with contextlib.suppress(ProcessLookupError):
            os.kill(part.pid, signal.SIGKILL)
        return cost

    return do


def _pause(role: str, controller: bool = False) -> Do:
    def do(world: World, chance: random.Random) -> Cost | None:
        parts = _parts(world, role, controller)
        if not parts:
            return None
        with stopped(chance.choice(parts).pid):
            time.sleep(chance.uniform(*PAUSE))
        return NOTHING

    return do


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """SIGSTOP, and SIGCONT at the end in any case; the process may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _scheduler(world: World, chance: random.Random) -> Cost | None:
    os.kill(world.daemon().pid, signal.SIGKILL)
    return NOTHING


def _scheduler_twice(world: World, chance: random.Random) -> Cost | None:
    """The second one somewhere in its start."""
    first = world.daemon().pid
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + chance.uniform(0.3, 4.0)
    while time.monotonic() < deadline:
        time.sleep(0.01)
    with contextlib.suppress(IPyMesosError, ProcessLookupError):
        os.kill(world.daemon().pid, signal.SIGKILL)
    return NOTHING


def _scheduler_while_scaling(world: World, chance: random.Random) -> Cost | None:
    """Between wish and launch, or launch and answer, as it falls."""
    daemon = world.daemon()
    (name,) = world.cluster.engines
    daemon.want_engines(name, world.engines + MORE)
    time.sleep(chance.uniform(0.0, 1.5))
    os.kill(daemon.pid, signal.SIGKILL)
    _when_there(world, name)
    return Cost(retired=MORE)


def _when_there(world: World, engine_set: str) -> None:
    """Say again how many are wanted, once a scheduler answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            world.daemon().want_engines(engine_set, world.engines)
            return
        except IPyMesosError:
            time.sleep(0.1)


def _container(world: World, chance: random.Random) -> Cost | None:
    """The whole container of a pack at once: nobody in it can say a word."""
    parts = _parts(world, "executor")
    if not parts:
        return None
    part = chance.choice(parts)
    cost = _cost(world, part)
    listed = subprocess.run(["docker", "ps", "--no-trunc", "--quiet"], capture_output=True, text=True, check=True)
    with open(f"/proc/{part.pid}/cgroup") as file:
        groups = file.read()
    (container,) = (name for name in listed.stdout.split() if name in groups)
    subprocess.run(["docker", "kill", container], stdout=subprocess.DEVNULL, check=True)
    return cost


def _pause_scheduler(world: World, chance: random.Random) -> Cost | None:
    with stopped(world.daemon().pid):
        time.sleep(chance.uniform(*PAUSE))
    return NOTHING


def _agent(world: World, chance: random.Random) -> Cost | None:
    """kill -9 and, a little later, the same agent again. Docker's executors can't be recovered by Mesos 1.11."""
    agent = chance.choice(world.fleet.agents)
    folder = str(agent.work_dir)
    tasks = frozenset(part.task for part in world.parts() if part.task and _is_under(part.pid, folder))
    agent.kill()
    time.sleep(chance.uniform(*AWAY))
    agent.restart()
    if world.container != "docker":
        return NOTHING
    return Cost(tasks)


def _is_under(pid: int, folder: str) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return f"MESOS_DIRECTORY={folder}".encode() in file.read()
    except OSError:
        return False


def _pause_agent(world: World, chance: random.Random) -> Cost | None:
    pid = chance.choice(world.fleet.agents).pid
    if pid is None:
        return None
    with stopped(pid):
        time.sleep(chance.uniform(*PAUSE))
    return NOTHING


def _master(world: World, chance: random.Random) -> Cost | None:
    master = world.fleet.leader
    master.kill()
    time.sleep(chance.uniform(*AWAY))
    world.revive_masters()
    return NOTHING


def _pause_master(world: World, chance: random.Random) -> Cost | None:
    pid = world.fleet.leader.pid
    if pid is None:
        return None
    with stopped(pid):
        time.sleep(chance.uniform(*PAUSE))
    time.sleep(1.0)  # a leader that finds another one in its place ends, as it should
    world.revive_masters()
    return NOTHING


FAULTS = [
    Fault("scheduler killed", _scheduler, 3),
    Fault("scheduler and its successor killed", _scheduler_twice, 2),
    Fault("scheduler killed while scaling", _scheduler_while_scaling, 2),
    Fault("engine killed", _kill("engine")),
    Fault("zygote killed", _kill("zygote")),
    Fault("executor killed", _kill("executor")),
    Fault("container killed", _container, container="docker"),
    Fault("controller killed", _kill("controller", controller=True)),
    Fault("controller's executor killed", _kill("executor", controller=True)),
    Fault("agent killed, started again", _agent),
    Fault("master killed, started again", _master),
    Fault("scheduler paused", _pause_scheduler),
    Fault("engine paused", _pause("engine")),
    Fault("zygote paused", _pause("zygote")),
    Fault("executor paused", _pause("executor")),
    Fault("controller paused", _pause("controller", controller=True)),
    Fault("agent paused", _pause_agent),
    Fault("master paused", _pause_master),
]
