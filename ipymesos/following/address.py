"""Where a controller is, as its connection file says, and whether that file has changed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ipyparallel.util import disambiguate_ip_address

# A client's sockets, and the names that connection files have for their ports.
SOCKETS = {
    "query": "registration",
    "control": "control",
    "mux": "mux",
    "task": "task",
    "broadcast": "broadcast",
    "notification": "notification",
    "iopub": "iopub",
}


@dataclass(frozen=True)
class Address:
    """One controller: the URLs of its sockets by their names in the connection file, and its keys."""

    urls: Mapping[str, str]
    key: str = field(repr=False)
    curve_serverkey: str = field(repr=False)

    @classmethod
    def read(cls, info: Mapping[str, Any]) -> Address:
        """From what is in a connection file. ValueError, KeyError or TypeError if that is none."""
        protocol, ip = info["interface"].split("://")
        host = f"{protocol}://{disambiguate_ip_address(ip, info['location'])}"
        urls = {name: f"{host}:{int(info[name])}" for name in SOCKETS.values()}
        curve_serverkey = info.get("curve_serverkey") or os.environ.get(
            "IPP_CURVE_SERVERKEY", ""
        )  # as ipyparallel does
        return cls(urls, str(info["key"]), curve_serverkey)

    @classmethod
    def used(cls, config: Mapping[str, Any]) -> Address:
        """From what ipyparallel.Client makes of a connection file: there the ports have become URLs."""
        urls = {name: config[name] for name in SOCKETS.values()}
        return cls(urls, config["key"], config.get("curve_serverkey") or "")


class ConnectionFile:
    """A client's connection file, which is replaced as a whole when there is another controller."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.missing = 0  # how often in a row it was not there
        self._mark: tuple[int, int, int] | None = None

    def changed(self) -> Address | None:
        """What it says now, if it was written since this was asked last; one stat() if not."""
        try:
            stat = os.stat(self.path)
            mark = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if mark == self._mark:
                self.missing = 0
                return None
            address = Address.read(json.loads(self.path.read_bytes()))
        except FileNotFoundError:
            self.missing += 1
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return None  # not to be read now, or not written to its end: look again
        self.missing, self._mark = 0, mark
        return address
