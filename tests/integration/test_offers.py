"""Offers on a real Mesos: taken together, lost and retried without penalty, and left to others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ipymesos.core.explain import explain
from ipymesos.core.messages import Kill, Launch, Offered, Updated
from ipymesos.core.resources import Resources
from ipymesos.local import LocalMesos
from tests.helpers import eventually
from tests.integration.driver_kit import driving
from tests.integration.offers_kit import ENGINE, Ours, metric
from tests.integration.plain_framework import Framework
from tests.integration.test_driver_mesos import ME, Play, task

pytestmark = pytest.mark.mesos
AGENT = "cpus:4;mem:2000;disk:500"


@pytest.fixture(scope="module")
def local() -> Iterator[LocalMesos]:
    with LocalMesos(2, resources=AGENT) as running:
        yield running


def test_what_we_do_not_need_is_offered_to_others(local: LocalMesos) -> None:
    with Ours(local.master) as ours:
        ours.want(2)
        ours.running(2)
        ours_id = ours.cluster.framework_id
        eventually(lambda: metric(local.master, ours_id, "roles/*/suppressed") == 1)
        with Framework(local.master) as other:
            seen = other.wait("OFFERS")["offers"]["offers"]
            cpus = [r["scalar"]["value"] for offer in seen for r in offer["resources"] if r["name"] == "cpus"]
            assert sum(cpus) == pytest.approx(8 - sum(used(ours)))
            other.call("TEARDOWN")


def used(ours: Ours) -> list[float]:
    """The cpus of all our tasks, and of their executors."""
    tasks = ours.cluster.tasks.values()
    executors = {task.executor_id: task.executor_pieces for task in tasks}
    pieces = [*(t.pieces for t in tasks), *executors.values()]
    return [piece.amount / 1000 for some in pieces for piece in some if piece.name == "cpus"]


def launch(other: Framework, name: str) -> None:
    """Get an offer, use it, and leave all others to whoever wants them."""
    other.call("REVIVE")
    other.launch(name)
    other.wait("UPDATE", task=name, state="TASK_RUNNING")
    other.call("SUPPRESS")
    while not other.events.empty():
        other.seen.append(other.events.get())
    offers = [offer["id"] for event in other.seen if event["type"] == "OFFERS" for offer in event["offers"]["offers"]]
    other.call("DECLINE", decline={"offer_ids": offers, "filters": {"refuse_seconds": 0}})


def test_who_waits_for_the_impossible_is_in_nobodys_way(local: LocalMesos) -> None:
    """An agent could take it if it were empty, but the controller is on one and another framework on the other."""
    with Framework(local.master) as other:
        launch(other, "plain-1")
        with Ours(local.master) as ours:

            def figure(name: str) -> float:
                return metric(local.master, ours.cluster.framework_id, name)

            ours.want(1, replace(ENGINE, resources=Resources(3900, 64)))
            eventually(lambda: len(ours.state.session.refusals) == 2)
            for number in range(2, 12):
                launch(other, f"plain-{number}")
            # After a while it tells Mesos what it waits for, and is offered nothing else, however often it revives.
            eventually(lambda: figure("calls/update_framework") == 1)
            assert ours.driver._asked.smallest == (Resources(3900, 64),)
            eventually(lambda: figure("offers/sent") == figure("offers/declined") + figure("offers/accepted"))
            sent, revived = figure("offers/sent"), figure("calls/revive")
            eventually(lambda: figure("calls/revive") > revived, 60)
            for number in range(12, 15):
                launch(other, f"plain-{number}")
            assert figure("offers/sent") == sent
            assert not ours.cluster.setbacks and not ours.engines()
            assert "cpus: the best offer" in explain(ours.state, time.time()).summary
            other.call("TEARDOWN")  # what it had is enough
            ours.running(1)


def test_a_launch_on_an_offer_that_was_lost_meanwhile_costs_nothing(local: LocalMesos) -> None:
    gone: list[dict[str, Any]] = []

    def lose(call: dict[str, Any]) -> list[dict[str, Any]]:
        """Let the offer be gone before it is accepted, as when it is rescinded in this very moment; five times."""
        if call["type"] != "ACCEPT" or len(gone) == 5:
            return [call]
        gone.append(call)
        decline = {"offer_ids": call["accept"]["offer_ids"], "filters": {"refuse_seconds": 0}}
        return [{"type": "DECLINE", "framework_id": call["framework_id"], "decline": decline}, call]

    with Ours(local.master, lose) as ours:
        ours.want(4)
        ours.running(4)
        dropped = [event for event in ours.heard if isinstance(event, Updated) and event.state == "TASK_DROPPED"]
        assert len(dropped) >= len(gone) == 5
        assert {event.reason for event in dropped} == {"REASON_INVALID_OFFERS"}
        assert not ours.cluster.setbacks and not ours.cluster.troubles


def test_offers_that_time_out_in_a_moment() -> None:
    with (
        LocalMesos(2, resources=AGENT, environment={"MESOS_OFFER_TIMEOUT": "20ms"}) as local,
        Ours(local.master) as ours,
    ):
        for n in (3, 6, 8):
            ours.want(n)
            ours.running(n)
        assert not ours.cluster.setbacks and not ours.cluster.troubles
        invalid = [e for e in ours.heard if isinstance(e, Updated) and e.reason == "REASON_INVALID_OFFERS"]
        print(f"{len(invalid)} launches met an offer that was gone")


def test_two_offers_of_one_agent_are_taken_together() -> None:
    with LocalMesos(resources="cpus:4;mem:2000;disk:500;ports:[21500-21599]") as local:
        with driving(local.master, ME) as (driver, heard):
            play = Play(driver, heard)
            (one,) = play.launch("t1")
            play.wait_for(one, "TASK_RUNNING")
            rest = play.offer(2)  # which is kept, so that what the task leaves makes an offer of its own
            play.do(Kill(one.id, one.agent_id))
            play.wait_for(one, "TASK_KILLED")
            freed = eventually(lambda: [o for e in heard.of(Offered)[2:] for o in e.offers])[0]
            assert freed.agent_id == rest.agent_id
            cpus = {offer.id: sum(p.amount for p in offer.pieces if p.name == "cpus") for offer in (rest, freed)}
            big = task("t2", rest, play.cluster.framework_id)
            size = sum(cpus.values())
            big = replace(
                big, pieces=(replace(big.pieces[0], amount=size), *big.pieces[1:]), executor_id=one.executor_id
            )
            play.do(Launch((rest.id, freed.id), (big,), serial=1, refuse_seconds=0.0))
            play.wait_for(big, "TASK_RUNNING")
            assert size > max(cpus.values())
