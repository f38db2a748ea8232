"""Maintenance on a real Mesos: announced windows, answers to them, and agents that the operator drains."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from ipymesos.core.messages import (
    AcceptInverse,
    Decline,
    InverseOffered,
    InverseRescinded,
    Kill,
    Offered,
    Rescinded,
    Revive,
    Teardown,
)
from ipymesos.core.resources import Offer
from ipymesos.local import LocalMesos
from ipymesos.local.election import Election
from tests.helpers import eventually
from tests.integration.driver_kit import Heard, driving
from tests.integration.offers_kit import drain, get, schedule_maintenance
from tests.integration.test_driver_mesos import ME, Play

pytestmark = pytest.mark.mesos
HOUR = 3600.0
ONE, OTHER = "127.0.0.2", "127.0.0.3"  # two machines, as far as Mesos knows


@contextmanager
def machines(*ips: str) -> Iterator[str]:
    """The master of agents that are on machines of their own."""
    with ExitStack() as stack:
        master = stack.enter_context(LocalMesos(0, election=Election())).master
        for number, ip in enumerate(ips):
            resources = f"cpus:4;mem:2000;disk:500;ports:[{21500 + 50 * number}-{21549 + 50 * number}]"
            stack.enter_context(LocalMesos(1, ip=ip, resources=resources, election=Election(master)))
        yield master


def offer_of(heard: Heard, ip: str, maintained: bool) -> Offer:
    """An offer of that machine, with or without an announced maintenance."""

    def look() -> list[Offer]:
        offers = [offer for event in heard.of(Offered) for offer in event.offers if offer.ip == ip]
        return [offer for offer in offers if (offer.unavailable_from is not None) == maintained]

    return eventually(look)[-1]


def test_a_window_is_announced_and_answered() -> None:
    with machines(ONE, OTHER) as master, driving(master, ME) as (driver, heard):
        play = Play(driver, heard)
        before = offer_of(heard, ONE, maintained=False)
        (one,) = play.launch("t1", offer=before)
        play.wait_for(one, "TASK_RUNNING")
        start = time.time() + HOUR
        schedule_maintenance(master, [ONE], start, HOUR)
        (asked,) = heard.wait(InverseOffered).offers
        assert asked.agent_id == one.agent_id
        assert asked.unavailable_from == pytest.approx(start, abs=0.001) and asked.until is not None
        assert asked.until - asked.unavailable_from == pytest.approx(HOUR)
        heard.wait(Rescinded)  # the agent's offer comes again, with the window
        assert offer_of(heard, ONE, maintained=True).unavailable_from == pytest.approx(start, abs=0.001)
        assert offer_of(heard, OTHER, maintained=False)

        def answer() -> str:
            (machine,) = get(master, "/maintenance/status")["draining_machines"]
            return str([status["status"] for status in machine.get("statuses", [])])

        play.do(AcceptInverse((asked.id,)))
        assert eventually(lambda: answer() == "['ACCEPT']")

        # Another window, without an end, is told at once; when it changes, what was asked for it is taken back.
        schedule_maintenance(master, [ONE], start + HOUR)
        endless = eventually(lambda: [o for e in heard.of(InverseOffered) for o in e.offers if o.until is None])[0]
        assert endless.unavailable_from == pytest.approx(start + HOUR, abs=0.001)
        schedule_maintenance(master, [ONE], start + 2 * HOUR)
        assert heard.wait(InverseRescinded).offer_id == endless.id
        schedule_maintenance(master, [], 0.0)
        play.do(Revive())
        assert eventually(lambda: not get(master, "/maintenance/status"))
        play.do(Kill(one.id, one.agent_id), Teardown())


def test_an_agent_that_the_operator_drains() -> None:
    with machines(ONE, OTHER) as master, driving(master, ME) as (driver, heard):
        play = Play(driver, heard)
        (one,) = play.launch("t1", offer=offer_of(heard, ONE, maintained=False))
        play.wait_for(one, "TASK_RUNNING")
        drain(master, one.agent_id, 30.0)
        update = play.wait_for(one, "TASK_KILLED")
        assert (update.reason, update.agent_id) == ("REASON_AGENT_DRAINING", one.agent_id)
        (agent,) = [a for a in get(master, "/slaves")["slaves"] if a["id"] == one.agent_id]
        assert eventually(
            lambda: (
                [a["drain_info"]["state"] for a in get(master, "/slaves")["slaves"] if a["id"] == one.agent_id]
                == ["DRAINED"]
            )
        )
        assert agent["deactivated"] is True
        # Nothing more of it is offered.
        count = len(heard.of(Offered))
        held = [offer.id for event in heard.of(Offered) for offer in event.offers]
        play.do(Decline(tuple(held), 0.0), Revive())
        offered = eventually(lambda: heard.of(Offered)[count:])
        assert {offer.agent_id for event in offered for offer in event.offers}.isdisjoint({one.agent_id})
        play.do(Teardown())
