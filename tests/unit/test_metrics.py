"""What is counted, how Prometheus reads it, and that docs, alerts and the dashboard speak of what there is."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ipymesos.core.messages import Decline, Disconnected, Offered, Reconcile, Subscribed, Updated
from ipymesos.core.session import Refusal
from ipymesos.daemon.exposition import Exposition
from ipymesos.daemon.happenings import happenings
from ipymesos.daemon.metrics import Histogram, Metrics
from ipymesos.daemon.vocabulary import CAUSES, KINDS
from tests.prometheus import PROMTOOL, needs_prometheus

from .test_words import OFFER, Story

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "docs" / "monitoring"


class Counted(Story):
    """A cluster to which things happen, and what is counted of it."""

    def __init__(self) -> None:
        self.metrics: Metrics | None = None
        super().__init__()
        self.metrics = Metrics(self.state)

    def happens(self, *events: Any) -> list[str]:
        before = self.state
        said = super().happens(*events)
        if self.metrics is not None:
            for event in events:
                self.metrics.came(event)
            for happening in happenings(before, self.state):
                self.metrics.happened(happening, self.state)
        return said

    def shown(self, trouble: str = "") -> dict[tuple[str, ...], float]:
        """By name and labels' values."""
        text = self.text(trouble)
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return {(sample.name, *sample.labels.values()): sample.value for sample in samples}

    def text(self, trouble: str = "") -> str:
        assert self.metrics is not None
        return Exposition(self.metrics, lambda: (self.state, self.now, trouble, 3)).text().decode()


@pytest.fixture
def story() -> Counted:
    story = Counted()
    story.happens(Subscribed("framework", "master:5050"))
    story.happens(Offered((OFFER,)))
    story.runs("controller-1", "engine-a-3", "engine-a-4")
    return story


def test_a_start(story: Counted) -> None:
    shown = story.shown()
    assert shown["ipymesos_connected",] == 1 and shown["ipymesos_stopping",] == 0
    assert shown["ipymesos_offers_received_total",] == 1
    assert shown["ipymesos_engines_wanted", "a"] == shown["ipymesos_engines_running", "a"] == 2
    assert shown["ipymesos_tasks", "engine", "running"] == 2 and shown["ipymesos_tasks", "controller", "running"] == 1
    assert shown["ipymesos_engines_joined_total",] == 2 and shown["ipymesos_engines_left_total",] == 0
    assert shown["ipymesos_start_seconds_count", "engine"] == 2 and shown["ipymesos_start_seconds_sum", "engine"] == 2.0
    assert shown["ipymesos_updates_total", "TASK_RUNNING"] == 3
    assert shown["ipymesos_events_total", "engines_running"] == 1
    assert shown["ipymesos_agents", "used"] == 1
    assert shown["ipymesos_incomplete_seconds", "a"] == shown["ipymesos_given_up", "a"] == 0
    assert shown["ipymesos_events_unwritten_total",] == 3


def test_deaths_and_masters(story: Counted) -> None:
    story.happens(Updated("engine-a-3", "agent", "TASK_FAILED", "", "killed by SIGSEGV"))
    story.happens(Updated("engine-a-4", "agent", "TASK_FAILED", "", "the versions differ", final=True))
    story.happens(Updated("engine-a-4", "agent", "TASK_STRANGE"))
    story.happens(Disconnected("gone"))
    story.now += 9
    story.happens(Subscribed("framework", "other:5050"))
    shown = story.shown("the disk is full")
    assert shown["ipymesos_tasks_ended_total", "signal", "engine"] == 1
    assert shown["ipymesos_tasks_ended_total", "other", "engine"] == 1
    assert shown["ipymesos_engines_left_total",] == 2 and shown["ipymesos_engines_running", "a"] == 0
    assert shown["ipymesos_given_up", "a"] == 1 and shown["ipymesos_incomplete_seconds", "a"] > 9
    assert shown["ipymesos_master_losses_total",] == 1 and shown["ipymesos_master_registrations_total",] == 2
    assert shown["ipymesos_updates_total", "other"] == 1 and shown["ipymesos_trouble",] == 1


def test_an_engine_that_comes_back_has_not_joined_again(story: Counted) -> None:
    story.happens(Updated("engine-a-3", "agent", "TASK_UNREACHABLE"))
    story.happens(Updated("engine-a-3", "agent", "TASK_RUNNING", engine_id=0))
    assert story.metrics is not None and (story.metrics.joined, story.metrics.left) == (2, 0)


def test_another_scheduler_counts_what_it_finds(story: Counted) -> None:
    found = Metrics(story.state)
    assert (found.joined, found.left) == (2, 0)


def test_calls_and_reasons_of_refusals(story: Counted) -> None:
    refused = Refusal("a", "agent", "host", "mem", "", "", 0.0)
    metrics = Metrics(story.state)
    metrics.asked(
        [
            Reconcile(()),
            Decline(("o1", "o2", "o3"), 5.0, (refused, replace(refused, agent_id="b", reason="cpus"))),
            Decline(("o4",), 5.0, (refused, replace(refused, group="b", reason="cpus"))),
        ]
    )
    assert metrics.calls == {"reconcile": 1, "decline": 2}
    assert metrics.declined == {"mem": 2, "cpus": 1, "not_wanted": 1}


def test_a_histogram() -> None:
    times = Histogram((1.0, 2.0))
    for seconds in (0.5, 1.0, 1.5, 9.0):
        times.observe(seconds)
    assert times.cumulated() == [("1.0", 2.0), ("2.0", 3.0), ("+Inf", 4.0)] and times.sum == 12.0


def test_no_label_grows_with_the_cluster(story: Counted) -> None:
    assert not re.search(r"engine-a-3|controller-1|10\.0\.0\.1|framework", story.text())
    assert len(story.shown()) < 200


