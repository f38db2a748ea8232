"""The single-threaded process that has imported everything and forks one child per Mesos task.

It obeys the executor over a socket, one JSON object per line:

    {"do": "start", "task": id, "payload": {...}, "log": path}
    {"do": "signal", "task": id, "signal": 15, "reason": text}    SIGKILL goes to the whole session of the child;
                                                                  `reason` (or "") is what the hub hears of its end
    {"do": "gone", "task": id or null, "reasons": {"<engine id>": text}}    tell this controller, or all: they died
    {"do": "load"}    a controller is asked for its queues as well
    {"do": "move", "task": id, "controller": id, "engine_info": {... without keys}}    join this controller instead

and says {"event": ...} back: ready, failed (nothing can be forked, with message), started (pid), registered
(engine_id, controller, address: its engine_info without keys, if not the payload's), checked (found: what a check has
seen), leaving, broken (message), exited (status as of os.waitstatus_to_exitcode, oom: text), load (by task: seconds),
queues (see queues.py). When the executor's end of the socket closes, whatever the reason, the children are ended, and
then the zygote ends.
"""

from __future__ import annotations

import json
import os
import select
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from . import check, child, death, load, logs, preload, processes
from .helpers import Helpers
from .lines import FROM_CHILDREN, Lines, encode, is_news
from .tasks import by_controller

FAREWELL = 1.0  # seconds from SIGTERM to SIGKILL when the executor is gone
MEMORY_POLL = 2.0  # seconds between two looks at the kernel's counter of kills, at most
HUB_FAREWELL = 0.3  # seconds for the hub to hear of the last ones; it may be gone as well
FORGET = (  # these would override what the task's payload says
    "IPP_CONNECTION_INFO",
    "IPP_SESSION_KEY",
    "IPP_CLUSTER_ID",
    "IPP_PROFILE_DIR",
    "IPP_ENABLE_CURVE",
    "IPP_CURVE_SERVERKEY",
    "IPP_CURVE_PUBLICKEY",
    "IPP_CURVE_SECRETKEY",
)

Body = Callable[[dict[str, Any], Callable[[dict[str, Any]], None], int], None]


@dataclass
class Child:
    task: str
    pid: int
    payload: dict[str, Any] = field(repr=False)
    log: str
    slot: int
    orders: int  # the pipe by which an engine is told to move, and a controller is asked for its queues
    engine_id: int | None = None  # a controller's: the highest one it knows
    reason: str = ""  # why we have ended it


def main(channel: socket.socket, kind: str, names: Iterable[str]) -> NoReturn:
    """Be the zygote until the other end of `channel` closes; `kind` is "engines" or "controller"."""
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # meant for the executor, whose end is ours
    code = 1
    home = tempfile.mkdtemp(
        prefix=".ipymesos-", dir=os.environ.get("MESOS_SANDBOX")
    )  # with which it goes at the latest
    try:
        _settle(home)
        try:
            warnings = preload.load(kind, names)
        except preload.CannotPreload as error:
            channel.sendall(encode({"event": "failed", "message": str(error)}))
        else:
            for warning in warnings:
                print(warning, file=sys.stderr, flush=True)
            Zygote(channel, _body(kind)).run()
            code = 0
    except (BrokenPipeError, ConnectionResetError):
        code = 0  # the executor has gone while we spoke
    except BaseException:
        traceback.print_exc()  # nobody else would: the process ends below
    finally:
        shutil.rmtree(home, ignore_errors=True)
        os._exit(code)


def _settle(home: str) -> None:
    """A private IPython directory, so that no user's profile is needed or touched. No key ever gets there."""
    for name in FORGET:
        os.environ.pop(name, None)
    os.environ["IPYTHONDIR"] = home


def _body(kind: str) -> Body:
    from IPython.core.profiledir import ProfileDir

    ProfileDir.create_profile_dir_by_name(os.environ["IPYTHONDIR"], "default")
    if kind == "engines":
        from . import engine

        engine.draft()
        run = engine.run
    else:
        from . import controller

        run = controller.run
    preload.freeze()
    return run


