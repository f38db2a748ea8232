"""A Mesos cluster on this machine whose masters and agents are processes of their own, each of which may die alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from .agents import Texts, check_count, one_each
from .archive import DEFAULT_VERSION
from .cluster import LocalMesos
from .election import Election
from .errors import FlagError, LocalMesosError

AT_ONCE = 4  # processes that boot at the same time
# An agent that is silent for ten seconds is unreachable, and an agent that hears no master for as long looks for one;
# without these flags it would be 75.
PINGS = {"MESOS_AGENT_PING_TIMEOUT": "2secs", "MESOS_MAX_AGENT_PING_TIMEOUTS": "5"}


class LocalFleet:
    """Masters and agents, each a `LocalMesos`: kill(), crash(), restart(). A context manager, or start(), stop().

    agents, masters: how many processes of each. zookeeper: "zk://host:port/path" of a ZooKeeper that runs, at which
    the masters elect their leader; needed for more than one. The rest is as for `LocalMesos`, for all processes.
    """

    def __init__(
        self,
        agents: int = 1,
        masters: int = 1,
        *,
        zookeeper: str = "",
        ip: str = "127.0.0.1",
        resources: Texts = None,
        attributes: Texts = None,
        containerizers: str = "mesos",
        images: Sequence[str] | None = None,
        version: str = DEFAULT_VERSION,
        archive: str | os.PathLike[str] | None = None,
        credentials: Mapping[str, str] | None = None,
        roles: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        start_timeout: float = 60.0,
    ) -> None:
        if masters < 1 or masters > 1 and not zookeeper:
            raise FlagError(f"masters: {masters} are not allowed; allowed: 1, or 1, 3, 5, ... with a zookeeper")
        check_count(agents)

        def process(count: int, election: Election, offer: str = "", traits: str = "") -> LocalMesos:
            return LocalMesos(
                count, ip=ip, resources=offer, attributes=traits, containerizers=containerizers,
                images=images if count else None, version=version, archive=archive, credentials=credentials,
                roles=roles, environment=environment, start_timeout=start_timeout, election=election,
            )  # fmt: skip

        self._zookeeper = zookeeper
        self._process = process
        self._offers = one_each("--resources", resources, agents)
        self._traits = one_each("--attributes", attributes, agents)
        self.masters = [process(0, Election(zookeeper, masters if zookeeper else 0)) for _ in range(masters)]
        self.agents: list[LocalMesos] = []

    def __enter__(self) -> LocalFleet:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def master(self) -> str:
        """What a framework is told: host:port of the only master, or the ZooKeeper."""
        return self._zookeeper or self.masters[0].master

    @property
    def leader(self) -> LocalMesos:
        """The leading master; LocalMesosError while nobody leads."""
        for master in self.masters:
            try:
                found = {m.master: m for m in self.masters}.get(master.leader)
            except OSError:
                continue
            if found is not None and found.pid is not None:
                return found
        raise LocalMesosError("none of the masters leads")

    def start(self) -> LocalFleet:
        """Return when a master leads and all agents are registered; leave nothing behind on failure."""
        try:
            _all(LocalMesos.start, self.masters)
            election = Election(self.master)
            self.agents = [self._process(1, election, *own) for own in zip(self._offers, self._traits, strict=True)]
            _all(LocalMesos.start, self.agents)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End everything, as `LocalMesos.stop` does: the masters first, or they would tell of the agents' ends."""
        try:
            _all(LocalMesos.stop, self.masters)
        finally:
            _all(LocalMesos.stop, self.agents)


def _all(do: Callable[[LocalMesos], object], processes: Iterable[LocalMesos]) -> None:
    """Do it with all, also when it fails with one; raises the first error."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(do, process) for process in processes]:
            done.result()
