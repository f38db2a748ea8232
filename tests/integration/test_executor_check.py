"""The task that looks at what an engine would find, forked by a real zygote; no Mesos."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import ipyparallel
import zmq
from ipymesos_executor import __version__, check, logs

from tests.helpers import eventually

from .executor_kit import Zygote, free_ports


def payload(port: int, *reach: tuple[str, int], word: str = "w") -> dict[str, Any]:
    places = [list(place) for place in reach]
    always = {"protocol": 1, "kind": "check", "args": [], "engine_info": {}}
    return {**always, "word": word, "listen": ["127.0.0.1", port], "reach": places}


def test_it_tells_what_it_finds(tmp_path: Path) -> None:
    mine, other, nobody = free_ports(3)
    with Zygote("engines", tmp_path) as zygote:
        zygote.start("a", payload(mine, ("127.0.0.1", mine), ("127.0.0.1", nobody)))
        found = zygote.expect("checked", "a")["found"]
        assert found["executor"] == __version__ and found["ipyparallel"] == ipyparallel.__version__
        assert found["python"] == ".".join(map(str, sys.version_info[:3])) and found["pyzmq"] == zmq.__version__
        assert found["curve"] is True and found["disk"] > 0 and found["time"] > 0 and found["listening"] == ""
        assert found["reached"] == {f"127.0.0.1 {mine}": "", f"127.0.0.1 {nobody}": "Connection refused"}
        assert check.reach("127.0.0.1", mine, b"w") == ""
        assert check.reach("127.0.0.1", mine, b"v") == "somebody else listens there"
        zygote.start("b", payload(mine, ("127.0.0.1", mine)))  # who comes too late
        late = zygote.expect("checked", "b")["found"]
        assert late["listening"] == "Address already in use" and late["reached"] == {f"127.0.0.1 {mine}": ""}
        zygote.start("c", payload(other, word="another"))
        zygote.expect("checked", "c")
        for task in "abc":
            zygote.signal(task, signal.SIGTERM)
            assert zygote.expect("exited", task)["status"] == -signal.SIGTERM


def test_what_is_incomplete_is_no_check() -> None:
    good = payload(1)
    assert check.complete(good)
    for name, value in (("listen", None), ("listen", ["a"]), ("listen", ["a", 70000]), ("word", 1), ("reach", [1])):
        assert not check.complete({**good, name: value}), name


def test_a_log_that_grows_without_end_is_shortened(tmp_path: Path) -> None:
    with Zygote("engines", tmp_path) as zygote:
        zygote.start("a", payload(free_ports(1)[0]))
        zygote.expect("checked", "a")
        log = tmp_path / "a.log"
        with open(log, "ab") as talk:
            talk.write(b"the same again\n" * (logs.LARGEST // 10))
        eventually(lambda: log.stat().st_size < 2 * logs.KEPT)
        lines = log.read_bytes().splitlines()
        assert lines[0] + b"\n" == logs.CUT % (logs.LARGEST >> 20) and set(lines[1:]) == {b"the same again"}