# --- what is said of it ---------------------------------------------------------------------------------------------


def described(story: Counted) -> dict[str, tuple[str, str]]:
    """Labels and text of each metric of ours, by name as a query has it."""
    assert story.metrics is not None
    story.metrics.declined["mem"] = story.metrics.calls["launch"] = 1  # whose labels are seen only then
    found = {}
    for family in text_string_to_metric_families(story.text()):
        if family.name.startswith("ipymesos_"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = [label for label in family.samples[0].labels if label != "le"]
            found[name] = (", ".join(sorted(labels)), family.documentation)
    return found


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading."""
    table = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    return cells[2:]


def test_the_page_names_every_metric(story: Counted) -> None:
    page = (MONITORING / "README.md").read_text()
    said = {
        name.strip("`"): (", ".join(sorted(label.strip() for label in labels.split(",") if label)), text)
        for name, labels, text in rows(page, "What there is")
    }
    assert said == described(story)


def test_the_page_of_events_names_every_kind_and_cause() -> None:
    page = (ROOT / "docs" / "events.md").read_text()
    assert {kind.strip("`"): text for kind, text, _ in rows(page, "Kinds")} == KINDS
    assert {cause.strip("`"): text for cause, text in rows(page, "Causes of an end")} == CAUSES


def named(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:ipymesos|process)_\w+", expression))


def known(story: Counted) -> set[str]:
    names = {name for name in re.findall(r"^(\w+)[{ ]", story.text(), re.MULTILINE)}
    return names | {"ipymesos_offers_declined_total", "ipymesos_calls_total"}


@needs_prometheus
def test_promtool_likes_the_metrics_and_the_alerts(story: Counted) -> None:
    for command, text in (("check metrics", story.text()), (f"check rules {MONITORING / 'alerts.yml'}", "")):
        done = subprocess.run([PROMTOOL, *command.split()], input=text, capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, (done.stdout, done.stderr)


RULES_TEST = """
rule_files: ["{alerts}"]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{series: 'up{{job="ipymesos", instance="killed"}}', values: "1x9 0x30"}}
      - {{series: 'ipymesos_stopping{{job="ipymesos", instance="killed"}}', values: "0x9 _x30"}}
      - {{series: 'up{{job="ipymesos", instance="stopped"}}', values: "1x9 0x30"}}
      - {{series: 'ipymesos_stopping{{job="ipymesos", instance="stopped"}}', values: "0x8 1 _x30"}}
      - {{series: 'ipymesos_tasks_ended_total{{instance="a", kind="engine", cause="signal"}}', values: "0+5x30"}}
      - {{series: 'ipymesos_tasks_ended_total{{instance="a", kind="engine", cause="asked"}}', values: "0+99x30"}}
      - {{series: 'ipymesos_incomplete_seconds{{instance="a", group="engines"}}', values: "0+60x30"}}
    promql_expr_test:
      - expr: ALERTS{{alertname="IpymesosSchedulerGone", alertstate="firing"}}
        eval_time: 20m
        exp_samples:
          - labels: 'ALERTS{{alertname="IpymesosSchedulerGone", alertstate="firing", instance="killed", job="ipymesos", severity="warning"}}'
            value: 1
      - expr: ALERTS{{alertname="IpymesosEnginesDie"}}
        eval_time: 20m
        exp_samples:
          - labels: 'ALERTS{{alertname="IpymesosEnginesDie", alertstate="firing", cause="signal", instance="a", severity="warning"}}'
            value: 1
      - expr: count(ALERTS{{alertname="IpymesosWaiting"}}) or vector(0)
        eval_time: 10m
        exp_samples: [{{labels: "{{}}", value: 0}}]
      - expr: count(ALERTS{{alertname="IpymesosWaiting", alertstate="firing"}})
        eval_time: 11m
        exp_samples: [{{labels: "{{}}", value: 1}}]
"""  # noqa: E501


@needs_prometheus
def test_when_the_alerts_fire(tmp_path: Path) -> None:
    rules = tmp_path / "test.yml"
    rules.write_text(RULES_TEST.format(alerts=MONITORING / "alerts.yml"))
    done = subprocess.run([PROMTOOL, "test", "rules", rules], capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout, done.stderr)


def test_the_alerts_ask_for_what_there_is(story: Counted) -> None:
    text = (MONITORING / "alerts.yml").read_text()
    expressions = re.findall(r"^ +expr: (.+)$", text, re.MULTILINE)
    assert len(expressions) == text.count("- alert: ") > 5
    assert {name for expression in expressions for name in named(expression)} <= known(story)


def test_the_dashboard(story: Counted) -> None:
    board = json.loads((MONITORING / "grafana.json").read_text())
    assert board["uid"] == "ipymesos" and board["schemaVersion"] >= 36
    variables = {variable["name"] for variable in board["templating"]["list"]}
    assert variables == {"datasource", "instance"}
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels) > 10
    taken: set[tuple[int, int]] = set()
    expressions = []
    for panel in panels:
        assert panel["type"] in ("stat", "timeseries") and panel["datasource"]["uid"] == "${datasource}"
        at = panel["gridPos"]
        place = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert place and not place & taken and max(x for x, _ in place) < 24
        taken |= place
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
        expressions += [target["expr"] for target in panel["targets"]]
    used = {name for expression in expressions for name in named(expression)}
    assert used <= known(story)
    ours = {name for name in described(story) if not name.startswith(("ipymesos_build", "ipymesos_events_total"))}
    assert {name.removesuffix("_bucket") for name in used} >= ours - {"ipymesos_stopping"}
    for word in re.findall(r"\$(?:\{)?(\w+)", " ".join(expressions)):
        assert word in variables | {"__rate_interval"}
