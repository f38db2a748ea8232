"""The Mesos that a daemon has for itself, when its master is "local"."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ..config import MesosOptions
from ..errors import MesosError
from ..local import LocalFleet, LocalMesos, LocalMesosError

log = logging.getLogger("ipymesos.daemon")
T = TypeVar("T")


@contextlib.asynccontextmanager
async def master_of(options: MesosOptions) -> AsyncIterator[str]:
    """The master's address; for "local" that of a Mesos which lives as long as this. MesosError if it can't be had."""
    if options.master != "local":
        yield options.master
        return
    log.info("starting a private Mesos (agents: %d)", options.local_agents)
    try:
        mesos = _made_for(options)
    except LocalMesosError as error:
        raise MesosError(f"the private Mesos: {error}") from error
    try:
        try:
            await in_thread(mesos.start)
        except LocalMesosError as error:
            raise MesosError(f"the private Mesos: {error}") from error
        yield mesos.master
    finally:
        await in_thread(mesos.stop)


def _made_for(options: MesosOptions) -> LocalMesos | LocalFleet:
    agents, kind = options.local_agents, options.container_kind
    if kind != "mesos":
        return LocalMesos(agents, containerizers="docker,mesos" if kind == "docker" else "mesos")
    images = sorted({options.image, options.controller_image or options.image} - {""})
    # Agents that run images need a process each.
    return LocalMesos(images=images) if agents == 1 else LocalFleet(agents, images=images)


async def in_thread(function: Callable[..., T], *args: object) -> T:
    """Run what blocks without blocking the loop."""
    thread = ThreadPoolExecutor(1)
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, function, *args)
    finally:
        thread.shutdown(wait=False)
