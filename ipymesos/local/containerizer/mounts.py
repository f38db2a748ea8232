"""What a container sees of the file system: mounts, masks, the change of the root, the host's network files."""

from __future__ import annotations

import ctypes
import os

from . import Refused

TYPE_CHECKING = False  # importing typing costs more than all the rest
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096  # mount(2)
MS_REC, MS_SLAVE, MS_SHARED = 1 << 14, 1 << 19, 1 << 20
MNT_DETACH = 2  # umount2(2)
CLONE_NEWNS = 0x20000  # clone(2)
PIVOT_ROOT = 155  # the system call's number on x86-64, where alone the archive runs
NETWORK_FILES = {
    "/etc/hosts": "etc_hosts_path",
    "/etc/hostname": "etc_hostname_path",
    "/etc/resolv.conf": "etc_resolv_conf",
}

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, options: str | None = None) -> None:
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    check(libc.mount(*texts[:3], ctypes.c_ulong(flags), texts[3]), f"mount {source or kind} on {target}")
    if flags & (MS_BIND | MS_RDONLY | MS_REMOUNT) == MS_BIND | MS_RDONLY:
        # A bind mount becomes read-only only when it is mounted once more.
        again = ctypes.c_ulong(MS_REMOUNT | flags & (MS_BIND | MS_RDONLY | MS_REC))
        check(libc.mount(None, texts[1], None, again, None), f"make {target} read-only")


def mount_as(told: Json) -> None:
    """A ContainerMountInfo of the agent."""
    mount(told.get("source"), told["target"], told.get("type"), told.get("flags", 0), told.get("options"))


def prepare(info: Json) -> None:
    """Mount, mask and make what the isolators ask for, still seeing the host's files."""
    root, mounts = info.get("rootfs"), info.get("mounts", ())
    if root and os.path.realpath(root) != root:
        raise Refused(f"the root file system {root!r} is not a real path")
    if CLONE_NEWNS in info.get("clone_namespaces", ()):
        if any(told.get("flags", 0) & MS_SHARED for told in mounts):
            raise Refused("mounts that the host shares are not supported")
        mount(None, "/", None, MS_SLAVE | MS_REC)
    elif mounts:
        raise Refused("mounts are not supported without a mount namespace")
    for told in mounts:
        source = told.get("source")
        if source is not None:
            if root and source.startswith(f"{root}/proc/") and not os.path.exists(source):
                continue  # a file of /proc that this kernel was built without, such as sysrq-trigger
            make_target(source, told["target"])
        mount_as(told)
    for path in info.get("masked_paths", ()):
        if os.path.isdir(path):
            mount(None, path, "tmpfs", MS_RDONLY, "size=0")
        elif os.path.exists(path):
            mount("/dev/null", path, None, MS_BIND | MS_RDONLY)
    for operation in info.get("file_operations", ()):
        operate(operation)


def make_target(source: str, target: str) -> None:
    if os.path.exists(target):
        return
    if os.path.isdir(source) or not os.path.exists(source):  # a kernel's file system has a name instead of a path
        os.makedirs(target, exist_ok=True)
    else:
        touch(target)


def touch(path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))


def operate(told: Json) -> None:
    """A ContainerFileOperation of the agent."""
    kind = told["operation"]
    if kind == "SYMLINK":
        os.symlink(told["symlink"]["source"], told["symlink"]["target"])
    elif kind == "MOUNT":
        mount_as(told["mount"])
    elif kind == "RENAME":
        import shutil  # seldom needed, and slow

        shutil.move(told["rename"]["source"], told["rename"]["target"])
    elif kind == "MKDIR":
        make = os.makedirs if told["mkdir"].get("recursive", True) else os.mkdir
        make(told["mkdir"]["target"])
    else:
        raise Refused(f"the file operation {kind!r} is not supported")


def enter(root: str) -> None:
    """Make `root` this process' root, and let go of the host's: no path leads there any more."""
    os.chdir(root)
    # With both names the same the old root comes to lie upon the new one (pivot_root(2)), and is taken off.
    check(libc.syscall(PIVOT_ROOT, b".", b"."), f"change the root to {root}")
    check(libc.umount2(b".", MNT_DETACH), "let go of the host's root")
    os.chdir("/")


def network_setup(flags: dict[str, str]) -> None:
    """Give a container on the host's network the host's names; its process waits for the agent meanwhile."""
    if flags.get("hostname"):
        raise Refused("networks other than the host's are not supported")
    files = {inside: flags[name] for inside, name in NETWORK_FILES.items() if flags.get(name)}
    for outside in files.values():
        if not os.path.exists(outside):
            raise Refused(f"{outside} is missing")
    namespace = os.open(f"/proc/{int(flags['pid'])}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    check(libc.setns(namespace, 0), "enter the container's mount namespace")
    os.close(namespace)
    mount(None, "/", None, MS_SLAVE | MS_REC)
    how = MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC | (MS_RDONLY if flags.get("bind_readonly") == "true" else 0)
    for inside, outside in files.items():
        if flags.get("bind_host_files") == "true":
            mount(outside, inside, None, how)
        if "rootfs" in flags:
            target = flags["rootfs"] + inside
            if os.path.islink(target):
                os.unlink(target)
            if not os.path.exists(target):
                touch(target)
            mount(outside, target, None, how)
