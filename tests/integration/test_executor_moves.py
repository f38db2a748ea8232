"""Live engines join another controller: real controllers, real engines, ipyparallel's own client; no Mesos."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import psutil
import pytest

from tests.helpers import eventually, halt

from .executor_kit import keys
from .moving_kit import ByHand, Moving


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[Moving]:
    with Moving(tmp_path) as made:
        yield made


@ipp.interactive
def count() -> int:
    """What only a process that was never replaced can say."""
    globals()["counter"] = globals().get("counter", 0) + 1
    return int(globals()["counter"])


@ipp.interactive
def slowly(_: int) -> int:
    import os
    import time

    time.sleep(0.1)
    return os.getpid()


@ipp.interactive
def append(path: str, text: str) -> str:
    with open(path, "a") as file:
        file.write(text + "\n")
    return text


@ipp.interactive
def wait_for(path: str, log: str, text: str) -> str:
    """An effect that can be counted, and an end when the test wants it."""
    import os
    import time

    with open(log, "a") as file:
        file.write(text + "\n")
    while not os.path.exists(path):
        time.sleep(0.02)
    return text


def everything_works(client: ipp.Client, pids: dict[int, int], turn: int) -> None:
    """Each way in which a client can talk to an engine; `pids` by id."""
    view = client[:]
    assert view.apply_async(os.getpid).get_dict(20) == pids
    assert view.apply_async(count).get(20) == [turn] * len(pids)
    assert client.broadcast_view().apply_async(os.getpid).get(20) == [pids[i] for i in client.ids]
    spread = client.load_balanced_view().map_async(slowly, range(3 * len(pids)), chunksize=1)
    assert set(spread.get(20)) == set(pids.values())
    said = view.execute("import os; print('pid', os.getpid())")
    said.get(20)
    eventually(lambda: said.stdout == [f"pid {pids[i]}\n" for i in client.ids])
    with pytest.raises(ipp.error.RemoteError, match="ZeroDivisionError"):
        client[0].apply_async(ipp.interactive(lambda: 1 / 0)).get(20)
    endless = client[1].execute("import time; print('on', flush=True); time.sleep(60)")
    eventually(lambda: endless.stdout == "on\n")
    client.send_signal(signal.SIGINT, targets=1, block=True)
    with pytest.raises(ipp.error.RemoteError, match="KeyboardInterrupt"):
        endless.get(20)
    assert client.queue_status(0)["queue"] == 0


@pytest.mark.parametrize("curve", [True, False])
def test_from_controller_to_controller(tmp_path: Path, curve: bool) -> None:
    """Three that are killed, and a fourth and fifth at the same time."""
    with Moving(tmp_path, curve=curve) as moving:
        client = moving.begin()
        pids = client[:].apply_async(os.getpid).get_dict(20)
        everything_works(client, pids, 1)
        for turn in range(2, 5):
            moving.kill(moving.last)
            client = moving.moved(moving.new_controller())
            everything_works(client, pids, turn)
        everything_works(moving.moved(moving.new_controller()), pids, 5)
        eventually(lambda: len(client) == 0)
        text = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        assert [key for key in keys(moving.known["c0"][0]) if key in text] == []


def test_nothing_is_left_behind(moving: Moving) -> None:
    """Descriptors, threads and memory of an engine after ten moves."""
    client = moving.begin()
    task = moving.tasks[0]
    process = psutil.Process(moving.pid(task))

    def seen() -> tuple[int, int]:
        return len(os.listdir(f"/proc/{process.pid}/fd")), process.num_threads()

    history = []
    for _ in range(11):
        assert len(client[:].apply_async(count).get(20)) == len(moving.tasks)
        history.append((*seen(), process.memory_info().rss >> 10))
        moving.kill(moving.last)
        client = moving.moved(moving.new_controller())
    eventually(lambda: seen()[0] <= history[1][0] and seen()[1] == history[1][1])  # what lingers does so for a second
    assert history[-1][2] - history[2][2] < 2048, history  # KB


def test_busy_engines_move_at_once(tmp_path: Path) -> None:
    """Asleep, in Python, in NumPy. Their replies are there for whoever asks again, and nothing is run twice."""
    flag, log = tmp_path / "flag", tmp_path / "log"

    @ipp.interactive
    def spin(path: str, log: str, text: str) -> str:
        import os

        with open(log, "a") as file:
            file.write(text + "\n")
        while not os.path.exists(path):
            sum(range(1000))
        return text

    @ipp.interactive
    def multiply(path: str, log: str, text: str) -> str:
        import os

        import numpy

        with open(log, "a") as file:
            file.write(text + "\n")
        matrix = numpy.ones((700, 700))
        while not os.path.exists(path):
            matrix @ matrix
        return text

    with Moving(tmp_path, 3, preload=("numpy",)) as moving:
        client = moving.begin()
        uuids = [client._engines[i] for i in range(3)]
        hand = ByHand(moving.known["c0"][0])
        asked = [
            hand.ask(uuid, work, str(flag), str(log), f"w{i}")
            for i, (uuid, work) in enumerate(zip(uuids, (wait_for, spin, multiply), strict=True))
        ]
        queued = hand.ask(uuids[0], append, str(log), "queued")
        eventually(lambda: log.exists() and sorted(log.read_text().split()) == ["w0", "w1", "w2"])
        name = "c0"
        for _ in range(3):
            moving.kill(name)
            name = moving.new_controller()
            moving.move(name)
            moving.arrived(name)
        flag.touch()
        moved = ByHand(moving.known[name][0], hand.session)
        hand.close()
        moving.client(name)
        for uuid, message in zip([*uuids, uuids[0]], [*asked, queued], strict=True):
            moved.again(uuid, message)
        answers = dict(moved.answer() for _ in range(4))
        assert answers == {m["header"]["msg_id"]: f"w{i}" for i, m in enumerate(asked)} | {
            queued["header"]["msg_id"]: "queued"
        }
        moved.again(uuids[0], asked[0])
        assert moved.answer() == (asked[0]["header"]["msg_id"], "w0")
        moved.close()
        assert sorted(log.read_text().split()) == ["queued", "w0", "w1", "w2"]
        usual = {len(os.listdir(f"/proc/{moving.pid(task)}/fd")) for task in moving.tasks}
        assert max(usual) - min(usual) <= 1  # the sockets nobody has used are closed, siblings' pipes are not inherited


def test_engine_that_keeps_the_lock_moves_afterwards(moving: Moving, tmp_path: Path) -> None:
    log = tmp_path / "log"

    @ipp.interactive
    def hold(log: str) -> str:
        import ctypes

        with open(log, "a") as file:
            file.write("held\n")
        ctypes.PyDLL(None).sleep(4)
        return "held"

    client = moving.begin()
    uuid = client._engines[0]
    hand = ByHand(moving.known["c0"][0])
    message = hand.ask(uuid, hold, str(log))
    eventually(log.exists)
    moving.kill("c0")
    name = moving.new_controller()
    moving.move(name)
    moving.arrived(name, [t for t in moving.tasks if t != task_of(moving, 0)])
    moving.arrived(name)
    moved = ByHand(moving.known[name][0], hand.session)
    moving.client(name)
    moved.again(uuid, message)
    assert moved.answer() == (message["header"]["msg_id"], "held")
    assert log.read_text() == "held\n"
    hand.close()
    moved.close()


def task_of(moving: Moving, engine_id: int) -> str:
    return str(next(said["task"] for said in moving.engines.heard if said.get("engine_id") == engine_id))


def test_no_reply_reaches_another_client(moving: Moving, tmp_path: Path) -> None:
    """Controllers count their clients, each from the same number: two who have changed places."""
    flag, log = tmp_path / "flag", tmp_path / "log"
    client = moving.begin()
    uuid = client._engines[0]
    first, second = ByHand(moving.known["c0"][0]), ByHand(moving.known["c0"][0])
    mine = first.ask(uuid, wait_for, str(flag), str(log), "first")
    eventually(log.exists)
    theirs = second.ask(uuid, append, str(log), "second")
    moving.kill("c0")
    name = moving.new_controller()
    moving.move(name)
    moving.arrived(name)
    late = ByHand(moving.known[name][0], second.session)
    late.again(uuid, theirs)
    early = ByHand(moving.known[name][0], first.session)
    early.again(uuid, mine)
    flag.touch()
    assert late.answer() == (theirs["header"]["msg_id"], "second")
    assert early.answer() == (mine["header"]["msg_id"], "first")
    assert not late.socket.poll(500) and not early.socket.poll(0)
    assert log.read_text().split() == ["first", "second"]
    for hand in (first, second, late, early):
        hand.close()


def test_async_cell_keeps_its_controller_until_it_ends(moving: Moving, tmp_path: Path) -> None:
    """While it awaits, the main loop is free: others wait in line, and are not answered to the wrong ones."""
    flag, log = tmp_path / "flag", tmp_path / "log"
    client = moving.begin()
    cell = f"""
