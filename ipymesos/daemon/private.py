"""The Mesos that a daemon has for itself, when its master is "local"."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from ..config import MesosOptions
from ..errors import MesosError
from ..local import LocalFleet, LocalMesos, LocalMesosError

log = logging.getLogger("ipymesos.daemon")
T = TypeVar("T")


@dataclass(frozen=True)
class Access:
    """A master's address, and who it takes frameworks from if it is our own."""

    master: str
    principal: str = ""
    secret: str = field(default="", repr=False)


@contextlib.asynccontextmanager
async def master_of(options: MesosOptions) -> AsyncIterator[Access]:
    """The way to the master; for "local" to a Mesos which lives as long as this. MesosError if it can't be had.

    Whoever may start a task on our own Mesos runs it as us, and other users of this machine reach its port. So it asks
    for a secret that nobody else has.
    """
    if options.master != "local":
        yield Access(options.master)
        return
    principal, secret = "ipymesos", secrets.token_urlsafe(32)
    log.info("starting a private Mesos (agents: %d)", options.local_agents)
    try:
        mesos = _made_for(options, {principal: secret})
    except LocalMesosError as error:
        raise MesosError(f"the private Mesos: {error}") from error
    try:
        try:
            await in_thread(mesos.start)
        except LocalMesosError as error:
            raise MesosError(f"the private Mesos: {error}") from error
        yield Access(mesos.master, principal, secret)
    finally:
        await in_thread(mesos.stop)


def _made_for(options: MesosOptions, credentials: dict[str, str]) -> LocalMesos | LocalFleet:
    agents, kind = options.local_agents, options.container_kind
    if kind != "mesos":
        containerizers = "docker,mesos" if kind == "docker" else "mesos"
        return LocalMesos(agents, containerizers=containerizers, credentials=credentials)
    images = sorted({options.image, options.controller_image or options.image} - {""})
    # Agents that run images need a process each.
    if agents == 1:
        return LocalMesos(images=images, credentials=credentials)
    return LocalFleet(agents, images=images, credentials=credentials)


async def in_thread(function: Callable[..., T], *args: object) -> T:
    """Run what blocks without blocking the loop."""
    thread = ThreadPoolExecutor(1)
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, function, *args)
    finally:
        thread.shutdown(wait=False)
