"""What a Prometheus server is told: counts and times, no names of people and nothing they sent."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from tailorbird.api.segment import CALLS
from tailorbird.core.action import ActionStatus
from tailorbird.engine import Engine
from tailorbird.runtime.turns import Turn

__all__ = ["CONTENT_TYPE", "Metrics", "Spread"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

ROUTES = ("intake", "features", "api")
STATUSES = ("accepted", "duplicate", "rejected")

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class Spread:
    """A histogram that one thread adds to, in a fraction of a microsecond."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def told(self) -> tuple[list[tuple[str, float]], float]:
        """Return the cumulated buckets and the sum, as Prometheus wants them."""
        buckets, total = [], 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        return buckets, self._sum


class Metrics:
    """The counters of one server; each server has its own registry.

    ``seconds``, ``events`` and ``answers`` belong to the event loop's thread: plain numbers, for they are touched with
    every request.
    """

    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        self.seconds = {route: Spread(_SECONDS) for route in ROUTES}
        self.events: dict[str, dict[str, int]] = {call: dict.fromkeys(STATUSES, 0) for call in (*CALLS, "batch", "events")}
        self.answers: dict[tuple[str, str], int] = {}
        self.commits = Histogram(
            "tailorbird_commit_events", "Events that shared one commit", buckets=_COUNTS, registry=self.registry
        )
        self.timers = Counter("tailorbird_timers_fired", "Profiles woken by a timer", registry=self.registry)
        self.settled = Counter(
            "tailorbird_deliveries_settled", "Actions sent, refused, put off or given up", registry=self.registry
        )
        self.faults = Counter("tailorbird_faults", "Defects that were caught and logged", ("where",), registry=self.registry)
        self.queue = Gauge("tailorbird_queue_events", "Events waiting for the loop", registry=self.registry)
        self.registry.register(_Counted(self))
        self.registry.register(_Stored(engine))

    def committed(self, turn: Turn) -> None:
        """Count what a turn wrote."""
        if turn.unit.events:
            self.commits.observe(len(turn.unit.events))
        if turn.woken:
            self.timers.inc(turn.woken)

    def answered(self, route: str, status: int) -> None:
        """Count an answer by its class (``4xx``)."""
        key = route, f"{status // 100}xx"
        self.answers[key] = self.answers.get(key, 0) + 1

    def render(self) -> bytes:
        """Return all of it in Prometheus' text format; reads the store, so not for the event loop's thread."""
        return generate_latest(self.registry)


class _Counted(Collector):
    """What the event loop's thread has counted."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        events = CounterMetricFamily(
            "tailorbird_intake_events", "Events by how they came and what became of them", labels=["call", "status"]
        )
        for call, counts in self._metrics.events.items():
            for status, count in counts.items():
                events.add_metric([call, status], count)
        yield events
        refused = CounterMetricFamily("tailorbird_refusals", "Requests answered with an error", labels=["route", "status"])
        for (route, status), count in self._metrics.answers.copy().items():
            refused.add_metric([route, status], count)
        yield refused
        seconds = HistogramMetricFamily("tailorbird_request_seconds", "Time to answer a request", labels=["route"])
        for route, spread in self._metrics.seconds.items():
            buckets, total = spread.told()
            seconds.add_metric([route], buckets, total)
        yield seconds


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
