"""The event stream against a master that misbehaves."""

from __future__ import annotations

import base64
import resource
import socket
import time
from pathlib import Path

import pytest

from ipymesos.core.messages import Disconnected, Offered, Rescinded, Subscribed
from ipymesos.driver import Driver
from ipymesos.errors import (
    FrameworkRemoved,
    MasterUnreachable,
    MesosError,
    NotAuthorized,
    SubscriptionRefused,
)
from ipymesos.mesos import Framework
from tests.helpers import eventually
from tests.integration.driver_kit import driving
from tests.integration.scripted_master import (
    FRAMEWORK,
    Exchange,
    Play,
    ScriptedMaster,
    record,
    refuse,
    say,
    stay,
    subscribed,
)


def rescind(name: str) -> dict[str, object]:
    return {"type": "RESCIND", "rescind": {"offer_id": {"value": name}}}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


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


def silent(exchange: Exchange) -> None:
    exchange.hold()


def half_a_head(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Enc")
    exchange.hold()


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
    with ScriptedMaster([play]) as master, driving(master.address, connect_timeout=1.5) as (_, heard):
        error = heard.end()
        assert 1.3 < time.monotonic() - began < 2.5
        assert type(error) is MasterUnreachable
        assert f"The Mesos master {master.address} can't be reached (tried for 1.5 s)" in str(error)
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


@pytest.mark.parametrize("play", [stay, silent, refuse(503), half_a_head])
def test_stopping_takes_no_time(play: Play) -> None:
    with ScriptedMaster([play]) as master, driving(master.address) as (driver, _):
        eventually(lambda: master.subscribes)
        began = time.monotonic()
        driver.stop()
        assert time.monotonic() - began < 0.5
        assert not driver._io_thread.is_alive()


def test_stopping_while_it_waits_for_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        crowd = [socket.socket() for _ in range(4)]
        for sock in crowd:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        with driving(f"127.0.0.1:{port}") as (driver, _):
            began = time.monotonic()
            driver.stop()
            assert time.monotonic() - began < 0.5
        for sock in crowd:
            sock.close()


def test_more_files_than_select_could_watch(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2048
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this user may open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    files = []
    try:
        files = [open("/dev/null") for _ in range(1100)]
        with ScriptedMaster([say(rescind("a"))]) as master, driving(master.address) as (driver, heard):
            heard.wait(Rescinded)
            driver.send([{"type": "REVIVE"}])
            assert driver.flush(5) and master.kinds() == ["REVIVE"]
    finally:
        for file in files:
            file.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def speaks_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not speaks_ipv6(), reason="no IPv6 on this machine")
def test_ipv6() -> None:
    with ScriptedMaster([stay], host="::1") as master, driving(f"[::1]:{master.port}") as (driver, heard):
        assert heard.wait(Subscribed).master == f"[::1]:{master.port}"
        assert master.subscribes[0].headers["host"] == f"[::1]:{master.port}"
        driver.send([{"type": "REVIVE"}])
        assert driver.flush(5) and master.kinds() == ["REVIVE"]


def test_a_name_with_two_addresses_of_which_one_answers() -> None:
    with ScriptedMaster([stay]) as master, driving(f"localhost:{master.port}") as (_, heard):
        heard.wait(Subscribed)
