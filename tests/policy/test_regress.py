"""An older version is told from a newer one, and a number given anew from the old."""

from typing import Any

import pytest

from chartgate.policy.regress import is_before


def slot(updated: str | None = None, **elements: Any) -> dict[str, Any]:
    meta = {"lastUpdated": updated} if updated else {}
    return {"resourceType": "Slot", "meta": meta, "status": "free", **elements}


EARLY, LATE = "2026-03-02T09:00:00Z", "2026-03-02T10:00:00+00:00"


@pytest.mark.parametrize(
    ("known_version", "known", "live_version", "live", "expected"),
    [
        ("3", slot(), "2", slot(), True),
        ("2", slot(), "10", slot(), False),
        ("9", None, "10", slot(), False),
        ("10", None, "9", slot(), True),
        ("abc", slot(LATE), "abd", slot(EARLY), True),
        ("abc", slot(EARLY), "abd", slot(LATE), False),
        ("abc", None, "abb", slot(), False),
        ("3", slot(LATE), "3", slot(LATE, status="busy"), True),
        ("3", slot(EARLY), "3", slot(LATE), False),
        ("3", slot(), "3", slot(text={"status": "generated"}), False),
        ("", slot(), "", slot(status="busy"), False),
        ("3", slot("yesterday"), "4", slot(EARLY), False),
        ("3", slot("2026-03-02"), "4", slot(EARLY), False),
    ],
    ids=[
        "lower number",
        "higher number",
        "numbers are no texts",
        "lower with more digits known",
        "opaque, older",
        "opaque, newer",
        "opaque, nothing known",
        "number given anew",
        "only touched",
        "only its narrative",
        "no versions at all",
        "no time",
        "no time zone",
    ],
)
def test_what_is_before(
    known_version: str,
    known: dict[str, Any] | None,
    live_version: str,
    live: dict[str, Any],
    expected: bool,
) -> None:
    assert is_before(known_version, known, live_version, live) is expected
