"""What is told of a cluster on a real Mesos: events over its whole life, and metrics to a real Prometheus."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ipyparallel as ipp
import pytest

from ipymesos.daemon.journal import read
from ipymesos.daemon.vocabulary import KINDS
from ipymesos.local import LocalMesos
from ipymesos.paths import Paths
from tests.helpers import eventually
from tests.integration.programs import SMALL, Start, ipymesos
from tests.prometheus import Prometheus, needs_prometheus

pytestmark = pytest.mark.mesos
MONITORING = Path(__file__).parents[2] / "docs" / "monitoring"


@pytest.fixture(scope="module")
def mesos() -> Iterator[LocalMesos]:
    with LocalMesos(agents=2) as running:
        yield running


@contextmanager
def followed(profile: Path) -> Iterator[subprocess.Popen[str]]:
    """`events -f`, which ends by itself."""
    command = [sys.executable, "-m", "ipymesos", "events", "-f", "-o", "json", "--profile-dir", str(profile)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait(60)


def brief(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["kind"], event.get("group", "")) for event in events if not event["kind"].startswith("waiting")]


def one(events: list[dict[str, Any]], kind: str, **fields: object) -> dict[str, Any]:
    (found,) = (e for e in events if e["kind"] == kind and all(e.get(k) == v for k, v in fields.items()))
    return found


def test_the_events_of_a_whole_life(mesos: LocalMesos, tmp_path: Path) -> None:
    where = ("--profile-dir", str(tmp_path))
    file = Paths(tmp_path).events_file
    with Start(tmp_path, "--master", mesos.master, "-n", "2", *SMALL) as start:
        start.running(2)
        daemon = start.daemon()
        begin = daemon.events()
        assert brief(begin)[:4] == [
            ("scheduler_started", ""),
            ("master_registered", ""),
            ("controller_launched", "controller"),
            ("engines_launched", "engines"),
        ]
        assert one(begin, "controller_running")["seconds"] > 0
        joined = [task for event in begin if event["kind"] == "engines_running" for task in event["tasks"]]
        assert sorted(joined) == sorted(one(begin, "engines_launched")["tasks"]) and len(joined) == 2

        with ipp.Client(profile_dir=str(tmp_path)) as client:
            client.wait_for_engines(2, timeout=30)
            os.kill(client[0].apply_sync(os.getpid), signal.SIGKILL)
        end = eventually(lambda: [e for e in daemon.events(begin[-1]["seq"]) if e["kind"] == "engines_ended"])[0]
        assert (end["cause"], end["asked"], end["reason"]) == ("signal", False, "killed by SIGKILL")
        start.running(2)
        assert ipymesos("scale", "1", *where).returncode == 0
        assert one(daemon.events(end["seq"]), "engines_wanted")["by"] == "command line"
        daemon.want_engines("huge", 1, {"cpus": 1000})
        eventually(lambda: [e for e in daemon.events() if (e["kind"], e.get("group")) == ("gave_up", "huge")])
        daemon.drop_engines("huge")
        before = daemon.events()
        start.process.kill()
        start.wait()
    assert read(file) == before

    with Start(tmp_path, "--resume") as start:
        start.running(1)
        with followed(tmp_path) as following:
            daemon = start.daemon()
            eventually(lambda: one(daemon.events(), "scheduler_resumed"))
            daemon.stop("enough")
            assert start.wait() == 0, start.error
            out, _ = following.communicate(timeout=60)
            assert following.returncode == 0
    events = [json.loads(line) for line in out.splitlines()]
    assert events[: len(before)] == before and events == read(file)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert {event["kind"] for event in events} <= set(KINDS)
    assert one(events, "stopping")["reason"] == one(events, "stopped")["reason"] == "enough"
    assert brief(events)[-1] == ("stopped", "")
    last = one(events, "engines_ended", cause="asked", wanted=0)
    assert last["asked"] and last["seq"] > one(events, "stopping")["seq"]

    # They stay until another cluster begins.
    assert "stopping: enough" in ipymesos("events", *where).stdout
    with Start(tmp_path, "--master", mesos.master, *SMALL) as start:
        first = start.daemon().events()[0]
        assert first["kind"] == "scheduler_started" and first["seq"] == events[-1]["seq"] + 1
        start.daemon().stop("enough")
        assert start.wait() == 0, start.error


@needs_prometheus
def test_a_real_prometheus(mesos: LocalMesos, tmp_path: Path) -> None:
    with Start(tmp_path, "--master", mesos.master, "-n", "2", *SMALL) as start:
        start.running(2)
        token = ipymesos("metrics", "--token-file", "--profile-dir", str(tmp_path)).stdout.strip()
        address = start.daemon().url.removeprefix("http://")
        config = f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{MONITORING / "alerts.yml"}"]
scrape_configs:
  - job_name: ipymesos
    authorization: {{credentials_file: "{token}"}}
    static_configs: [{{targets: ["{address}"]}}]
"""
        folder = tmp_path / "prometheus"
        folder.mkdir()
        with Prometheus(folder, config) as prometheus:
            eventually(lambda: prometheus.value("ipymesos_engines_running") == 2)
            assert prometheus.value('up{job="ipymesos"}') == prometheus.value("ipymesos_connected") == 1
            assert prometheus.value('ipymesos_start_seconds_count{kind="engine"}') == 2
            assert prometheus.value('ipymesos_tasks{kind="controller",state="running"}') == 1

            board = json.loads((MONITORING / "grafana.json").read_text())
            for expression in [target["expr"] for panel in board["panels"] for target in panel["targets"]]:
                filled = re.sub(r"\$instance", ".*", expression.replace("$__rate_interval", "1m"))
                prometheus.ask("query", query=filled)
            rules = eventually(
                lambda: [
                    rule
                    for group in prometheus.ask("rules")["groups"]
                    for rule in group["rules"]
                    if rule["health"] != "unknown"
                ]
            )
            assert len(rules) > 5 and {rule["health"] for rule in rules} == {"ok"}
            assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []

            start.daemon().want_engines("huge", 1, {"cpus": 1000})
            eventually(lambda: prometheus.value('ALERTS{alertname="IpymesosGaveUp",alertstate="firing"}') == 1)
        start.daemon().stop("enough")
        assert start.wait() == 0, start.error