import asyncio, os
open({str(log)!r}, "a").write("cell\\n")
while not os.path.exists({str(flag)!r}):
    await asyncio.sleep(0.02)
"""
    client[0].execute(cell)
    eventually(log.exists)
    waiting = ByHand(moving.known["c0"][0])
    message = waiting.ask(client._engines[0], append, str(log), "waiting")
    eventually(lambda: client.queue_status(0)["queue"] == 2)
    moving.kill("c0")
    client = moving.moved(moving.new_controller())
    again = ByHand(moving.known[moving.last][0], waiting.session)
    again.again(client._engines[0], message)
    result = client[0].apply_async(count)
    eventually(lambda: client.queue_status(0)["queue"] == 2)
    flag.touch()
    assert result.get(20) == 1
    assert again.answer() == (message["header"]["msg_id"], "waiting")
    assert log.read_text().split() == ["cell", "waiting"]
    assert "Traceback" not in moving.log(task_of(moving, 0))
    waiting.close()
    again.close()


def test_polite_move_fails_what_is_pending_at_once(moving: Moving, tmp_path: Path) -> None:
    flag, log = tmp_path / "flag", tmp_path / "log"
    old = moving.begin()
    running = old[0].apply_async(wait_for, str(flag), str(log), "x")
    eventually(log.exists)
    name = moving.new_controller()
    started = time.monotonic()
    client = moving.moved(name)
    with pytest.raises(ipp.error.RemoteError, match="EngineError"):
        running.get(10)
    assert time.monotonic() - started < 20  # heart-beats alone would take 30 s
    flag.touch()
    assert client[:].apply_async(count).get(20) == [1] * 4
    eventually(lambda: len(old) == 0)
    assert log.read_text() == "x\n"


# --- before, again, elsewhere --------------------------------------------------------------------------------


def test_engines_that_are_not_registered_yet(moving: Moving) -> None:
    nowhere = moving.address()
    for task in moving.tasks:
        moving.start(task, nowhere)
        moving.engines.expect("started", task)
    moving.move(moving.address())  # nobody is there either
    name = moving.new_controller()
    moving.move(name)
    moving.arrived(name)
    assert moving.client(name)[:].apply_async(count).get(20) == [1] * 4


def test_controller_that_is_late(moving: Moving) -> None:
    moving.begin()
    moving.kill("c0")
    name = moving.address()
    moving.move(name)
    moving.move(name)  # says nothing new
    moving.run(name)
    moving.arrived(name)
    assert moving.client(name)[:].apply_async(count).get(20) == [1] * 4
    assert [len(moving.events(task, name)) for task in moving.tasks] == [1] * 4
    moving.move(name)  # they say it again
    eventually(lambda: [len(moving.events(task, name)) for task in moving.tasks] == [2] * 4)


def test_newest_instruction_wins(moving: Moving) -> None:
    client = moving.begin()
    for _ in range(3):
        moving.move(moving.address())
    assert client[:].apply_async(count).get(20) == [1] * 4  # nothing has changed for them
    moving.move("c0")
    eventually(lambda: [len(moving.events(task, "c0")) for task in moving.tasks] == [2] * 4)
    moving.move(moving.address())
    moving.kill("c0")
    client = moving.moved(moving.new_controller())
    assert client[:].apply_async(count).get(20) == [2] * 4


def test_schedulers_that_can_not_be_reached(moving: Moving) -> None:
    """The hub answers and one scheduler does not: nothing has changed yet, and a better address is welcome."""
    client = moving.begin()
    name = moving.new_controller()
    right = moving.known[name][0]["engine_info"]
    moving.known["half"] = ({"engine_info": {**right, "mux": moving.known["c0"][0]["ports"][17] + 1}, "ports": []}, {})
    moving.move("half")
    eventually(lambda: moving.log(name).count("accepting registration") == 4)
    assert client[:].apply_async(count).get(20) == [1] * 4
    moving.start("new", "half")
    eventually(lambda: "Completed registration" in moving.log("new"))
    moving.move(name)
    moving.arrived(name)
    assert moving.client(name)[:].apply_async(count).get(20) == [2] * 4
    other = moving.new_controller()
    moving.move(other, [*moving.tasks, "new"])
    moving.arrived(other, [*moving.tasks, "new"])
    client = moving.client(other, 5)
    assert sorted(client[:].apply_async(count).get(20)) == [1, 3, 3, 3, 3]


def test_id_that_is_taken(moving: Moving, tmp_path: Path) -> None:
    old = moving.begin()
    ids = old[:].apply_async(os.getpid).get_dict(20)
    other = moving.new_controller()
    moving.start("new", other)
    moving.arrived(other, ["new"])
    unlucky = task_of(moving, 0)
    for tasks in ([task for task in moving.tasks if task != unlucky], [unlucky]):
        moving.move(other, tasks)
        moving.arrived(other, tasks)
    client = moving.client(other, 5)
    now = client[:].apply_async(os.getpid).get_dict(20)
    assert {i: now[i] for i in (1, 2, 3)} == {i: ids[i] for i in (1, 2, 3)}
    assert now[0] == moving.pid("new") and now[4] == ids[0]
    said = client[4].execute("import sys; print('out'); print('err', file=sys.stderr); 6 * 7", silent=False)
    said.get(20)
    eventually(lambda: said.stdout == "out\n" and said.stderr == "err\n")
    eventually(lambda: "42" in str(said.execute_result))
    assert client.broadcast_view(targets=[0, 4]).apply_async(os.getpid).get(20) == [now[0], now[4]]
    moving.engines.signal(unlucky, signal.SIGKILL)
    with pytest.raises(AssertionError):
        eventually(lambda: 0 not in client.ids, 1)  # it has no right to that id any more
    eventually(lambda: client.ids == [0, 1, 2, 3])


def test_registered_for_longer_than_hearts_are_waited_for(moving: Moving) -> None:
    moving.begin()
    moving.kill("c0")
    client = moving.moved(
        moving.new_controller("--HeartMonitor.period=200", "--HeartMonitor.max_heartmonitor_misses=5")
    )
    since = time.monotonic()  # 200 ms each

    def long_ago() -> bool:
        assert len(client) == 4
        return time.monotonic() - since > 3

    eventually(long_ago)
    halt(moving.pid("e0"))
    try:
        eventually(lambda: len(client) == 3)
    finally:
        os.kill(moving.pid("e0"), signal.SIGCONT)
    assert client[client.ids].apply_async(count).get(20)


def test_death_after_a_move_is_told_to_the_new_hub(moving: Moving) -> None:
    moving.begin()
    moving.kill("c0")
    client = moving.moved(moving.new_controller())
    pending: Any = client[2].execute("import time; time.sleep(60)")
    eventually(lambda: client.queue_status(2)["queue"] == 1)
    os.kill(moving.pid(task_of(moving, 2)), signal.SIGKILL)
    with pytest.raises(ipp.error.RemoteError, match="EngineError"):
        pending.get(10)


def test_nonsense_is_survived(moving: Moving) -> None:
    client = moving.begin()
    moving.known["bad"] = ({"engine_info": {"interface": "nothing", "location": "x"}, "ports": []}, {})
    moving.move("bad")
    eventually(lambda: all("can't move" in moving.log(task) for task in moving.tasks))
    assert client[:].apply_async(count).get(20) == [1] * 4
    assert moving.moved(moving.new_controller())[:].apply_async(count).get(20) == [2] * 4
