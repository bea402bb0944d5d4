"""Hours of a week, and who is on call for which worklist in them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOLIDAY = "holiday"  # a date that is listed as one; it is no weekday then
ALL_DAYS = (*DAYS, HOLIDAY)
DAY_MINUTES = 24 * 60


@dataclass(frozen=True, kw_only=True)
class Hours:
    """Times of some days, by the wall clock. Those that end before they begin run over midnight,
    and count to the day on which they began."""

    days: tuple[str, ...] = ALL_DAYS
    begin: int = 0  # minute of the day
    end: int = DAY_MINUTES  # the first minute that is outside


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """Where the wall clock hangs, and which dates are holidays there."""

    zone: tzinfo = UTC
    holidays: frozenset[str] = frozenset()  # "2026-12-25"


@dataclass(frozen=True, kw_only=True)
class OpenHours:
    """A charter's `hours`: outside of them staff get the work at once."""

    hours: Hours
    calendar: Calendar


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where work goes: another worklist, a person of the one where it is, or both."""

    worklist: str = ""  # empty: it stays where it is
    person: str = ""  # empty: whoever is on call


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Who has a worklist at these hours."""

    hours: Hours
    target: Target


@dataclass(frozen=True, kw_only=True)
class EscalationStep:
    """Where work goes next if nobody took it on for so long since the last step."""

    after_s: float
    target: Target


@dataclass(frozen=True, kw_only=True)
class Duty:
    """What the roster says of one worklist."""

    shifts: tuple[Shift, ...] = ()  # the first that covers a moment counts
    steps: tuple[EscalationStep, ...] = ()  # where the charter has none of its own


@dataclass(frozen=True, kw_only=True)
class Roster:
    """policies/roster.yaml. An empty one leaves all work where the charters send it."""

    calendar: Calendar = Calendar()
    duties: Mapping[str, Duty] = field(default_factory=dict)  # by worklist
    digest: str = ""  # hex SHA-256 of the file; empty: there is none
