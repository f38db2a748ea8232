"""What a user may write as the master's address."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .errors import ConfigError

MESOS_PORT = 5050
ZOOKEEPER_PORT = 2181
FORMS = "HOST, HOST:PORT, http://HOST:PORT or zk://HOST1:PORT1,HOST2:PORT2/PATH (an IPv6 address as [::1]:5050)"
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
    """Read an address; ConfigError names the forms that are allowed. 5050 and 2181 are the ports when none is said."""
    text = master.strip()
    scheme, separator, rest = text.partition("://")
    try:
        if not separator:
            return address(text, MESOS_PORT)
        if scheme == "http":
            return address(rest.rstrip("/"), MESOS_PORT)
        if scheme == "zk":
            return _zookeeper(rest)
    except ValueError as error:
        raise ConfigError(f"master {_shown(text)!r}: {error}. Allowed: {FORMS}.") from None
    why = "TLS is not supported" if scheme == "https" else f"{scheme}:// means nothing here"
    raise ConfigError(f"master {_shown(text)!r}: {why}. Allowed: {FORMS}.")


def address(text: str, default_port: int) -> Address:
    """HOST or HOST:PORT; ValueError says what is wrong with it."""
    match = HOST.fullmatch(text)
    if match is None:
        raise ValueError(f"{_shown(text)!r} is no HOST:PORT")
    port = int(match["port"] or default_port)
    if not 0 < port < 65536:
        raise ValueError(f"{port} is no port")
    return Address(match["v6"] or match["name"], port)


def _zookeeper(rest: str) -> ZooKeeper:
    servers, slash, path = rest.partition("/")
    auth, _, hosts = servers.rpartition("@")
    if not path.strip("/"):
        raise ValueError("the PATH where the masters meet is missing")
    return ZooKeeper(tuple(address(h, ZOOKEEPER_PORT) for h in hosts.split(",")), slash + path.strip("/"), auth)


def _shown(text: str) -> str:
    """The text without a password in it."""
    return re.sub(r"(^|//)[^/]*@", r"\1***@", text)
