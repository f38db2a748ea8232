"""What clients and the task scheduler hear of engines that die, fall silent or come back; no Mesos."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import pytest
from ipymesos_executor import ports, processes

from tests.helpers import eventually, halt

from .executor_kit import N, Pack, runs, work

IMPATIENT = ("--HeartMonitor.period=100", "--HeartMonitor.max_heartmonitor_misses=10")


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pack]:
    made = Pack(tmp_path_factory.mktemp("pack"), preload=())
    yield made
    made.close()


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Pack]:
    """Its hub believes in a death after a second without heartbeat."""
    made = Pack(tmp_path, preload=(), args=IMPATIENT)
    yield made
    made.close()


@pytest.fixture
def news(pack: Pack) -> Iterator[list[dict[str, Any]]]:
    """What a plain client hears of engines that come and go."""
    heard: list[dict[str, Any]] = []
    pack.client._registration_callbacks.append(heard.append)
    yield heard
    pack.client._registration_callbacks.remove(heard.append)


def _victim(pack: Pack, path: Path) -> int:
    """The id of the engine that has begun with the work that writes there."""
    pid = eventually(lambda: runs(path))[-1]
    return next(i for i in pack.client.ids if pack.pid(pack.task(i)) == pid)


def _kill(pack: Pack, engine_id: int, signum: int = signal.SIGKILL) -> None:
    os.kill(pack.pid(pack.task(engine_id)), signum)


def test_the_reason_is_in_the_news(pack: Pack, news: list[dict[str, Any]]) -> None:
    victim = pack.new_engine()
    _kill(pack, victim, signal.SIGSEGV)
    told = eventually(lambda: [event for event in news if event["event"] == "unregister" and event["id"] == victim])
    assert told[0]["reason"] == "killed by SIGSEGV"


def test_direct_and_broadcast_work_fails_at_once(pack: Pack, tmp_path: Path) -> None:
    victim = pack.new_engine()
    running = pack.client[victim].apply(work, 60, str(tmp_path / "runs"))
    queued = pack.client[victim].apply(work, 60)
    assert _victim(pack, tmp_path / "runs") == victim
    broadcast = pack.client.broadcast_view(targets=[0, victim]).apply(work, 0, str(tmp_path / "all"))
    eventually(lambda: runs(tmp_path / "all"))  # by the other one: it has come through
    _kill(pack, victim)
    for result in (running, queued, broadcast):
        with pytest.raises((ipp.error.RemoteError, ipp.error.CompositeError), match="EngineError"):
            result.get(20)


def test_balanced_work_fails_with_the_reason(pack: Pack, tmp_path: Path) -> None:
    extra = pack.new_engine()
    result = pack.client.load_balanced_view(targets=[extra]).apply(work, 60, str(tmp_path / "runs"))
    assert _victim(pack, tmp_path / "runs") == extra
    _kill(pack, extra)
    with pytest.raises(ipp.error.RemoteError, match=f"engine {extra} died while running task .*: killed by SIGKILL"):
        result.get(20)
    assert len(pack.client.load_balanced_view().map_sync(abs, range(2 * N))) == 2 * N


@pytest.mark.docker  # as Docker does it: in a group with a memory limit
def test_lack_of_memory_is_named(tmp_path: Path) -> None:
    with _memory_limit(400) as group:
        pack = Pack(tmp_path, preload=(), group=group)
        try:
            greedy = ipp.interactive(lambda: len(bytearray(b"x") * (1 << 30)))
            with pytest.raises(ipp.error.RemoteError, match="OOM: the container's memory limit of 400 MB was reached"):
                pack.client.load_balanced_view().apply(greedy).get(60)
            assert len(pack.client[:].apply_sync(os.getpid)) == N - 1
        finally:
            pack.close()


@contextmanager
def _memory_limit(megabytes: int) -> Iterator[Path]:
    """The file of a new control group that takes the pids of its members; cgroup v1 or v2."""
    root = Path("/sys/fs/cgroup")
    unified = (root / "cgroup.controllers").exists()
    group = (root if unified else root / "memory") / f"tests-of-executor-{os.getpid()}"
    group.mkdir()
    try:
        (group / ("memory.max" if unified else "memory.limit_in_bytes")).write_text(str(megabytes << 20))
        yield group / "cgroup.procs"
    finally:
        eventually(lambda: (group / "cgroup.procs").read_text() == "")
        group.rmdir()


def test_balanced_work_is_done_again(pack: Pack, tmp_path: Path) -> None:
    pack.new_engine()
    view = pack.client.load_balanced_view()
    view.retries = 2
    result = view.apply(work, 5, str(tmp_path / "runs"))
    _kill(pack, _victim(pack, tmp_path / "runs"))
    assert result.get(20)[0] == runs(tmp_path / "runs")[1]
    assert len(runs(tmp_path / "runs")) == 2


def test_work_for_one_engine_only_does_not_wait_for_ever(pack: Pack, tmp_path: Path) -> None:
    """Upstream leaves the second task waiting when the only engine that may do it dies."""
    extra = pack.new_engine()
    view = pack.client.load_balanced_view(targets=[extra])
    first, second = view.apply(work, 60, str(tmp_path / "runs")), view.apply(work, 60)
    assert _victim(pack, tmp_path / "runs") == extra
    _kill(pack, extra)
    with pytest.raises(ipp.error.RemoteError, match="EngineError"):
        first.get(20)
    with pytest.raises(ipp.error.RemoteError, match="ImpossibleDependency"):
        second.get(20)


def test_engines_whose_whole_container_was_killed(tmp_path: Path) -> None:
    """Nobody near them is left to tell the hub: the controller's executor does, when it is told."""
    pack = Pack(tmp_path, preload=())
    try:
        results = [pack.client[i].apply(work, 60) for i in range(N)]
        pids = [pack.pid(f"e{i}") for i in range(N)]
        halt(pack.engines.process.pid)  # so that it tells nobody
        processes.send(pids, signal.SIGKILL)
        reasons = {str(i): "its container was killed" for i in range(N)}
        pack.controllers.command({"do": "gone", "task": "ctl", "reasons": reasons})
        for result in results:
            with pytest.raises(ipp.error.RemoteError, match="EngineError"):
                result.get(20)
        eventually(lambda: pack.client.ids == [])
        pack.engines.process.send_signal(signal.SIGCONT)
    finally:
        pack.close()


