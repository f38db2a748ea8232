"""Calls against a master that misbehaves."""

from __future__ import annotations

import logging
import socket
import threading
import time

import pytest

from ipymesos.core.messages import AgentsHidden, AgentsListed, Disconnected, Subscribed
from ipymesos.driver import Driver
from ipymesos.driver import calls as calls_module
from ipymesos.driver.pipe import AT_ONCE
from ipymesos.errors import ConfigError, NotAuthorized
from ipymesos.mesos import Framework
from tests.helpers import eventually
from tests.integration.driver_kit import driving
from tests.integration.scripted_master import STREAM, Exchange, ScriptedMaster, refuse, stay

REVIVE = {"type": "REVIVE", "framework_id": {"value": "f-1"}}
TEARDOWN = {"type": "TEARDOWN", "framework_id": {"value": "f-1"}}


def test_calls_are_made_in_order_and_carry_what_mesos_wants() -> None:
    secret = Framework("a", "u", principal="ipy", secret="hush")
    with ScriptedMaster([stay]) as master, driving(master.address, secret) as (driver, heard):
        heard.wait(Subscribed)
        driver.send({"type": f"KIND{n}", "n": n} for n in range(50))
        assert driver.flush(10)
        assert [call.body["n"] for call in master.calls] == list(range(50))
        assert {call.headers["mesos-stream-id"] for call in master.calls} == {STREAM}
        assert {call.path for call in master.calls} == {"/api/v1/scheduler"}
        assert len({call.headers["authorization"] for call in master.calls}) == 1


def test_pymesos_own_methods_are_queued_too() -> None:
    with ScriptedMaster([stay]) as master, driving(master.address) as (driver, heard):
        heard.wait(Subscribed)
        driver.killTask({"value": "t"})
        driver.reviveOffers()
        assert driver.flush(5)
        assert master.kinds() == ["KILL", "REVIVE"]


def test_calls_before_the_subscription_are_forgotten_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with ScriptedMaster([refuse(503)]) as master, driving(master.address) as (driver, _):
        driver.send([REVIVE])
        assert driver.flush(5)
        assert not master.calls
    assert "Not connected to the master: REVIVE is forgotten" in caplog.text


def test_calls_of_an_ended_subscription_are_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def leave(exchange: Exchange) -> None:
        exchange.subscribed(stream_id="one")
        begun.wait(10)

    def second(exchange: Exchange) -> None:
        exchange.subscribed(stream_id="two")
        exchange.hold()

    def slow(exchange: Exchange) -> None:
        begun.set()
        go_on.wait(10)
        exchange.answer(202)

    with ScriptedMaster([leave, second], on_call=slow) as master, driving(master.address) as (driver, heard):
        heard.wait(Subscribed)
        driver.send([{"type": "FIRST"}, {"type": "OLD"}])
        heard.wait(Subscribed, 2)
        driver.send([{"type": "NEW"}])
        go_on.set()
        assert driver.flush(5)
        assert [(c.body["type"], c.headers["mesos-stream-id"]) for c in master.calls] == [
            ("FIRST", "one"),
            ("NEW", "two"),
        ]
    assert "The subscription ended: OLD is forgotten" in caplog.text


def test_a_refused_call_is_said_and_the_connection_stays(caplog: pytest.LogCaptureFixture) -> None:
    with (
        ScriptedMaster([stay], on_call=refuse(400, "No such thing")) as master,
        driving(master.address) as (
            driver,
            heard,
        ),
    ):
        heard.wait(Subscribed)
        driver.send([REVIVE, REVIVE])
        assert driver.flush(5)
        assert len(master.calls) == 2 and not heard.of(Disconnected)
    assert "The master refused REVIVE: HTTP 400 No such thing" in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        refuse(403, "Framework is not subscribed"),
        refuse(503),
        refuse(307, Location="//127.0.0.1:1"),
        refuse(400, "The stream ID included in this request didn't match the stream ID of the framework"),
        lambda exchange: exchange.sock.shutdown(socket.SHUT_RDWR),
        lambda exchange: exchange.send(b"garbage\r\n\r\n"),
    ],
)
def test_a_master_that_takes_no_calls_is_subscribed_to_afresh(answer: object) -> None:
    with ScriptedMaster([stay], on_call=answer) as master, driving(master.address) as (driver, heard):  # type: ignore[arg-type]
        heard.wait(Subscribed)
        driver.send([REVIVE])
        assert "REVIVE" in heard.wait(Disconnected).reason
        heard.wait(Subscribed, 2)
        assert len(master.calls) == 1, "a call is never made twice"


