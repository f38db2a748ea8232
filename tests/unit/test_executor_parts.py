"""The executor's small parts: what it reads, and the words it says."""

from __future__ import annotations

import base64
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ipymesos_executor import death, preload, tasks
from ipymesos_executor.lines import Lines, encode
from ipymesos_executor.loop import Loop
from ipymesos_executor.redact import hide_in_logs
from ipymesos_executor.tasks import BadTask, Task, Verdict

# --- lines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_lines_survive_any_cut(size: int) -> None:
    messages = [{"event": "a", "text": "line\nbreak"}, {"n": [1, 2]}, {"ü": "é"}]
    stream = b"".join(map(encode, messages))
    lines = Lines()
    heard = [m for start in range(0, len(stream), size) for m in lines.feed(stream[start : start + size])]
    assert heard == messages


# --- tasks -----------------------------------------------------------------------------------------------------


def info(payload: Any, **more: Any) -> dict[str, Any]:
    return {"task_id": {"value": "t1"}, "data": base64.b64encode(json.dumps(payload).encode()).decode(), **more}


GOOD = {"protocol": 1, "kind": "engine", "python": list(sys.version_info[:2]), "engine_info": {"key": "secret-key"}}


def test_read() -> None:
    task = tasks.read(info(GOOD, kill_policy={"grace_period": {"nanoseconds": 500_000_000}}))
    assert (task.id, task.kind, task.grace) == ("t1", "engine", 0.5)
    assert tasks.read(info(GOOD)).grace == tasks.GRACE
    assert "secret-key" not in repr(task)


@pytest.mark.parametrize("text", ["", "?", base64.b64encode(b"{").decode(), base64.b64encode(b"\xff").decode()])
def test_unreadable_data(text: str) -> None:
    with pytest.raises(BadTask, match="can't be read"):
        tasks.read({"task_id": {"value": "t1"}, "data": text})


def test_another_kind() -> None:
    with pytest.raises(BadTask, match="no such kind of task: 'x'"):
        tasks.read(info({**GOOD, "kind": "x"}))


@pytest.mark.parametrize("payload, theirs", [([], "None"), ({}, "None"), ({**GOOD, "protocol": 2}, "2")])
def test_another_protocol(payload: Any, theirs: str) -> None:
    with pytest.raises(BadTask, match=f"speaks protocol {theirs}, the executor here 1: install the same version"):
        tasks.read(info(payload))


def test_python_of_client_and_image() -> None:
    tasks.check_python(None)
    tasks.check_python([3, 11], (3, 11, 9))
    tasks.check_python([3, 11, 7], (3, 11, 9))
    with pytest.raises(BadTask) as caught:
        tasks.check_python([3, 11, 7], (3, 9, 2))
    assert str(caught.value) == (
        "the image runs Python 3.9.2, the client 3.11.7: functions can't be shipped between them; "
        "use an image with Python 3.11 or set check_python = False"
    )


def ended(code: int, oom: str = "", log: str = "", **facts: Any) -> Verdict:
    return Task("t1", "engine", {}, log=log, **facts).ended(code, oom)


