"""What there is to see on this machine, and from it. Everything ends within seconds, and changes nothing."""

from __future__ import annotations

import email.utils
import http.client
import json
import os
import shutil
import socket
import time
from collections.abc import Iterable

from ..client import Daemon
from ..errors import ConfigError, NotRunning
from ..masters import Address
from ..paths import Paths, check_directory
from .judge import Profile

TIMEOUT = 5.0  # seconds for a connection, and for an answer
LONGEST_WORD = 100  # bytes


def profile(paths: Paths) -> Profile:
    there = next(folder for folder in (paths.profile_dir, *paths.profile_dir.parents) if folder.is_dir())
    nearest = paths.security if paths.security.is_dir() else there
    security = ""
    if nearest == paths.security:
        try:
            check_directory(paths.security)
        except (ConfigError, OSError) as error:
            security = str(error)
    try:
        running = Daemon.find(paths.profile_dir, paths.cluster_id).pid
    except NotRunning:
        running = 0
    return Profile(
        path=str(paths.profile_dir),
        exists=paths.profile_dir.is_dir(),
        writable=os.access(nearest, os.W_OK | os.X_OK),
        security=security,
        running=running,
        state=paths.state_file.exists(),
        free=shutil.disk_usage(there).free >> 20,
    )


def connect(places: Iterable[Address]) -> dict[str, str]:
    """Why nobody can be reached at each of them; empty where somebody is."""
    return {str(place): _connect(place.host, place.port) for place in places}


def _connect(host: str, port: int, word: bytes = b"") -> str:
    try:
        with socket.create_connection((host, port), TIMEOUT) as connection:
            said = b""
            while word and len(said) < LONGEST_WORD and (more := connection.recv(LONGEST_WORD)):
                said += more
    except TimeoutError:
        return f"no answer within {TIMEOUT:g} s"
    except OSError as error:
        return error.strerror or str(error)
    return "" if said == word else "somebody else listens there"


def reach(host: str, port: int, word: str) -> str:
    """Empty if the task that listens there says the word."""
    return _connect(host, port, word.encode())


def master(where: str) -> tuple[str, float | None]:
    """The version of a master, "" if it doesn't tell, and how far its clock is ahead of ours in seconds."""
    connection = http.client.HTTPConnection(where, timeout=TIMEOUT)
    try:
        connection.request("GET", "/version")
        answer = connection.getresponse()
        version = str(json.loads(answer.read(1 << 16)).get("version", ""))
        date = email.utils.parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
        return version, date - time.time()
    except (OSError, http.client.HTTPException, ValueError, TypeError, AttributeError):
        return "", None
    finally:
        connection.close()
