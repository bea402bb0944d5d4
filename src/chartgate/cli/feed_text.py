"""What the feed commands share: ages, points in time, and text that a terminal cannot be led
astray by."""

import argparse
import re
import time
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

AGO = re.compile(r"(\d{1,6})([smhd])")
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
TIME_HELP = "e.g. 90m, 6h or 2d ago, 2026-03-02 or 2026-03-02T14:00; this machine's zone"


def age(seconds: float) -> str:
    """A time span in one unit, e.g. "12 s", "5 min"."""
    whole = max(0, round(seconds))
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def point_in_time(text: str) -> datetime:
    """For argparse: a time, or how long ago, in UTC."""
    ago = AGO.fullmatch(text)
    try:
        if ago:
            return datetime.now(UTC) - timedelta(seconds=int(ago[1]) * UNITS_S[ago[2]])
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no time; {TIME_HELP}") from None


def visible(char: str) -> str:
    """A character as it may stand on a terminal: controls become their symbols, e.g. ␍."""
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    return char if char.isprintable() else f"\\u{{{code:X}}}"


def shown(text: str) -> str:
    """A whole text, `visible`."""
    return text if text.isprintable() else "".join(visible(char) for char in text)


def columns(text: str) -> int:
    """How many columns a text takes on a terminal."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def progress_after(delay_s: float, say: Callable[[str], None]) -> Callable[[int, int], None]:
    """Says "done of all" by `say`, once the work has lasted for `delay_s`, and then now and then."""
    started = time.monotonic()
    said = started + delay_s - 1

    def progress(done: int, of: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - started >= delay_s and now - said >= 1:
            said = now
            say(f"{done} of {of}")

    return progress
