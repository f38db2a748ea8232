"""The driver and this machine: its threads, its descriptors, its addresses."""

from __future__ import annotations

import resource
import socket
import time
from pathlib import Path

import pytest

from ipymesos.core.messages import Rescinded, Subscribed
from tests.helpers import eventually
from tests.integration.driver_kit import driving
from tests.integration.scripted_master import (
    Play,
    ScriptedMaster,
    half_a_head,
    refuse,
    rescind,
    say,
    silent,
    stay,
)


@pytest.mark.parametrize("play", [stay, silent, refuse(503), half_a_head])
def test_stopping_takes_no_time(play: Play) -> None:
    with ScriptedMaster([play]) as master, driving(master.address) as (driver, _):
        eventually(lambda: master.subscribes)
        began = time.monotonic()
        driver.stop()
        assert time.monotonic() - began < 1.5
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
            assert time.monotonic() - began < 1.5
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
