"""What an executor is sent: tasks' data, the scheduler's messages, and the lines between its processes."""

from __future__ import annotations

import base64
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ipymesos_executor.lines import Lines, encode
from ipymesos_executor.pack import Pack
from ipymesos_executor.tasks import BadTask, Task, read

from ipymesos.connection import Connection
from tests.property.fuzz import ANY, SECRET, damaged, fuzz, wrong
from tests.property.test_fuzz_mesos import RUNNING
from tests.unit.test_executor_pack import World

KEYS = Connection("c", SECRET, f"{SECRET}-public", f"{SECRET}-private")
CLUSTER = RUNNING[1].cluster
PYTHON = (sys.version_info[0], sys.version_info[1])
PAYLOADS = [json.loads(KEYS.payload(task, CLUSTER, PYTHON)) for task in CLUSTER.tasks.values()]
POLICY = {"grace_period": {"nanoseconds": 5_000_000_000}}
ADDRESS = {name: value for name, value in PAYLOADS[-1]["engine_info"].items() if name not in ("key", "curve_serverkey")}
MESSAGES = [
    {"signal": 2, "tasks": ["t0", "t1"]}, {"signal": 9, "tasks": None}, {"load": True},
    {"move": {"controller": "controller-9", "engine_info": ADDRESS}, "tasks": ["t1"]},
    {"gone": {"3": "killed by SIGKILL"}, "controller": "t0"},
]  # fmt: skip
SAID: dict[str, dict[str, Any]] = {
    "started": {"pid": 2**22 + 1}, "registered": {"engine_id": 3, "controller": "c", "address": ADDRESS},
    "leaving": {}, "broken": {"message": "why"}, "exited": {"status": -9, "oom": ""},
}  # fmt: skip
LINES = [
    {"event": "ready", "modules": 9, "threads": 1}, {"event": "failed", "message": "no"},
    {"event": "load", "load": {"t1": 2.5}}, {"event": "queues", "task": "t1", "queues": {"waiting": 1}},
    *({"event": event, "task": task, **more} for task in ("t0", "t1") for event, more in SAID.items()),
]  # fmt: skip


def in_base64(content: Any) -> str:
    return base64.b64encode(json.dumps(content).encode()).decode()


def secret_in(*texts: str) -> bool:
    return any(SECRET in text for text in texts)


@fuzz(6)
@given(wrong(PAYLOADS).map(in_base64) | ANY, wrong([POLICY]))
@example(base64.b64encode(b"[" * 100_000).decode(), None)
def test_data_of_tasks(data: Any, policy: Any) -> None:
    try:
        task = read({"task_id": {"value": "t1"}, "data": data, "kill_policy": policy})
    except BadTask as error:
        assert str(error) and not secret_in(str(error))
    else:
        assert isinstance(task, Task) and not secret_in(repr(task)) and task.grace >= 0


class Told(logging.Handler):
    """Everything that is logged, kept."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))

    def __enter__(self) -> Told:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)


@pytest.fixture(scope="module")
def folder() -> str:
    return tempfile.mkdtemp()


@fuzz(6)
@given(
    st.lists(wrong(PAYLOADS, 2), max_size=2),
    st.booleans(),
    st.lists(wrong(MESSAGES).map(in_base64) | st.text(max_size=30), max_size=4),
    st.lists(wrong(LINES), max_size=6),
)
def test_packs(folder: str, payloads: list[Any], ready: bool, messages: list[str], lines: list[Any]) -> None:
    """Whatever it is told, by the scheduler or by its own children, a pack goes on, and says no key."""
    world = World(Path(folder))
    with Told() as told:
        if ready:
            world.hear("ready")
        for number, payload in enumerate(payloads):
            world.pack.launch({"task_id": {"value": f"t{number}"}, "data": in_base64(payload), "kill_policy": POLICY})
        for data in messages:
            world.pack.message(data)
        for line in lines:
            if isinstance(line, dict):
                world.pack.heard(line)
        world.kill("t0", 0.0)
    assert not secret_in(json.dumps(world.statuses), json.dumps(world.messages), *told.texts)
    assert isinstance(world.pack, Pack)
    for command in world.commands:
        encode(command)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[int]]:
    data = b"".join(map(encode, draw(st.lists(st.sampled_from(LINES), max_size=4))))
    for _ in range(draw(st.integers(0, 3))):
        data = damaged(draw, data)
    return data, sorted(draw(st.lists(st.integers(0, len(data)), max_size=5)))


@fuzz(3)
@given(streams())
def test_lines(stream: tuple[bytes, list[int]]) -> None:
    """What is no line of ours is left out, and the next one is understood again."""
    data, cuts = stream
    lines, whole = Lines(), Lines()
    found = [m for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) for m in lines.feed(data[a:b])]
    assert found == whole.feed(data) and all(isinstance(message, dict) for message in found)
    last = {"event": "leaving", "task": "t1"}
    assert lines.feed(b"\n" + encode(last))[-1:] == [last]
