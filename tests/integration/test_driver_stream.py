"""The event stream of a framework that has been accepted, against a master that misbehaves."""

from __future__ import annotations

import time

import pytest

from ipymesos.core.messages import Disconnected, Offered, Rescinded, Subscribed
from ipymesos.driver import Driver
from ipymesos.errors import (
    MasterUnreachable,
    NotAuthorized,
)
from ipymesos.mesos import Framework
from tests.helpers import eventually
from tests.integration.driver_kit import driving
from tests.integration.scripted_master import (
    FRAMEWORK,
    Exchange,
    ScriptedMaster,
    free_port,
    record,
    refuse,
    rescind,
    say,
    stay,
    subscribed,
)


def test_credentials_may_be_revoked_later() -> None:
    def leave(exchange: Exchange) -> None:
        exchange.subscribed()

    with ScriptedMaster([leave, refuse(401, "No more")]) as master, driving(master.address) as (_, heard):
        assert isinstance(heard.end(), NotAuthorized)
        assert [type(e) for e in heard.events] == [Subscribed, Disconnected]


def test_once_registered_it_tries_for_ever_with_its_framework_id() -> None:
    port = free_port()
    with driving(f"127.0.0.1:{port}", connect_timeout=1.0) as (_, heard):
        with ScriptedMaster([stay], port=port):
            heard.wait(Subscribed)
        assert "closed" in heard.wait(Disconnected).reason
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > 1.2)  # longer than it would have waited at first
        assert not heard.ends
        with ScriptedMaster([stay], port=port) as again:
            heard.wait(Subscribed, 2)
            assert again.subscribes[0].body["framework_id"] == {"value": FRAMEWORK}


def test_streams_that_end_at_once_are_no_flood() -> None:
    def leave(exchange: Exchange) -> None:
        exchange.subscribed()

    with ScriptedMaster([leave]) as master, driving(master.address) as (_, heard):
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > 3)
        assert 3 <= len(master.subscribes) <= 8


@pytest.mark.parametrize("location", ["//{}", "http://{}/api/v1/scheduler", "{}"])
def test_a_redirect_is_followed(location: str) -> None:
    with ScriptedMaster([stay]) as leader:
        play = refuse(307, Location=location.format(leader.address))
        with ScriptedMaster([play]) as other, driving(other.address) as (driver, heard):
            assert heard.wait(Subscribed).master == leader.address
            driver.send([{"type": "REVIVE"}])
            assert driver.flush(5)
            assert leader.kinds() == ["REVIVE"] and not other.calls


def test_when_the_leader_dies_the_others_are_asked_again() -> None:
    with ScriptedMaster([stay]) as second:
        first = ScriptedMaster([stay])
        with first:
            plays = [refuse(307, Location=f"//{first.address}"), refuse(307, Location=f"//{second.address}")]
            other = ScriptedMaster(plays)
            with other, driving(other.address) as (_, heard):
                heard.wait(Subscribed)
                first.__exit__(None, None, None)
                assert heard.wait(Subscribed, 2).master == second.address


def test_masters_that_send_us_in_circles_are_not_flooded() -> None:
    with ScriptedMaster([]) as a, ScriptedMaster([]) as b:
        a.plays = [refuse(307, Location=f"//{b.address}")]
        b.plays = [refuse(307, Location=f"//{a.address}")]
        with driving(a.address, connect_timeout=1.5) as (_, heard):
            assert isinstance(heard.end(), MasterUnreachable)
            assert len(a.subscribes) + len(b.subscribes) <= 14


def test_a_connection_without_heart_beats_is_given_up() -> None:
    def fall_silent(exchange: Exchange) -> None:
        exchange.subscribed(interval=0.1)
        exchange.hold()

    with ScriptedMaster([fall_silent, stay]) as master, driving(master.address) as (_, heard):
        began = time.monotonic()
        assert heard.wait(Disconnected).reason == "it has fallen silent"
        assert 0.4 < time.monotonic() - began < 3
        heard.wait(Subscribed, 2)


