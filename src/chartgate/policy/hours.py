"""Whether a moment lies within hours of the week, by the wall clock of a place."""

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from chartgate.errors import ConfigError
from chartgate.model.roster import ALL_DAYS, DAY_MINUTES, DAYS, HOLIDAY, Calendar, Hours

CLOCK_LENGTH = len("07:30")


def covers(hours: Hours, calendar: Calendar, at: datetime) -> bool:
    """Whether `at` lies within them. An hour that summer time repeats counts twice."""
    local = at.astimezone(calendar.zone)
    minute = local.hour * 60 + local.minute
    today = day_of(local.date(), calendar) in hours.days
    if hours.begin < hours.end:
        return today and hours.begin <= minute < hours.end
    yesterday = day_of(local.date() - timedelta(days=1), calendar) in hours.days
    return (today and minute >= hours.begin) or (yesterday and minute < hours.end)


def day_of(day: date, calendar: Calendar) -> str:
    """One of ALL_DAYS."""
    return HOLIDAY if day.isoformat() in calendar.holidays else DAYS[day.weekday()]


def hours_of(value: dict[str, Any]) -> Hours:
    """The hours of `days`, `from` and `to`. Raises ConfigError."""
    days = value.get("days", list(ALL_DAYS))
    unknown = [d for d in days if d not in ALL_DAYS] if isinstance(days, list) else [days]
    if unknown or not days:
        raise ConfigError(f"days must be a list out of {', '.join(ALL_DAYS)}")
    begin, end = minute_of(value.get("from", "00:00")), minute_of(value.get("to", "24:00"))
    if begin == end or begin == DAY_MINUTES:
        raise ConfigError("from and to leave no time between them")
    return Hours(days=tuple(days), begin=begin, end=end)


def calendar_of(zone: object, holidays: object) -> Calendar:
    """Raises ConfigError for a zone or date that there is not."""
    return Calendar(zone=_zone(zone), holidays=_holidays(holidays))


def minute_of(text: object) -> int:
    """The minute of the day of "07:30"; "24:00" is its end. Raises ConfigError."""
    if isinstance(text, str) and len(text) == CLOCK_LENGTH and text[2] == ":":
        hour, minute = text[:2], text[3:]
        if (hour + minute).isdecimal() and (hour + minute).isascii() and int(minute) < 60:
            found = int(hour) * 60 + int(minute)
            if found <= DAY_MINUTES:
                return found
    raise ConfigError("from and to must be times such as 07:30, from 00:00 to 24:00")


def _zone(name: object) -> ZoneInfo:
    try:
        if isinstance(name, str) and name:
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise ConfigError('zone must be one that is known, e.g. "Europe/Berlin"')


def _holidays(listed: object) -> frozenset[str]:
    if not isinstance(listed, list):
        raise ConfigError("holidays must be a list of dates such as 2026-12-25")
    try:
        return frozenset(date.fromisoformat(str(each)).isoformat() for each in listed)
    except ValueError:
        raise ConfigError("holidays must be dates such as 2026-12-25") from None
