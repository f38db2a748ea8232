"""However a master fails whom we were subscribed to, it is never flooded: few requests, further and further apart."""

from __future__ import annotations

import socket
import time

import pytest

from ipymesos.core.messages import Disconnected, Subscribed
from tests.helpers import eventually
from tests.integration.driver_kit import driving
from tests.integration.scripted_master import Exchange, Play, ScriptedMaster, refuse, say, stay

SECONDS = 4.0
MOST = 8  # attempts in these seconds: 0.1 s apart at first, twice as long each time, jittered down to the half


def leave(exchange: Exchange) -> None:
    exchange.subscribed()


def reset(exchange: Exchange) -> None:
    exchange.sock.shutdown(socket.SHUT_RDWR)


def half_open(exchange: Exchange) -> None:
    """Nothing more is heard, and nothing is closed, as when a firewall forgets a connection."""
    exchange.subscribed(interval=0.02)
    exchange.hold()


def dropped(exchange: Exchange) -> None:
    say({"type": "ERROR", "error": {"message": "Message Call dropped: capacity(10) exceeded"}})(exchange)


def nonsense(exchange: Exchange) -> None:
    exchange.subscribed()
    exchange.chunk(b"no length\n{}")
    exchange.hold()


def in_circles(exchange: Exchange) -> None:
    exchange.answer(307, Location=f"//{exchange.request.headers['host']}")


def wait(seconds: float) -> None:
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > seconds, seconds + 10)


@pytest.mark.parametrize(
    "play", [refuse(503), refuse(500), refuse(404), reset, leave, half_open, dropped, nonsense, in_circles]
)
def test_subscriptions(play: Play) -> None:
    with ScriptedMaster([leave, play]) as master, driving(master.address) as (_, heard):
        heard.wait(Disconnected)
        wait(SECONDS)
        assert not heard.ends
        # Five redirects in a row are followed at once: leaders do change.
        assert 4 <= len(master.subscribes) <= 1 + MOST + (5 if play is in_circles else 0)


def test_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with ScriptedMaster([leave]) as master, driving(master.address) as (_, heard):
        heard.wait(Disconnected)
        master.__exit__(None, None, None)
        wait(SECONDS)
        tries = [record for record in caplog.records if "the next attempt follows" in record.message]
        assert 3 <= len(tries) <= MOST and not heard.ends


@pytest.mark.parametrize("answer", [refuse(403, "Not subscribed"), refuse(503), reset])
def test_calls(answer: Play) -> None:
    """A scheduler asks for something as soon as it is subscribed, and so it is refused each time."""
    with ScriptedMaster([stay], on_call=answer) as master, driving(master.address) as (driver, heard):
        asked = 0

        def ask() -> bool:
            nonlocal asked
            while asked < len(heard.of(Subscribed)):
                asked += 1
                driver.send([{"type": "RECONCILE"}, {"type": "REVIVE"}])
            return time.monotonic() - began > SECONDS

        began = time.monotonic()
        eventually(ask, SECONDS + 10, interval=0.01)
        assert 3 <= len(master.subscribes) <= MOST + 1 and not heard.ends
        assert len(master.calls) <= 2 * len(master.subscribes)


def test_a_half_open_connection_is_noticed_after_five_missed_heart_beats() -> None:
    beats: list[float] = []

    def play(exchange: Exchange) -> None:
        exchange.subscribed(interval=0.2)
        for _ in range(3):
            exchange.pause(0.2)
            exchange.event({"type": "HEARTBEAT"})
            beats.append(time.monotonic())
        exchange.hold()

    with ScriptedMaster([play, stay]) as master, driving(master.address) as (_, heard):
        reason = heard.wait(Disconnected).reason
        silent = time.monotonic() - beats[-1]
        assert "silent" in reason and 0.9 < silent, (reason, silent)
        heard.wait(Subscribed, 2)
        assert len(master.subscribes) == 2
