"""What the master says becomes the core's events; nonsense becomes nothing."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipymesos import mesos
from ipymesos.core.messages import (
    AgentLost,
    AgentsListed,
    ExecutorLost,
    InverseOffered,
    InverseRescinded,
    LoadTold,
    Offered,
    QueuesTold,
    Rescinded,
    Subscribed,
    Updated,
)
from ipymesos.core.resources import InverseOffer, Offer, Piece, Resources
from ipymesos.core.session import Agent, Usage

OFFER: dict[str, Any] = {
    "id": {"value": "o1"},
    "agent_id": {"value": "a1"},
    "framework_id": {"value": "f1"},
    "hostname": "host-1",
    "allocation_info": {"role": "ipy"},
    "url": {"scheme": "http", "address": {"hostname": "host-1", "ip": "10.1.2.3", "port": 5051}, "path": "/slave(1)"},
    "resources": [
        {
            "name": "cpus",
            "type": "SCALAR",
            "scalar": {"value": 4.0},
            "allocation_info": {"role": "ipy"},
        },
        {
            "name": "ports",
            "type": "RANGES",
            "ranges": {"range": [{"begin": 31000, "end": 31999}]},
            "allocation_info": {"role": "ipy"},
            "reservations": [{"type": "STATIC", "role": "ipy"}],
        },
        {
            "name": "mem",
            "type": "SCALAR",
            "scalar": {"value": 4.0},
            "allocation_info": {"role": "ipy"},
            "revocable": {},
        },
    ],
    "attributes": [
        {"name": "rack", "type": "TEXT", "text": {"value": "r1"}},
        {"name": "level", "type": "SCALAR", "scalar": {"value": 3.0}},
        {"name": "share", "type": "SCALAR", "scalar": {"value": 0.25}},
        {"name": "rows", "type": "RANGES", "ranges": {"range": [{"begin": 1, "end": 3}, {"begin": 7, "end": 7}]}},
        {"name": "zones", "type": "SET", "set": {"item": ["a", "b"]}},
    ],
    "unavailability": {"start": {"nanoseconds": 1700000000500000000}, "duration": {"nanoseconds": 60000000000}},
}


def offers(*some: dict[str, Any]) -> dict[str, Any]:
    return {"type": "OFFERS", "offers": {"offers": list(some)}}


def update(**status: Any) -> dict[str, Any]:
    base = {"task_id": {"value": "t1"}, "agent_id": {"value": "a1"}, "state": "TASK_RUNNING"}
    return {"type": "UPDATE", "update": {"status": base | status}}


def said(**data: Any) -> str:
    return base64.b64encode(json.dumps(data).encode()).decode()


def test_an_offer() -> None:
    allocated = '{"allocation_info":{"role":"ipy"}}'
    reserved = '{"allocation_info":{"role":"ipy"},"reservations":[{"role":"ipy","type":"STATIC"}]}'
    expected = Offer(
        id="o1",
        agent_id="a1",
        hostname="host-1",
        ip="10.1.2.3",
        endpoint="10.1.2.3:5051",
        pieces=(
            Piece("cpus", 4000, origin=allocated),
            Piece("ports", ranges=((31000, 31999),), origin=reserved, reserved=True),
        ),
        attributes=(("rack", "r1"), ("level", "3"), ("share", "0.25"), ("rows", "[1-3,7-7]"), ("zones", "{a,b}")),
        role="ipy",
        unavailable_from=1700000000.5,
    )
    assert mesos.event(offers(OFFER)) == Offered((expected,))


def test_an_offer_that_says_little() -> None:
    bare = {"id": {"value": "o1"}, "agent_id": {"value": "a1"}, "hostname": "h"}
    assert mesos.event(offers(bare)) == Offered((Offer("o1", "a1", "h", ip="h"),))


def test_the_role_may_be_said_by_the_resources_only() -> None:
    offer = {k: v for k, v in OFFER.items() if k != "allocation_info"}
    event = mesos.event(offers(offer))
    assert isinstance(event, Offered) and event.offers[0].role == "ipy"


def test_one_bad_offer_does_not_hide_the_others(caplog: pytest.LogCaptureFixture) -> None:
    bad = copy.deepcopy(OFFER)
    bad["resources"][0]["scalar"]["value"] = "many"
    event = mesos.event(offers(bad, OFFER))
    assert isinstance(event, Offered) and [o.id for o in event.offers] == ["o1"]
    assert "offer that we cannot read" in caplog.text


def test_subscribed() -> None:
    master = {"id": "m", "address": {"hostname": "master-1", "ip": "10.0.0.9", "port": 5051}, "version": "1.11.0"}
    body = {"framework_id": {"value": "f1"}, "heartbeat_interval_seconds": 15.0, "master_info": master}
    assert mesos.event({"type": "SUBSCRIBED", "subscribed": body}) == Subscribed("f1", "master-1:5051")


def test_rescinded() -> None:
    assert mesos.event({"type": "RESCIND", "rescind": {"offer_id": {"value": "o1"}}}) == Rescinded("o1")


def test_a_bare_update() -> None:
    assert mesos.event(update()) == Updated("t1", "a1", "TASK_RUNNING")


def test_an_update_made_up_by_the_master_has_no_agent() -> None:
    message = update(state="TASK_UNKNOWN", reason="REASON_RECONCILIATION")
    del message["update"]["status"]["agent_id"]
    assert mesos.event(message) == Updated("t1", "", "TASK_UNKNOWN", "REASON_RECONCILIATION")


def test_an_update_with_all_that_mesos_says() -> None:
    message = update(state="TASK_FAILED", reason="REASON_EXECUTOR_TERMINATED", message="gone", uuid="dXVpZA==")
    expected = Updated("t1", "a1", "TASK_FAILED", "REASON_EXECUTOR_TERMINATED", "gone", "dXVpZA==")
    assert mesos.event(message) == expected


def test_a_lack_of_memory_is_called_so_without_its_statistics() -> None:
    agents = "Memory limit exceeded: Requested: 664MB Maximum Used: 664MB\n\nMEMORY STATISTICS: \ncache 4096\nrss 6\n"
    for said, message in (
        (agents, "OOM: Memory limit exceeded: Requested: 664MB Maximum Used: 664MB"),
        (
            "OOM: the container's memory limit of 64 MB was reached",
            "OOM: the container's memory limit of 64 MB was reached",
        ),
    ):
        got = mesos.event(update(reason="REASON_CONTAINER_LIMITATION_MEMORY", message=said))
        assert isinstance(got, Updated) and got.message == message


def test_what_our_executor_says() -> None:
    assert mesos.event(update(data=said(engine_id=3, pid=99))) == Updated("t1", "a1", "TASK_RUNNING", engine_id=3)
    busy = update(state="TASK_FAILED", data=said(busy_ports=[31000, 31005]))
    assert mesos.event(busy) == Updated("t1", "a1", "TASK_FAILED", busy_ports=(31000, 31005))
    final = update(state="TASK_FAILED", data=said(final=True))
    assert mesos.event(final) == Updated("t1", "a1", "TASK_FAILED", final=True)


@pytest.mark.parametrize(
    "data",
    [
        "***",
        "é",
        base64.b64encode(b"\xff\xfe").decode(),
        base64.b64encode(b"[1, 2").decode(),
        base64.b64encode(b"[" * 100_000).decode(),
        said(engine_id="3", busy_ports="31000", final="yes"),
        said(engine_id=True, busy_ports={"a": 1}, final=1, controller=7),
        base64.b64encode(b"[1]").decode(),
        17,
        {"a": 1},
    ],
)
def test_what_somebody_elses_executor_says_is_ignored(data: Any) -> None:
    assert mesos.event(update(data=data)) == Updated("t1", "a1", "TASK_RUNNING")


def inverse_offers(*some: dict[str, Any]) -> dict[str, Any]:
    return {"type": "INVERSE_OFFERS", "inverse_offers": {"inverse_offers": list(some)}}


def inverse_offer(**more: Any) -> dict[str, Any]:
    window = {"start": {"nanoseconds": 1700000000500000000}, **more}
    ids = {"id": {"value": "i1"}, "agent_id": {"value": "a1"}, "framework_id": {"value": "f1"}}
    return {**ids, "unavailability": window}


def test_maintenance() -> None:
    hour = {"nanoseconds": 3_600_000_000_000}
    found = mesos.event(inverse_offers(inverse_offer(duration=hour), inverse_offer()))
    assert found == InverseOffered(
        (InverseOffer("i1", "a1", 1700000000.5, 1700003600.5), InverseOffer("i1", "a1", 1700000000.5, None))
    )
    rescinded = {"type": "RESCIND_INVERSE_OFFER", "rescind_inverse_offer": {"inverse_offer_id": {"value": "i1"}}}
    assert mesos.event(rescinded) == InverseRescinded("i1")


def test_an_inverse_offer_that_cannot_be_read_hides_no_other(caplog: pytest.LogCaptureFixture) -> None:
    everything = inverse_offer()
    del everything["agent_id"]  # all that a framework has is asked back: Mesos does not say so for maintenance
    found = mesos.event(inverse_offers(everything, {"id": {"value": "i2"}}, inverse_offer()))
    assert found == InverseOffered((InverseOffer("i1", "a1", 1700000000.5, None),))
    assert len(caplog.records) == 2


def message(data: Any) -> dict[str, Any]:
    body = {"agent_id": {"value": "a1"}, "executor_id": {"value": "x1"}, "data": data}
    return {"type": "MESSAGE", "message": body}


def test_an_executor_tells_its_load() -> None:
    found = mesos.event(message(said(load={"engine-e-3": 12.5, "engine-e-4": 0, "engine-e-5": -1})))
    assert found == LoadTold("x1", "a1", (("engine-e-3", 12.5), ("engine-e-4", 0.0), ("engine-e-5", -1.0)))
    found = mesos.event(message(said(load={"engine-e-3": 2}, used={"engine-e-3": [70 << 20, 1.5]})))
    assert found == LoadTold("x1", "a1", (("engine-e-3", 2.0),), (("engine-e-3", Usage(70, 1.5)),))


def test_a_controller_tells_its_queues() -> None:
    found = mesos.event(message(said(queues={"waiting": 3, "done": 40, "engines": {"0": [1, 2]}})))
    assert found == QueuesTold("x1", "a1", 3, 40, ((0, (1, 2)),))


@pytest.mark.parametrize(
    "data",
    [
        "",
        "aGk=",
        said(),
        said(load=[1]),
        said(load={"e": "x"}),
        said(load={"e": 1e999}),
        7,
        said(load={}, used={"e": 1}),
        said(load={}, used={"e": [1, 1e999]}),
        said(queues={}),
        said(queues={"waiting": 1, "done": 1, "engines": {"x": [1, 2]}}),
    ],
)
def test_what_another_executor_says_is_no_load(data: Any) -> None:
    assert mesos.event(message(data)) is None


def test_the_controller_of_an_engine() -> None:
    found = mesos.event(update(data=said(engine_id=3, pid=4, controller="controller-7")))
    assert found == Updated("t1", "a1", "TASK_RUNNING", engine_id=3, controller="controller-7")


def test_failures() -> None:
    failure = {"agent_id": {"value": "a1"}, "executor_id": {"value": "e1"}, "status": 9}
    assert mesos.event({"type": "FAILURE", "failure": failure}) == ExecutorLost("e1", "a1", 9)
    assert mesos.event({"type": "FAILURE", "failure": {"agent_id": {"value": "a1"}}}) == AgentLost("a1")


@pytest.mark.parametrize("kind", ["HEARTBEAT", "ERROR", "UPDATE_OPERATION_STATUS", "NEW"])
def test_what_is_none_of_our_business(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    assert mesos.event({"type": kind}) is None
    assert not caplog.records


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        "OFFERS",
        {},
        {"type": ["OFFERS"]},
        {"type": "OFFERS"},
        {"type": "UPDATE", "update": {"status": {}}},
        {"type": "UPDATE", "update": None},
        {"type": "RESCIND", "rescind": {"offer_id": "o1"}},
        {"type": "FAILURE", "failure": {"executor_id": {"value": "e"}, "status": "bad"}},
        {"type": "SUBSCRIBED", "subscribed": {"framework_id": {}}},
    ],
)
def test_malformed_messages_are_nothing_and_a_line_in_the_log(message: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert mesos.event(message) is None
    assert "we cannot read" in caplog.text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def broken_messages(draw: st.DrawFn) -> Any:
    """A sound message with one value, anywhere in it, replaced."""
    message = copy.deepcopy(draw(st.sampled_from([offers(OFFER), update(data=said(engine_id=1), uuid="x")])))
    place: Any = message
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        deeper = isinstance(place[key], (dict, list)) and place[key]
        if not deeper or draw(st.integers(0, 5)) == 0:
            place[key] = draw(json_values)
            return message
        place = place[key]


@given(broken_messages())
def test_no_message_raises(message: Any) -> None:
    mesos.event(message)


def test_listed_agents() -> None:
    listing = {
        "slaves": [
            {
                "id": "a1",
                "hostname": "h1",
                "active": True,
                "attributes": {"rack": "r1", "level": 3.0, "rows": "[1-3, 7-7]", "zones": "{a, b}"},
                "resources": {"cpus": 8.0, "mem": 4000.0, "disk": 100.0, "gpus": 1.0, "ports": "[31000-31999]"},
                "unreserved_resources": {
                    "cpus": 5.5,
                    "mem": 3000.0,
                    "disk": 100.0,
                    "ports": "[31000-31099, 31200-31299]",
                },
                "reserved_resources": {"ipy": {"cpus": 2.0, "ports": "[31100-31109]"}, "other": {"cpus": 0.5}},
                "used_resources": {"cpus": 0.3, "mem": 1000.0, "ports": "[31000-31017]"},
            },
            {"id": "a2", "hostname": "h2", "active": False, "resources": {"cpus": 2.0}},
            {"id": "a3", "hostname": "h3", "active": True, "deactivated": True, "resources": {"cpus": 1.0}},
        ]
    }
    attributes = (("rack", "r1"), ("level", "3"), ("rows", "[1-3,7-7]"), ("zones", "{a,b}"))
    used = Resources(300, 1000)
    for roles, cpus, ports, kept in ((("*",), 5500, 200, 2500), (("ipy",), 7500, 210, 500)):
        assert mesos.agents(listing, roles) == AgentsListed(
            (
                Agent("a1", "h1", Resources(cpus, 3000, 100), ports, attributes, used, Resources(kept)),
                Agent("a2", "h2", Resources(2000), 0, active=False),
                Agent("a3", "h3", Resources(1000), 0, active=False),
            )
        )


@pytest.mark.parametrize("listing", [None, [], {}, {"slaves": [{}]}, {"slaves": [{"id": "a", "hostname": "h"}]}])
def test_a_malformed_list_of_agents(listing: Any) -> None:
    assert mesos.agents(listing) is None
