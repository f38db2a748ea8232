"""Who leads the Mesos masters, as one Mesos process may be told, and as it tells.

ZooKeeper and the election are described in the Mesos documentation, "High-Availability Mode".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .errors import FlagError

if TYPE_CHECKING:
    from http.client import HTTPResponse

MASTER = re.compile(r"[^\s/:]+:\d+\Z")
ZOOKEEPER = re.compile(r"zk://[^\s/@]+(/[^\s/]+)+\Z")


@dataclass(frozen=True)
class Election:
    """How the masters and agents of one process find their leader.

    leader: "" for the master in this very process, "host:port" for another one, or "zk://host:port,.../path" for
    whoever ZooKeeper says. masters: how many contend at that ZooKeeper, the one in this process among them; 0 when it
    doesn't. Most of them must live for one to lead, since the registry is kept by all.
    """

    leader: str = ""
    masters: int = 0

    def __post_init__(self) -> None:
        zookeeper = bool(ZOOKEEPER.match(self.leader))
        if self.leader and not zookeeper and not MASTER.match(self.leader):
            raise FlagError(f"leader: {self.leader!r} is not allowed; allowed: 'host:port' or 'zk://host:port/path'")
        if self.masters and not (zookeeper and self.masters % 2):
            raise FlagError(
                f"masters: {self.masters} at {self.leader!r} are not allowed; allowed: 1, 3, 5, ... at a ZooKeeper"
            )


def leader_of(address: str, timeout: float) -> str:
    """host:port of the leading master, as the Mesos process at this address knows it; OSError when it does not."""
    response, _ = _ask(address, "/redirect", timeout)
    place = urlsplit(response.headers.get("Location", "")).netloc
    if not place:
        raise ConnectionError(f"{address} knows no leading master: HTTP {response.status}")
    return place


def get(address: str, path: str, timeout: float) -> Any:
    """The JSON found there. OSError or ValueError when there is none."""
    return json.loads(_ask(address, path, timeout)[1])


def _ask(address: str, path: str, timeout: float) -> tuple[HTTPResponse, bytes]:
    import http.client  # takes half as long as all else here, and Mesos boots before it is wanted

    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response, response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"{address} does not answer as a Mesos does: {error!r}") from error
    finally:
        connection.close()
