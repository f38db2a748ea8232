"""What a user may write as the master's address."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .errors import ConfigError

MESOS_PORT = 5050
ZOOKEEPER_PORT = 2181
FORMS = "write 'local', 'host:5050', 'http://host:5050' or 'zk://host1:2181,host2:2181/mesos'"
HOST = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+(?:%\w+)?)\]|(?P<name>[A-Za-z0-9_.-]+))(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True)
class Address:
    """Where a master listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class ZooKeeper:
    """Where the masters elect their leader. `auth` is "user:password", or empty."""

    hosts: tuple[Address, ...]
    path: str
    auth: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"zk://{','.join(map(str, self.hosts))}{self.path}"


def parse(master: str) -> Address | ZooKeeper:
    """Read an address; ConfigError names the forms that are allowed.

    A master's port must be said, so that a mistyped 'local' is not taken for a host; ZooKeeper's is 2181 by default.
    """
    text = master.strip()
    scheme, separator, rest = text.partition("://")
    try:
        if not separator:
            return address(text)
        if scheme == "http":
            return address(rest.rstrip("/"))
        if scheme == "zk":
            return _zookeeper(rest)
    except ValueError as error:
        raise _refused(text, str(error)) from None
    raise _refused(text, "TLS is not supported" if scheme == "https" else f"{scheme}:// means nothing here")


def _refused(text: str, why: str) -> ConfigError:
    return ConfigError(f"master: {_shown(text)!r} is no address of a master ({why}); {FORMS}")


def address(text: str, default_port: int | None = None) -> Address:
    """HOST:PORT, or HOST when there is a default; ValueError says what is wrong with it."""
    match = HOST.fullmatch(text)
    if match is None:
        raise ValueError(f"{_shown(text)!r} is no host:port")
    if match["port"] is None and default_port is None:
        raise ValueError("the port is missing")
    port = int(match["port"] or default_port or 0)
    if not 0 < port < 65536:
        raise ValueError(f"{port} is no port")
    return Address(match["v6"] or match["name"], port)


def _zookeeper(rest: str) -> ZooKeeper:
    servers, slash, path = rest.partition("/")
    auth, _, hosts = servers.rpartition("@")
    if not path.strip("/"):
        raise ValueError("the path under which the masters stand is missing")
    return ZooKeeper(tuple(address(h, ZOOKEEPER_PORT) for h in hosts.split(",")), slash + path.strip("/"), auth)


def _shown(text: str) -> str:
    """The text without a password in it."""
    return re.sub(r"(^|//)[^/]*@", r"\1***@", text)
