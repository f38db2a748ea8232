"""Files that something else has written, or half of something: state, daemon file, connection files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipymesos.client import Daemon
from ipymesos.connection import Connection
from ipymesos.core.messages import Subscribed, Ticked
from ipymesos.core.session import Everything
from ipymesos.core.specs import CONTROLLER
from ipymesos.daemon.codec import encode
from ipymesos.daemon.start import Start
from ipymesos.daemon.store import VERSION, FileStore
from ipymesos.daemonfile import DaemonFile
from ipymesos.errors import IPyMesosError, StoreError
from ipymesos.following.address import ConnectionFile
from ipymesos.paths import Paths
from tests.property.fuzz import ANY, SECRET, damaged, fuzz, wrong
from tests.property.test_fuzz_mesos import RUNNING
from tests.stories import step

KEYS = Connection("c", SECRET, f"{SECRET}-public", f"{SECRET}-private")
CLUSTER = RUNNING[1].cluster
START = {"options": {"master": "host:5050", "memory": "1 GB"}, "n": 4, "controller_args": [], "engine_args": ["-x"]}
STATES = [
    {"version": VERSION, "start": START, "cluster": encode(state.cluster), "connection": KEYS.to_json()}
    for state in RUNNING
]
(CONTROLLER_TASK,) = [task for task in CLUSTER.tasks.values() if task.group == CONTROLLER]
CONNECTIONS = [KEYS.client_info(CONTROLLER_TASK), KEYS.engine_info(CONTROLLER_TASK)]
DAEMONS = [
    {"pid": 1, "create_time": 5.5, "url": "http://127.0.0.1:1", "token": SECRET, "ready": True, "error": "",
     "exit_code": 0, "host": "h", "fingerprint": ""},
    {"pid": 2**22 + 1, "create_time": 1.0, "url": "", "token": "", "ready": False, "error": "no", "exit_code": 5},
]  # fmt: skip


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def texts(samples: list[Any]) -> st.SearchStrategy[bytes]:
    """The samples' JSON with something wrong in it, cut short, or damaged."""
    good = [json.dumps(sample).encode() for sample in samples]
    cut = st.sampled_from(good).flatmap(lambda text: st.integers(0, len(text)).map(lambda end: text[:end]))
    bent = st.composite(lambda draw: damaged(draw, draw(st.sampled_from(good))))()
    values = (wrong(samples) | ANY).map(lambda value: json.dumps(value).encode())
    return values | values | cut | bent | st.binary(max_size=50)


def put(path: Path, content: bytes) -> Path:
    path.touch(0o600)
    path.write_bytes(content)
    return path


@fuzz(8)
@given(texts(STATES))
@example(b"[" * 100_000)
@example(b"9" * 5000)
@example(b'{"version": 1e999}')
def test_states(folder: Path, content: bytes) -> None:
    """It is loaded, and then can be gone on with and saved, or refused with the path and without a key."""
    path = put(folder / "ipymesos-state.json", content)
    store = FileStore(path)
    try:
        saved = store.load()
    except StoreError as error:
        assert str(path) in str(error) and SECRET not in str(error)
        return
    assert saved is not None and SECRET not in repr(saved)
    assert json.dumps(encode(saved.cluster))
    state = Everything(saved.cluster)
    step(state, Subscribed("fw", "m:5050"), Ticked(), now=1e9)


@fuzz(3)
@given(texts([START]))
def test_how_it_was_started(content: bytes) -> None:
    """What `start --resume` reads out of a state."""
    try:
        start = Start.from_json(json.loads(content))
    except Exception as error:
        assert type(error).__name__ in ("TraitError", "KeyError", "TypeError", "ValueError", "JSONDecodeError",
                                        "UnicodeDecodeError", "ConfigError")  # fmt: skip
    else:
        json.dumps(start.to_json())


@fuzz(4)
@given(texts(DAEMONS))
@example(json.dumps({**DAEMONS[0], "pid": 10**30}).encode())
@example(json.dumps({**DAEMONS[0], "pid": "../1"}).encode())
@example(b"[" * 100_000)
def test_daemon_files(folder: Path, content: bytes) -> None:
    """There is a daemon, or a sentence about why there is none."""
    paths = Paths(folder, "")
    paths.security.mkdir(exist_ok=True)
    put(paths.daemon_file, content)
    file = DaemonFile.read(paths.daemon_file)
    if file is not None:
        assert SECRET not in repr(file) and isinstance(file.alive, bool)
    try:
        daemon = Daemon.find(folder)
        daemon.timeout = 0.5
        daemon.status()
    except IPyMesosError as error:
        assert SECRET not in str(error)


@fuzz(4)
@given(texts(CONNECTIONS))
@example(b"[" * 100_000)
def test_connection_files(folder: Path, content: bytes) -> None:
    """A client that follows its file takes what it understands, and else waits for better."""
    address = ConnectionFile(put(folder / "ipcontroller-client.json", content)).changed()
    assert address is None or SECRET not in repr(address)
