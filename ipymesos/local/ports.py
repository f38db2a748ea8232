"""TCP ports for agents that share one host, and hosts that share several local clusters.

A port that is offered but not used yet cannot be seen by probing. So a cluster holds a lock for every hundred ports
that it offers: a Unix socket bound in the abstract namespace (unix(7)), which is per network namespace just as ports
are, is the same for all users, and goes with the process that holds it.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import random
import socket
from pathlib import Path

from .errors import FlagError, LocalMesosError

UNIT = 100
FIRST, LAST = 10000, 31999  # below 32768, where Linux takes the ports of outgoing connections from
MASTER_PORTS = range(5051, 10000)
SIZES = (400, 200, 100, 50, 20)  # ports of one agent; a controller needs 18
AT_ONCE = 8000  # ports that one cluster takes if it has the choice
LISTEN = "0A"  # state of a socket in /proc/net/tcp

Block = tuple[int, int]  # first and last port


class Locks:
    """The locks of one cluster; they are held until `close` here and in every process that inherited them."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self.files: list[int] = []

    def hold(self, descriptor: int) -> None:
        """Treat a locked file as one of the locks."""
        self.files.append(descriptor)

    def take(self, name: str) -> bool:
        """Whether the lock was free and is now ours."""
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            lock.bind(f"\0ipymesos-local-{name}")
        except OSError as error:
            lock.close()
            if error.errno != errno.EADDRINUSE:
                raise
            return False
        self.sockets.append(lock)
        return True

    def drop_last(self, count: int) -> None:
        for _ in range(count):
            self.sockets.pop().close()

    def filenos(self) -> list[int]:
        return [*self.files, *(lock.fileno() for lock in self.sockets)]

    def close(self) -> None:
        self.drop_last(len(self.sockets))
        while self.files:
            os.close(self.files.pop())


def listening() -> set[int]:
    """The TCP ports of this host that somebody listens on, whatever the address."""
    found = set()
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net", table)
        if path.exists():
            for line in path.read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTEN:
                    found.add(int(fields[1].rpartition(":")[2], 16))
    return found


def take_blocks(agents: int, locks: Locks) -> list[Block]:
    """One block of ports for each agent, all disjoint, and disjoint from those of other clusters."""
    busy = {port // UNIT for port in listening()}
    sizes = [size for size in SIZES if agents * size <= AT_ONCE] or [SIZES[-1]]
    for size in sizes:
        blocks: list[Block] = []
        held = len(locks.sockets)
        for start in _starts(size):
            units = range(start // UNIT, (start + size - 1) // UNIT + 1)
            if not busy.isdisjoint(units) or not _take_units(units, locks):
                continue
            step = min(size, UNIT * len(units))
            blocks += [(low, low + size - 1) for low in range(start, start + UNIT * len(units), step)]
            if len(blocks) >= agents:
                return blocks[:agents]
        locks.drop_last(len(locks.sockets) - held)
    raise LocalMesosError(
        f"no {agents} x {sizes[-1]} free ports between {FIRST} and {LAST}: fewer --agents, or end another local Mesos"
    )


def retake_blocks(blocks: list[Block], locks: Locks) -> None:
    """Lock the blocks that a cluster had before; LocalMesosError when another one has them now."""
    units = sorted({unit for low, high in blocks for unit in range(low // UNIT, high // UNIT + 1)})
    for unit in units:
        if not locks.take(f"ports-{unit * UNIT}"):
            raise LocalMesosError(
                f"ports {unit * UNIT} to {unit * UNIT + UNIT - 1} belong to this work dir, but another local Mesos "
                "offers them now; end that one or take another --work-dir"
            )


def _starts(size: int) -> list[int]:
    """Where blocks may start; rotated by chance, so that clusters that cannot see each other's locks rarely meet."""
    starts = list(range(FIRST, LAST - max(size, UNIT) + 2, max(size, UNIT)))
    turn = random.randrange(len(starts))
    return starts[turn:] + starts[:turn]


def _take_units(units: range, locks: Locks) -> bool:
    held = len(locks.sockets)
    for unit in units:
        if not locks.take(f"ports-{unit * UNIT}"):
            locks.drop_last(len(locks.sockets) - held)
            return False
    return True


def check_address(ip: str) -> str:
    """The address, if it can be told to executors; FlagError otherwise."""
    try:
        address = ipaddress.IPv4Address(ip)
    except ValueError:
        raise FlagError(f"--ip: {ip!r} is not an IPv4 address; allowed: an address of this machine") from None
    if address.is_unspecified:
        raise FlagError(f"--ip: {ip} cannot be told to executors; allowed: one address of this machine")
    return ip


def check_port(ip: str, port: int) -> None:
    """FlagError, naming the option, when the master could not listen there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Mesos does
        try:
            probe.bind((ip, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise FlagError(
                    f"--port: {port} on {ip} is in use; allowed: a port where nothing listens, or 0 for any free one"
                ) from None
            if error.errno == errno.EACCES:
                raise FlagError(f"--port: {port} needs root; allowed: 1024 to 65535, or 0 for any free one") from None
            raise FlagError(
                f"--ip: {ip!r} cannot be listened on ({error.strerror}); allowed: an IPv4 address of this machine"
            ) from None


def take_master_port(ip: str, locks: Locks) -> int:
    """A free port for the master, locked."""
    check_port(ip, 0)
    busy = listening()
    for port in random.sample(MASTER_PORTS, len(MASTER_PORTS)):
        if port not in busy and locks.take(f"master-{port}"):
            return port
    raise LocalMesosError(f"no free port between {MASTER_PORTS[0]} and {MASTER_PORTS[-1]}: choose one with --port")