def test_credentials_that_a_call_shows_to_be_wrong() -> None:
    plays = [stay, refuse(401, "Go away")]
    with ScriptedMaster(plays, on_call=refuse(401)) as master, driving(master.address) as (driver, heard):
        heard.wait(Subscribed)
        driver.send([REVIVE])
        assert isinstance(heard.end(), NotAuthorized)


def test_a_call_without_an_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_module, "TIMEOUT", 0.5)

    def never(exchange: Exchange) -> None:
        exchange.hold()

    with ScriptedMaster([stay], on_call=never) as master, driving(master.address) as (driver, heard):
        heard.wait(Subscribed)
        driver.send([REVIVE])
        assert driver.connected, "nobody waits for a call but the thread that makes it"
        heard.wait(Subscribed, 2)
        assert driver.flush(5)


def test_an_idle_connection_that_was_closed_loses_nothing() -> None:
    def once(exchange: Exchange) -> None:
        exchange.answer(202, Connection="keep-alive")
        exchange.sock.shutdown(socket.SHUT_RDWR)

    with ScriptedMaster([stay], on_call=once) as master, driving(master.address) as (driver, heard):
        heard.wait(Subscribed)
        for n in range(3):
            driver.send([{"type": "REVIVE", "n": n}])
            assert driver.flush(5)
            eventually(lambda n=n: len(master.calls) == n + 1)
            eventually(lambda: driver._caller._pipe.closed_by_peer())
        assert [call.body["n"] for call in master.calls] == [0, 1, 2]
        assert not heard.of(Disconnected)


def test_calls_follow_each_other_without_waiting() -> None:
    """Only the first of a connection waits, since a server may close it after one answer."""
    go_on = threading.Event()

    def slow(exchange: Exchange) -> None:
        if exchange.request.body["n"] == 1:
            go_on.wait(10)
        exchange.answer(202 if exchange.request.body["n"] != 2 else 400, "no", Connection="keep-alive")

    with ScriptedMaster([stay], on_call=slow) as master, driving(master.address) as (driver, heard):
        heard.wait(Subscribed)
        driver.send([{"type": "REVIVE", "n": 0}])
        assert driver.flush(5)
        driver.send({"type": "REVIVE", "n": n} for n in range(1, 200))
        eventually(lambda: driver._caller._queue.qsize() == 199 - AT_ONCE)
        go_on.set()
        assert driver.flush(10)
        assert [call.body["n"] for call in master.calls] == list(range(200))
        assert not heard.of(Disconnected), "one bad call among them is no loss"


def test_what_was_written_behind_a_call_that_breaks_the_connection_is_lost_once() -> None:
    def slow(exchange: Exchange) -> None:
        if exchange.request.body["n"] == 3:
            exchange.sock.shutdown(socket.SHUT_RDWR)
        else:
            exchange.answer(202)

    with ScriptedMaster([stay], on_call=slow) as master, driving(master.address) as (driver, heard):
        heard.wait(Subscribed)
        driver.send({"type": "REVIVE", "n": n} for n in range(50))
        assert "REVIVE failed" in heard.wait(Disconnected).reason
        heard.wait(Subscribed, 2)
        driver.send([{"type": "REVIVE", "n": 99}])
        assert driver.flush(5)
        made = [call.body["n"] for call in master.calls]  # the server had read on; the answers were lost
        assert made[:4] == [0, 1, 2, 3] and made[-1] == 99 and made == sorted(set(made)), "none was made twice"


