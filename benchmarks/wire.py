"""One big event over loopback: from the first byte to the scheduler's code, by our driver and by pymesos'.

python -m benchmarks.wire ours|pymesos OFFERS    prints seconds of CPU time, and of the clock
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from typing import Any

from . import simulated

PATIENCE = 300.0  # seconds


def measure(reader: str, n: int) -> tuple[float, float]:
    """Seconds of CPU and of the clock, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.wire", reader, str(n)]
    cpu, clock = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE).stdout)
    return cpu, clock


def master(listener: socket.socket, n: int) -> None:
    """Answer SUBSCRIBE with n offers, and everything else with what pymesos wants to know of a master."""
    event = simulated.offers(n)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, event), daemon=True).start()


def serve(connection: socket.socket, event: bytes) -> None:
    asked = b""
    while b"\r\n\r\n" not in asked:
        asked += connection.recv(65536)
    if b"/version" in asked.partition(b"\r\n")[0]:
        body = b'{"version": "1.11.0"}'
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        return
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nMesos-Stream-Id: 1\r\n\r\n"
    )
    connection.sendall(head + chunk(simulated.SUBSCRIBED))
    time.sleep(0.5)  # so that what SUBSCRIBED costs is not counted
    connection.sendall(chunk(event))
    threading.Event().wait()


def chunk(event: bytes) -> bytes:
    record = b"%d\n%s" % (len(event), event)
    return b"%x\r\n%s\r\n" % (len(record), record)


class Clock:
    """Runs from SUBSCRIBED to the offers."""

    def __init__(self, n: int) -> None:
        self.n, self.done = n, threading.Event()
        self.began = self.ended = (0.0, 0.0)

    def subscribed(self) -> None:
        self.began = now()

    def offered(self, offers: Any) -> None:
        self.ended = now()
        assert len(offers) == self.n
        self.done.set()


def now() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def ours(where: str, clock: Clock) -> Any:
    from ipymesos import mesos
    from ipymesos.core.messages import Event, Offered, Subscribed
    from ipymesos.driver import Driver

    def post(event: Event) -> None:
        if isinstance(event, Subscribed):
            clock.subscribed()
        elif isinstance(event, Offered):
            clock.offered(event.offers)

    driver = Driver(mesos.Framework("big", "nobody"), where, post, fatal=print)
    driver.start()
    return driver


def theirs(where: str, clock: Clock) -> Any:
    from pymesos import MesosSchedulerDriver, Scheduler

    class Counting(Scheduler):
        def registered(self, *_: Any) -> None:
            clock.subscribed()

        def resourceOffers(self, _: Any, offers: Any) -> None:
            clock.offered(offers)

    driver = MesosSchedulerDriver(Counting(), {"user": "nobody", "name": "big"}, where)
    driver.start()
    return driver


def main() -> None:
    reader, n = sys.argv[1], int(sys.argv[2])
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        server = multiprocessing.get_context("fork").Process(target=master, args=(listener, n), daemon=True)
        server.start()
        clock = Clock(n)
        where = f"127.0.0.1:{listener.getsockname()[1]}"
        driver = ours(where, clock) if reader == "ours" else theirs(where, clock)
        if not clock.done.wait(PATIENCE):
            raise TimeoutError(f"no offers within {PATIENCE:g} s")
        print(json.dumps([end - begin for begin, end in zip(clock.began, clock.ended, strict=True)]), flush=True)
        server.kill()
        if reader == "ours":
            driver.stop()
        else:
            os._exit(0)  # pymesos' stop() would wait for an answer to its TEARDOWN


if __name__ == "__main__":
    main()
