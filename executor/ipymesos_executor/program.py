"""The executor's own process: puts driver, pack and loop together, and ends everything it has started."""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
from typing import Any

from . import death, processes
from .lines import Lines, encode
from .loop import Loop
from .pack import Pack

log = logging.getLogger(__name__)

ZYGOTE_END = 2.5  # seconds for the zygote to end its children and itself


class Callbacks:
    """pymesos' Executor interface, called in the driver's threads: hands everything to the loop."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.pack: Pack | None = None

    def _to(self, method: str, *args: Any) -> None:
        self.loop.call(lambda: getattr(self.pack, method)(*args))

    def registered(self, driver: Any, executor: Any, framework: dict[str, Any], agent: Any) -> None:
        log.info("registered with agent %s", driver.master)
        self._to("registered", framework)

    def reregistered(self, driver: Any, agent: Any) -> None:
        log.info("registered again with agent %s", driver.master)

    def disconnected(self, driver: Any) -> None:
        log.warning("the connection to the agent has ended")

    def launchTask(self, driver: Any, task: dict[str, Any]) -> None:
        self._to("launch", task)

    def killTask(self, driver: Any, event: dict[str, Any]) -> None:
        self._to("kill", event)

    def frameworkMessage(self, driver: Any, data: str) -> None:
        self._to("message", data)

    def shutdown(self, driver: Any) -> None:
        self._to("shutdown", "TASK_KILLED", "the executor was shut down")

    def error(self, driver: Any, message: str) -> None:
        log.error("%s", message)
        self._to("shutdown", "TASK_FAILED", message, 1)


class Family:
    """The zygote and every orphan that has become ours: the channel to the one, the reaping of all."""

    def __init__(self, loop: Loop, channel: socket.socket, zygote: int) -> None:
        self.loop = loop
        self.channel = channel
        self.zygote: int | None = zygote
        self.status = 0
        self.lines = Lines()
        self.pack: Pack | None = None
        self._commands: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._write, name="commands", daemon=True).start()

    def command(self, message: dict[str, Any]) -> None:
        self._commands.put(encode(message))

    def _write(self) -> None:
        """In a thread of its own: a socket holds a few hundred messages, and the zygote may wait for us to read."""
        while True:
            try:
                self.channel.sendall(self._commands.get())
            except OSError:
                return  # the zygote has gone: the end of its channel is about to be read

    def readable(self) -> None:
        assert self.pack is not None
        try:
            data = self.channel.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if data:
            for message in self.lines.feed(data):
                self.pack.heard(message)
            return
        self.loop.forget(self.channel)
        self.wait(ZYGOTE_END)
        if not self.pack.broken:
            self.pack.zygote_lost(f"the process that tasks are forked from has ended: {death.words(self.status)}")

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.zygote:
                self.zygote, self.status = None, os.waitstatus_to_exitcode(status)

    def wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        self.reap()
        while self.zygote is not None and time.monotonic() < deadline:
            time.sleep(0.005)
            self.reap()

    def end(self) -> None:
        """Nothing that has ever come from us outlives us."""
        self.channel.close()
        self.wait(ZYGOTE_END)
        processes.send(processes.descendants(os.getpid()), signal.SIGKILL)


def run(channel: socket.socket, zygote: int) -> int:
    """Be the executor until its end; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    processes.adopt_orphans()
    loop = Loop()
    family = Family(loop, channel, zygote)
    signal.set_wakeup_fd(loop.wake_fd, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: loop.call(family.reap))

    from .driver import Driver  # after the fork, and while the zygote imports its own world

    callbacks = Callbacks(loop)
    driver = Driver(callbacks)
    pack = Pack(loop, driver, family.command, os.environ.get("MESOS_SANDBOX") or os.getcwd())
    callbacks.pack = family.pack = pack
    loop.on_readable(channel, family.readable)
    for signum in (signal.SIGTERM, signal.SIGINT):
        name = signum.name
        signal.signal(signum, lambda *_, n=name: loop.call(pack.shutdown, "TASK_FAILED", f"the executor got {n}"))
    driver.start()
    try:
        return loop.run()
    finally:
        driver.stop()
        family.end()
