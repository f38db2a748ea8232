"""Whom the masters and agents of a local Mesos may be told to follow."""

from __future__ import annotations

import pytest

from ipymesos.local import Election, FlagError, LocalFleet, LocalMesos


@pytest.mark.parametrize("leader", ["127.0.0.1:5050", "zk://127.0.0.1:2181/mesos", "zk://a:1,b:2/some/where"])
def test_leaders(leader: str) -> None:
    assert LocalMesos(0, election=Election(leader)).count == 0


@pytest.mark.parametrize(
    "leader", ["127.0.0.1", "127.0.0.1:port", "zk://", "zk://a:1", "zk://a:1/", "zk://me:hush@a:1/mesos", "a b:1"]
)
def test_what_cannot_be_a_leader(leader: str) -> None:
    with pytest.raises(FlagError, match="leader: .* is not allowed; allowed: 'host:port' or 'zk://host:port/path'"):
        Election(leader)


@pytest.mark.parametrize(("leader", "masters"), [("", 1), ("a:1", 3), ("zk://a:1/mesos", 2)])
def test_masters_that_could_not_agree(leader: str, masters: int) -> None:
    with pytest.raises(FlagError, match=r"are not allowed; allowed: 1, 3, 5, \.\.\. at a ZooKeeper"):
        Election(leader, masters)


def test_a_fleet_of_several_masters_needs_a_zookeeper() -> None:
    for masters in (0, 3):
        with pytest.raises(FlagError, match="masters: . are not allowed; allowed: 1, or 1, 3, 5, "):
            LocalFleet(masters=masters)
    with pytest.raises(FlagError, match="masters: 4 at 'zk://a:1/mesos' are not allowed"):
        LocalFleet(masters=4, zookeeper="zk://a:1/mesos")
    with pytest.raises(FlagError, match="--agents: 0 is not allowed"):
        LocalFleet(0)


def test_a_fleet_that_has_not_been_started_has_nothing_to_end() -> None:
    LocalFleet().stop()
