"""Keep one Mesos process for its owner, and leave nothing behind: the program `python -ISB keeper.py`.

The owner (a `LocalMesos`) writes lines to our stdin: first a JSON object, see `Orders`, then commands:
  start   run the Mesos process; answered by {"started": pid}, and at its end, whatever caused it, by {"ended": status}
  stop    end it, its executors, their children and its containers, then us; answered by {"stopped": problem or ""}
  leave   end it and us, and let executors and containers live on for a later start on the same work dir
When stdin or the owner ends without a command: it is `stop` for a private work dir and `leave` for one that somebody
named. Signals that ask for an end are `stop`. Mesos dies with us (boot.py, end_with).

What belongs to this Mesos is found by the work dir: Mesos puts it into the environment of everything it runs
(MESOS_DIRECTORY is an executor's sandbox) and mounts the sandbox into every container. And what loses its parent
becomes our child, since we are a subreaper (prctl(2)), so that nothing can hide.

This file imports nothing of ipymesos: it runs by itself.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

MARK = "IPYMESOS_LOCAL_WORK_DIR"  # in the environment of the Mesos process and of the programs that it calls
MARKS = (MARK, "MESOS_DIRECTORY", "MESOS_CONTAINERIZER_RUNTIME_DIRECTORY")
GRACE = 2.0  # s between the polite end of the executors and the other one
PATIENCE = 10.0  # s until we say that something cannot be ended or removed
PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 15, 36


@dataclass(frozen=True)
class Orders:
    """What the owner says once. `hold` are inherited descriptors: locks that live exactly as long as we do."""

    command: list[str]
    environment: dict[str, str]
    work_dir: str
    log: str
    private: bool
    docker: bool
    hold: list[int]


class Keeper:
    """The state of this program: the Mesos process, if any, and whether its end was told."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.mesos: subprocess.Popen[bytes] | None = None

    def run(self, pending: bytes, wakeup: int) -> int:
        """Obey until the end; the exit status. `pending` was read behind the orders."""
        ready = select.poll()
        ready.register(0, select.POLLIN)
        ready.register(wakeup, select.POLLIN)
        owner = watch_owner()
        if owner is not None:
            ready.register(owner, select.POLLIN)
        while True:
            while b"\n" in pending:
                line, pending = pending.split(b"\n", 1)
                if line == b"start":
                    self.start()
                else:
                    return self.end(sweep=line == b"stop")
            events = dict(ready.poll())
            if wakeup in events:
                if any(number != signal.SIGCHLD for number in os.read(wakeup, 512)):
                    return self.end(sweep=True)
                self.reap()
            if 0 in events:  # before the owner's end: its last command counts
                received = os.read(0, 65536)
                if not received:
                    return self.end(sweep=self.orders.private)
                pending += received
            elif owner in events:
                return self.end(sweep=self.orders.private)

    def start(self) -> None:
        with open(self.orders.log, "ab") as log:
            self.mesos = subprocess.Popen(
                [*self.orders.command, str(os.getpid())],
                env=self.orders.environment,
                cwd=self.orders.work_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        say(started=self.mesos.pid)

    def reap(self) -> None:
        for pid, status in bury():
            if self.mesos is not None and pid == self.mesos.pid:
                self.mesos.returncode = os.waitstatus_to_exitcode(status)
                say(ended=self.mesos.returncode)
                self.mesos = None

    def end(self, sweep: bool) -> int:
        if self.mesos is not None:
            self.mesos.kill()  # it has no orderly end; a framework must not see its executors go before the master
            self.mesos.wait()
        problem = end_everything(self.orders.work_dir, self.orders.docker, os.getpid()) if sweep else ""
        if sweep and self.orders.private:
            problem = problem or remove(Path(self.orders.work_dir))
        say(stopped=problem)
        return 1 if problem else 0


def watch_owner() -> int | None:
    """A descriptor that becomes readable when our parent ends: stdin does not while a fork of the parent has it too."""
    try:
        return os.pidfd_open(os.getppid())
    except OSError:
        return None  # Linux before 5.3, or the owner is dead already, and then stdin has ended


def say(**answer: object) -> None:
    try:
        os.write(1, json.dumps(answer).encode() + b"\n")
    except BrokenPipeError:
        return  # the owner is dead: nobody listens, the work goes on


def bury() -> list[tuple[int, int]]:
    """The children that have ended, adopted ones included, and their wait statuses."""
    dead: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return dead
        if pid == 0:
            return dead
        dead.append((pid, status))


def end_everything(work_dir: str, docker: bool, reaper: int | None = None, grace: float = GRACE) -> str:
    """End what runs under the work dir, and all below us when we are the `reaper`; "" or what could not be ended.

    grace: seconds between the polite end and the other one.
    """
    problem = remove_containers(work_dir) if docker else ""
    began = time.monotonic()
    asked: set[int] = set()
    while True:
        if reaper is not None:
            bury()
        pids = find_processes(work_dir, reaper)
        if not pids:
            break
        passed = time.monotonic() - began
        if passed > PATIENCE:
            return f"processes that could not be ended: {', '.join(map(str, sorted(pids)))}"
        for pid in pids:
            if passed >= grace:
                send(pid, signal.SIGKILL)
            elif pid not in asked:
                send(pid, signal.SIGTERM)
                asked.add(pid)
        time.sleep(0.02)
    if reaper is not None:
        bury()  # those that died while we looked
    # Once more: a `docker run` that was under way when we looked is over now.
    problem = problem or (remove_containers(work_dir) if docker else "")
    return problem or (undo(work_dir) if os.path.isdir(os.path.join(work_dir, "images")) else "")


def undo(work_dir: str) -> str:
    """Mounts and control groups of containers with images; "" or what is left of them."""
    program = Path(__file__).with_name("leftovers.py")
    done = subprocess.run(
        [sys.executable, "-ISB", str(program), work_dir], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no reason"])[-1]


def send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended meanwhile


def find_processes(work_dir: str, reaper: int | None = None) -> set[int]:
    """Processes that this Mesos started, by what their environment says, and all descendants of these.

    With a reaper all its descendants count, too.
    """
    marks = [f"{name}={work_dir}".encode() for name in MARKS]
    parents: dict[int, int] = {}
    found: set[int] = set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            # The name, in parentheses, may hold anything; state and parent follow it (proc_pid_stat(5)).
            state, parent = Path(f"/proc/{entry}/stat").read_bytes().rpartition(b")")[2].split()[:2]
            variables = Path(f"/proc/{entry}/environ").read_bytes().split(b"\0")
        except OSError:
            continue  # ended meanwhile, or another user's
        if state in b"ZX":
            continue
        parents[int(entry)] = int(parent)
        if any(v == mark or v.startswith(mark + b"/") for v in variables for mark in marks):
            found.add(int(entry))
    if reaper is not None:
        found.add(reaper)
    ours = os.getpid()
    spared = {ours}
    while ours := parents.get(ours, 0):
        spared.add(ours)
    for pid in parents:
        line = [pid]
        while line[-1] in parents and line[-1] not in found:
            line.append(parents[line[-1]])
        if line[-1] in found:
            found.update(line)
    return found - spared


def remove_containers(work_dir: str) -> str:
    """Remove the Docker containers that have something under the work dir mounted, and no other."""
    docker = shutil.which("docker")
    if docker is None:
        return ""
    try:
        names = _output(docker, "ps", "--all", "--quiet", "--no-trunc", "--filter", "name=mesos-").split()
        if not names:
            return ""
        layout = "{{.Id}}{{range .Mounts}}\t{{.Source}}{{end}}"
        for line in _output(docker, "inspect", "--type", "container", "--format", layout, *names).splitlines():
            name, *sources = line.split("\t")
            if any(source.startswith(work_dir + "/") for source in sources):
                _output(docker, "rm", "--force", "--volumes", name)
    except subprocess.TimeoutExpired as error:
        return f"docker did not answer within {error.timeout:g} s: containers may be left"
    return ""


def _output(*command: str) -> str:
    # A container may go between two commands, so the exit status says little; what is printed is what is there.
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    return done.stdout


def remove(folder: Path) -> str:
    """Remove the folder; dying processes may still write there, so more than once. "" or what is wrong."""
    deadline = time.monotonic() + GRACE
    while True:
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            if not folder.exists():
                return ""
        except OSError as error:
            if time.monotonic() > deadline:
                return f"{folder} could not be removed: {error.strerror} ({error.filename})"
        if not folder.exists():
            return ""
        time.sleep(0.02)


def adopt() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    libc.prctl(PR_SET_NAME, b"mesos-keeper", 0, 0, 0)


def main() -> int:
    adopt()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    wakeup, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: None)  # the byte in the pipe is all we want
    received = b""
    while b"\n" not in received:
        block = os.read(0, 65536)
        if not block:
            return 1  # the owner died before it said anything
        received += block
    first, pending = received.split(b"\n", 1)
    orders = Orders(**json.loads(first))
    for descriptor in orders.hold:
        os.set_inheritable(descriptor, False)
    return Keeper(orders).run(pending, wakeup)


if __name__ == "__main__":
    sys.exit(main())