class Zygote:
    def __init__(self, channel: socket.socket, body: Body) -> None:
        self.channel = channel
        self.body = body
        self.children: dict[int, Child] = {}
        self.load = load.Load()
        self.memory = death.MemoryWatch()
        self.bounds = logs.Bounds()
        self.helpers = Helpers(self.forget)
        self.reports, self.report_to = os.pipe()
        self.wake, self.wake_to = os.pipe()
        for fd in (self.reports, self.wake, self.wake_to):
            os.set_blocking(fd, False)
        self.commands, self.said = Lines(), Lines()
        self.selector = selectors.DefaultSelector()
        for source in (channel, self.reports, self.wake):
            self.selector.register(source, selectors.EVENT_READ)

    def run(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler, so that the wake-up pipe is written to
        signal.set_wakeup_fd(self.wake_to, warn_on_full_buffer=False)
        self.tell({"event": "ready", "modules": len(sys.modules), "threads": len(os.listdir("/proc/self/task"))})
        try:
            while self.obey():
                self.reap()
        finally:
            self.end()

    def obey(self) -> bool:
        """Wait for anything to happen and do what was asked; False when the executor has gone."""
        ready = {key.fileobj for key, _ in self.selector.select(MEMORY_POLL)}
        self.memory.look()
        self.bounds.look(known.log for known in self.children.values())
        if self.wake in ready:
            os.read(self.wake, 4096)
        self.relay()
        if self.channel in ready:
            try:
                data = self.channel.recv(1 << 16)
            except ConnectionResetError:
                return False
            if not data:
                return False
            for command in self.commands.feed(data):
                if command["do"] == "start":
                    self.start(command["task"], command["payload"], command["log"])
                elif command["do"] == "gone":
                    self.gone(command["task"], command["reasons"])
                elif command["do"] == "move":
                    self.move(command["task"], command["controller"], command["engine_info"])
                elif command["do"] == "load":
                    seconds = {known.task: self.load.seconds(known.slot) for known in self.children.values()}
                    self.tell({"event": "load", "load": seconds})
                    self.ask_controllers()
                else:
                    self.signal(command["task"], command["signal"], command["reason"])
        return True

    def tell(self, message: dict[str, Any]) -> None:
        try:
            self.channel.sendall(encode(message))
        except (BrokenPipeError, ConnectionResetError):
            return  # the executor has gone: obey() is about to see that too

    def start(self, task: str, payload: dict[str, Any], log: str) -> None:
        parent = os.getpid()
        slot = self.load.take()
        orders, order_to = os.pipe()
        for fd in (orders, order_to):
            os.set_blocking(fd, False)
        blocked = {signal.SIGTERM, signal.SIGCHLD, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        try:
            pid = os.fork()
        except OSError as error:  # no memory, or too many processes
            signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
            self.load.give_back(slot)
            os.close(orders)
            os.close(order_to)
            self.tell({"event": "exited", "task": task, "error": f"fork: {error.strerror}"})
            return
        if pid == 0:
            load.mine = self.load.mine(slot)
            self.forget()
            os.close(order_to)
            body = check.run if payload["kind"] == "check" else self.body
            child.run(lambda: body(payload, self.reporter(task), orders), log, parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
        os.close(orders)
        self.children[pid] = Child(task, pid, payload, log, slot, order_to)
        self.tell({"event": "started", "task": task, "pid": pid})

    def forget(self) -> None:
        """In a forked process: what belongs to the zygote alone. The pipe to report with stays."""
        self.selector.close()
        self.channel.close()
        for fd in (self.reports, self.wake, self.wake_to):
            os.close(fd)
        for known in self.children.values():
            os.close(known.orders)
        self.children.clear()  # with their payloads

    def reporter(self, task: str) -> Callable[[dict[str, Any]], None]:
        def report(message: dict[str, Any]) -> None:
            os.write(self.report_to, encode({**message, "task": task}))  # shorter than PIPE_BUF: in one piece

        return report

    def relay(self) -> None:
        """Pass on what the children have said."""
        try:
            data = os.read(self.reports, 1 << 16)
        except BlockingIOError:
            return
        for message in self.said.feed(data):
            if message.get("event") not in FROM_CHILDREN or not is_news(message):
                continue
            for known in self.children.values():
                if known.task == message["task"]:
                    known.engine_id = message.get("engine_id", known.engine_id)
                    known.payload["engine_info"] |= message.get("address", {})
            if message["event"] != "known":
                self.tell(message)

    def move(self, task: str, controller: str, address: dict[str, Any]) -> None:
        for known in self.children.values():
            if known.task == task:
                try:
                    os.write(known.orders, encode({"controller": controller, "engine_info": address}))
                except (BlockingIOError, BrokenPipeError):
                    continue  # it has not read for long: the scheduler will repeat it; or it has ended

    def ask_controllers(self) -> None:
        for known in self.children.values():
            if known.payload["kind"] == "controller":
                try:
                    os.write(known.orders, encode({"do": "queues"}))
                except (BlockingIOError, BrokenPipeError):
                    continue  # it has not read for long, or it has ended

    def signal(self, task: str, signum: int, reason: str) -> None:
        for known in self.children.values():
            if known.task == task:
                known.reason = reason
                others = processes.session_members(known.pid) if signum == signal.SIGKILL else []
                processes.send([known.pid, *others], signum)

    def reap(self) -> None:
        """Report children that have ended, and tell the hub about the engines among them."""
        self.helpers.reap()
        dead = [pid for pid in self.children if processes.has_ended(pid)]
        if not dead:
            return
        # What they have started ends with them; a controller's processes do so by themselves, and have last words.
        leaders = [pid for pid in dead if self.children[pid].payload["kind"] != "controller"]
        processes.send(processes.session_members(*leaders), signal.SIGKILL)
        self.relay()  # their last words come before their end
        gone = [self.children.pop(pid) for pid in dead]
        for known in gone:
            _, status = os.waitpid(known.pid, 0)
            code = os.waitstatus_to_exitcode(status)
            oom = ""
            if code == -signal.SIGKILL and not known.reason and self.memory.killed():
                oom = self.memory.message()
            known.reason = known.reason or oom or death.words(code)
            self.load.give_back(known.slot)
            os.close(known.orders)
            self.tell({"event": "exited", "task": known.task, "status": code, "oom": oom})
        engines = [known for known in gone if known.payload["kind"] == "engine"]
        self.helpers.tell_hubs(by_controller((known.payload, known.engine_id, known.reason) for known in engines))
        for known in gone:
            if known.payload["kind"] == "controller" and known.engine_id is not None:
                self.helpers.leave_word(known.payload, known.engine_id, f"its controller has ended: {known.reason}")

    def gone(self, task: str | None, reasons: dict[str, str]) -> None:
        """Engines of other executors that nobody is left to speak for."""
        infos = {
            json.dumps(known.payload["engine_info"]) for known in self.children.values() if task in (None, known.task)
        }
        self.helpers.tell_hubs({info: {int(engine_id): reasons[engine_id] for engine_id in reasons} for info in infos})

    def end(self) -> None:
        """End all children. The hub is told of them as far as it still listens."""
        processes.send(list(self.children), signal.SIGTERM)
        engines = [pid for pid, known in self.children.items() if known.payload["kind"] == "engine"]
        processes.send(engines, signal.SIGHUP)  # there is no time to retire
        if not self.wait_for(self.children, FAREWELL):
            processes.send([*self.children, *processes.session_members(*self.children)], signal.SIGKILL)
            self.wait_for(self.children, FAREWELL)
        self.wait_for(self.helpers.pids, HUB_FAREWELL)

    def wait_for(self, those: Collection[int], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        self.reap()
        while those:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if select.select([self.wake], [], [], left)[0]:
                os.read(self.wake, 4096)
            self.reap()
        return True
