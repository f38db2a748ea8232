"""A slow, lossy network: a network namespace whose only way out is a link with delay, jitter and loss.

The program `python slow_link.py OUTSIDE INSIDE DELAY JITTER LOSS` makes two TUN devices, one here and one in a new
namespace, with these addresses, and carries every packet from one to the other: DELAY +- JITTER ms later and in order,
or, with probability LOSS, never. So TCP itself loses and repeats, as with netem, which few kernels have. It says
"ready", and ends with its standard input; link and namespace end with it.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import random
import secrets
import select
import shutil
import struct
import subprocess
import sys
import time

MTU = 9000  # bytes; with fewer some ways of TCP to avoid congestion take a loss of 2 % for 60 kB/s
TUN = "/dev/net/tun"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
CLONE_NEWNET = 0x40000000  # linux/sched.h


def missing() -> str:
    """Why there can't be such a network here, or ""."""
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    if not os.path.exists(TUN):
        return f"there is no {TUN}"
    return ", ".join(f"there is no `{program}`" for program in ("ip", "nsenter") if shutil.which(program) is None)


class SlowLink:
    """A context manager: the link and its namespace. delay, jitter: ms each way. here, there: the ends' addresses."""

    def __init__(self, delay: float, jitter: float, loss: float) -> None:
        network = f"10.214.{secrets.randbelow(256)}"  # others may test at the same time
        self.here, self.there = f"{network}.1", f"{network}.2"
        words = map(str, (self.here, self.there, delay, jitter, loss))
        self._process = subprocess.Popen(
            [sys.executable, __file__, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> SlowLink:
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if said != "ready\n":
            self.__exit__()
            raise RuntimeError(f"no link: {said!r}, exit status {self._process.returncode}")
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.communicate()
        self._process.wait(10)

    def within(self, *command: str) -> list[str]:
        """The command that runs this one at the other end."""
        return ["nsenter", f"--net=/proc/{self._process.pid}/ns/net", *command]


def tun(name: str, address: str, peer: str) -> int:
    """A new device of this namespace; packets that go there are read from the descriptor."""
    device = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    subprocess.run(["ip", "address", "add", address, "peer", peer, "dev", name], check=True)
    subprocess.run(["ip", "link", "set", name, "mtu", str(MTU), "txqueuelen", "5000", "up"], check=True)
    return device


def carry(ends: tuple[int, int], delay: float, jitter: float, loss: float) -> None:
    """Until standard input ends; seconds here."""
    dice = random.Random(0)
    way: list[tuple[float, int, int, bytes]] = []
    last = dict.fromkeys(ends, 0.0)
    number = 0
    while True:
        wait = max(0.0, way[0][0] - time.monotonic()) if way else None
        ready, _, _ = select.select([0, *ends], [], [], wait)
        if 0 in ready and not os.read(0, 1):
            return
        for end, other in (ends, ends[::-1]):
            while end in ready:
                try:
                    packet = os.read(end, 65536)
                except BlockingIOError:
                    break
                if dice.random() >= loss:
                    last[other] = max(last[other], time.monotonic() + delay + dice.uniform(-jitter, jitter))
                    number += 1
                    heapq.heappush(way, (last[other], number, other, packet))
        while way and way[0][0] <= time.monotonic():
            os.write(way[0][2], heapq.heappop(way)[3])


def main(outside: str, inside: str, delay: str, jitter: str, loss: str) -> None:
    name = f"slow{os.getpid()}"
    here = tun(name, outside, inside)
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    there = tun(name, inside, outside)
    print("ready", flush=True)
    carry((here, there), float(delay) / 1000, float(jitter) / 1000, float(loss))


if __name__ == "__main__":
    main(*sys.argv[1:])
