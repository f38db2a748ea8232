"""Who listens on which TCP port: before ipcontroller starts, and once it says it has."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable

LISTEN = "0A"  # the state's number in /proc/net/tcp (the kernel's include/net/tcp_states.h)


class NotOurAddress(Exception):
    """The address to listen on does not exist here."""


def busy(addresses: Iterable[tuple[str, int]]) -> list[int]:
    """Those ports of (ip, port) pairs that somebody listens on, found by binding to them for a moment.

    That costs next to nothing, while all of /proc/net/tcp takes milliseconds to read. It is in nobody's way: sockets of
    ZeroMQ set SO_REUSEADDR, and so may bind to what nobody listens on yet. A port whose last connections are in
    TIME_WAIT counts as free here too.
    """
    taken = []
    for ip, port in addresses:
        with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((ip, port))
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    raise NotOurAddress(f"{ip} is not an address of this machine or container") from error
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
                taken.append(port)
    return taken


def listening(pids: Iterable[int]) -> set[int]:
    """The TCP ports in LISTEN whose sockets belong to any of these processes (proc(5): net/tcp, PID/fd)."""
    inodes = _listening_inodes()
    return {inodes[inode] for pid in pids for inode in _sockets(pid) if inode in inodes}


def _listening_inodes() -> dict[str, int]:
    found = {}
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(name) as file:
                rows = file.read().splitlines()[1:]
        except FileNotFoundError:
            continue  # a kernel without IPv6
        for row in rows:
            fields = row.split()
            if fields[3] == LISTEN:
                found[fields[9]] = int(fields[1].rpartition(":")[2], 16)
    return found


def _sockets(pid: int) -> set[str]:
    found = set()
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(f"/proc/{pid}/fd/{fd}")
            except FileNotFoundError:
                continue  # closed meanwhile
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except (FileNotFoundError, ProcessLookupError):
        return set()  # the process has ended meanwhile
    return found
