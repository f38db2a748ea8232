"""The way to the master, which may be one of our own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from ..config import MesosOptions
from ..errors import MesosError
from ..local import LocalMesosError
from .private import PrivateMesos

log = logging.getLogger("ipymesos.daemon")
T = TypeVar("T")


@dataclass(frozen=True)
class Access:
    """A master's address, and who it takes frameworks from if it is our own."""

    master: str
    principal: str = ""
    secret: str = field(default="", repr=False)


@contextlib.asynccontextmanager
async def master_of(options: MesosOptions, private: PrivateMesos | None = None) -> AsyncIterator[Access]:
    """The way to the master; for "local" to a Mesos which lives as long as this. MesosError if it can't be had.

    `private` is that Mesos, if it was begun before.
    """
    wanted = options.private_mesos
    if wanted is None:
        yield Access(options.master)
        return
    log.info("starting a private Mesos (agents: %d)", options.local_agents)
    private = private or PrivateMesos(**wanted)
    try:
        mesos = await asyncio.wrap_future(private.booted)
        yield Access(mesos.master, private.principal, private.secret)
    except LocalMesosError as error:
        raise MesosError(f"the private Mesos: {error}") from error
    finally:
        await in_thread(private.stop)


async def in_thread(function: Callable[..., T], *args: object) -> T:
    """Run what blocks without blocking the loop."""
    thread = ThreadPoolExecutor(1)
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, function, *args)
    finally:
        thread.shutdown(wait=False)
