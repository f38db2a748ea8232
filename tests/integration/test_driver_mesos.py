"""The driver and its calls on a real Mesos."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ipymesos import mesos
from ipymesos.core.cluster import Cluster, Task
from ipymesos.core.messages import (
    Acknowledge,
    Action,
    AgentsListed,
    Decline,
    Disconnected,
    ExecutorLost,
    Kill,
    Launch,
    Offered,
    Reconcile,
    Revive,
    ShutdownExecutor,
    Subscribed,
    Suppress,
    Teardown,
    Updated,
)
from ipymesos.core.resources import Offer, Piece, Resources
from ipymesos.core.specs import Container, EngineSet, EngineSpec, Spec
from ipymesos.driver import Driver, calls
from ipymesos.errors import FrameworkRemoved, NotAuthorized, SubscriptionRefused
from ipymesos.local import LocalMesos
from ipymesos.mesos import Framework
from tests.helpers import eventually, halt
from tests.integration.driver_kit import Heard, driving

pytestmark = pytest.mark.mesos

ME = Framework("driver-test", "root")
OBEDIENT = Path(__file__).with_name("obedient")
CONTAINER = Container(python=sys.executable, environment=(("PYTHONPATH", str(OBEDIENT)), ("PATH", "/usr/bin:/bin")))
SPEC = Spec(engines={"e": EngineSet(2, EngineSpec(Resources(), container=CONTAINER, preload=("json",)))})


@pytest.fixture(scope="module")
def local() -> Iterator[LocalMesos]:
    with LocalMesos(attributes="rack:r1", resources="cpus:4;mem:2000;disk:500;ports:[21500-21599]") as running:
        yield running


class Play:
    """A driver, its events, and a cluster that knows its framework id."""

    def __init__(self, driver: Driver, heard: Heard) -> None:
        self.driver, self.heard = driver, heard
        self.cluster = Cluster("test", SPEC, framework_id=heard.wait(Subscribed).framework_id)

    def do(self, *actions: Action) -> None:
        self.driver.send(self.call(action) for action in actions)
        assert self.driver.flush(10)

    def call(self, action: Action) -> dict[str, Any]:
        return mesos.call(action, self.cluster, lambda task: f"for {task.id}".encode(), lambda task: {"at": task.ip})

    def offer(self, count: int = 1) -> Offer:
        return self.heard.wait(Offered, count).offers[0]

    def launch(self, *names: str, offer: Offer | None = None) -> list[Task]:
        offer = offer or self.offer()
        tasks = [task(name, offer, self.cluster.framework_id) for name in names]
        self.do(Launch((offer.id,), tuple(tasks), serial=1, refuse_seconds=0.0))
        return tasks

    def updates(self, task: Task, state: str) -> list[Updated]:
        return [u for u in self.heard.of(Updated) if (u.task_id, u.state) == (task.id, state)]

    def wait_for(self, task: Task, state: str, count: int = 1) -> Updated:
        eventually(lambda: len(self.updates(task, state)) >= count, 30)
        update = self.updates(task, state)[count - 1]
        if update.uuid:
            self.do(Acknowledge(update.task_id, update.agent_id, update.uuid))
        return update


def task(name: str, offer: Offer, unique: str) -> Task:
    """A task with a port, of an executor that all tasks on this offer share."""
    origin = {piece.name: piece.origin for piece in offer.pieces}
    number = 21500 + int(name[1:])
    return Task(
        id=f"{unique}-{name}",
        group="e",
        executor_id=f"{unique}-x",
        agent_id=offer.agent_id,
        hostname=offer.hostname,
        pieces=(
            Piece("cpus", 300, origin=origin["cpus"]),
            Piece("mem", 64, origin=origin["mem"]),
            Piece("ports", ranges=((number, number),), origin=origin["ports"]),
        ),
        executor_pieces=(Piece("cpus", 100, origin=origin["cpus"]), Piece("mem", 32, origin=origin["mem"])),
        launched_at=0.0,
        ports=(number,),
    )


@pytest.fixture
def play(local: LocalMesos) -> Iterator[Play]:
    """A framework of its own, torn down at the end."""
    with driving(local.master, ME) as (driver, heard):
        play = Play(driver, heard)
        yield play
        if not heard.ends and driver.connected:
            play.do(Teardown())


def test_offers_and_agents_are_what_the_agent_has(play: Play, local: LocalMesos) -> None:
    offer = play.offer()
    assert offer.ip == "127.0.0.1" and offer.role == "*" and offer.attributes == (("rack", "r1"),)
    amounts = {piece.name: (piece.amount, piece.ranges) for piece in offer.pieces}
    assert amounts == {
        "cpus": (4000, ()),
        "mem": (2000, ()),
        "disk": (500, ()),
        "ports": (0, ((21500, 21599),)),
    }
    play.driver.list_agents()
    (agent,) = play.heard.wait(AgentsListed).agents
    assert (agent.id, agent.total, agent.ports) == (offer.agent_id, Resources(4000, 2000, 500), 100)
    assert agent.attributes == (("rack", "r1"),)


def test_a_launch_of_two_tasks_in_one_executor(play: Play) -> None:
    one, two = play.launch("t1", "t2")
    first, second = play.wait_for(one, "TASK_RUNNING"), play.wait_for(two, "TASK_RUNNING")
    assert {first.engine_id, second.engine_id} == {1, 2}
    assert json.loads(second.message) == {"argv": ["engines", "--preload", "json"], "data": f"for {two.id}"}

    rest = play.offer(2)
    assert {p.name: p.amount for p in rest.pieces if p.name != "ports"} == {"cpus": 3300, "mem": 1840, "disk": 500}

    play.driver.send(mesos.signal_call(play.cluster, [one], 2))
    said = play.wait_for(one, "TASK_RUNNING", 2)
    assert json.loads(said.message) == {"signal": 2, "tasks": [one.id]}
    play.wait_for(two, "TASK_RUNNING", 2)  # acknowledged, or Mesos would keep the next update back

    play.do(Kill(one.id, one.agent_id))
    assert play.wait_for(one, "TASK_KILLED").agent_id == one.agent_id
    play.do(ShutdownExecutor(two.executor_id, two.agent_id))
    play.wait_for(two, "TASK_FAILED")
    assert play.heard.wait(ExecutorLost).executor_id == two.executor_id


def test_updates_come_again_until_they_are_acknowledged(play: Play) -> None:
    (one,) = play.launch("t3")
    eventually(lambda: len(play.updates(one, "TASK_RUNNING")) >= 2, 40)  # Mesos repeats them after 10 s
    assert len({update.uuid for update in play.updates(one, "TASK_RUNNING")}) == 1
    play.wait_for(one, "TASK_RUNNING")


def test_reconciliation(play: Play) -> None:
    (one,) = play.launch("t4")
    play.wait_for(one, "TASK_RUNNING")
    play.do(Reconcile(((one.id, one.agent_id), ("made-up", one.agent_id), ("made-up-too", ""))))
    again = play.wait_for(one, "TASK_RUNNING", 2)
    assert again.reason == "REASON_RECONCILIATION" and not again.uuid
    unknown = eventually(lambda: [u for u in play.heard.of(Updated) if u.task_id.startswith("made-up")][1:], 10)
    assert unknown[0].reason == "REASON_RECONCILIATION" and unknown[0].state in ("TASK_GONE", "TASK_UNKNOWN")
    play.do(Reconcile(()))
    play.wait_for(one, "TASK_RUNNING", 3)


def test_declining_suppressing_and_reviving(play: Play) -> None:
    play.do(Decline((play.offer().id,), 1000.0), Suppress(), Revive())
    play.do(Decline((play.offer(2).id,), 0.1))
    assert play.offer(3)


def test_a_launch_on_an_offer_that_is_gone(play: Play) -> None:
    offer = play.offer()
    play.do(Decline((offer.id,), 0.1))
    (one,) = play.launch("t5", offer=offer)
    update = play.wait_for(one, "TASK_DROPPED")
    assert update.reason == "REASON_INVALID_OFFERS" and not update.uuid


def test_a_launch_that_makes_no_sense(play: Play) -> None:
    offer = play.offer()
    wrong = replace(task("t6", offer, play.cluster.framework_id), pieces=(Piece("cpus", 999_000),))
    play.do(Launch((offer.id,), (wrong,), serial=1, refuse_seconds=0.0))
    update = play.wait_for(wrong, "TASK_ERROR")
    assert update.reason == "REASON_TASK_INVALID" and "999" in update.message


def test_a_call_that_mesos_refuses_leaves_the_connection_alone(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    play.driver.send([{"type": "KILL", "framework_id": {"value": play.cluster.framework_id}}])
    assert play.driver.flush(10)
    assert "The master refused KILL: HTTP 400" in caplog.text
    play.do(Revive())
    assert not play.heard.of(Disconnected)


def test_a_master_that_hangs_is_left_and_found_again(
    play: Play, local: LocalMesos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "TIMEOUT", 1.0)
    assert local.pid is not None
    halt(local.pid)
    try:
        play.driver.send([play.call(Suppress())])
        assert "SUPPRESS failed" in play.heard.wait(Disconnected).reason
    finally:
        os.kill(local.pid, signal.SIGCONT)
    assert play.heard.wait(Subscribed, 2, timeout=30).framework_id == play.cluster.framework_id


def test_stopping_ends_no_task_and_another_driver_takes_over(local: LocalMesos) -> None:
    with driving(local.master, ME) as (driver, heard):
        play = Play(driver, heard)
        (one,) = play.launch("t7")
        play.wait_for(one, "TASK_RUNNING")
    with driving(local.master, replace(ME, id=play.cluster.framework_id)) as (driver, heard):
        again = Play(driver, heard)
        assert again.cluster.framework_id == play.cluster.framework_id
        again.do(Reconcile(((one.id, one.agent_id),)))
        assert again.wait_for(one, "TASK_RUNNING").reason == "REASON_RECONCILIATION"
        again.do(Teardown())
        heard.wait(Disconnected)
    with driving(local.master, replace(ME, id=play.cluster.framework_id)) as (_, heard):
        assert isinstance(heard.end(), FrameworkRemoved)
        assert "Framework has been removed" in str(heard.ends[0])


def test_the_newer_of_two_drivers_wins(local: LocalMesos) -> None:
    with driving(local.master, ME) as (_, heard):
        framework_id = heard.wait(Subscribed).framework_id
        with driving(local.master, replace(ME, id=framework_id)) as (second, later):
            later.wait(Subscribed)
            assert isinstance(heard.end(), SubscriptionRefused)
            assert "failed over" in str(heard.ends[0])
            second.send([{"type": "TEARDOWN", "framework_id": {"value": framework_id}}])
            assert second.flush(5)
            assert len(later.of(Subscribed)) == 1


def test_a_reserved_role_gets_what_is_reserved_for_it_marked() -> None:
    resources = "cpus:2;mem:1000;disk:100;ports(ipy):[21700-21719];ports:[21720-21739]"
    with LocalMesos(resources=resources) as local:
        with driving(local.master, replace(ME, roles=("ipy", "other"))) as (driver, heard):
            play = Play(driver, heard)
            offers = [o for event in heard.of(Offered) or [heard.wait(Offered)] for o in event.offers]
            offer = next(o for o in offers if o.role == "ipy")
            ports = {piece.ranges: piece.reserved for piece in offer.pieces if piece.name == "ports"}
            assert ports == {((21700, 21719),): True, ((21720, 21739),): False}
            reserved = next(p for p in offer.pieces if p.reserved)
            one = task("t1", offer, play.cluster.framework_id)
            one = replace(one, pieces=(*one.pieces[:2], replace(reserved, ranges=((21703, 21704),))))
            play.do(Launch((offer.id,), (one,), serial=1, refuse_seconds=0.0))
            play.wait_for(one, "TASK_RUNNING")
            play.do(Teardown())


def test_a_role_that_is_not_allowed_is_named() -> None:
    with LocalMesos(roles=["ipy"]) as local:
        with driving(local.master, replace(ME, roles=("secret-club",))) as (_, heard):
            error = heard.end()
            assert type(error) is SubscriptionRefused and "secret-club" in str(error)
        with driving(local.master, replace(ME, roles=("ipy",))) as (_, heard):
            heard.wait(Subscribed)


def test_credentials() -> None:
    with LocalMesos(credentials={"ipy": "s3cret"}) as local:
        for wrong in (Framework("a", "root"), Framework("a", "root", principal="ipy", secret="guess")):
            with driving(local.master, wrong) as (_, heard):
                error = heard.end()
                assert type(error) is NotAuthorized and local.master in str(error) and "guess" not in str(error)
        with driving(local.master, Framework("a", "root", principal="ipy", secret="s3cret")) as (driver, heard):
            play = Play(driver, heard)
            play.do(Suppress(), Teardown())


def test_a_rate_limit_drops_nothing() -> None:
    """Mesos limits the old driver's messages only (Master::consume); a dropped call would be told by an ERROR event,
    after which the driver subscribes afresh and the scheduler asks what is true."""
    limits = {"limits": [{"principal": "ipy", "qps": 1, "capacity": 1}]}
    with LocalMesos(credentials={"ipy": "s3cret"}, environment={"MESOS_RATE_LIMITS": json.dumps(limits)}) as local:
        with driving(local.master, Framework("a", "root", principal="ipy", secret="s3cret")) as (driver, heard):
            play = Play(driver, heard)
            play.do(*[Revive()] * 200)
            (one,) = play.launch("t9")
            play.wait_for(one, "TASK_ERROR")  # its port isn't offered: it was looked at
            assert not heard.of(Disconnected)
            play.do(Teardown())


def test_a_master_that_crashes_is_found_again_with_everything(tmp_path: Path) -> None:
    with LocalMesos(work_dir=tmp_path / "mesos", resources="cpus:2;mem:1000;disk:10;ports:[21500-21599]") as local:
        with driving(local.master, ME) as (driver, heard):
            play = Play(driver, heard)
            (one,) = play.launch("t8")
            play.wait_for(one, "TASK_RUNNING")
            local.kill()
            heard.wait(Disconnected)
            began = time.monotonic()
            local.restart()
            assert heard.wait(Subscribed, 2, timeout=60).framework_id == play.cluster.framework_id
            print(f"subscribed {time.monotonic() - began:.1f} s after the restart was asked for")
            play.do(Reconcile(((one.id, one.agent_id),)))
            play.do(Revive())
            assert play.wait_for(one, "TASK_RUNNING", 2)
            play.do(Kill(one.id, one.agent_id))
            play.wait_for(one, "TASK_KILLED")
            play.do(Teardown())
