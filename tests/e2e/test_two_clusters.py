"""Two clusters of one user on one Mesos, side by side."""

from __future__ import annotations

import os
import signal

import ipyparallel as ipp
import psutil
import pytest

from tests.e2e.kit import PROFILE, Home, Running, frameworks, program
from tests.helpers import eventually

pytestmark = pytest.mark.mesos


def ports(cluster: Running) -> set[int]:
    return set(cluster.status()["controller"]["ports"])


def containers(cluster: Running) -> set[str]:
    """Where its engines say they are."""
    view = cluster.client[:]
    return {f"{framework}/{pid}" for framework, pid in zip(view.apply_sync(os.getenv, "MESOS_FRAMEWORK_ID"),
                                                           view.apply_sync(os.getenv, "MESOS_EXECUTOR_ID"),
                                                           strict=True)}  # fmt: skip


def check_apart(home: Home, first: Running, second: Running) -> None:
    assert len(ports(first)) == len(ports(second)) == 18 and not ports(first) & ports(second)
    one, other = first.status(), second.status()
    assert one["framework_id"] != other["framework_id"] and one["pid"] != other["pid"]
    assert not containers(first) & containers(second)
    assert {name for name in home.security if not name.endswith(".lock")} == {
        f"{name}{suffix}.json"
        for name in ("cluster", "ipcontroller{}-client", "ipcontroller{}-engine", "ipymesos{}", "ipymesos{}-state")
        for name, suffix in (
            (name.replace("{}", "-one"), "" if "{}" in name else "-one"),
            (name.replace("{}", "-two"), "" if "{}" in name else "-two"),
        )
    }
    first.client[:]["x"], second.client[:]["x"] = 1, 2
    assert first.client[:]["x"] == [1, 1] and second.client[:]["x"] == [2, 2, 2]


def test_side_by_side(home: Home, kind: str) -> None:
    with home.running("process", 3, cluster_id="two") as second:
        with home.running(kind, 2, cluster_id="one") as first:
            check_apart(home, first, second)
            listed = program("ipyparallel.cluster", "list").stdout.splitlines()[1:]
            assert sorted(line.split() for line in listed) == [
                [PROFILE, "one", "True", "2", "Mesos"],
                [PROFILE, "two", "True", "3", "Mesos"],
            ]
            gone = first.status()["framework_id"]
        # The first has been stopped: the second has not noticed.
        assert not any(gone in framework for framework in frameworks(home.mesos))
        assert home.security == {name for name in home.security if "-two" in name} and len(home.security) == 6
        assert second.client[:]["x"] == [2, 2, 2]
        assert len(second.scale(4)) == 4
        with ipp.Client(profile=PROFILE, cluster_id="two") as other:
            assert other[0].pull("x", block=True) == 2


def test_the_crash_of_one_is_nothing_to_the_other(home: Home) -> None:
    with home.running("process", 1, cluster_id="two") as second:
        with home.running("process", 1, cluster_id="one") as first:
            framework, controller = first.status()["framework_id"], first.client[0].apply_sync(os.getppid)
            os.kill(controller, signal.SIGKILL)  # the process that its engines are forked from
            eventually(lambda: not psutil.pid_exists(controller), 10)
            eventually(lambda: 1 in first.client.ids, 20)  # the replacement; the hub misses the old one later
            assert first.status()["framework_id"] == framework
            (end,) = (exit for exit in first.status()["exits"] if not exit["asked"])
            assert "killed by SIGKILL" in end["message"]
        assert second.client[:].apply_sync(os.getppid) and not second.status()["exits"]
