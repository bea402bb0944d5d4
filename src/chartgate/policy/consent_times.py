"""Dates and periods of consents, with the precision and the zone that they were written with.

A date without a zone is a day somewhere on earth: 50 hours in which it may be meant and, unless
the site says where it lies, none of its edges is sure. Source:
https://hl7.org/fhir/R4/datatypes.html#Period
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from chartgate.formats import r4
from chartgate.policy.consent_codes import Match

EASTMOST = timedelta(hours=14)  # where a day begins first
WESTMOST = timedelta(hours=-12)  # where it ends last
BEGINNING = datetime.min.replace(tzinfo=UTC)
END = datetime.max.replace(tzinfo=UTC)

Span = tuple[datetime, datetime]  # from the first instant to the first one after it


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """A FHIR date, dateTime or instant: the whole of the year, day or second that it names."""

    text: str
    start: datetime  # without a zone where the text has none
    end: datetime  # the first instant after it

    def earliest(self, zone: tzinfo | None) -> datetime:
        """The first instant at which it may have begun."""
        return _placed(self.start, zone, EASTMOST)

    def surely_begun(self, zone: tzinfo | None) -> datetime:
        """The instant at which it has begun everywhere."""
        return _placed(self.start, zone, WESTMOST)

    def surely_on(self, zone: tzinfo | None) -> datetime:
        """The instant up to which it has ended nowhere."""
        return _placed(self.end, zone, EASTMOST)

    def latest(self, zone: tzinfo | None) -> datetime:
        """The instant at which it has ended everywhere."""
        return _placed(self.end, zone, WESTMOST)


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """Both ends are within it, as long as the precision that they are written with."""

    start: Moment | None = None
    end: Moment | None = None

    def holds(self, span: Span, zone: tzinfo | None) -> Match:
        """Whether all of `span` lies within: NO where none of it can."""
        first, after = span
        start, end = self.start, self.end
        if (start and after <= start.earliest(zone)) or (end and first >= end.latest(zone)):
            return Match.NO
        begun = start is None or first >= start.surely_begun(zone)
        on = end is None or after <= end.surely_on(zone)
        return Match.YES if begun and on else Match.UNSURE

    def holds_instant(self, at: datetime, zone: tzinfo | None) -> Match:
        """Whether the instant lies within."""
        return self.holds((at, at + timedelta(microseconds=1)), zone)

    def edges(self, zone: tzinfo | None) -> tuple[datetime, ...]:
        """The instants at which `holds_instant` gives another answer than just before."""
        start, end = self.start, self.end
        return (
            *((start.earliest(zone), start.surely_begun(zone)) if start else ()),
            *((end.surely_on(zone), end.latest(zone)) if end else ()),
        )

    @property
    def is_backward(self) -> bool:
        """Whether it surely ends before it begins."""
        if self.start is None or self.end is None:
            return False
        return self.end.latest(None) <= self.start.earliest(None) or (
            _same_kind(self.start, self.end) and self.end.end <= self.start.start
        )


def not_older(one: Moment | None, other: Moment | None, zone: tzinfo | None) -> bool:
    """Whether `one` was surely given no earlier than `other`."""
    if one is None or other is None:
        return False
    if one.text == other.text:
        return True
    if _same_kind(one, other) and one.start.tzinfo is None:
        return one.start >= other.start
    return one.earliest(zone) >= other.latest(zone)


@lru_cache(maxsize=4096)
def moment(text: str) -> Moment:
    """Of e.g. "2026-01", "2026-01-31" or "2026-01-31T08:00:00+01:00". Raises ValueError."""
    if not r4.is_shaped("dateTime", text) and not r4.is_shaped("instant", text):
        raise ValueError("no FHIR date")
    if "T" in text:
        start = datetime.fromisoformat(text)
        try:
            return Moment(text=text, start=start, end=start + timedelta(seconds=1))
        except OverflowError:
            return Moment(text=text, start=start, end=END)
    year, month, day = (*(int(part) for part in text.split("-")), 0, 0)[:3]
    start = datetime(year, month or 1, day or 1)  # noqa: DTZ001  the text says none
    try:
        if day:
            end = start + timedelta(days=1)
        elif month:
            end = (start + timedelta(days=32)).replace(day=1)
        else:
            end = start.replace(year=year + 1)
    except (OverflowError, ValueError):  # 9999-12-31, which is meant as: for ever
        end = END.replace(tzinfo=None)
    return Moment(text=text, start=start, end=end)


def _same_kind(one: Moment, other: Moment) -> bool:
    return (one.start.tzinfo is None) == (other.start.tzinfo is None)


def _placed(value: datetime, zone: tzinfo | None, offset: timedelta) -> datetime:
    """A local time as an instant: in its zone, else in the one `offset` east of Greenwich."""
    try:
        if value.tzinfo is None and zone is None:
            return value.replace(tzinfo=UTC) - offset
        return (value if value.tzinfo else value.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        return END if value.year > BEGINNING.year else BEGINNING
