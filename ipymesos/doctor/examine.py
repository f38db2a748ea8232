"""The checks in their order. Each builds on those before it: after a failure the rest may be left out."""

from __future__ import annotations

import asyncio
import contextlib
import platform
from collections.abc import Iterator
from importlib.metadata import version

from traitlets import TraitError

from .. import __version__
from ..config import MesosOptions
from ..core.specs import Container
from ..daemon.access import Access, master_of
from ..errors import ConfigError, MesosError
from ..masters import ZooKeeper, parse
from ..paths import Paths
from . import judge, judge_task, look
from .findings import FAIL, Finding, ok, skip
from .trial import Seen, Trial

OFFERS_TIMEOUT = 15.0  # seconds; a master allocates every second or so


def examine(options: MesosOptions, paths: Paths, patience: float) -> Iterator[Finding]:
    """What each check finds, as it finds it. `patience`: seconds that a task may take to run."""
    try:
        engine, controller = options.engine_spec(), options.controller_spec()
        options.framework()
        where = None if options.master == "local" else parse(options.master)
    except (TraitError, ConfigError) as error:
        yield judge.options(error)
        return
    yield ok("options", f"master {options.master if where is None else where}, container {options.container_kind}")
    yield from judge.profile(look.profile(paths))
    if where is None:
        yield skip("address", "the master 'local' is a private Mesos: one is started for this")
    else:
        places, what = (where.hosts, "ZooKeeper") if isinstance(where, ZooKeeper) else ((where,), "the master")
        found = judge.addresses(what, look.connect(places))
        yield found
        if found.verdict == FAIL:
            return
    try:
        with _master(options) as access:
            yield from _with_master(options, access, patience, engine.container, controller.container)
    except MesosError as error:
        yield judge.registration(error)


@contextlib.contextmanager
def _master(options: MesosOptions) -> Iterator[Access]:
    """master_of, for a program without a loop."""
    loop, context = asyncio.new_event_loop(), master_of(options)
    try:
        access = loop.run_until_complete(context.__aenter__())
        try:
            yield access
        finally:
            loop.run_until_complete(context.__aexit__(None, None, None))
    finally:
        loop.close()


def _with_master(
    options: MesosOptions, access: Access, patience: float, engine: Container, controller: Container
) -> Iterator[Finding]:
    trial = Trial(options, access)
    clean = False
    try:
        master = trial.register()
        who = f" as {access.principal or options.principal}" if access.principal or options.principal else ""
        yield ok("registration", f"{master} leads, and takes us{who} with the role {options.role}")
        mesos, ahead = look.master(master)
        yield judge.mesos_version(mesos)
        clocks = {} if ahead is None else {"the master": ahead}
        yield from _on_agents(options, trial, patience, [engine, controller], clocks)
    finally:
        clean = trial.finish()
    yield judge.left(clean)


def _on_agents(
    options: MesosOptions, trial: Trial, patience: float, containers: list[Container], clocks: dict[str, float]
) -> Iterator[Finding]:
    made, agents = trial.gather(OFFERS_TIMEOUT)
    yield judge.offers(made, agents, OFFERS_TIMEOUT)
    engine, controller = options.engine_spec(), options.controller_spec()
    yield judge.fit("controller", controller, made, agents)
    yield judge.fit("engine", engine, made, agents)
    rooms = trial.room(engine)[:2]
    trial.keep(rooms)
    if not rooms:
        yield skip("task", "no agent has room for a small task with a port")
        return
    reached: dict[str, dict[str, str]] = {}
    for number, room in enumerate(rooms):
        if number and not trial.offered(room):
            break  # somebody else has it now
        before = [(task.ip, task.ports[0]) for task in trial.tasks.values()]
        task = trial.launch(room, containers[0], engine.preload, options.controller_ip, before)
        seen = trial.outcome(task, patience)
        if seen.found is None:
            yield _came_to_nothing(seen, containers[0], patience)
            return
        yield from _versions(seen, options, containers[0]) if not number else ()
        reached[f"{room.hostname} ({room.agent_id.rpartition('-')[2]})"] = dict(seen.found.get("reached", {}))
        clocks[room.hostname] = float(seen.found.get("time", seen.at)) - seen.at
        bad = judge_task.listening(f"{task.ip}:{task.ports[0]}", str(seen.found.get("listening", "")))
        if bad is not None:
            yield bad
        elif not number:
            yield judge_task.from_here(f"{task.ip}:{task.ports[0]}", look.reach(task.ip, task.ports[0], trial.word))
    yield judge_task.between(reached)
    yield judge_task.clocks(clocks)
    yield judge_task.logs(trial.log_problem(next(iter(trial.tasks.values()))))
    if containers[1] != containers[0]:
        yield from _other_image(options, trial, patience, containers[1])


def _versions(seen: Seen, options: MesosOptions, container: Container) -> Iterator[Finding]:
    assert seen.found is not None
    here = judge_task.Here(platform.python_version(), version("ipyparallel"), __version__)
    yield ok("task", f"ran on {seen.task.hostname}{f' in {container.image}' if container.image else ''}")
    yield from judge_task.versions(seen.found, here, options.curve, options.check_python)
    yield judge.disk("sandbox", f"for sandboxes on {seen.task.hostname}", int(seen.found.get("disk", 0)), 9)


def _came_to_nothing(seen: Seen, container: Container, patience: float) -> Finding:
    if seen.ended:
        return judge_task.launch_failed(seen.task.hostname, container, seen.ended)
    return judge_task.launch_late(seen.task.hostname, container, patience)


def _other_image(options: MesosOptions, trial: Trial, patience: float, container: Container) -> Iterator[Finding]:
    """The controller's image is another one than the engines'."""
    trial.gather_again(OFFERS_TIMEOUT)
    rooms = trial.room(options.engine_spec())
    if not rooms:
        yield skip("task", f"no room to try the image {container.image!r}")
        return
    task = trial.launch(rooms[0], container, (), options.controller_ip, [])
    seen = trial.outcome(task, patience)
    if seen.found is None:
        yield _came_to_nothing(seen, container, patience)
    else:
        yield from _versions(seen, options, container)
