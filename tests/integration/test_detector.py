"""Who leads, by a real ZooKeeper."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.security import make_digest_acl

from ipymesos.core.messages import Disconnected, Subscribed
from ipymesos.driver.detector import Detector
from ipymesos.errors import MasterUnreachable
from ipymesos.masters import Address
from tests.helpers import eventually
from tests.integration.driver_kit import driving
from tests.integration.scripted_master import ScriptedMaster, stay
from tests.integration.zookeeper import MISSING, ZooKeeperServer

needs_zookeeper = pytest.mark.skipif(bool(MISSING), reason=MISSING)

FIRST, SECOND, THIRD = (f"json.info_000000000{n}" for n in range(3))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperServer]:
    with ZooKeeperServer(tmp_path_factory.mktemp("zookeeper")) as running:
        yield running


@pytest.fixture
def client(server: ZooKeeperServer) -> Iterator[KazooClient]:
    """What the masters do: a client that makes and removes nodes."""
    client = KazooClient(server.hosts, timeout=5)
    client.start()
    yield client
    client.stop()
    client.close()


@pytest.fixture
def path(request: pytest.FixtureRequest) -> str:
    return f"/{request.node.name}"


def info(port: int, ip: str = "10.0.0.1") -> bytes:
    address = {"hostname": "master", "ip": ip, "port": port}
    return json.dumps({"id": "m", "ip": 16777226, "port": 1, "hostname": "x", "address": address}).encode()


@contextmanager
def detecting(hosts: str, path: str, auth: str = "") -> Iterator[tuple[Detector, list[Address | None]]]:
    told: list[Address | None] = []
    detector = Detector(hosts, path, told.append, auth)
    detector.start()
    try:
        yield detector, told
    finally:
        detector.stop(5)
    assert not detector._thread.is_alive()


def leads(told: list[Address | None], expected: Address | None) -> None:
    """That is the last word, and nothing was said twice in a row."""
    eventually(lambda: told[-1:] == [expected])
    assert all(one != next for one, next in zip(told, told[1:], strict=False))


def at(port: int) -> Address:
    return Address("10.0.0.1", port)


@needs_zookeeper
def test_a_leader_that_is_there(server: ZooKeeperServer, client: KazooClient, path: str) -> None:
    client.create(f"{path}/{SECOND}", info(2), makepath=True)
    client.create(f"{path}/{FIRST}", info(1))
    client.create(f"{path}/log_replicas", b"")
    client.create(f"{path}/info_0000000000", b"\x0a\x01")
    with detecting(server.hosts, path) as (_, told):
        leads(told, at(1))


@needs_zookeeper
def test_a_path_that_is_missing_is_waited_for(server: ZooKeeperServer, client: KazooClient, path: str) -> None:
    with detecting(server.hosts, f"{path}/deep/down") as (detector, told):
        eventually(lambda: detector.trouble == f"no Mesos master is elected at zk://{server.hosts}{path}/deep/down")
        client.ensure_path(f"{path}/deep/down")
        client.create(f"{path}/deep/down/{FIRST}", info(1))
        leads(told, at(1))


@needs_zookeeper
def test_leaders_come_and_go_and_come_back(server: ZooKeeperServer, client: KazooClient, path: str) -> None:
    client.create(f"{path}/{FIRST}", info(1), makepath=True)
    client.create(f"{path}/{SECOND}", info(2))
    with detecting(server.hosts, path) as (_, told):
        leads(told, at(1))
        client.delete(f"{path}/{FIRST}")
        leads(told, at(2))
        client.delete(f"{path}/{SECOND}")
        leads(told, None)
        client.create(f"{path}/{SECOND}", info(2))  # the same name as the one we knew last
        leads(told, at(2))
        client.create(f"{path}/{THIRD}", info(3))
        client.set(f"{path}/{SECOND}", info(22))  # the same name, another address
        leads(told, at(22))
        client.delete(path, recursive=True)
        leads(told, None)
        client.create(f"{path}/{FIRST}", info(1), makepath=True)
        leads(told, at(1))


@needs_zookeeper
@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"address": {}}', b'{"address": {"ip": "h", "port": "x"}}'])
def test_an_entry_that_makes_no_sense_is_no_leader(
    server: ZooKeeperServer, client: KazooClient, data: bytes, request: pytest.FixtureRequest
) -> None:
    path = f"/sense{abs(hash(data))}"
    client.create(f"{path}/{FIRST}", data, makepath=True)
    with detecting(server.hosts, path) as (detector, told):
        eventually(lambda: "can't be understood" in detector.trouble)
        client.set(f"{path}/{FIRST}", info(1))
        leads(told, at(1))


@needs_zookeeper
def test_only_who_may_look_can_see(server: ZooKeeperServer, client: KazooClient, path: str) -> None:
    client.ensure_path(path, acl=[make_digest_acl("me", "hush", all=True)])
    client.add_auth("digest", "me:hush")
    client.create(f"{path}/{FIRST}", info(1))
    with detecting(server.hosts, path) as (detector, _):
        eventually(lambda: f"does not let us see {path}" in detector.trouble)
    with detecting(server.hosts, path, auth="me:hush") as (detector, told):
        leads(told, at(1))
        assert "hush" not in detector.trouble + repr(detector)


@needs_zookeeper
def test_zookeeper_may_crash_and_come_back(tmp_path: Path) -> None:
    with ZooKeeperServer(tmp_path / "zookeeper") as server:
        client = KazooClient(server.hosts, timeout=2)
        client.start()
        client.create(f"/mesos/{FIRST}", info(1), makepath=True)
        client.stop()
        with detecting(server.hosts, "/mesos") as (_, told):
            leads(told, at(1))
            server.kill()
            server.start()
            client.start()
            client.set(f"/mesos/{FIRST}", info(2))
            leads(told, at(2))
        client.stop()
        client.close()


def test_nobody_waits_for_a_zookeeper_that_is_not_there() -> None:
    began = time.monotonic()
    with detecting("127.0.0.1:9", "/mesos") as (detector, told):
        assert time.monotonic() - began < 1.5
        assert detector.trouble == "no ZooKeeper answers at 127.0.0.1:9"
        began = time.monotonic()
        detector.stop(5)
        assert time.monotonic() - began < 2 and not told


def test_a_driver_without_zookeeper_says_so() -> None:
    with driving("zk://127.0.0.1:9/mesos", connect_timeout=0.5) as (_, heard):
        error = heard.end()
        assert isinstance(error, MasterUnreachable)
        assert str(error) == (
            "The Mesos master zk://127.0.0.1:9/mesos can't be reached (tried for 0.5 s): "
            "no ZooKeeper answers at 127.0.0.1:9."
        )


@needs_zookeeper
def test_a_driver_without_a_leader_says_so(server: ZooKeeperServer, path: str) -> None:
    with driving(f"zk://{server.hosts}{path}", connect_timeout=2) as (_, heard):
        assert f"no Mesos master is elected at zk://{server.hosts}{path}" in str(heard.end())


@needs_zookeeper
def test_a_leader_that_does_not_answer_is_named(server: ZooKeeperServer, client: KazooClient, path: str) -> None:
    client.create(f"{path}/{FIRST}", info(9, "127.0.0.1"), makepath=True)
    with driving(f"zk://{server.hosts}{path}", connect_timeout=1) as (_, heard):
        said = f"zk://{server.hosts}{path} can't be reached (tried for 1 s) at 127.0.0.1:9: Connection refused."
        assert said in str(heard.end())


@needs_zookeeper
def test_a_driver_follows_the_leader(server: ZooKeeperServer, client: KazooClient, path: str) -> None:
    with ScriptedMaster([stay]) as one, ScriptedMaster([stay]) as two:
        with driving(f"zk://127.0.0.1:9,{server.hosts}{path}") as (driver, heard):
            client.create(f"{path}/{FIRST}", info(one.port, "127.0.0.1"), makepath=True)
            assert heard.wait(Subscribed).master == one.address
            client.delete(f"{path}/{FIRST}")  # nobody leads: no reason to leave a master that goes on
            client.create(f"{path}/{SECOND}", info(one.port, "127.0.0.1"))
            driver.send([{"type": "REVIVE"}])
            assert driver.flush(5) and not heard.of(Disconnected)
            client.create(f"{path}/{THIRD}", info(two.port, "127.0.0.1"))
            client.delete(f"{path}/{SECOND}")
            assert heard.wait(Disconnected).reason == "another master leads"
            assert heard.wait(Subscribed, 2).master == two.address
            assert two.subscribes[0].body["framework_id"] == {"value": driver.framework_id}
            assert len(one.subscribes) == 1
