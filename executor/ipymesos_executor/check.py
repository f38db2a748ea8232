"""A task that computes nothing: it looks at what an engine would find here, and tells (`python -m ipymesos doctor`).

It is forked by the zygote as an engine is, so whatever keeps engines from starting keeps it as well. Its payload,
beside what every task has:

    "listen": [ip, port], "word": text      who connects there is told the word
    "reach": [[ip, port], ...]              where others listen who tell the same word
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

TIMEOUT = 5.0  # seconds to connect to one place, and for its answer
LONGEST_WORD = 100  # bytes


def complete(payload: dict[str, Any]) -> bool:
    """Is all there that `run` uses?"""
    places = payload.get("reach")
    return (
        isinstance(payload.get("word"), str)
        and isinstance(places, list)
        and all(map(_place, [*places, payload.get("listen")]))
    )


def _place(value: Any) -> bool:
    return isinstance(value, list) and [type(item) for item in value] == [str, int] and 0 <= value[1] <= 65535


def run(payload: dict[str, Any], report: Callable[[dict[str, Any]], None], orders: int) -> None:
    """Look, tell, and let others connect until the end."""
    word = payload["word"].encode()[:LONGEST_WORD]
    listening = ""
    try:
        server = socket.create_server(tuple(payload["listen"]), family=_family(payload["listen"][0]))
    except OSError as error:
        listening = os.strerror(error.errno) if error.errno else str(error)
    else:
        threading.Thread(target=_greet, args=(server, word), daemon=True).start()
    reached = {f"{ip} {port}": reach(ip, port, word) for ip, port in payload["reach"]}
    report(
        {"event": "checked", "found": {**versions(), "listening": listening, "reached": reached, "time": time.time()}}
    )
    print("checked", flush=True)  # something to be read in the log
    while True:
        signal.pause()  # it ends by SIGTERM


def versions() -> dict[str, Any]:
    """Of what has to fit together, and what room there is in the sandbox (MB)."""
    import ipyparallel  # the zygote has loaded both
    import zmq

    from . import __version__

    return {
        "executor": __version__,
        "python": platform.python_version(),
        "ipyparallel": ipyparallel.__version__,
        "pyzmq": zmq.__version__,
        "curve": bool(zmq.has("curve")),
        "disk": shutil.disk_usage(os.environ.get("MESOS_SANDBOX") or os.getcwd()).free >> 20,
    }


def reach(ip: str, port: int, word: bytes) -> str:
    """Empty if whoever listens there says the word, else what went wrong."""
    try:
        with socket.create_connection((ip, port), TIMEOUT) as connection:
            said = b""
            while more := connection.recv(LONGEST_WORD):
                said += more
    except TimeoutError:
        return f"no answer within {TIMEOUT:g} s"
    except OSError as error:
        return error.strerror or str(error)
    return "" if said == word else "somebody else listens there"


def _greet(server: socket.socket, word: bytes) -> None:
    while True:
        try:
            with server.accept()[0] as connection:
                connection.settimeout(TIMEOUT)
                connection.sendall(word)
        except OSError:
            continue  # whoever came has gone


def _family(ip: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in ip else socket.AF_INET
