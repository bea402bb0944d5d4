"""What a process counts, in the text form of Prometheus. Labels name routes, connections and
outcomes, never a patient, a resource or a person."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BREAKER_STATES = ("closed", "half-open", "open")


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

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Counts one answered request."""
        self.requests.labels(route, str(status)).inc()
        self.request_seconds.labels(route).observe(seconds)

    def show_breakers(self, states: Mapping[str, str]) -> None:
        """Sets the states of the circuit breakers, by connection."""
        for connection, state in states.items():
            for known in {*BREAKER_STATES, state}:
                self.breaker.labels(connection, known).set(known == state)

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self._registry)