def test_what_an_end_is_called(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\nlast words  \n\n")
    assert ended(0) == Verdict("TASK_FINISHED")
    assert ended(1, leaving=True) == Verdict("TASK_FINISHED", "shut down through the hub")
    assert ended(-15, asked=True) == Verdict("TASK_KILLED")
    assert ended(-9, asked=True, leaving=True) == Verdict("TASK_KILLED")
    assert ended(-11, running=True, log=str(log)) == Verdict("TASK_FAILED", "killed by SIGSEGV")
    assert ended(3, running=True) == Verdict("TASK_FAILED", "exit status 3")
    assert ended(1, log=str(log)) == Verdict("TASK_FAILED", "exit status 1: last words")
    assert ended(1, log=str(tmp_path / "none")) == Verdict("TASK_FAILED", "exit status 1")
    assert ended(-9, "OOM: why", running=True) == Verdict("TASK_FAILED", "OOM: why", tasks.OUT_OF_MEMORY)
    fixed = Verdict("TASK_FAILED", "known before")
    assert ended(-9, "OOM: why", asked=True, verdict=fixed) is fixed


def test_engines_by_controller() -> None:
    one, two = {"engine_info": {"registration": 1}}, {"engine_info": {"registration": 2}}
    found = tasks.by_controller([(one, 0, "a"), (two, 1, "b"), (one, 2, "c"), (two, None, "")])
    assert found == {'{"registration": 1}': {0: "a", 2: "c"}, '{"registration": 2}': {1: "b"}}


# --- death -----------------------------------------------------------------------------------------------------


def test_words() -> None:
    assert death.words(0) == "exit status 0"
    assert death.words(-signal.SIGABRT) == "killed by SIGABRT"
    assert death.words(-63) == "killed by signal 63"


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("version", [1, 2])
def test_memory_watch(tmp_path: Path, version: int, inside: bool) -> None:
    """`inside` a container the group's own folder is the root of what is mounted."""
    membership = tmp_path / "membership"
    membership.write_text({1: "12:cpu,cpuacct:/x\n9:memory:/docker/abc\n", 2: "0::/docker/abc\n"}[version])
    folder = tmp_path / ("memory" if version == 1 else "") / ("" if inside else "docker/abc")
    folder.mkdir(parents=True, exist_ok=True)
    events = folder / ("memory.oom_control" if version == 1 else "memory.events")
    limit = folder / ("memory.limit_in_bytes" if version == 1 else "memory.max")
    events.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    watch = death.MemoryWatch(tmp_path, membership)
    assert not watch.killed()
    events.write_text("oom 1\noom_kill 4\n")
    assert [watch.killed(), watch.killed(), watch.killed()] == [True, True, False]  # one kill, one death
    events.write_text("oom 1\noom_kill 5\n")
    watch.recent = 0.0
    assert not watch.killed()  # what was noticed long ago explains nothing any more
    limit.write_text(f"{1152 << 20}\n")
    assert watch.message() == "OOM: the container's memory limit of 1152 MB was reached"
    limit.write_text("9223372036854771712\n" if version == 1 else "max\n")
    assert watch.message() == "OOM: the machine had no memory left"


def test_memory_watch_without_cgroups(tmp_path: Path) -> None:
    membership = tmp_path / "membership"
    membership.write_text("0::/\n")
    watch = death.MemoryWatch(tmp_path, membership)
    assert not watch.killed()
    assert watch.limit() is None


# --- redact ----------------------------------------------------------------------------------------------------


def test_keys_do_not_reach_any_log(caplog: pytest.LogCaptureFixture) -> None:
    before = logging.getLogRecordFactory()
    try:
        hide_in_logs(["a-long-secret", "short", ""])
        log = logging.getLogger("test")
        log.warning("key %r of %s", b"a-long-secret", {"k": "a-long-secret"})
        log.warning("a short word stays")
        log.warning("broken %d", "a-long-secret")
        with_arguments = caplog.records[1]
    finally:
        logging.setLogRecordFactory(before)
    assert caplog.messages == ["key b'***' of {'k': '***'}", "a short word stays", "broken %d"]
    assert with_arguments.getMessage() == "a short word stays"


# --- loop ------------------------------------------------------------------------------------------------------


def test_loop_runs_what_it_is_told_in_its_own_thread() -> None:
    loop = Loop()
    told: list[Any] = []
    end, other = os.pipe()

    def read() -> None:
        told.append(os.read(end, 10))
        loop.forget(end)
        loop.later(0.02, told.append, "second")
        loop.later(0.01, told.append, "first")
        loop.later(0.03, loop.stop, 7)
        loop.later(0.03, loop.stop, 8)

    loop.on_readable(end, read)
    threading.Timer(0.05, lambda: loop.call(os.write, other, b"x")).start()
    loop.call(lambda: told.append(threading.current_thread() is threading.main_thread()))
    started = time.monotonic()
    assert loop.run() == 7
    assert time.monotonic() - started < 5
    assert told == [True, b"x", "first", "second"]


def test_numpy_needs_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in preload.ONE_THREAD:
        monkeypatch.delenv(name, raising=False)
    assert not preload._threads_wanted()
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert preload._threads_wanted()