def test_heart_beats_keep_it() -> None:
    def beat(exchange: Exchange) -> None:
        exchange.subscribed(interval=0.1)
        for _ in range(20):
            exchange.pause(0.1)
            exchange.event({"type": "HEARTBEAT"})
        exchange.event(rescind("last"))
        exchange.hold()

    with ScriptedMaster([beat]) as master, driving(master.address) as (_, heard):
        assert heard.wait(Rescinded) == Rescinded("last")
        assert not heard.of(Disconnected) and len(master.subscribes) == 1


@pytest.mark.parametrize("interval", [0, -1, "15", None, 1e300, float("nan")])
def test_an_odd_heart_beat_interval_is_the_usual_one(interval: object) -> None:
    def odd(exchange: Exchange) -> None:
        exchange.head()
        message = subscribed()
        message["subscribed"]["heartbeat_interval_seconds"] = interval
        exchange.event(message)
        exchange.pause(0.3)
        exchange.event(rescind("a"))
        exchange.hold()

    with ScriptedMaster([odd]) as master, driving(master.address) as (_, heard):
        heard.wait(Rescinded)
        assert not heard.of(Disconnected)


def test_records_may_be_cut_anywhere() -> None:
    def bit_by_bit(exchange: Exchange) -> None:
        exchange.head()
        data = record(subscribed()) + record(rescind("a"))
        for n in range(len(data)):
            exchange.chunk(data[n : n + 1])
        exchange.chunk(record(rescind("b")) + record(rescind("c")) + record(rescind("d"))[:10])
        exchange.pause(0.1)
        exchange.chunk(record(rescind("d"))[10:])
        exchange.hold()

    with ScriptedMaster([bit_by_bit]) as master, driving(master.address) as (_, heard):
        heard.wait(Rescinded, 4)
        assert [event.offer_id for event in heard.of(Rescinded)] == ["a", "b", "c", "d"]


def test_what_cannot_be_understood_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    def nonsense(exchange: Exchange) -> None:
        exchange.subscribed()
        exchange.chunk(b"9\nnot json!")
        exchange.chunk(b"4\n\xff\xfe\xfd\xfc")
        for value in ([], "x", None, {}, {"type": 5}, {"type": ["a"]}, {"type": "OFFERS", "offers": 3}, {"type": "??"}):
            exchange.event(value)
        exchange.event(rescind("a"))
        exchange.hold()

    with ScriptedMaster([nonsense]) as master, driving(master.address) as (_, heard):
        heard.wait(Rescinded)
        assert not heard.of(Disconnected)
    assert "what is no event" in caplog.text and "we cannot read" in caplog.text


def test_very_many_offers_are_read_in_little_time() -> None:
    offer = {
        "agent_id": {"value": "a" * 40},
        "framework_id": {"value": "f" * 40},
        "hostname": "a-host-with-a-name",
        "allocation_info": {"role": "*"},
        "resources": [
            {"name": name, "type": "SCALAR", "scalar": {"value": 4.0}, "allocation_info": {"role": "*"}}
            for name in ("cpus", "mem", "disk")
        ],
    }
    offers = [{**offer, "id": {"value": str(n)}} for n in range(20_000)]
    with ScriptedMaster([say({"type": "OFFERS", "offers": {"offers": offers}})]) as master:
        with driving(master.address) as (_, heard):
            heard.wait(Subscribed)
            began = time.monotonic()
            assert len(heard.wait(Offered, timeout=60).offers) == 20_000
            assert time.monotonic() - began < 10  # about 1 s of reading, parsing and translating 9 MB


def test_a_fault_of_the_application_does_not_end_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    seen = []

    def post(event: object) -> None:
        seen.append(event)
        raise ZeroDivisionError

    with ScriptedMaster([say(rescind("a"), rescind("b"))]) as master:
        driver = Driver(Framework("a", "u"), master.address, post, seen.append)
        driver.start()
        eventually(lambda: len(seen) == 3)
        driver.stop()
        assert not master.calls
    assert "could not be handed over" in caplog.text