def test_plain_clients_of_a_dead_controller_are_told(tmp_path: Path) -> None:
    """ipyparallel's own would wait for ever."""
    pack = Pack(tmp_path, preload=())
    second = ipp.Client(pack.controller["client_info"])
    try:
        direct = pack.client[0].apply(work, 60)
        broadcast = second.broadcast_view().apply(work, 60)
        balanced = second.load_balanced_view()
        given = [balanced.apply(work, 60) for _ in range(3 * N)]  # more than there are engines
        eventually(lambda: asked_queues(pack)["waiting"] >= 2 * N)
        os.kill(pack.pid("ctl"), signal.SIGKILL)
        for result in (direct, broadcast, *given):
            with pytest.raises((ipp.error.RemoteError, ipp.error.CompositeError), match="EngineError"):
                result.get(20)
        eventually(lambda: pack.client.ids == second.ids == [])
        wanted = [("127.0.0.1", port) for port in pack.controller["ports"]]
        eventually(lambda: ports.busy(wanted) == [])
    finally:
        second.close()
        pack.close()


def test_a_stopped_engine_is_given_up_and_comes_back(impatient: Pack, tmp_path: Path) -> None:
    pack = impatient
    view = pack.client.load_balanced_view()
    view.retries = 1
    result = view.apply(work, 2, str(tmp_path / "runs"))
    victim = _victim(pack, tmp_path / "runs")
    pack.client[victim].push({"kept": 1})
    _kill(pack, victim, signal.SIGSTOP)
    eventually(lambda: victim not in pack.client.ids)
    assert result.get(20)[0] == runs(tmp_path / "runs")[1]  # another engine's
    _kill(pack, victim, signal.SIGCONT)
    eventually(lambda: victim in pack.client.ids)
    eventually(lambda: pack.client[victim].pull("kept", block=True) == 1)
    # its own late result was nobody's any more, and its place in the scheduler's books is right
    again = pack.client.load_balanced_view().map_async(work, [0.2] * 2 * N)
    assert len(set(again.get(20))) == N
    assert len(runs(tmp_path / "runs")) == 2


def test_a_stopped_zygote_tells_later(impatient: Pack) -> None:
    pack = impatient
    task = pack.task(1)
    halt(pack.engines.process.pid)
    _kill(pack, 1)
    assert pack.client[0].apply_sync(work, 0)[0] == pack.pid(pack.task(0))  # the others don't need it
    eventually(lambda: 1 not in pack.client.ids)  # the heartbeat is missed
    pack.engines.process.send_signal(signal.SIGCONT)
    assert pack.engines.expect("exited", task)["status"] == -signal.SIGKILL


def test_ids_begin_where_the_payload_says(tmp_path: Path) -> None:
    made = Pack(tmp_path, preload=(), first_id=7)
    try:
        assert made.client.ids == list(range(7, 7 + N))
    finally:
        made.close()


# --- load -------------------------------------------------------------------------------------------------------


def test_load(pack: Pack) -> None:
    busy = pack.new_engine()
    result = pack.client[busy].apply(work, 2)
    task = pack.task(busy)

    def load() -> dict[str, float]:
        pack.engines.command({"do": "load"})
        return dict(pack.engines.expect("load")["load"])

    eventually(lambda: load()[task] > 0.5)
    assert load()[pack.task(0)] <= 0
    result.get(20)
    eventually(lambda: load()[task] <= 0)


def test_the_controller_tells_its_queues(pack: Pack) -> None:
    before = asked_queues(pack)
    direct, balanced = pack.client[0].apply(work, 3), pack.client.load_balanced_view().map_async(work, [0.5] * 3 * N)

    def busy() -> bool:
        now = asked_queues(pack)
        tasks = sum(tasks for _, tasks in now["engines"].values())
        assert now["waiting"] > 0 and now["engines"]["0"][0] == 1 and tasks >= N - 1, now
        return True

    eventually(busy)
    direct.get(20)
    balanced.get(20)
    after = eventually(lambda: (now := asked_queues(pack))["done"] >= before["done"] + 1 + 3 * N and now)
    assert (after["waiting"], after["engines"]) == (0, {})


def asked_queues(pack: Pack) -> dict[str, Any]:
    pack.controllers.command({"do": "load"})
    return dict(pack.controllers.expect("queues")["queues"])


def test_busy_time_is_counted_from_its_begin(pack: Pack) -> None:
    begun = time.monotonic()
    result = pack.client[0].apply(work, 1.5)

    def load() -> float:
        pack.engines.command({"do": "load"})
        return float(pack.engines.expect("load")["load"][pack.task(0)])

    eventually(lambda: load() > 1)
    assert load() <= time.monotonic() - begun
    result.get(20)
