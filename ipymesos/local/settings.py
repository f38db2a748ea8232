"""The environment of the Mesos process: its flags, and nothing of the user's environment that could change them.

Flags are described in the Mesos documentation, "Configuration"; MESOS_X is --x of the master, of the agents or both.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import leftovers
from .errors import FlagError
from .keeper import MARK

CONTAINERIZERS = ("docker", "mesos")
INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
INHERITED_PREFIXES = ("LC_", "DOCKER_")
UNIX = "unix://"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def check_containerizers(text: str) -> str:
    """The list in Mesos' form; FlagError for an unknown one, and for docker without a Docker that answers."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in CONTAINERIZERS]
    if unknown or not names:
        raise FlagError(f"--containerizers: {text!r} is not allowed; allowed: docker, mesos, or docker,mesos")
    if "docker" in names:
        _check_docker()
    return ",".join(dict.fromkeys(names))


def _check_docker() -> None:
    advice = "install and start Docker, or use --containerizers mesos, which runs processes"
    if shutil.which("docker") is None:
        raise FlagError(f"--containerizers: docker is asked for, but there is no `docker` command; {advice}")
    try:
        done = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        problem = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no answer"])[-1]
    except subprocess.TimeoutExpired as error:
        problem = f"no answer within {error.timeout:g} s"
    if problem:
        raise FlagError(f"--containerizers: docker is asked for, but Docker does not answer ({problem}); {advice}")


def check_images(containerizers: str, agents: int) -> None:
    """FlagError where the Mesos containerizer cannot run images (linux_launcher.cpp, filesystem/linux.cpp)."""
    if "mesos" not in containerizers:
        raise FlagError(f"--image: containerizers {containerizers!r} know no such images; allowed: mesos, docker,mesos")
    if agents > 1:  # local.cpp has the posix launcher then
        raise FlagError(f"--image: {agents} agents of one process cannot run images; allowed: 1, or a LocalFleet")
    lacks = []
    if os.geteuid() != 0:
        lacks.append("root's rights")
    hierarchies = {name for kind, _, options in leftovers.mounts() if kind == "cgroup" for name in options.split(",")}
    if missing := [name for name in ("freezer", "cpu", "memory") if name not in hierarchies]:
        lacks.append(f"control groups of version 1 ({', '.join(missing)})")
    lacks += [f"the program {program}" for program in ("tar", "mount") if shutil.which(program) is None]
    if lacks:
        raise FlagError(
            f"--image: images without Docker need {' and '.join(lacks)}; allowed: --containerizers docker, or none"
        )


def image_flags(work_dir: Path) -> dict[str, str]:
    """For agents whose Mesos containerizer runs images: containers have file systems and control groups."""
    return {
        "MESOS_LAUNCHER": "linux",
        "MESOS_ISOLATION": "filesystem/linux,docker/runtime,cgroups/cpu,cgroups/mem,namespaces/ipc",
        "MESOS_CGROUPS_ROOT": leftovers.group(str(work_dir)),
        "MESOS_IMAGE_PROVIDERS": "docker",
        "MESOS_IMAGE_PROVISIONER_BACKEND": "overlay",
        "MESOS_DOCKER_REGISTRY": str(work_dir / "images" / "registry"),
        "MESOS_DOCKER_STORE_DIR": str(work_dir / "images" / "store"),
    }


def inherited() -> dict[str, str]:
    """What programs that we start need of our environment; there may be secrets of others in the rest."""
    kept = {k: v for k, v in os.environ.items() if k in INHERITED or k.startswith(INHERITED_PREFIXES)}
    return {"PATH": DEFAULT_PATH} | kept


def environment(
    *,
    ip: str,
    port: int,
    work_dir: Path,
    launcher_dir: Path,
    containerizers: str,
    images: bool,
    agents: int,
    contends: bool,
    credentials: Path | None,
    roles: Sequence[str],
    extra: Mapping[str, str],
) -> dict[str, str]:
    kept = inherited()
    flags = {
        "LIBPROCESS_IP": ip,
        "LIBPROCESS_PORT": str(port),
        "MESOS_WORK_DIR": str(work_dir),
        "MESOS_LAUNCHER_DIR": str(launcher_dir),
        "MESOS_NUM_SLAVES": str(agents),
        "MESOS_RESOURCES": f"file://{work_dir}/flags/resources",
        "MESOS_ATTRIBUTES": f"file://{work_dir}/flags/attributes",
        "MESOS_CONTAINERIZERS": containerizers,
        "MESOS_LAUNCHER": "posix",
        "MESOS_ISOLATION": "posix/cpu,posix/mem",
        "MESOS_HOSTNAME_LOOKUP": "false",  # agents are called by their address, which every container can use
        "MESOS_SYSTEMD_ENABLE_SUPPORT": "false",
        # At boot an agent removes all containers called mesos-*, also those of other clusters, unless told not to.
        "MESOS_DOCKER_KILL_ORPHANS": "false",
        "MESOS_DOCKER_REMOVE_DELAY": "5secs",
        "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "3secs",
        # A cluster of one user answers at once: offers each 0.1 s, agents registered at once.
        "MESOS_ALLOCATION_INTERVAL": "100ms",
        "MESOS_REGISTRATION_BACKOFF_FACTOR": "10ms",
        # Killed and started again: agents keep their ids, executors of checkpointing frameworks reconnect. The agent
        # always waits the whole timeout, so it is the time of a recovery; executors have to retry more often.
        "MESOS_REGISTRY": "replicated_log" if contends else "in_memory",
        "MESOS_STRICT": "false",
        "MESOS_RECOVER": "reconnect",
        "MESOS_EXECUTOR_REREGISTRATION_TIMEOUT": "1secs",
        "MESOS_RECOVERY_TIMEOUT": "15mins",
        MARK: str(work_dir),
    }
    if (host := kept.get("DOCKER_HOST", "")).startswith(UNIX):  # agents don't look at it, and we check what it names
        flags["MESOS_DOCKER_SOCKET"] = host.removeprefix(UNIX)
    if images:
        flags |= image_flags(work_dir)
    if os.geteuid() != 0:
        flags["MESOS_SWITCH_USER"] = "false"
    if credentials is not None:
        flags |= {
            "MESOS_CREDENTIALS": f"file://{credentials}",
            "MESOS_AUTHENTICATE_HTTP_FRAMEWORKS": "true",
            "MESOS_HTTP_FRAMEWORK_AUTHENTICATORS": "basic",
            # An agent's operator API runs commands for whoever may use it (operator-http-api.md, LAUNCH_CONTAINER).
            "MESOS_HTTP_CREDENTIALS": f"file://{credentials}",
            "MESOS_AUTHENTICATE_HTTP_READWRITE": "true",
        }
    if roles:  # an empty list would mean: no role at all
        flags["MESOS_ROLES"] = ",".join(roles)
    return kept | flags | dict(extra)
