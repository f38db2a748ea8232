from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipymesos.core.capacity import ever_fits
from ipymesos.core.offers import Lack, Stock, as_ranges, ports_needed, show, stocks, without
from ipymesos.core.resources import Offer, Piece, Resources
from ipymesos.core.session import Agent
from tests.stories import CONTROLLER_SPEC, ENGINE, offer, with_attributes

ONE = Resources(cpus=1000, mem=500)
DRAINING = Lack("draining", "no announced maintenance", "maintenance announced")


@pytest.mark.parametrize("depth, ports", [(0, 15), (1, 18), (2, 24)])
def test_a_controller_needs_as_many_ports_as_its_broadcast_tree_says(depth, ports):
    assert ports_needed(depth) == ports


@pytest.mark.parametrize(
    "made, wanted, constraints, ports, lack",
    [
        (offer(), ONE, (), 18, None),
        (offer(), ONE, (("rack", "r1"),), 0, Lack("attributes", "rack=r1", "rack=unset")),
        (with_attributes(offer(), rack="r2"), ONE, (("rack", "r1"),), 0, Lack("attributes", "rack=r1", "rack=r2")),
        (with_attributes(offer(), rack="r1"), ONE, (("rack", "r1"),), 0, None),
        (replace(offer(), unavailable_from=9.0), ONE, (), 0, DRAINING),
        (offer(cpus=999), ONE, (), 0, Lack("cpus", "1 cpus", "0.999 cpus")),
        (offer(mem=499), ONE, (), 0, Lack("mem", "500 MB of memory", "499 MB of memory")),
        (offer(), Resources(disk=5), (), 0, Lack("disk", "5 MB of disk", "0 MB of disk")),
        (offer(), Resources(gpus=1), (), 0, Lack("gpus", "1 gpus", "0 gpus")),
        (offer(ports=((1, 17),)), ONE, (), 18, Lack("ports", "18 ports", "17 ports")),
        (offer(ports=()), ONE, (), 18, Lack("ports", "18 ports", "0 ports")),
        # The funnel's order: what comes first is the reason.
        (offer(cpus=0, mem=0, ports=()), ONE, (), 18, Lack("cpus", "1 cpus", "0 cpus")),
    ],
)  # fmt: skip
def test_the_first_lack_in_the_funnel_is_the_reason(made, wanted, constraints, ports, lack):
    assert Stock([made]).lack(wanted, constraints, ports) == lack


def test_avoided_ports_do_not_count_and_are_not_taken():
    stock = Stock([offer(ports=((100, 104),))])
    assert stock.lack(Resources(), (), 5, {102}) == Lack("ports", "5 ports", "4 ports")
    pieces, ports = stock.take_ports(4, {102})
    assert ports == (100, 101, 103, 104)
    assert pieces == (Piece("ports", ranges=((100, 101), (103, 104))),)


def test_reserved_pieces_are_spent_first_and_repeat_their_origin():
    mine, all_ = Piece("cpus", 1500, origin="ours", reserved=True), Piece("cpus", 4000, origin="any")
    my_ports = Piece("ports", ranges=((20000, 20001),), origin="ours", reserved=True)
    stock = Stock([Offer("o", "a", "h", "ip", (all_, mine, Piece("ports", ranges=((1, 9),)), my_ports))])
    assert stock.take(Resources(cpus=2000)) == (replace(mine, amount=1500), replace(all_, amount=500))
    pieces, ports = stock.take_ports(3, ())
    assert ports == (20000, 20001, 1)
    assert pieces == (my_ports, Piece("ports", ranges=((1, 1),)))
    assert stock.amount("cpus") == 3500


def test_offers_of_one_agent_are_merged_but_never_over_two_roles():
    made = [offer("o1"), offer("o2", cpus=500), offer("o3", role="other"), offer("o4", agent="a2")]
    assert [(s.offer_ids, s.role, s.amount("cpus")) for s in stocks(made)] == [
        (("o1", "o2"), "*", 8500),
        (("o3",), "other", 8000),
        (("o4",), "*", 8000),
    ]


def test_a_whole_agent_that_is_too_small_says_what_it_lacks():
    agent = Agent("a", "big", Resources(cpus=1000, mem=9000), ports=10)
    assert ever_fits(agent, ENGINE) == Lack("cpus", "1.1 cpus", "1 cpus")
    assert ever_fits(agent, CONTROLLER_SPEC) == Lack("ports", "18 ports", "10 ports")
    assert ever_fits(replace(agent, ports=18), CONTROLLER_SPEC) is None


def test_amounts_are_shown_in_the_users_words():
    assert [show("cpus", 1500), show("mem", 64), show("disk", 1), show("gpus", 2)] == [
        "1.5 cpus",
        "64 MB of memory",
        "1 MB of disk",
        "2 gpus",
    ]


PORTS = st.sets(st.integers(1, 200))


@given(PORTS, PORTS)
def test_ranges_are_sets_of_ports(have, gone):
    ranges = without(as_ranges(have), gone)
    assert [p for low, high in ranges for p in range(low, high + 1)] == sorted(have - gone)


@given(PORTS, PORTS, st.integers(1, 20))
def test_ports_are_taken_once_and_only_from_the_offer(have, avoid, n):
    stock = Stock([offer(ports=as_ranges(have))])
    if stock.lack(Resources(), (), n, avoid) is not None:
        assert len(have - avoid) < n
        return
    pieces, ports = stock.take_ports(n, avoid)
    assert len(set(ports)) == n and set(ports) <= have - avoid
    assert [p for piece in pieces for low, high in piece.ranges for p in range(low, high + 1)] == list(ports)
    assert stock.free_ports(()) == len(have) - n
