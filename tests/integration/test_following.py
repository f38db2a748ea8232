"""A client whose controllers come and go: what was in flight is answered, once, by the same engines."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import ipyparallel as ipp
import numpy
import pytest
from ipymesos_executor.unregister import unregister

from ipymesos.following import Client, ControllerLost
from ipymesos.paths import write_private
from tests.helpers import eventually

from .following_kit import Moving, moving


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Moving]:
    with moving(tmp_path) as made:
        yield made


@ipp.interactive
def work(name: str, log: str, gate: str = "") -> tuple[str, int]:
    """Leave a line, and wait until the gate is there; who did it."""
    import os
    import time

    with open(log, "a") as file:
        file.write(f"{name}\n")
    while gate and not os.path.exists(gate):
        time.sleep(0.01)
    return name, os.getpid()


class Runs:
    """The work that was done, by name, and the gate that holds it."""

    def __init__(self, folder: Path) -> None:
        self.log, self._gate = folder / "runs", folder / "gate"
        self.log.touch()
        self.free = (str(self.log),)
        self.gated = (str(self.log), str(self._gate))

    def counts(self) -> Counter[str]:
        return Counter(self.log.read_text().split())

    def begun(self, n: int) -> None:
        """Wait until n different ones have."""
        eventually(lambda: len(self.counts()) >= n)

    def open(self) -> None:
        self._gate.touch()

    def close(self) -> None:
        self._gate.unlink()


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def pids(client: ipp.Client) -> list[int]:
    return list(client[:].apply_sync(os.getpid))


def begun_by(client: Client, job: ipp.AsyncResult) -> str:
    """The engine that has begun it, as soon as the client knows."""
    return eventually(lambda: "".join(p.started for p in client._mover.book if p.msg_id == job.msg_ids[0]))


def error_of(job: ipp.AsyncResult) -> ipp.error.RemoteError:
    with pytest.raises(ipp.error.RemoteError) as caught:
        job.get(timeout=60)
    return caught.value


@pytest.mark.parametrize("curve", [True, False])
def test_all_in_flight_is_answered_once_by_the_same_engines(tmp_path: Path, runs: Runs, curve: bool) -> None:
    with moving(tmp_path, curve=curve) as world:
        client, other = world.client(), world.client()
        client[:].push({"n": 1}, block=True)
        before = pids(client)
        view, balanced = client[:], client.load_balanced_view()
        jobs = {
            "long": client[0].apply_async(work, "long", *runs.gated),
            "second": client[1].apply_async(work, "second", *runs.gated),
            "theirs": other[2].apply_async(work, "theirs", *runs.gated),
        }
        runs.begun(3)
        jobs |= {
            "queued": client[0].apply_async(work, "queued", *runs.gated),
            "theirs-lb": other.load_balanced_view().apply_async(work, "theirs-lb", *runs.gated),
            **{f"lb{i}": balanced.apply_async(work, f"lb{i}", *runs.gated) for i in range(6)},
            "all": client.broadcast_view().apply_async(work, "all", *runs.gated),
            "together": other.broadcast_view(is_coalescing=True).apply_async(work, "together", *runs.gated),
        }
        code = client[3].execute("n = n + 1")
        runs.begun(4)
        world.fail_over()
        runs.open()
        for name, job in jobs.items():
            answers = job.get(timeout=60)
            assert {a[0] for a in (answers if isinstance(answers, list) else [answers])} == {name}
        code.get(timeout=60)
        assert jobs["long"].get()[1] == before[0] and [pid for _, pid in jobs["all"].get()] == before
        assert runs.counts() == {**dict.fromkeys(jobs, 1), "all": 4, "together": 4}
        assert (client.ids, pids(client), view["n"]) == ([0, 1, 2, 3], before, [1, 1, 1, 2])
        assert pids(other) == before
        assert {job.get(timeout=60) for job in [balanced.apply_async(os.getpid) for _ in range(40)]} == set(before)
        assert client.queue_status()[0]["queue"] == 0
        for job in jobs.values():
            assert job.wait_for_output(timeout=30)


def test_a_planned_move_while_the_former_controller_lives(world: Moving, runs: Runs) -> None:
    client = world.client()
    before, former = pids(client), world.name
    balanced = client.load_balanced_view()
    balanced.retries = 3
    jobs = [balanced.apply_async(work, f"lb{i}", *runs.free) for i in range(400)]
    jobs += [client[i % 4].apply_async(work, f"direct{i}", *runs.free) for i in range(100)]
    jobs.append(client[0].apply_async(work, "long", *runs.gated))
    world.start()
    world.publish()
    world.move()
    runs.open()
    for job in jobs:
        job.get(timeout=60)
    assert set(runs.counts().values()) == {1} and len(runs.counts()) == len(jobs)
    world.kill(former)
    assert pids(client) == before


@pytest.mark.parametrize("main_only", [False, True])
def test_a_stream_of_short_tasks_over_a_death_runs_each_once(world: Moving, runs: Runs, main_only: bool) -> None:
    """With `main_only` the task scheduler lives long enough to say that all it has is given up: for others."""
    client = world.client()
    balanced = client.load_balanced_view()
    jobs = [balanced.apply_async(work, f"lb{i}", *runs.free) for i in range(600)]
    jobs += [client[i % 4].apply_async(work, f"direct{i}", *runs.free) for i in range(400)]
    runs.begun(100)
    world.fail_over(main_only=main_only)
    for job in jobs:
        job.get(timeout=60)
    assert set(runs.counts().values()) == {1} and len(runs.counts()) == len(jobs)


def test_two_moves_in_a_row_and_one_during_another(world: Moving, runs: Runs) -> None:
    client = world.client()
    before = pids(client)
    jobs = [client[i].apply_async(work, f"direct{i}", *runs.gated) for i in range(4)]
    jobs += [client.load_balanced_view().apply_async(work, f"lb{i}", *runs.gated) for i in range(4)]
    runs.begun(4)
    world.fail_over()
    eventually(lambda: client._mover.hub and not client._mover.away)
    world.fail_over("e0", "e1")  # and the others stay away
    eventually(lambda: len(client._mover.here) == 2)
    jobs.append(client[3].apply_async(work, "new", *runs.gated))
    world.fail_over()
    runs.open()
    assert [name for name, _ in (job.get(timeout=60) for job in jobs)] == [
        *(f"direct{i}" for i in range(4)),
        *(f"lb{i}" for i in range(4)),
        "new",
    ]
    assert set(runs.counts().values()) == {1} and pids(client) == before


def test_work_for_an_engine_that_is_not_back_waits_in_order_and_the_rest_does_not(world: Moving, runs: Runs) -> None:
    client = world.client()
    world.fail_over("e0", "e1")
    eventually(lambda: len(client._mover.here) == 2)
    back = [i for i in client.ids if client._engines[i] in client._mover.here]
    away = next(i for i in client.ids if i not in back)
    view = client[away]
    pushed = view.push({"value": 1}, block=False)
    seen = view.apply_async(ipp.interactive(lambda: globals()["value"]))
    array = numpy.ones(200_000)
    sent = view.apply_async(numpy.sum, array)
    everybody = client.broadcast_view().apply_async(work, "everybody", *runs.free)
    assert client[back[0]].apply_async(work, "direct", *runs.free).get(timeout=60)[0] == "direct"
    assert client.load_balanced_view().apply_async(work, "lb", *runs.free).get(timeout=60)[0] == "lb"
    eventually(lambda: runs.counts()["everybody"] == 2)
    assert not (pushed.ready() or seen.ready() or sent.ready() or everybody.ready())
    array[:] = 5  # it was taken over: its owner may go on with it
    world.move()
    pushed.get(timeout=60)
    assert (seen.get(timeout=60), sent.get(timeout=60)) == (1, 200_000)
    assert len(everybody.get(timeout=60)) == 4
    assert runs.counts() == {"direct": 1, "lb": 1, "everybody": 4}


def test_what_an_engine_had_that_does_not_come_back(
    world: Moving, runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    client = world.client(grace=2.0)
    victim = world.task(0)
    only = client.load_balanced_view(targets=[0])
    jobs = {"direct": client[0].apply_async(work, "direct", *runs.gated)}
    runs.begun(1)
    jobs["queued"] = client[0].apply_async(work, "queued", *runs.gated)
    jobs["only"] = only.apply_async(work, "only", *runs.gated)
    jobs["together"] = client.broadcast_view(is_coalescing=True).apply_async(work, "together", *runs.free)
    separate = client.broadcast_view().apply_async(work, "separate", *runs.free)
    world.kill()
    os.kill(world.pid(victim), 9)
    world.start()
    world.publish()
    world.move(*(set(world.told) - {victim}))
    for job in jobs.values():
        error = error_of(job)
        assert error.ename == "EngineError" and "did not come back within 2 s" in error.evalue
    assert len(error_of(separate).elist) == 1
    assert client.ids == [1, 2, 3] and len(pids(client)) == 3
    assert "engine 0 has ended: it did not come back within 2 s" in caplog.text
    assert (runs.counts()["direct"], runs.counts()["queued"], runs.counts()["separate"]) == (1, 0, 3)


def test_a_balanced_task_that_a_dead_engine_had_begun_runs_again_only_with_retries(world: Moving, runs: Runs) -> None:
    client = world.client(grace=2.0)
    victim = world.task(0)
    view = client.load_balanced_view(targets=[0])
    once = view.apply_async(work, "once", *runs.gated)
    begun_by(client, once)
    others = [client.load_balanced_view().apply_async(work, f"other{i}", *runs.gated) for i in range(3)]
    more = client.load_balanced_view()
    more.retries = 1
    runs.begun(4)
    again = more.apply_async(work, "waiting", *runs.free)
    world.kill()
    os.kill(world.pid(victim), 9)
    runs.open()
    world.start()
    world.publish()
    world.move(*(set(world.told) - {victim}))
    assert "Engine 0 died" in error_of(once).evalue and error_of(once).ename == "EngineError"
    for job in [*others, again]:
        job.get(timeout=60)
    assert set(runs.counts().values()) == {1}
    # and with retries
    two = client.load_balanced_view(targets=client.ids[:2])
    two.retries = 1
    runs.close()
    job = two.apply_async(work, "twice", *runs.gated)
    uuid = begun_by(client, job)
    victim = world.task(client._engines[uuid])
    world.kill()
    os.kill(world.pid(victim), 9)
    runs.open()
    world.start()
    world.publish()
    world.move(*(set(world.told) - {victim}))
    assert job.get(timeout=60)[0] == "twice" and runs.counts()["twice"] == 2


def test_a_failure_after_the_move_uses_retries_elsewhere(world: Moving, runs: Runs, tmp_path: Path) -> None:
    @ipp.interactive
    def fragile(name: str, log: str, gate: str) -> int:
        import os
        import time

        with open(log, "a") as file:
            file.write(f"{name}\n")
        while not os.path.exists(gate):
            time.sleep(0.01)
        if open(log).read().split().count(name) == 1:
            raise ValueError("the first time it fails")
        return os.getpid()

    client = world.client()
    view = client.load_balanced_view()
    view.retries = 1
    job = view.apply_async(fragile, "fragile", *runs.gated)
    runs.begun(1)
    world.fail_over()
    runs.open()
    assert job.get(timeout=60) in pids(client) and runs.counts() == {"fragile": 2}
    view.retries = 0
    assert error_of(view.apply_async(divmod, 1, 0)).ename == "ZeroDivisionError"


def test_dependencies_on_what_was_done_with_a_former_controller(world: Moving, runs: Runs) -> None:
    client = world.client()
    view = client.load_balanced_view()
    first = view.apply_async(os.getpid)
    where = first.get(timeout=60)
    held = view.apply_async(work, "held", *runs.gated)
    with view.temp_flags(after=[first, held]):
        pending = view.apply_async(work, "pending", *runs.free)
    runs.begun(1)
    world.fail_over()
    with view.temp_flags(after=[first], follow=[first]):
        assert {view.apply_async(os.getpid).get(timeout=60) for _ in range(3)} == {where}
    assert not pending.ready() and "pending" not in runs.counts()
    runs.open()
    assert pending.get(timeout=60)[0] == "pending"
    assert runs.counts() == {"held": 1, "pending": 1}


def test_fail_instead_of_sending_again(world: Moving, runs: Runs) -> None:
    client = world.client(pending="fail")
    before = pids(client)
    one, many = client[0].apply_async(work, "one", *runs.gated), client[:].apply_async(work, "many", *runs.free)
    lost = [one, client.load_balanced_view().apply_async(work, "lb", *runs.free)]
    lost += [client.broadcast_view(is_coalescing=True).apply_async(work, "together", *runs.free)]
    runs.begun(1)
    world.kill()
    lost.append(client[1].apply_async(work, "into the void", *runs.free))
    world.start()
    world.publish()
    for job in lost:
        assert job.exception(timeout=60) is None or isinstance(job.exception(), ControllerLost)
    assert isinstance(one.exception(timeout=60), ControllerLost) and "while this request was outstanding" in str(
        one.exception()
    )
    assert many.exception(timeout=60) is None or "ControllerLost" in str(many.exception())
    world.move()
    runs.open()
    assert pids(client) == before


def test_the_cluster_is_stopped_and_comes_again(world: Moving, runs: Runs) -> None:
    client = world.client()
    job = client[0].apply_async(work, "one", *runs.gated)
    balanced = client.load_balanced_view().apply_async(work, "lb", *runs.gated)
    many = client[:].apply_async(work, "many", *runs.gated)
    runs.begun(1)
    world.paths.client_file.unlink()  # by mistake: the controller is there, and nothing happens
    eventually(lambda: client._file.missing > 8)
    assert not (job.ready() or balanced.ready() or client._stopped)
    world.kill()
    for lost in (job, balanced):
        error = lost.exception(timeout=30)
        assert isinstance(error, ControllerLost) and "the cluster was stopped" in str(error)
    assert "ControllerLost: the cluster was stopped" in str(error_of(many))
    assert client.ids == []
    with pytest.raises(ControllerLost, match="was stopped"):
        client.load_balanced_view().apply_sync(os.getpid)
    with pytest.raises(ControllerLost, match="was stopped"):
        client.queue_status()
    with pytest.raises(ipp.error.NoEnginesRegistered):
        client[:].apply_sync(os.getpid)
    world.start()
    world.publish()
    world.move()
    runs.open()
    eventually(lambda: len(client) == 4)
    assert len(set(pids(client))) == 4


def test_what_is_asked_at_once_is_heard(world: Moving) -> None:
    """What engines print comes by another connection than answers do, and nobody keeps it for who is not there yet."""
    world.client()
    for _ in range(20):
        with Client(str(world.paths.client_file)) as client:
            told = client[:].execute("print('here')")
            told.get(60)
            told.wait_for_output(10)
            assert told.stdout == ["here\n"] * 4


def test_a_client_made_while_there_is_no_controller(world: Moving) -> None:
    world.kill()
    made: list[Client] = []
    thread = threading.Thread(target=lambda: made.append(Client(str(world.paths.client_file), timeout=60)))
    thread.start()
    world.start()
    world.publish()
    world.move()
    thread.join(60)
    world.clients += made
    eventually(lambda: len(made[0]) == 4)
    assert len(set(pids(made[0]))) == 4


def test_another_controller_at_the_same_address(world: Moving, runs: Runs) -> None:
    """With engines of its own, as those of the former one can't come back to it."""
    client = world.client(grace=1.0)
    world.kill()
    lost = client[0].apply_async(work, "lost", *runs.free)
    anywhere = client.load_balanced_view().apply_async(work, "anywhere", *runs.free)
    for task in list(world.told):
        os.kill(world.pid(task), 9)
    world.start(again=True)
    world.publish()
    for i in range(4):
        world.new_engine(f"new{i}")
    assert isinstance(anywhere.exception(timeout=60), ControllerLost)
    assert "did not come back" in error_of(lost).evalue
    eventually(lambda: len(client) == 4)
    assert len(set(pids(client))) == 4 and runs.counts()["anywhere"] <= 1


