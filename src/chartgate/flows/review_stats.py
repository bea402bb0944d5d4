"""How people review: the figures of policy/review_measures.py over what they decided lately.

They are about staff, not about patients: who runs Chartgate reads them, and no page shows them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from chartgate.gate import Gate
from chartgate.policy.review_measures import Measures, by_reviewer, measured
from chartgate.store.reviews import ReviewStore

DECISIONS_MAX = 100_000  # the newest ones that are looked at
LAST_MAX = 10_000


@dataclass(frozen=True, kw_only=True)
class ReviewStats:
    """The figures, by charter and person, and of all together."""

    since: datetime | None
    reviewers: Mapping[tuple[str, str], Measures]  # by charter and Person.agent
    charters: Mapping[str, Measures]
    all: Measures
    complete: bool  # False: there are older decisions that were left out


async def review_stats(
    gate: Gate,
    *,
    since: datetime | None = None,
    charter: str | None = None,
    person: str | None = None,
    last: int | None = None,
) -> ReviewStats:
    """The figures of decisions since then, under one charter, of one person; None does not narrow.
    `last` is how many of the newest are looked at."""
    limit = min(last or DECISIONS_MAX, DECISIONS_MAX)
    found = await ReviewStore(gate.database).decisions(
        since=since, charter=charter, person=f"person:{person}" if person else None, limit=limit + 1
    )
    taken = found[:limit]
    return ReviewStats(
        since=since,
        reviewers=by_reviewer(taken),
        charters={
            name: measured(d for d in taken if d.charter == name)
            for name in sorted({d.charter for d in taken})
        },
        all=measured(taken),
        complete=len(found) <= limit,
    )
