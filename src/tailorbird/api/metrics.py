"""What a Prometheus server is told: counts and times, no names of people and nothing they sent."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tailorbird.core.action import ActionStatus
from tailorbird.engine import Engine

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class Metrics:
    """The counters of one server; each server has its own registry."""

    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        self.events = Counter(
            "tailorbird_intake_events", "Events by how they came and what became of them", ("call", "status"),
            registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "tailorbird_request_seconds", "Time to answer a request", ("route",), buckets=_SECONDS, registry=self.registry
        )
        self.answers = Counter("tailorbird_requests", "Requests by status class", ("route", "status"), registry=self.registry)
        self.commits = Histogram(
            "tailorbird_commit_events", "Events that shared one commit", buckets=_COUNTS, registry=self.registry
        )
        self.timers = Counter("tailorbird_timers_fired", "Profiles woken by a timer", registry=self.registry)
        self.settled = Counter(
            "tailorbird_deliveries_settled", "Actions sent, refused, put off or given up", registry=self.registry
        )
        self.faults = Counter("tailorbird_faults", "Defects that were caught and logged", ("where",), registry=self.registry)
        self.queue = Gauge("tailorbird_queue_events", "Events waiting for the loop", registry=self.registry)
        self.registry.register(_Stored(engine))

    def render(self) -> bytes:
        """Return all of it in Prometheus' text format; reads the store, so not for the event loop's thread."""
        return generate_latest(self.registry)


class _Stored(Collector):
    """What the store knows, read when it is asked for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        engine = self._engine
        outbox = GaugeMetricFamily("tailorbird_outbox_actions", "Actions by status", labels=["status"])
        counts = engine.store.count_actions()
        for status in ActionStatus:
            outbox.add_metric([str(status)], counts.get(str(status), 0))
        yield outbox
        members = GaugeMetricFamily("tailorbird_segment_members", "Members of each live segment", labels=["segment"])
        sizes = engine.store.segment_sizes()
        for name in sorted(engine.loop.catalog.conditions):
            members.add_metric([name], sizes.get(name, 0))
        yield members
        yield GaugeMetricFamily("tailorbird_profiles_ready", "Profiles ready in memory", value=len(engine.loop.cache.entries))
        due = engine.store.next_due()
        late = 0.0 if due is None else max(0, engine.now() - due) / 1000
        yield GaugeMetricFamily("tailorbird_timer_delay_seconds", "How late the earliest timer is", value=late)
