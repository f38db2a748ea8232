"""What who waits is told, on a real Mesos: by Python, command line and REST; and what else a cluster can be asked."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import pytest
from traitlets.config import Config

import ipymesos
from ipymesos.daemon.vocabulary import KINDS
from ipymesos.errors import ConfigError, NotRunning, StartFailed
from ipymesos.local import LocalMesos
from tests.helpers import eventually
from tests.integration.launcher_kit import Account, account, daemons
from tests.integration.programs import ipymesos as command

pytestmark = pytest.mark.mesos


@pytest.fixture(scope="module")
def mesos() -> Iterator[LocalMesos]:
    with LocalMesos(resources="cpus:2;mem:2000;disk:1000;ports:[31000-31099]") as running:
        yield running


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with account(tmp_path_factory.mktemp("user")) as user:
        yield user


def options(user: Account, mesos: LocalMesos, **more: Any) -> dict[str, Any]:
    config = Config()
    config.MesosLauncher.master = mesos.master
    config.MesosLauncher.container = "process"
    config.MesosLauncher.memory = "64 MB"
    config.MesosLauncher.cpus = 0.5
    common = {"profile_dir": str(user.profile), "load_profile": False, "shutdown_atexit": False, "config": config}
    return {**common, "n": 1, **more}


@pytest.fixture(scope="module")
def cluster(user: Account, mesos: LocalMesos) -> Iterator[ipymesos.Cluster]:
    """With one engine. There is room for one more beside the controller, and for three on the empty agent."""
    with ipymesos.Cluster(**options(user, mesos, cluster_id="asked")) as client:
        yield client.cluster
    user.nothing_left()


def where(user: Account) -> tuple[str, ...]:
    return ("--profile-dir", str(user.profile), "--cluster-id", "asked")


def test_what_it_has_and_what_it_lacks(cluster: ipymesos.Cluster, user: Account) -> None:
    assert str(cluster.explain()) == "everything that is wanted runs"
    assert [event["kind"] for event in cluster.events()][:2] == ["scheduler_started", "master_registered"]
    assert set(event["kind"] for event in cluster.events()) <= KINDS.keys()
    assert "registered with Mesos master" in cluster.logs("scheduler")
    assert "1 of 1" in cluster._repr_html_() and "everything" not in cluster._repr_html_()

    with pytest.raises(StartFailed, match="have room for 3 at most.*too few cpus") as raised:
        cluster.scale(9, timeout=60)
    assert "2 of 9 run" in str(raised.value)
    said = cluster.explain()
    (group,) = said.groups
    seen = {name: group[name] for name in ("why", "wanted", "running", "coming", "room")}
    assert seen == {"why": "refused", "wanted": 9, "running": 2, "coming": 0, "room": 3}
    assert group["refused"]["cpus"] == 1 and group["offers"] >= 1 and group["best"]["wanted"] == "0.5 cpus"
    assert 0 <= group["waited"] < 120 and abs(group["since"] - time.time()) < 120
    lines = said.text.splitlines()
    assert lines[0].startswith("connected to ") and "2 of 9 running, waiting since" in lines[1]
    assert lines[2].startswith("  7 of 9 missing: too few cpus: the best offer, from ")
    assert lines[-1] == "  what could help: fewer engines, less `cpus` for each, or more agents"

    # The same by the command line and by REST, for another object of the same cluster, and in its status.
    assert command("explain", *where(user)).stdout.splitlines()[2:] == lines[2:]
    shown = json.loads(command("explain", "-o", "json", *where(user)).stdout)
    assert shown["groups"][0]["message"] == group["message"]
    again = ipymesos.Cluster.from_file(cluster.cluster_file)
    assert type(again) is ipymesos.Cluster and again.explain().groups[0]["message"] == group["message"]
    assert group["message"] in cluster.engine_set.explain().text
    assert f"engine set {group['group']}: {group['message']}" == said.summary
    assert "2 of 9" in cluster._repr_html_() and "too few cpus" in cluster._repr_html_()


def test_scaling_goes_on_until_there_are_exactly_as_many(cluster: ipymesos.Cluster) -> None:
    for n in (1, 2, 1):
        cluster.scale(n)
        assert cluster.engine_set.n == cluster.n == n
        (engines,) = cluster.controller.scheduler().status()["engines"].values()
        assert engines["running"] == len([task for task in engines["tasks"] if task["state"] != "killing"]) == n
    with pytest.raises(ConfigError, match="1 engine is the least"):
        cluster.scale(0)
    with pytest.raises(ConfigError, match="engine_set: choose one of"):
        cluster.scale(2, "others")


def test_events_instead_of_words(cluster: ipymesos.Cluster, user: Account) -> None:
    done = command("scale", "2", "-o", "json", *where(user))
    assert done.returncode == 0, done
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["kind"] for event in events] == ["engines_wanted", "engines_launched", "engines_running"]
    quiet = command("scale", "1", *where(user))
    assert quiet.stdout.splitlines()[-1] == "1/1 running" and not quiet.stderr


def test_a_plain_cluster_can_be_asked_as_well(cluster: ipymesos.Cluster) -> None:
    other = ipp.Cluster(profile_dir=cluster.profile_dir, cluster_id="asked", load_profile=False, shutdown_atexit=False)
    assert ipymesos.explain(other).text == "everything that is wanted runs"
    assert ipymesos.explain(ipp.Cluster.from_file(cluster.cluster_file)).groups == []


def test_a_with_that_fails_is_undone_at_once(user: Account, mesos: LocalMesos) -> None:
    known = {process.pid for process in daemons(user.directory)}
    wanted = options(user, mesos, cluster_id="failing", n=2)
    wanted["config"].MesosLauncher.memory = "9 GB"
    failing = ipymesos.Cluster(**wanted)
    with pytest.raises(Exception, match="no agent of this Mesos could ever fit one engine") as raised:
        with failing:
            pass
    assert "2000 MB of memory in all, and 9344 MB of memory are needed" in str(raised.value)
    assert {process.pid for process in daemons(user.directory)} == known
    assert failing.controller is None and failing.engines == {}
    assert not [name for name in user.files() if "failing" in name and name.startswith("ipcontroller")]
    with pytest.raises(NotRunning):
        failing.events()
    assert str(failing.explain()) == str(raised.value)


def test_a_start_that_tells_its_events(user: Account, tmp_path: Path) -> None:
    """From its first to its last, and nothing else on standard output."""
    wish = ("-n", "1", "-o", "json", "--memory", "64 MB", "--profile-dir", str(tmp_path))
    start = user.start("python", "-m", "ipymesos", "start", *wish)

    def kinds() -> list[str]:
        return [json.loads(line)["kind"] for line in user.output(start).splitlines() if line.endswith("}")]

    eventually(lambda: "engines_running" in kinds(), 60)
    done = command("stop", "-o", "json", "--profile-dir", str(tmp_path))
    assert done.returncode == 0, done
    told = [json.loads(line)["kind"] for line in done.stdout.splitlines()]
    assert start.wait(30) == 0
    assert told[0] == "stopping" and told[-1] == "stopped" == kinds()[-1]
    assert kinds()[:3] == ["scheduler_started", "master_registered", "controller_launched"]
    assert os.path.exists(tmp_path / "security")
