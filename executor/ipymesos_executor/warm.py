"""Forks executors from a process that has imported all of theirs: for a machine whose Mesos has just been started.

    python -m ipymesos_executor.warm SOCKET

It listens before it imports, so that whoever is too early waits no longer than by importing. Each connection to the
socket is one executor. It begins with a JSON object on one line,

    {"arguments": [...], "folder": path, "environment": {...}}

which carries the descriptors of its stdout and stderr. We answer with its {"pid": number}, and at its end with
{"status": as of wait(2)}. When the connection ends before, so does the executor: it belongs to whoever has asked.

Only our own user can ask, by the mode of the socket's folder. We end with our parent, and by SIGTERM after all those.
"""

from __future__ import annotations

import array
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

from . import __main__ as executor
from . import preload, processes
from .lines import encode

LONGEST = 1 << 20  # bytes of a request
PATIENCE = 5.0  # seconds for a request that has begun to be whole
ALSO = ("driver", "program", "unregister", "zygote")  # of this package: what executors have besides


class Nursery:
    """One thread, no loop of anybody else's, no socket of ZeroMQ's: it forks."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.children: dict[int, socket.socket] = {}
        self.ending = False
        self.wake, self.wake_to = os.pipe()
        for fd in (self.wake, self.wake_to):
            os.set_blocking(fd, False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(listener, selectors.EVENT_READ)
        self.selector.register(self.wake, selectors.EVENT_READ)

    def run(self) -> NoReturn:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self.end)
        signal.set_wakeup_fd(self.wake_to, warn_on_full_buffer=False)
        while self.children or not self.ending:
            for key, _ in self.selector.select():
                if key.fileobj is self.listener:
                    self.take(self.listener.accept()[0])
                elif key.fileobj == self.wake:
                    os.read(self.wake, 4096)
                    self.reap()
                elif key.data in self.children:
                    os.kill(key.data, signal.SIGKILL)  # nobody follows it any more: its zygote and engines go with it
                    self.selector.unregister(key.fileobj)
        os._exit(0)

    def end(self, signum: int, frame: Any) -> None:
        self.ending = True

    def take(self, asking: socket.socket) -> None:
        asking.settimeout(PATIENCE)
        try:
            request, descriptors = receive(asking)
        except (OSError, ValueError):
            asking.close()
            return
        pid = os.fork()
        if pid == 0:
            self.become(request, descriptors)
        for fd in descriptors:
            os.close(fd)
        self.children[pid] = asking
        self.selector.register(asking, selectors.EVENT_READ, pid)
        tell(asking, {"pid": pid})

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if (asking := self.children.pop(pid, None)) is not None:
                tell(asking, {"status": status})
                if asking in self.selector.get_map():
                    self.selector.unregister(asking)
                asking.close()
        processes.send(
            [pid for pid in processes.children() if pid not in self.children], signal.SIGKILL
        )  # left by those

    def become(self, request: dict[str, Any], descriptors: list[int]) -> NoReturn:
        """In the fork: the executor, as if it had been started by exec."""
        code = 1
        try:
            self.selector.close()
            self.listener.close()
            for asking in self.children.values():
                asking.close()
            for fd in (self.wake, self.wake_to):
                os.close(fd)
            signal.set_wakeup_fd(-1)
            for signum in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(signum, signal.SIG_DFL)
            os.setsid()
            processes.die_with_parent()
            for fd, target in zip(descriptors, (1, 2), strict=True):
                os.dup2(fd, target)
                os.close(fd)
            os.environ.clear()
            os.environ.update(request["environment"])
            os.chdir(request["folder"])
            sys.path[0] = os.getcwd()
            sys.argv[1:] = request["arguments"]
            gc.enable()
            code = executor.main()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()  # nobody else would: the process ends below
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def receive(asking: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A whole request, and the two descriptors it carries; OSError or ValueError if there is none."""
    descriptors: list[int] = []
    data, ancillary, _, _ = asking.recvmsg(1 << 16, socket.CMSG_SPACE(8))
    for _, kind, content in ancillary:
        if kind == socket.SCM_RIGHTS:
            descriptors += array.array("i", content[: len(content) // 4 * 4])
    try:
        while not data.endswith(b"\n"):
            more = asking.recv(1 << 16)
            if not more or len(data) > LONGEST:
                raise ValueError("no request")
            data += more
        request = json.loads(data)
        if len(descriptors) != 2 or not isinstance(request, dict):
            raise ValueError("no request")
    except BaseException:
        for fd in descriptors:
            os.close(fd)
        raise
    return request, descriptors


def tell(asking: socket.socket, message: dict[str, Any]) -> None:
    try:
        asking.sendall(encode(message))
    except OSError:
        return  # it has gone: its end of the connection tells that too


def main() -> NoReturn:
    processes.die_with_parent()
    processes.adopt_orphans()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen(64)
    for kind in ("controller", "engines"):
        preload.load(kind, ["numpy"] if kind == "engines" else [])
    for name in ALSO:
        importlib.import_module(f"{__package__}.{name}")
    preload.freeze()
    Nursery(listener).run()


if __name__ == "__main__":
    main()
