"""Undo what the agents of one local Mesos did to this machine: the program `python -IB leftovers.py WORK_DIR`.

Agents that run images mount (their work dir upon itself, a root for each container, its /dev/shm), make control
groups, and keep links to layers in the system's temporary folder. All of it stays when they are killed. What belongs
to a work dir is known by its path, and for control groups by a name made of it, see `group`. Prints what could not
be undone; 0 or 1.

This file imports nothing of ipymesos: it runs by itself.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import signal
import sys
import time
from pathlib import Path

MNT_DETACH = 2  # umount2(2)
PATIENCE = 5.0  # s for killed processes to leave their control groups
LINKS = "agents/*/work/provisioner/containers/*/backends/overlay/scratch/*/links"  # to folders of links to layers
OCTAL = re.compile(r"\\([0-7]{3})")  # how mountinfo writes blanks (proc_pid_mountinfo(5))


def group(work_dir: str) -> str:
    """The name of the control group (`--cgroups_root`) that the agent keeps its containers in.

    Nobody else may have it: an agent that starts ends whatever it does not know there.
    """
    return f"ipymesos-{hashlib.sha256(work_dir.encode()).hexdigest()[:16]}"


def undo(work_dir: str) -> str:
    """ "" or what is left. Its processes must have been ended; those still in its control groups are killed."""
    hierarchies = [path for kind, path, _ in mounts() if kind == "cgroup"]
    problems = [_remove_group(Path(hierarchy, group(work_dir))) for hierarchy in hierarchies]
    for _, path, _ in reversed(mounts()):
        if path == work_dir or path.startswith(work_dir + "/"):
            if ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(path), MNT_DETACH) != 0:
                problems.append(f"{path} could not be unmounted: {os.strerror(ctypes.get_errno())}")
    for link in Path(work_dir).glob(LINKS):
        _remove_links(os.path.realpath(link), work_dir)
        link.unlink()
    return "; ".join(filter(None, problems))


def mounts() -> list[tuple[str, str, str]]:
    """Type, path and the file system's options of every mount here, in the order in which they were made."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        path = OCTAL.sub(lambda match: chr(int(match[1], 8)), before.split(" ")[4])
        kind, _, options = after.split(" ", 2)
        found.append((kind, path, options))
    return found


def _remove_links(folder: str, work_dir: str) -> None:
    """A folder of links to layers (provisioner/backends/overlay.cpp), if it is nothing else."""
    try:
        links = [os.path.join(folder, name) for name in os.listdir(folder)]
        if not all(os.path.islink(link) and os.readlink(link).startswith(work_dir + "/") for link in links):
            return
        for link in links:
            os.unlink(link)
        os.rmdir(folder)
    except FileNotFoundError:
        return  # the agent did it


def _remove_group(top: Path) -> str:
    """A control group and those below it, with whatever runs there."""
    deadline = time.monotonic() + PATIENCE
    while top.exists():
        for folder, _, _ in os.walk(top, topdown=False):
            try:
                for pid in Path(folder, "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
                frozen = Path(folder, "freezer.state")
                if frozen.exists():
                    frozen.write_text("THAWED")  # only then do they die
                os.rmdir(folder)
            except (FileNotFoundError, ProcessLookupError):
                continue  # gone meanwhile
            except OSError as error:
                if time.monotonic() > deadline:
                    return f"{folder} could not be removed: {error.strerror}"
        time.sleep(0.02)
    return ""


if __name__ == "__main__":
    left = undo(sys.argv[1])
    sys.exit(left or 0)
