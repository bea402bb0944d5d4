"""Durations as people write them in charters and in the roster: "30s", "15m", "14d"."""

import re

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
DURATION = re.compile(r"[1-9][0-9]{0,4}[smhdwy]")


def duration_s(text: str) -> float:
    """Seconds of "15m", "14d" …; a year has 365 days. "live" is 0."""
    return 0.0 if text == "live" else float(int(text[:-1]) * SECONDS[text[-1]])