def test_a_teardown_is_the_end_of_the_stream_and_of_the_subscriptions() -> None:
    over = threading.Event()

    def until_over(exchange: Exchange) -> None:
        exchange.subscribed()
        over.wait(10)

    def end(exchange: Exchange) -> None:
        exchange.answer(202)
        over.set()

    with ScriptedMaster([until_over], on_call=end) as master, driving(master.address) as (driver, heard):
        heard.wait(Subscribed)
        driver.send([TEARDOWN])
        assert driver.flush(5) is True
        heard.wait(Disconnected)
        began = time.monotonic()
        eventually(lambda: time.monotonic() - began > 0.5)
        assert len(master.subscribes) == 1 and not heard.ends


def test_a_teardown_that_was_not_taken_is_known() -> None:
    with ScriptedMaster([stay], on_call=refuse(503)) as master, driving(master.address) as (driver, heard):
        driver.send([TEARDOWN])
        assert driver.flush(5) is False, "not subscribed yet, or not taken"
        heard.wait(Subscribed)
        driver.send([TEARDOWN])
        assert driver.flush(5) is False
        heard.wait(Subscribed, 2)


def test_flush_does_not_wait_for_ever() -> None:
    def never(exchange: Exchange) -> None:
        exchange.hold()

    with ScriptedMaster([stay], on_call=never) as master, driving(master.address) as (driver, heard):
        heard.wait(Subscribed)
        driver.send([REVIVE])
        assert driver.flush(0.2) is False
        began = time.monotonic()
        driver.stop()
        assert time.monotonic() - began < 1.5


AGENTS = '{"slaves": [{"id": "a", "hostname": "h", "resources": {"cpus": 2.0, "mem": 100.0}}]}'


def test_agents_are_listed() -> None:
    secret = Framework("a", "u", principal="ipy", secret="hush")
    with (
        ScriptedMaster([stay], on_get=refuse(200, AGENTS)) as master,
        driving(master.address, secret) as (
            driver,
            heard,
        ),
    ):
        driver.list_agents()  # before the subscription: forgotten
        heard.wait(Subscribed)
        driver.list_agents()
        (agent,) = heard.wait(AgentsListed).agents
        assert (agent.id, agent.total.cpus, agent.total.mem) == ("a", 2000, 100)
        (get,) = master.gets
        assert get.path == "/master/slaves" and get.headers["authorization"].startswith("Basic ")


@pytest.mark.parametrize("code", [401, 403, 404])
def test_agents_that_may_not_be_listed(code: int) -> None:
    with ScriptedMaster([stay], on_get=refuse(code)) as master, driving(master.address) as (driver, heard):
        heard.wait(Subscribed)
        driver.list_agents()
        assert heard.wait(AgentsHidden).reason == f"HTTP {code} Whatever"


@pytest.mark.parametrize("answer", [refuse(200, "{"), refuse(200, "[]")])
def test_a_list_of_agents_that_makes_no_sense(answer: object, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with ScriptedMaster([stay], on_get=answer) as master, driving(master.address) as (driver, heard):  # type: ignore[arg-type]
        heard.wait(Subscribed)
        driver.list_agents()
        driver.send([REVIVE])
        assert driver.flush(5) and master.gets
        assert [type(e) for e in heard.events] == [Subscribed]
    assert "/master/slaves" in caplog.text or "cannot read" in caplog.text


def test_the_secret_is_in_no_log_and_no_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    framework = Framework("a", "u", principal="ipy", secret="hush-hush")
    with ScriptedMaster([refuse(503), stay], on_call=refuse(403)) as master:
        with driving(master.address, framework) as (driver, heard):
            heard.wait(Subscribed)
            driver.send([{"type": "ACCEPT", "data": "hush-hush"}])
            heard.wait(Subscribed, 2)
            shown = caplog.text + repr(driver) + repr(framework) + repr(driver._caller) + repr(heard.events)
            encoded = master.subscribes[0].headers["authorization"].split()[1]
    assert "hush" not in shown and encoded not in shown


def test_a_bad_master_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="write 'local', 'host:5050'"):
        Driver(Framework("a", "u"), "https://master:5050", print, print)
