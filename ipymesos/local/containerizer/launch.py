"""The executor's process: prepared, started, forwarded signals to, waited for; its end told to the agent.

One thing more than the original does: nothing that the executor started outlives it, sessions of their own or not.
"""

from __future__ import annotations

import json
import os
import pwd
import resource
import signal
import sys

from . import Refused, mounts, warm

TYPE_CHECKING = False  # importing typing costs more than all the rest
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PREFIX = "MESOS_CONTAINERIZER_"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UNSUPPORTED = (
    "tty_slave_path",
    "effective_capabilities",
    "bounding_capabilities",
    "seccomp_profile",
    "enter_namespaces",
    "enter_cgroups",
    "no_new_privileges",
)
NAMESPACES = (mounts.CLONE_NEWNS, 0x8000000)  # of mounts and of System V's IPC; the agent has made them (clone(2))
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2)
FORWARDED = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}
WAITING, ENDED = 0, -1  # what `child` in `launch` is before and after there is one


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


def say_into_sandbox(info: dict[str, Any]) -> None:
    """Write to `stdout` and `stderr` in the sandbox from now on, as does the executor.

    An agent that shares its process with the master would leave the executor its own (io/switchboard.cpp, local).
    """
    sandbox = variables_of(info).get("MESOS_DIRECTORY")
    if not sandbox or not os.path.isdir(sandbox):
        return
    owner = os.stat(sandbox)
    for number, name in ((1, "stdout"), (2, "stderr")):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(os.path.join(sandbox, name), flags, 0o644)
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
        os.dup2(descriptor, number)
        os.close(descriptor)


def run_first(info: dict[str, Any]) -> None:
    """The commands that isolators want to have run before; the last one's failure is ours."""
    for command in info.get("pre_exec_commands", ()):
        argv = ["/bin/sh", "-c", command["value"]] if command.get("shell", True) else command.get("arguments", [])
        program = "/bin/sh" if command.get("shell", True) else command["value"]
        _, status = os.waitpid(os.posix_spawnp(program, argv, os.environ), 0)
        if status:
            raise Refused(f"the command {command['value']!r} failed with wait status {status}")


def variables_of(info: dict[str, Any]) -> dict[str, str]:
    """The executor's whole environment."""
    if "environment" not in info:
        return dict(os.environ)
    return {variable["name"]: variable.get("value", "") for variable in info["environment"].get("variables", ())}


def with_path(environment: dict[str, str]) -> dict[str, str]:
    return {"PATH": DEFAULT_PATH, **environment}


def account_of(info: dict[str, Any]) -> tuple[int, int, list[int]] | None:
    """Whom the executor runs as, in the host's eyes: user, group, all groups; None for ourselves."""
    user = info.get("user")
    if not user:
        return None
    account = pwd.getpwnam(user)
    if account.pw_uid == os.geteuid():
        return None
    groups = os.getgrouplist(user, account.pw_gid) + list(info.get("supplementary_groups", ()))
    return account.pw_uid, account.pw_gid, groups


def become(info: dict[str, Any]) -> None:
    """Turn this process, a fresh child, into the executor. Does not return.

    Nothing may be imported here: Python's library is the host's, and that is out of sight once the root has changed.
    """
    for number in FORWARDED:
        set_handler(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for limit in info.get("rlimits", {}).get("rlimits", ()):
        kind = getattr(resource, limit["type"].replace("RLMT_", "RLIMIT_"))
        bounds = (int(limit.get("soft", resource.RLIM_INFINITY)), int(limit.get("hard", resource.RLIM_INFINITY)))
        resource.setrlimit(kind, bounds)
    account = account_of(info)  # from the host's list of users
    close_all_but(2)
    if info.get("rootfs"):
        mounts.enter(info["rootfs"])
    if info.get("working_directory"):
        os.makedirs(info["working_directory"], exist_ok=True)
        os.chdir(info["working_directory"])
    if account is not None:
        os.setgroups(account[2])
        os.setgid(account[1])
        os.setuid(account[0])
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # after setuid, which clears it
    environment = with_path(variables_of(info))
    command = info["command"]
    if command.get("shell", True):
        os.execve("/bin/sh", ["sh", "-c", command["value"]], environment)
    # Unlike the Docker containerizer, here `arguments` begins with the program's own name.
    execute(command["value"], list(command.get("arguments", ())) or [command["value"]], environment)


def execute(program: str, argv: list[str], environment: dict[str, str]) -> None:
    """As os.execvpe, which imports something first."""
    folders = [""] if "/" in program else environment["PATH"].split(":")
    problem: OSError = FileNotFoundError(2, f"no such program, looked for in {':'.join(folders)}", program)
    for folder in folders:
        try:
            os.execve(os.path.join(folder, program), argv, environment)
        except (FileNotFoundError, NotADirectoryError) as error:
            problem = error if folders == [""] else problem
        except PermissionError as error:
            problem = error
    raise problem


def close_all_but(last: int) -> None:
    """Close all descriptors after that one; the limit may be too high to try each number."""
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        try:
            if descriptor > last:
                os.close(descriptor)
        except OSError:
            continue  # the one that read the list


def prctl(option: int, value: int) -> None:
    mounts.check(mounts.libc.prctl(option, value, 0, 0, 0), f"prctl({option})")


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
    say_into_sandbox(info)
    wanted = [name for name in UNSUPPORTED if info.get(name)]
    wanted += [
        name for name in ("namespace_mnt_target", "unshare_namespace_mnt") if flags.get(name, "false") != "false"
    ]
    wanted += [f"namespace {kind:#x}" for kind in info.get("clone_namespaces", ()) if kind not in NAMESPACES]
    if wanted:
        raise Refused(f"not supported: {', '.join(wanted)}")
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
    mounts.prepare(info)
    run_first(info)
    plain = not info.get("rootfs") and account_of(info) is None
    if plain and (borrowed := warm.borrow(info, with_path(variables_of(info)), os.path.dirname(sys.argv[0]))):
        child = borrowed.pid
        ended = borrowed.wait()
        child = ENDED
        return status.write(ended)
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
        if sys.argv[1:2] == ["launch"]:
            launch(flags, status)
        elif sys.argv[1:2] == ["network-cni-setup"]:
            mounts.network_setup(flags)
        elif sys.argv[1:2] == ["mount"] and flags.get("operation") == "make-rslave":  # Mesos 1.4 alone
            mounts.mount(None, flags["path"], None, mounts.MS_SLAVE | mounts.MS_REC)
        else:
            raise Refused(f"{' '.join(sys.argv[1:])!r} is not supported")
    except (Refused, OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"mesos-containerizer: {type(error).__name__}: {error}\n")
        status.write(1 << 8)
        sys.exit(1)
