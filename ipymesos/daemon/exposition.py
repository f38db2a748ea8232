"""The metrics as Prometheus reads them. docs/monitoring/README.md has the list.

prometheus_client is loaded with the first scrape only: a scheduler that nobody watches starts without it.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from .. import __version__
from ..core import policy
from ..core.cluster import State
from ..core.session import Everything
from .metrics import Histogram, Metrics, kind_of
from .vocabulary import CAUSES

KINDS = ("controller", "engine")

Now = tuple[Everything, float, str, int]  # state, time, what goes wrong at the moment, events that aren't in the file


class Exposition:
    """`now` is asked at each scrape."""

    kind = CONTENT_TYPE_LATEST

    def __init__(self, metrics: Metrics, now: Callable[[], Now]) -> None:
        self._metrics, self._now = metrics, now
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Nothing is asked of us when we are registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        state, now, trouble, unwritten = self._now()
        yield from self._counted(unwritten)
        yield from _seen(state, now, trouble)

    def _counted(self, unwritten: int) -> Iterator[Metric]:
        known = self._metrics
        yield _counter("master_registrations", "Registrations with a master: the first one, and each again.",
                       known.registrations)  # fmt: skip
        yield _counter("master_losses", "Connections to a master that were lost.", known.losses)
        yield _counter("offers_received", "Offers that Mesos has made.", known.offers)
        yield _counters("offers_declined", "Offers that were not used, by reason.", "reason", known.declined)
        yield _counters("calls", "What was asked of Mesos.", "type", known.calls)
        yield _counters("updates", "Status updates of tasks, by Mesos' state.", "state", known.updates)
        yield _counters("events", "Events, by kind: see docs/events.md.", "kind", known.events)
        yield _counter("events_unwritten", "Events that could not be written into their file.", unwritten)
        yield _counter("engines_joined", "Engines that have become usable, each counted once.", known.joined)
        yield _counter("engines_left", "Engines that were usable and have ended.", known.left)
        ended = CounterMetricFamily(
            "ipymesos_tasks_ended", "Tasks that have ended, by cause: see docs/events.md.", labels=["kind", "cause"]
        )
        for kind in KINDS:
            for cause in CAUSES:
                ended.add_metric([kind, cause], known.ended[kind, cause])
        yield ended
        yield _histograms("start_seconds", "From a task's launch until it was usable.", "kind", known.starts)
        yield _histogram("turn_seconds", "How long the scheduler thought and saved, each time something had happened.",
                         known.turns)  # fmt: skip


def _seen(state: Everything, now: float, trouble: str) -> Iterator[Metric]:
    """What is, just now."""
    cluster, session = state.cluster, state.session
    info = GaugeMetricFamily("ipymesos_build_info", "Always 1.", labels=["version", "python"])
    info.add_metric([__version__, platform.python_version()], 1)
    yield info
    yield _gauge("connected", "Whether a Mesos master knows us.", session.connected)
    yield _gauge("stopping", "Whether the end of the cluster is wanted.", bool(cluster.stopping))
    yield _gauge("trouble", "Whether something can't be done that is tried again, saving the state for example.",
                 bool(trouble))  # fmt: skip
    tasks = GaugeMetricFamily("ipymesos_tasks", "Tasks that may be alive, by state.", labels=["kind", "state"])
    counted = Counter((kind_of(task.group), task.state) for task in cluster.tasks.values())
    for kind in KINDS:
        for word in State:
            tasks.add_metric([kind, word.value], counted[kind, word])
    yield tasks
    sets = cluster.spec.engines
    wanted = {} if cluster.stopping else {name: engines.n for name, engines in sets.items()}
    yield _gauges("engines_wanted", "Engines that are wanted.", "engine_set", wanted)
    running = {name: len(policy.usable(cluster, name)) for name in sets}
    yield _gauges("engines_running", "Engines that a client can use.", "engine_set", running)
    groups = policy.wanted(cluster)
    waits = {name: max(0.0, now - session.incomplete_since.get(name, now)) for name in groups}
    yield _gauges("incomplete_seconds", "How long a group has not been complete; 0 when it is.", "group", waits)
    lost = {name: name in cluster.setbacks and cluster.setbacks[name].final for name in groups}
    yield _gauges("given_up", "Whether a group is not tried any more.", "group", lost)
    used = {task.agent_id for task in cluster.tasks.values()}
    resting = [known for known in cluster.troubles.values() if known.until > now]
    agents = {"used": len(used), "draining": len(cluster.draining), "resting": len(resting)}
    yield _gauges("agents", "Agents that run something of ours, are to be taken away, or rest after failures.",
                  "state", agents)  # fmt: skip


def _counter(name: str, help: str, value: float) -> Metric:
    return CounterMetricFamily(f"ipymesos_{name}", help, value=value)


def _counters(name: str, help: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(f"ipymesos_{name}", help, labels=[label])
    for word, value in sorted(values.items()):
        family.add_metric([word], value)
    return family


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(f"ipymesos_{name}", help, value=value)


def _gauges(name: str, help: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"ipymesos_{name}", help, labels=[label])
    for word, value in sorted(values.items()):
        family.add_metric([word], value)
    return family


def _histogram(name: str, help: str, values: Histogram) -> Metric:
    return HistogramMetricFamily(f"ipymesos_{name}", help, buckets=values.cumulated(), sum_value=values.sum)


def _histograms(name: str, help: str, label: str, values: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(f"ipymesos_{name}", help, labels=[label])
    for word, histogram in values.items():
        family.add_metric([word], histogram.cumulated(), histogram.sum)
    return family
