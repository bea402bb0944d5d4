"""Whether people review or wave through: what their decisions say of that, in figures.

A share comes with its count and its 95 % interval (Wilson), because small numbers prove little.
What is told apart: real proposals, where approving may be right, and known-bad ones, where it
never is.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from chartgate.model.review import Decided

Z = 1.96  # of a 95 % interval
ENOUGH = 20  # decisions below which nothing is said to stand out
SEEDS_ENOUGH = 5  # the same, of known-bad ones
HURRIED_MAX = 0.05  # share of approvals that were tried too early
CAUGHT_MIN = 0.8  # share of known-bad proposals that should be caught
PACE_MIN = 1.25  # median look, as a multiple of the shortest honest one
RUN_ALPHA = 0.01  # chance under which a run of approvals is called unlikely
MINUTE_S = 60.0
MANY_A_MINUTE = 6


@dataclass(frozen=True, kw_only=True)
class Share:
    """k of n, with its interval. All of them None where n is 0."""

    k: int
    n: int

    @property
    def value(self) -> float | None:
        """k / n."""
        return self.k / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of Wilson."""
        if not self.n:
            return None
        p, n = self.k / self.n, self.n
        centre = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
        half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
        return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Of one person under one charter, or of any other set of decisions."""

    decisions: int  # on real proposals, refusals and hand-backs with them
    approved: Share  # of decisions
    unedited: Share  # of approvals: what the AI proposed stood as it was
    agreed_after_edit: Share  # of decisions on edited content: it was approved then
    dwell_s: float | None  # median look before an approval
    floor_s: float | None  # median of the shortest honest look at the same
    pace: float | None  # median of the one as a multiple of the other
    hurried: Share  # of approvals: tried too early, or under the floor
    caught: Share  # of known-bad proposals
    a_minute_max: int  # approvals within one minute
    run_max: int  # longest run of approvals
    trend: Mapping[str, tuple[float | None, float | None]]  # earlier half, later half
    alarms: tuple[str, ...] = ()  # what stands out, in sentences


def measured(decisions: Iterable[Decided]) -> Measures:
    """The figures of these decisions, in whatever order they come."""
    ordered = sorted(decisions, key=lambda d: (d.at, d.proposal))
    real = [d for d in ordered if d.seed is None and d.verdict != "edit"]
    seeds = [d for d in ordered if d.seed is not None]
    approvals = [d for d in real if d.verdict == "approve"]
    edited = [d for d in real if d.edited]
    figures = Measures(
        decisions=len(real),
        approved=_share(approvals, real),
        unedited=_share([d for d in approvals if not d.edited], approvals),
        agreed_after_edit=_share([d for d in edited if d.verdict == "approve"], edited),
        dwell_s=_median([d.dwell_s for d in approvals]),
        floor_s=_median([d.floor_s for d in approvals]),
        pace=_pace(approvals),
        hurried=_share([d for d in approvals if d.early or d.dwell_s < d.floor_s], approvals),
        caught=_share([d for d in seeds if d.verdict != "approve"], seeds),
        a_minute_max=_most_within([d.at.timestamp() for d in approvals], MINUTE_S),
        run_max=_longest_run(real),
        trend=_trend(real, seeds),
    )
    return _with_alarms(figures)


def by_reviewer(decisions: Iterable[Decided]) -> dict[tuple[str, str], Measures]:
    """The figures of each person under each charter."""
    grouped: dict[tuple[str, str], list[Decided]] = {}
    for decided in decisions:
        grouped.setdefault((decided.charter, decided.person), []).append(decided)
    return {key: measured(found) for key, found in sorted(grouped.items())}


def _share(some: Sequence[Decided], of: Sequence[Decided]) -> Share:
    return Share(k=len(some), n=len(of))


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def _pace(approvals: Sequence[Decided]) -> float | None:
    return _median([d.dwell_s / d.floor_s for d in approvals if d.floor_s > 0])


def _most_within(times: Sequence[float], span_s: float) -> int:
    """The most of these ascending times within any span."""
    most, first = 0, 0
    for last, time in enumerate(times):
        while time - times[first] > span_s:
            first += 1
        most = max(most, last - first + 1)
    return most


def _longest_run(decisions: Sequence[Decided]) -> int:
    longest = run = 0
    for decided in decisions:
        run = run + 1 if decided.verdict == "approve" else 0
        longest = max(longest, run)
    return longest


def _trend(
    real: Sequence[Decided], seeds: Sequence[Decided]
) -> dict[str, tuple[float | None, float | None]]:
    """Habit grows: approvals up, looks down, known-bad ones missed."""
    halves = [_halved(real), _halved([d for d in real if d.verdict == "approve"]), _halved(seeds)]
    (all_1, all_2), (approved_1, approved_2), (seeds_1, seeds_2) = halves
    return {
        "approved": (_rate(all_1, "approve"), _rate(all_2, "approve")),
        "pace": (_pace(approved_1), _pace(approved_2)),
        "missed": (_rate(seeds_1, "approve"), _rate(seeds_2, "approve")),
    }


def _halved(decisions: Sequence[Decided]) -> tuple[Sequence[Decided], Sequence[Decided]]:
    middle = len(decisions) // 2
    return decisions[:middle], decisions[middle:]


def _rate(decisions: Sequence[Decided], verdict: str) -> float | None:
    some = [d for d in decisions if d.verdict == verdict]
    return len(some) / len(decisions) if decisions else None


def _with_alarms(figures: Measures) -> Measures:
    found = []
    if figures.decisions >= ENOUGH:
        if (figures.hurried.value or 0.0) > HURRIED_MAX:
            found.append("approves before there was time to look, more often than 1 in 20")
        if figures.pace is not None and figures.pace < PACE_MIN:
            found.append("approves as soon as it is possible")
        if figures.run_max > _unlikely_run(figures.approved):
            found.append(f"approved {figures.run_max} in a row, which chance alone hardly gives")
        before, after = figures.trend["pace"]
        if before and after and after < before / 2:
            found.append("looks half as long as before")
    if figures.a_minute_max >= MANY_A_MINUTE:
        found.append(f"approved {figures.a_minute_max} within one minute")
    interval = figures.caught.interval
    if interval and figures.caught.n >= SEEDS_ENOUGH and interval[1] < CAUGHT_MIN:
        found.append("catches fewer known-bad proposals than 4 in 5")
    return replace(figures, alarms=tuple(found))


def _unlikely_run(approved: Share) -> float:
    """How long a run of approvals may be by chance, at this rate of them."""
    rate = approved.value
    if rate is None or not 0.0 < rate < 1.0:
        return math.inf
    return math.log(RUN_ALPHA / approved.n) / math.log(rate)
