"""Who leads, by ZooKeeper (docs/high-availability.md): masters put ephemeral sequential nodes `json.info_<number>`
under a path, and the lowest number leads. A node's data is a MasterInfo in JSON.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.retry import KazooRetry

from ..masters import Address, address

log = logging.getLogger(__name__)

PREFIX = "json.info_"
SESSION = 10.0  # seconds without a word from us after which ZooKeeper ends our session
LOOK_AGAIN = 60.0  # seconds; watches tell of changes at once, this is for what they may miss
RETRY = 1.0  # seconds between two looks that failed
SLOWEST_RETRY = 10  # seconds between two attempts to connect


class Detector:
    """Calls `changed` with the leader's address, or None while there is none, at the start and at every change.

    Never blocks its caller: a thread of its own looks, whenever a watch fires or a connection is made, and asks
    afresh every time. So a path that is missing, a node that comes back under its old name and data that changes
    need no code of their own. What is wrong meanwhile stands in `trouble`.
    """

    def __init__(self, hosts: str, path: str, changed: Callable[[Address | None], None], auth: str = "") -> None:
        self.trouble = f"no ZooKeeper answers at {hosts}"
        self._hosts, self._path, self._changed = hosts, path, changed
        self._client = KazooClient(
            hosts=hosts,
            timeout=SESSION,
            auth_data=[("digest", auth)] if auth else None,
            connection_retry=KazooRetry(max_tries=-1, delay=0.1, max_delay=SLOWEST_RETRY),
            command_retry=KazooRetry(max_tries=0),
            logger=log,
        )
        self._look_now = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mesos-detector", daemon=True)

    def start(self) -> None:
        self._client.add_listener(self._poke)
        self._client.start_async()
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End within `timeout` seconds."""
        self._stopped.set()
        self._look_now.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _poke(self, _: Any) -> None:
        """A watch fired, or the connection changed. Called by kazoo's threads, which must not be kept."""
        self._look_now.set()

    def _run(self) -> None:
        told: Address | None = None
        pause = LOOK_AGAIN
        while True:
            self._look_now.wait(pause)
            self._look_now.clear()
            if self._stopped.is_set():
                break
            if not self._client.connected:
                continue
            try:
                leader = self._look()
                pause = LOOK_AGAIN
            except (KazooException, KazooTimeoutError) as error:
                log.warning("ZooKeeper at %s: %r", self._hosts, error)
                self.trouble = f"ZooKeeper at {self._hosts} does not let us see {self._path} ({error!r})"
                pause = RETRY
                continue
            if leader != told:
                log.info("The leading master is %s", leader)
                told = leader
                self._changed(leader)
        self._client.stop()
        self._client.close()

    def _look(self) -> Address | None:
        """The leader's address now; every answer that may change leaves a watch behind."""
        self.trouble = f"no Mesos master is elected at zk://{self._hosts}{self._path}"
        try:
            names = self._client.get_children(self._path, watch=self._poke)
        except NoNodeError:
            if self._client.exists(self._path, watch=self._poke) is not None:
                self._look_now.set()  # made in between
            return None
        for name in sorted((n for n in names if n.startswith(PREFIX)), key=_number):
            try:
                data, _ = self._client.get(f"{self._path}/{name}", watch=self._poke)
            except NoNodeError:  # gone in between; the watch on the children has fired
                continue
            leader = _leader(data)
            if leader is None:
                self.trouble = f"the leading master's entry {name} at {self._hosts} can't be understood"
                log.warning("%s: %.200r", self.trouble, data)
            return leader
        return None


def _number(name: str) -> int:
    number = name.removeprefix(PREFIX)
    return int(number) if number.isdigit() else 1 << 62


def _leader(data: bytes) -> Address | None:
    """Where the master of this MasterInfo listens."""
    try:
        where = json.loads(data)["address"]
        host, port = where.get("ip") or where["hostname"], where["port"]
        return address(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