def test_why_an_engine_died(world: Moving, runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    client = world.client()
    caplog.set_level(logging.WARNING, "ipymesos")
    jobs = [client[0].apply_async(work, "direct", *runs.gated), client[0].apply_async(work, "queued", *runs.free)]
    balanced = client.load_balanced_view(targets=[1]).apply_async(work, "balanced", *runs.gated)
    runs.begun(2)
    os.kill(world.pid(world.task(0)), signal.SIGSEGV)
    for job in jobs:
        error = error_of(job)
        assert error.ename == "EngineError" and "Engine 0 died" in error.evalue
        assert error.evalue.endswith(": killed by SIGSEGV")
    assert "engine 0 has ended: killed by SIGSEGV" in caplog.text
    # as the executor says it, which knows of the cgroup
    unregister(world.engine["engine_info"], {1: "OOM: 64 MB were not enough"})
    assert "OOM: 64 MB were not enough" in error_of(balanced).evalue
    assert "engine 1 has ended: OOM: 64 MB were not enough" in caplog.text
    assert client.ids == [2, 3]


def test_a_file_of_somebody_who_writes_it_bit_by_bit(world: Moving) -> None:
    client = world.client()
    text = world.paths.client_file.read_bytes()
    world.paths.client_file.write_bytes(text[:30])
    eventually(lambda: client._io_loop is not None and len(pids(client)) == 4)
    world.paths.client_file.write_bytes(text)
    assert len(pids(client)) == 4 and client._mover.moves == 0


def test_what_cannot_be_followed_is_a_plain_client(world: Moving) -> None:
    with Client(world.payload["client_info"]) as client:
        assert client._file is None
        client.wait_for_engines(4, timeout=30)
        assert len(pids(client)) == 4
    with pytest.raises(ValueError, match="neither 'resend' nor 'fail'"):
        Client(str(world.paths.client_file), pending="maybe")
    write_private(world.paths.security / "ipcontroller-other-client.json", world.paths.client_file.read_bytes())
    with Client(profile_dir=str(world.paths.profile_dir), cluster_id="other") as client:
        assert client._file.path.name == "ipcontroller-other-client.json"
    with Client(profile_dir=str(world.paths.profile_dir)) as client:
        assert client._file.path == world.paths.client_file
