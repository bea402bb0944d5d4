"""How people review, counted by charter and role: never by person, patient or proposal."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from chartgate.model.review import Decided

PACES = (0.5, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
NO_ROLE = "none"


class ReviewMetrics:
    """What one process saw of reviews."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.decisions = Counter(
            "chartgate_review_decisions",
            "Decisions of people on real proposals, by charter, role and verdict",
            ("charter", "role", "verdict"),
            registry=registry,
        )
        self.early = Counter(
            "chartgate_review_too_early",
            "Approvals that came before there was time to look, by charter and role",
            ("charter", "role"),
            registry=registry,
        )
        self.pace = Histogram(
            "chartgate_review_pace",
            "Time looked before an approval, as a multiple of what looking takes at least",
            ("charter", "role"),
            buckets=PACES,
            registry=registry,
        )
        self.known_bad = Counter(
            "chartgate_review_known_bad",
            "Known-bad proposals that were decided on, by charter, role and whether caught or missed",
            ("charter", "role", "result"),
            registry=registry,
        )

    def decided(self, decided: Decided) -> None:
        """Counts one decision."""
        role = _role(decided.roles)
        approved = decided.verdict == "approve"
        if approved and decided.floor_s > 0:
            self.pace.labels(decided.charter, role).observe(decided.dwell_s / decided.floor_s)
        if decided.seed is None:
            self.decisions.labels(decided.charter, role, decided.verdict).inc()
        else:
            result = "missed" if approved else "caught"
            self.known_bad.labels(decided.charter, role, result).inc()

    def too_early(self, charter: str, roles: Sequence[str]) -> None:
        """Counts an approval that was sent back to look."""
        self.early.labels(charter, _role(roles)).inc()


def _role(roles: Sequence[str]) -> str:
    return roles[0] if roles else NO_ROLE
