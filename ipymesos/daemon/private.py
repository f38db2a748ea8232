"""The Mesos that a daemon has for itself, when its master is "local"."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from ..config import MesosOptions
from ..core.model import Container
from ..errors import MesosError
from ..local import LocalFleet, LocalMesos, LocalMesosError, Warm

log = logging.getLogger("ipymesos.daemon")
T = TypeVar("T")


@dataclass(frozen=True)
class Access:
    """A master's address, and who it takes frameworks from if it is our own."""

    master: str
    principal: str = ""
    secret: str = field(default="", repr=False)


class PrivateMesos:
    """Boots from the moment it is made, in a thread, while the rest of the daemon is imported. Ends with us at last.

    Whoever may start a task on our own Mesos runs it as us, and other users of this machine reach its port. So it asks
    for a secret that nobody else has.
    """

    def __init__(self, options: MesosOptions) -> None:
        self._principal, self._secret = "ipymesos", secrets.token_urlsafe(32)
        self._thread = ThreadPoolExecutor(1)
        self._booted = self._thread.submit(self._boot, options)

    def _boot(self, options: MesosOptions) -> LocalMesos | LocalFleet:
        return _made_for(options, {self._principal: self._secret}).start()

    async def up(self) -> Access:
        """Wait until it can be used; MesosError if it can't be had."""
        try:
            mesos = await asyncio.wrap_future(self._booted)
        except LocalMesosError as error:
            raise MesosError(f"the private Mesos: {error}") from error
        return Access(mesos.master, self._principal, self._secret)

    async def end(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._stop)
        self._thread.shutdown(wait=False)

    def _stop(self) -> None:
        """In the thread, so it has booted or failed by now; a failure has left nothing."""
        if self._booted.exception() is None:
            self._booted.result().stop()


@contextlib.asynccontextmanager
async def master_of(options: MesosOptions, private: PrivateMesos | None = None) -> AsyncIterator[Access]:
    """The way to the master; for "local" to a Mesos which lives as long as this. MesosError if it can't be had.

    `private` is that Mesos, if it was begun before.
    """
    if options.master != "local":
        yield Access(options.master)
        return
    log.info("starting a private Mesos (agents: %d)", options.local_agents)
    private = private or PrivateMesos(options)
    try:
        yield await private.up()
    finally:
        await private.end()


def _made_for(options: MesosOptions, credentials: dict[str, str]) -> LocalMesos | LocalFleet:
    agents, kind = options.local_agents, options.container_kind
    if kind != "mesos":
        containerizers = "docker,mesos" if kind == "docker" else "mesos"
        return LocalMesos(agents, containerizers=containerizers, credentials=credentials, warm=_warm(options))
    images = sorted({options.image, options.controller_image or options.image} - {""})
    # Agents that run images need a process each.
    if agents == 1:
        return LocalMesos(images=images, credentials=credentials)
    return LocalFleet(agents, images=images, credentials=credentials)


def _warm(options: MesosOptions) -> Warm | None:
    """Executors that are processes share what they import: nothing else takes so long as that."""
    if options.container_kind != "process":
        return None
    container = Container(python=options.python or sys.executable)
    begin, _, end = container.line("\0").partition("\0")
    return Warm((container.python, "-m", "ipymesos_executor.warm"), begin, end)


async def in_thread(function: Callable[..., T], *args: object) -> T:
    """Run what blocks without blocking the loop."""
    thread = ThreadPoolExecutor(1)
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, function, *args)
    finally:
        thread.shutdown(wait=False)
