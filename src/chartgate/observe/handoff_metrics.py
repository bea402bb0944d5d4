"""How work stands that was given back to staff: by worklist and cause, never by person or patient."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Gauge

from chartgate.model.handoff import HandoffFigures

BY = ("worklist", "cause")


class HandoffMetrics:
    """Gauges of what the store says; every process shows the same."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._open = _gauge(registry, "open", "Handoffs that nobody has taken on")
        self._taken = _gauge(registry, "taken", "Handoffs that somebody works on")
        self._overdue = _gauge(registry, "overdue", "Handoffs that are not closed and past due")
        self._acknowledged = _gauge(
            registry, "acknowledged_last_day", "Handoffs that somebody took on within a day"
        )
        self._seconds = _gauge(
            registry,
            "acknowledge_seconds_last_day",
            "Their times from being opened to being taken on, together",
        )
        self._behind = Gauge(
            "chartgate_handoffs_not_outside",
            "Handoffs that could not be put on a list outside yet",
            ("connection",),
            registry=registry,
        )

    def show(self, figures: Iterable[HandoffFigures], behind: Mapping[str, int]) -> None:
        """Sets how it stands now; what is not in it is gone."""
        gauges = (self._open, self._taken, self._overdue, self._acknowledged, self._seconds)
        for gauge in (*gauges, self._behind):
            gauge.clear()
        for one in figures:
            values = (one.open, one.taken, one.overdue, one.acknowledged, one.acknowledged_s)
            for gauge, value in zip(gauges, values, strict=True):
                gauge.labels(one.worklist, one.cause).set(value)
        for connection, count in behind.items():
            self._behind.labels(connection).set(count)


def _gauge(registry: CollectorRegistry, name: str, text: str) -> Gauge:
    return Gauge(f"chartgate_handoffs_{name}", text, BY, registry=registry)
