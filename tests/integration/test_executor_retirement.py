"""Engines that are asked to end (SIGTERM) and have work: it is done, its results arrive, and nothing new begins."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import pytest

from tests.helpers import eventually

from .executor_kit import N, Pack, runs, work


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pack]:
    made = Pack(tmp_path_factory.mktemp("pack"), preload=())
    yield made
    made.close()


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Pack]:
    made = Pack(tmp_path, preload=())
    yield made
    made.close()


@pytest.fixture
def news(pack: Pack) -> Iterator[list[dict[str, Any]]]:
    heard: list[dict[str, Any]] = []
    pack.client._registration_callbacks.append(heard.append)
    yield heard
    pack.client._registration_callbacks.remove(heard.append)


def _retire(pack: Pack, engine_id: int) -> None:
    pack.engines.signal(pack.task(engine_id), signal.SIGTERM)


def _has_left(pack: Pack, engine_id: int) -> None:
    assert pack.engines.expect("exited", pack.task(engine_id))["status"] == -signal.SIGTERM
    eventually(lambda: engine_id not in pack.client.ids)


def test_an_idle_engine_leaves_at_once(pack: Pack, news: list[dict[str, Any]]) -> None:
    extra = pack.new_engine()
    _retire(pack, extra)
    _has_left(pack, extra)
    assert [event["reason"] for event in news if event["event"] == "unregister"] == ["retired"]


def test_what_it_has_is_done_first(pack: Pack, tmp_path: Path) -> None:
    """Direct, broadcast and balanced work: one of each is running or queued."""
    extra = pack.new_engine()
    balanced = pack.client.load_balanced_view(targets=[extra]).apply(work, 1, str(tmp_path / "balanced"))
    eventually(lambda: runs(tmp_path / "balanced"))
    direct = [pack.client[extra].apply(work, 0.1, str(tmp_path / "direct")) for _ in range(5)]
    broadcast = pack.client.broadcast_view(targets=[0, extra]).apply(work, 0.1, str(tmp_path / "broadcast"))
    coalesced = pack.client.broadcast_view(targets=[0, extra], is_coalescing=True).apply(work, 0.1)
    eventually(lambda: len(runs(tmp_path / "broadcast")) == 1)
    _retire(pack, extra)
    pid = pack.pid(pack.task(extra))
    assert balanced.get(20)[0] == pid
    assert [result.get(20)[0] for result in direct] == [pid] * 5
    assert sorted(pid for pid, _ in broadcast.get(20)) == sorted([pid, pack.pid(pack.task(0))])
    assert len(coalesced.get(20)) == 2
    _has_left(pack, extra)
    assert len(runs(tmp_path / "direct")) == 5 and len(runs(tmp_path / "balanced")) == 1


def test_it_gets_no_new_balanced_work(pack: Pack, tmp_path: Path) -> None:
    extra = pack.new_engine()
    first = pack.client.load_balanced_view(targets=[extra]).apply(work, 2, str(tmp_path / "first"))
    eventually(lambda: runs(tmp_path / "first"))
    more = pack.client.load_balanced_view().map_async(work, [0.2] * 40, [str(tmp_path / "more")] * 40)
    eventually(lambda: runs(tmp_path / "more"))
    _retire(pack, extra)
    assert first.get(20)[0] == pack.pid(pack.task(extra))
    more.get(60)
    assert len(runs(tmp_path / "more")) == 40 and pack.pid(pack.task(extra)) not in runs(tmp_path / "more")
    _has_left(pack, extra)


def test_a_stream_of_work_loses_nothing(pack: Pack, tmp_path: Path) -> None:
    """Engines retire amid short tasks; each task runs once, without any retry."""
    extra = [pack.new_engine() for _ in range(3)]
    result = pack.client.load_balanced_view().map_async(work, [0.01] * 400, [str(tmp_path / "runs")] * 400)
    for engine_id in extra:
        eventually(lambda engine_id=engine_id: pack.pid(pack.task(engine_id)) in runs(tmp_path / "runs"))
        _retire(pack, engine_id)
    assert len(result.get(60)) == len(runs(tmp_path / "runs")) == 400
    for engine_id in extra:
        _has_left(pack, engine_id)


@pytest.mark.parametrize("kind", ["direct", "broadcast", "balanced"])
def test_large_results_leave_before_it(pack: Pack, kind: str) -> None:
    extra = pack.new_engine()
    size = 16 << 20
    if kind == "direct":
        view = pack.client[extra]
    elif kind == "broadcast":
        view = pack.client.broadcast_view(targets=[extra])
    else:
        view = pack.client.load_balanced_view(targets=[extra])
    result = view.apply(work, 0.5, "", size)
    eventually(lambda: _load(pack, extra) > 0)
    _retire(pack, extra)
    got = result.get(60)
    assert len((got[0] if kind == "broadcast" else got)[1]) == size
    _has_left(pack, extra)


def _load(pack: Pack, engine_id: int) -> float:
    pack.engines.command({"do": "load"})
    return float(pack.engines.expect("load")["load"][pack.task(engine_id)])


def test_interrupting_still_works(pack: Pack) -> None:
    """What runs can be given up; then the engine leaves."""
    extra = pack.new_engine()
    result = pack.client[extra].apply(work, 60)
    eventually(lambda: _load(pack, extra) > 0)
    _retire(pack, extra)
    pack.client.send_signal(signal.SIGINT, targets=extra, block=True)
    with pytest.raises(ipp.error.RemoteError, match="KeyboardInterrupt"):
        result.get(20)
    _has_left(pack, extra)


@pytest.mark.parametrize("code", ["caught", "blocked"])
def test_whoever_does_not_listen_is_killed_and_the_hub_knows_why(pack: Pack, code: str, tmp_path: Path) -> None:
    """User code that catches SIGTERM itself, and C code that keeps the main thread."""

    @ipp.interactive
    def deaf(code: str, path: str) -> None:
        import ctypes
        import signal
        import time

        if code == "caught":
            signal.signal(signal.SIGTERM, lambda *_: None)
        open(path, "w").write("0\n")
        if code == "caught":
            time.sleep(60)
        ctypes.PyDLL(None).sleep(60)  # keeps Python's lock as well

    extra = pack.new_engine()
    result = pack.client.load_balanced_view(targets=[extra]).apply(deaf, code, str(tmp_path / "begun"))
    eventually(lambda: runs(tmp_path / "begun"))
    _retire(pack, extra)
    pack.engines.signal(pack.task(extra), signal.SIGKILL, "its time was over")
    assert pack.engines.expect("exited", pack.task(extra))["status"] == -signal.SIGKILL
    with pytest.raises(ipp.error.RemoteError, match="its time was over"):
        result.get(20)


def test_without_a_hub(mortal: Pack, tmp_path: Path) -> None:
    """Its controller is dead: what runs is finished, and nobody is waited for."""
    mortal.client[0].apply(work, 1, str(tmp_path / "runs"))
    eventually(lambda: runs(tmp_path / "runs"))
    os.kill(mortal.pid("ctl"), signal.SIGKILL)
    mortal.controllers.expect("exited", "ctl")
    for engine_id in range(N):
        _retire(mortal, engine_id)
    for engine_id in range(N):
        assert mortal.engines.expect("exited", mortal.task(engine_id))["status"] == -signal.SIGTERM


def test_the_end_of_all_is_quick(mortal: Pack) -> None:
    """SIGHUP after SIGTERM: nobody is left to work for."""
    results = [mortal.client[i].apply(work, 600) for i in range(1, N)]
    eventually(lambda: _load(mortal, N - 1) > 0)
    mortal.engines.channel.close()
    assert mortal.engines.process.wait(20) == 0
    assert not any(result.ready() and result.successful() for result in results)
