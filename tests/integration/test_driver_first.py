"""The first subscription: how it is asked for, and every way in which it fails."""

from __future__ import annotations

import base64
import time

import pytest

from ipymesos.core.messages import Disconnected, Subscribed
from ipymesos.errors import (
    FrameworkRemoved,
    MasterUnreachable,
    MesosError,
    NotAuthorized,
    SubscriptionRefused,
)
from ipymesos.mesos import Framework
from tests.integration.driver_kit import driving
from tests.integration.scripted_master import (
    FRAMEWORK,
    Exchange,
    Play,
    ScriptedMaster,
    free_port,
    half_a_head,
    refuse,
    silent,
    stay,
)


def test_subscribes_as_told() -> None:
    framework = Framework("mine", "jane", roles=("a",), principal="ipy", secret="hush", id="f-0")
    with ScriptedMaster([stay]) as master, driving(f"http://{master.address}/", framework) as (driver, heard):
        assert heard.wait(Subscribed) == Subscribed(FRAMEWORK, master.address)
        (request,) = master.subscribes
        assert request.path == "/api/v1/scheduler"
        assert "mesos-stream-id" not in request.headers
        assert request.headers["authorization"] == "Basic " + base64.b64encode(b"ipy:hush").decode()
        info = request.body["subscribe"]["framework_info"]
        assert request.body["framework_id"] == info["id"] == {"value": "f-0"}
        assert info["failover_timeout"] == 604800.0 and info["checkpoint"] is True
        assert {"type": "GPU_RESOURCES"} not in info["capabilities"]
        assert not master.gets, "nobody asked for a version"
        assert driver.framework_id == FRAMEWORK and driver.connected
    assert [type(e) for e in heard.events] == [Subscribed, Disconnected]
    assert not master.calls, "stopping tears nothing down"


def test_without_a_secret_there_are_no_credentials() -> None:
    with ScriptedMaster([stay]) as master:
        with driving(master.address, Framework("a", "u", principal="ipy", secret="hush")) as (_, heard):
            heard.wait(Subscribed)
        with driving(master.address) as (driver, heard):
            heard.wait(Subscribed)
            driver.send([{"type": "REVIVE"}])
            assert driver.flush(5)
        assert "authorization" not in master.subscribes[1].headers
        assert "authorization" not in master.calls[0].headers


@pytest.mark.parametrize("status", [503, 404, 500])
def test_a_master_that_boots_is_soon_found(status: int) -> None:
    began = time.monotonic()
    with ScriptedMaster([refuse(status), refuse(status), stay]) as master, driving(master.address) as (_, heard):
        heard.wait(Subscribed)
        assert time.monotonic() - began < 1.5
        assert len(master.subscribes) == 3
        assert not heard.of(Disconnected), "who was never connected can't be disconnected"


def test_a_master_that_is_not_there_yet() -> None:
    port = free_port()
    with driving(f"127.0.0.1:{port}") as (_, heard):
        with ScriptedMaster([stay], port=port):
            heard.wait(Subscribed)


def no_http(exchange: Exchange) -> None:
    exchange.send(b"SSH-2.0-OpenSSH_9.2\r\n")
    exchange.hold()


def no_stream(exchange: Exchange) -> None:
    exchange.answer(200, "<html>hello</html>")


def no_stream_id(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    exchange.hold()


def no_recordio(exchange: Exchange) -> None:
    exchange.head()
    exchange.chunk(b'{"type": "SUBSCRIBED"}')
    exchange.hold()


def endless_drip(exchange: Exchange) -> None:
    exchange.head()
    while not exchange.over.is_set():
        exchange.event({"type": "HEARTBEAT"})
        exchange.pause(0.05)


def bad_subscribed(exchange: Exchange) -> None:
    exchange.head()
    exchange.event({"type": "SUBSCRIBED", "subscribed": {"framework_id": 3}})
    exchange.hold()


def hang_up(exchange: Exchange) -> None:
    return


@pytest.mark.parametrize(
    "play, why",
    [
        (refuse(503), "it answers HTTP 503"),
        (refuse(404), "it answers HTTP 404"),
        (refuse(500, "out of luck"), "it answers HTTP 500: out of luck"),
        (refuse(307, Location="//not a host"), "it redirects to '//not a host'"),
        (silent, "it has fallen silent"),
        (half_a_head, "it has fallen silent"),
        (no_http, "it doesn't speak HTTP"),
        (no_stream, "without an event stream"),
        (no_stream_id, "no Mesos-Stream-Id"),
        (no_recordio, "where the length of a record should be"),
        (endless_drip, "it has fallen silent"),
        (bad_subscribed, "its SUBSCRIBED can't be understood"),
        (hang_up, "it closed the connection"),
    ],
)
def test_at_first_it_gives_up_in_time_says_why_and_asks_seldom(play: Play, why: str) -> None:
    began = time.monotonic()
    with ScriptedMaster([play]) as master, driving(master.address, connect_timeout=1) as (_, heard):
        error = heard.end()
        assert 0.9 < time.monotonic() - began < 3
        assert type(error) is MasterUnreachable
        assert f"The Mesos master {master.address} can't be reached (tried for 1 s)" in str(error)
        assert why in str(error)
        assert 1 <= len(master.subscribes) <= 8
        assert not heard.events


def test_nobody_listens() -> None:
    port = free_port()
    with driving(f"127.0.0.1:{port}", connect_timeout=0.5) as (_, heard):
        error = heard.end()
    assert str(error) == f"The Mesos master 127.0.0.1:{port} can't be reached (tried for 0.5 s): Connection refused."


def test_a_name_that_nobody_has_is_said_at_once() -> None:
    with driving("no-such-host.invalid:5050", connect_timeout=60) as (_, heard):
        error = heard.end(timeout=30)
    assert type(error) is MasterUnreachable
    assert "no-such-host.invalid:5050" in str(error) and "can't be resolved" in str(error)


def error(text: str) -> Play:
    def play(exchange: Exchange) -> None:
        exchange.head()
        exchange.event({"type": "ERROR", "error": {"message": text}})

    return play


@pytest.mark.parametrize(
    "play, kind, said",
    [
        (refuse(401, "Incorrect credentials"), NotAuthorized, "HTTP 401: Incorrect credentials"),
        (refuse(403, "Not allowed"), NotAuthorized, "HTTP 403: Not allowed"),
        (refuse(400, "Principal 'a' is not 'b'"), SubscriptionRefused, "HTTP 400: Principal 'a' is not 'b'"),
        (refuse(415, "What is it?"), SubscriptionRefused, "HTTP 415: What is it?"),
        (error("Roles { x } are not present"), SubscriptionRefused, "Roles { x } are not present"),
        (error("Framework failed over"), SubscriptionRefused, "Framework failed over"),
        (error("Not authorized to use roles 'x'"), NotAuthorized, "Not authorized to use roles 'x'"),
        (error("Framework has been removed"), FrameworkRemoved, "Framework has been removed"),
    ],
)
def test_what_is_final_is_said_after_one_request(play: Play, kind: type[MesosError], said: str) -> None:
    with ScriptedMaster([play]) as master, driving(master.address) as (driver, heard):
        end = heard.end()
        assert type(end) is kind and said in str(end) and master.address in str(end)
        driver.join()
        assert len(master.subscribes) == 1
        assert not heard.events


def test_a_dropped_message_is_no_end() -> None:
    play = error("Message mesos.scheduler.Call dropped: capacity(1) exceeded")
    with ScriptedMaster([play, stay]) as master, driving(master.address) as (_, heard):
        heard.wait(Subscribed)
