"""What a process counts, in the text form of Prometheus. Labels name routes, connections and
outcomes, never a patient, a resource or a person."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

from chartgate.model.review import Decided
from chartgate.observe.handoff_metrics import HandoffMetrics
from chartgate.observe.review_metrics import ReviewMetrics

SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BREAKER_STATES = ("closed", "half-open", "open")


@dataclass(frozen=True, kw_only=True)
class QuarantineFigures:
    """What is open of one connection and reason class."""

    connection: str
    reason_class: str
    rows: int
    last_hour: int  # rows seen within it
    oldest_s: float


class RefusalsShown(Collector):
    """Refusals by action and reason, as the store's tally has them."""

    def __init__(self) -> None:
        self.counts: Mapping[tuple[str, str], int] = {}

    def collect(self) -> Iterator[CounterMetricFamily]:
        """One family."""
        family = CounterMetricFamily(
            "chartgate_refusals",
            "Audit events of what was denied or failed, by action and reason",
            labels=("action", "reason"),
        )
        for labels, count in sorted(self.counts.items()):
            family.add_metric(labels, count)
        yield family


class Metrics:
    """The metrics of one process, in a registry of their own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self.requests = Counter(
            "chartgate_requests",
            "Requests answered, by route and HTTP status",
            ("route", "status"),
            registry=registry,
        )
        self.request_seconds = Histogram(
            "chartgate_request_seconds",
            "Time from a request's head to its answer, by route",
            ("route",),
            buckets=BUCKETS_S,
            registry=registry,
        )
        self.in_flight = Gauge(
            "chartgate_requests_in_flight", "Requests under way", registry=registry
        )
        self.audit_queued = Gauge(
            "chartgate_audit_queued", "Events that wait for their commit", registry=registry
        )
        self.breaker = Gauge(
            "chartgate_breaker_state",
            "1 for the state that a connection's circuit breaker is in",
            ("connection", "state"),
            registry=registry,
        )
        self.kept_bytes = Gauge(
            "chartgate_minimised_kept_bytes", "Memory of minimised resources", registry=registry
        )
        self.share_shown = Histogram(
            "chartgate_minimised_share",
            "Bytes of a resource that are left by minimisation, as a share of what is held",
            ("charter", "resource_type"),
            buckets=SHARES,
            registry=registry,
        )
        self._refusals = RefusalsShown()
        registry.register(self._refusals)
        self.review = ReviewMetrics(registry)
        self.handoffs = HandoffMetrics(registry)
        self._add_audit(registry)
        self._add_quarantine(registry)

    def _add_audit(self, registry: CollectorRegistry) -> None:
        self.atna_lag, self.unsigned_seconds = _audit_gauges(registry)

    def _add_quarantine(self, registry: CollectorRegistry) -> None:
        self.quarantine_shown_at: datetime | None = None
        by_class = ("connection", "reason_class")
        self.quarantine_open = Gauge(
            "chartgate_quarantine_open", "Open rows of the quarantine", by_class, registry=registry
        )
        self.quarantine_last_hour = Gauge(
            "chartgate_quarantine_last_hour",
            "Open rows of the quarantine that were seen within the last hour",
            by_class,
            registry=registry,
        )
        self.quarantine_oldest = Gauge(
            "chartgate_quarantine_oldest_seconds",
            "Age of the oldest open row of the quarantine",
            by_class,
            registry=registry,
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Counts one answered request."""
        self.requests.labels(route, str(status)).inc()
        self.request_seconds.labels(route).observe(seconds)

    def minimised(self, charter: str, resource_type: str, share: float) -> None:
        """Notes how much of one resource a charter shows."""
        self.share_shown.labels(charter, resource_type).observe(share)

    def reviewed(self, decided: Decided) -> None:
        """Counts one decision of a person."""
        self.review.decided(decided)

    def show_refusals(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Sets the refusals so far, by action and reason."""
        self._refusals.counts = counts

    def show_breakers(self, states: Mapping[str, str]) -> None:
        """Sets the states of the circuit breakers, by connection."""
        for connection, state in states.items():
            for known in {*BREAKER_STATES, state}:
                self.breaker.labels(connection, known).set(known == state)

    def show_quarantine(self, figures: Iterable[QuarantineFigures]) -> None:
        """Sets what is open now; what is not in it is gone."""
        for gauge in (self.quarantine_open, self.quarantine_last_hour, self.quarantine_oldest):
            gauge.clear()
        for one in figures:
            labels = (one.connection, one.reason_class)
            self.quarantine_open.labels(*labels).set(one.rows)
            self.quarantine_last_hour.labels(*labels).set(one.last_hour)
            self.quarantine_oldest.labels(*labels).set(one.oldest_s)

    def show_audit(self, lags: Mapping[str, int], unsigned_s: float) -> None:
        """Sets how far the ledger's feeds and its signing are behind."""
        self.atna_lag.clear()
        for destination, lag in lags.items():
            self.atna_lag.labels(destination).set(lag)
        self.unsigned_seconds.set(unsigned_s)

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self._registry)


def _audit_gauges(registry: CollectorRegistry) -> tuple[Gauge, Gauge]:
    """How far the ledger's feeds and its signing are behind."""
    lag = Gauge(
        "chartgate_atna_lag",
        "Events that an audit record repository has not been sent yet",
        ("destination",),
        registry=registry,
    )
    unsigned = Gauge(
        "chartgate_ledger_unsigned_seconds",
        "Age of the oldest audit event that no signed head covers",
        registry=registry,
    )
    return lag, unsigned
