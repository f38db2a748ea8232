"""Mesos' helper `mesos-containerizer`, which is not in the archive: start one executor and say how it ended.

The agent runs `mesos-containerizer launch` for each container of the Mesos containerizer. This is what
MesosContainerizerLaunch::execute (src/slave/containerizer/mesos/launch.cpp, Mesos 1.4 to 1.11) does where there is
neither an image nor a namespace; whatever it cannot do it refuses. Its flags are MESOS_CONTAINERIZER_* in the
environment: LAUNCH_INFO (JSON), PIPE_READ and PIPE_WRITE (descriptors), RUNTIME_DIRECTORY.

It does one thing more than the original: nothing that the executor started outlives it, sessions of their own or not.

This file is copied as a program of its own and imports nothing of ipymesos (nor much of Python: it starts often).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys

TYPE_CHECKING = False  # importing typing costs more than all the rest
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PREFIX = "MESOS_CONTAINERIZER_"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UNSUPPORTED = (
    "rootfs",
    "mounts",
    "tty_slave_path",
    "effective_capabilities",
    "bounding_capabilities",
    "seccomp_profile",
    "masked_paths",
    "file_operations",
    "enter_namespaces",
    "clone_namespaces",
)
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2)
FORWARDED = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}
WAITING, ENDED = 0, -1  # what `child` in `launch` is before and after there is one


class Refused(Exception):
    """This container cannot be had; the message goes to the agent's log."""


class Status:
    """The file in which the agent looks for the wait status (wait(2)) of the executor, in decimal."""

    def __init__(self, folder: str | None) -> None:
        self.descriptor: int | None = None
        if folder:
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
            self.descriptor = os.open(os.path.join(folder, "status"), flags, 0o600)

    def write(self, status: int) -> None:
        if self.descriptor is not None:
            os.write(self.descriptor, b"%d" % status)


def read_flags(environment: Mapping[str, str], arguments: list[str]) -> dict[str, str]:
    flags = {name[len(PREFIX) :].lower(): value for name, value in environment.items() if name.startswith(PREFIX)}
    for argument in arguments:
        name, _, value = argument.lstrip("-").partition("=")
        flags[name] = value
    return flags


def wait_for_agent(flags: dict[str, str]) -> None:
    """Block until the agent has isolated us and says so by one byte; no byte means that it is gone."""
    if "pipe_read" not in flags:
        return
    os.close(int(flags["pipe_write"]))
    go = os.read(int(flags["pipe_read"]), 1)
    os.close(int(flags["pipe_read"]))
    if not go:
        raise Refused("the agent went away before the container was ready")


def prepare(info: dict[str, Any]) -> None:
    """The commands that isolators want to have run before; the last one's failure is ours."""
    for command in info.get("pre_exec_commands", ()):
        argv = ["/bin/sh", "-c", command["value"]] if command.get("shell", True) else command.get("arguments", [])
        program = "/bin/sh" if command.get("shell", True) else command["value"]
        _, status = os.waitpid(os.posix_spawnp(program, argv, os.environ), 0)
        if status:
            raise Refused(f"the command {command['value']!r} failed with wait status {status}")


def become(info: dict[str, Any]) -> None:
    """Turn this process, a fresh child, into the executor. Does not return."""
    import pwd
    import resource

    for number in FORWARDED:
        set_handler(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for limit in info.get("rlimits", {}).get("rlimits", ()):
        kind = getattr(resource, limit["type"].replace("RLMT_", "RLIMIT_"))
        bounds = (int(limit.get("soft", resource.RLIM_INFINITY)), int(limit.get("hard", resource.RLIM_INFINITY)))
        resource.setrlimit(kind, bounds)
    user = info.get("user")
    if user:
        account = pwd.getpwnam(user)
        if account.pw_uid != os.geteuid():
            os.initgroups(user, account.pw_gid)
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
    if info.get("working_directory"):
        os.makedirs(info["working_directory"], exist_ok=True)
        os.chdir(info["working_directory"])
    if "environment" in info:
        variables = info["environment"].get("variables", ())
        environment = {variable["name"]: variable.get("value", "") for variable in variables}
    else:
        environment = dict(os.environ)
    environment.setdefault("PATH", DEFAULT_PATH)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # after setuid, which clears it
    close_all_but(2)
    command = info["command"]
    if command.get("shell", True):
        os.execve("/bin/sh", ["sh", "-c", command["value"]], environment)
    # Unlike the Docker containerizer, here `arguments` begins with the program's own name.
    os.execvpe(command["value"], list(command.get("arguments", ())) or [command["value"]], environment)


def close_all_but(last: int) -> None:
    """Close all descriptors after that one; the limit may be too high to try each number."""
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        try:
            if descriptor > last:
                os.close(descriptor)
        except OSError:
            continue  # the one that read the list


def prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def set_handler(number: int, handler: Any) -> None:
    try:
        signal.signal(number, handler)
    except (OSError, ValueError):
        return  # a signal that libc keeps for itself


def children() -> list[int]:
    """Our direct children, adopted ones included."""
    with open(f"/proc/self/task/{os.getpid()}/children") as stream:
        return [int(pid) for pid in stream.read().split()]


def end_the_rest() -> None:
    """Kill what the executor left; as its subreaper we inherit the children of each process that dies."""
    while True:
        for pid in children():
            os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def launch(flags: dict[str, str], status: Status) -> None:
    info = json.loads(flags["launch_info"])
    wanted = [name for name in UNSUPPORTED if info.get(name)]
    if wanted or "namespace_mnt_target" in flags:
        raise Refused(f"not supported: {', '.join(wanted) or 'namespace_mnt_target'}")
    child = WAITING

    def forward(number: int, _frame: object) -> None:
        if child > 0:
            os.kill(child, number)
        elif child == WAITING:
            status.write(number)
            os._exit(1)

    for number in FORWARDED:
        set_handler(number, forward)
    wait_for_agent(flags)
    prepare(info)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    child = os.fork()
    if child == 0:
        try:
            become(info)
        except BaseException as error:
            sys.stderr.write(f"mesos-containerizer: the command cannot be run: {error}\n")
            sys.stderr.flush()
        os._exit(1)
    while True:
        pid, ended = os.waitpid(-1, 0)
        if pid == child:
            child = ENDED
            status.write(ended)
            return end_the_rest()


def main() -> None:
    flags = read_flags(os.environ, sys.argv[2:])
    status = Status(flags.get("runtime_directory"))
    try:
        if sys.argv[1:2] != ["launch"]:
            raise Refused(f"only `launch` is supported, not {sys.argv[1:2]}")
        launch(flags, status)
    except (Refused, OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"mesos-containerizer: {type(error).__name__}: {error}\n")
        status.write(1 << 8)
        sys.exit(1)


if __name__ == "__main__":
    main()
