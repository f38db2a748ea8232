"""Masters of several versions are told which offers are worth making, as far as they know how."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ipymesos.core.messages import Decline, Offered, Revive, Subscribed
from ipymesos.core.resources import Resources
from ipymesos.local import LocalMesos
from ipymesos.mesos import Preferences
from tests.helpers import eventually
from tests.integration.driver_kit import Heard, driving
from tests.integration.offers_kit import metric
from tests.integration.test_driver_mesos import ME, Play

pytestmark = pytest.mark.mesos
VERSIONS = ["1.8.0", "1.11.0"]


@pytest.fixture(scope="module", params=VERSIONS)
def local(request: pytest.FixtureRequest) -> Iterator[LocalMesos]:
    sizes = ["cpus:1;mem:500;disk:10", "cpus:3;mem:900;disk:10", "cpus:3;mem:900;disk:10"]
    racks = ["rack:a", "rack:a", "rack:b"]
    with LocalMesos(3, resources=sizes, attributes=racks, version=request.param) as running:
        yield running


def offered(heard: Heard, since: int = 0) -> set[tuple[str, int]]:
    """Rack and thousandths of a core of each offer."""
    offers = [offer for event in heard.of(Offered)[since:] for offer in event.offers]
    cpus = [sum(piece.amount for piece in offer.pieces if piece.name == "cpus") for offer in offers]
    return {(dict(offer.attributes)["rack"], amount) for offer, amount in zip(offers, cpus, strict=True)}


EVERYTHING = {("a", 1000), ("a", 3000), ("b", 3000)}


def test_who_wants_nothing_is_offered_nothing_from_the_start(local: LocalMesos) -> None:
    with driving(local.master, ME, prefer=Preferences(suppressed=True)) as (driver, heard):
        play = Play(driver, heard)
        assert heard.of(Subscribed)[0].suppressed
        eventually(lambda: metric(local.master, play.cluster.framework_id, "roles/*/suppressed") == 1)
        assert not heard.of(Offered)
        play.do(Revive())
        eventually(lambda: offered(heard) == EVERYTHING)


def test_who_waits_is_offered_what_could_help(local: LocalMesos) -> None:
    with driving(local.master, ME) as (driver, heard):
        play = Play(driver, heard)
        eventually(lambda: offered(heard) == EVERYTHING)
        framework_id = play.cluster.framework_id

        def told(preferences: Preferences) -> set[tuple[str, int]]:
            """What is offered to who prefers this."""
            driver.prefer(preferences)
            driver.prefer(preferences)  # said once
            assert driver.flush(10)
            count = len(heard.of(Offered))
            ids = [offer.id for event in heard.of(Offered) for offer in event.offers]
            play.do(Decline(tuple(ids), 0.0), Revive())
            eventually(lambda: heard.of(Offered)[count:])
            rounds = metric(local.master, "", "allocator/mesos/allocation_runs")
            eventually(lambda: metric(local.master, "", "allocator/mesos/allocation_runs") > rounds + 3)
            return offered(heard, count)

        seen = [
            told(Preferences(smallest=(Resources(2000, 100),))),
            told(Preferences(smallest=(Resources(500, 600), Resources(500, 100)))),
            told(Preferences(constraints=((("rack", "b"),),))),
            told(Preferences(smallest=(Resources(2000, 100),), constraints=((("rack", "a"),), (("row", "1"),)))),
            told(Preferences()),
        ]
        if local.version == "1.8.0":  # it can't change its mind about such things, so it is told nothing
            assert seen == [EVERYTHING] * 5
            assert metric(local.master, framework_id, "calls/update_framework") == 0
            return
        assert seen == [
            {("a", 3000), ("b", 3000)},
            EVERYTHING,
            {("b", 3000)},
            {("a", 3000)},
            EVERYTHING,
        ]
        assert metric(local.master, framework_id, "calls/update_framework") == 5
