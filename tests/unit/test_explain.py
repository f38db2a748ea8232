from dataclasses import replace

from ipymesos.core.explain import explain
from ipymesos.core.messages import EnginesWanted, Offered, StopWanted
from ipymesos.core.model import Resources, Setback
from tests.stories import ENGINE, offer, running, start, step


def test_nothing_to_explain():
    state, _ = running(2)
    assert explain(state, 1.0).as_dict() == {
        "summary": "everything that is wanted runs",
        "text": "everything that is wanted runs",
        "groups": [],
    }


def test_no_offer_yet():
    told = explain(start(1), 5.0)
    assert told.groups[0].message == (
        "1 missing: Mesos has made no offer yet (no agents, or all of their resources are in use)"
    )
    assert told.groups[1].message == "waiting for the controller to be launched"


def test_refusals_are_counted_per_reason_in_the_funnels_order_with_the_best_offer():
    state, _ = running(1)
    state, _ = step(state, EnginesWanted("e", 3, replace(ENGINE, resources=Resources(4000, 500))), now=2.0)
    offers = (offer("o1", "a2", cpus=1000), offer("o2", "a3", cpus=3000), offer("o3", "a4", mem=50))
    state, _ = step(state, Offered(offers), now=3.0)
    (group,) = explain(state, 10.0).groups
    assert group.refused == {
        "role": 0, "attributes": 0, "draining": 0, "failing": 0, "cpus": 2, "mem": 1, "disk": 0, "gpus": 0, "ports": 0,
    }  # fmt: skip
    assert list(group.refused)[:3] == ["role", "attributes", "draining"]
    assert group.best == "mem: the best offer, from host-a4, has 50 MB of memory, and 600 MB of memory are needed"
    assert (group.wanted, group.running, group.coming, group.since) == (3, 1, 0, 8.0)
    assert "refused agents: role 0, attributes 0, draining 0, failing 0, cpus 2, mem 1" in explain(state, 10.0).text


def test_a_given_up_set_says_why():
    state = start(1)
    state = state.with_cluster(setbacks={"e": Setback(3, 0.0, "no such image", final=True)})
    assert "engine set e: no such image" in explain(state, 1.0).summary


def test_back_off_says_when_it_is_tried_again():
    state = start(1).with_cluster(setbacks={"controller": Setback(2, 8.0, "crashed")})
    assert explain(state, 1.0).groups[0].message == "crashed; next try in 7 s"


def test_launched_and_not_usable_yet():
    state, _ = step(start(2), Offered((offer(),)))
    assert [g.message for g in explain(state, 3.0).groups] == [
        "1 of 1 launching, for 3 s",
        "2 of 2 launching, for 3 s",
    ]


def test_stopping():
    state, _ = step(running(1)[0], StopWanted("asked by bob"), now=2.0)
    assert explain(state, 3.0).summary == "stopping (asked by bob): 2 tasks still to end"
