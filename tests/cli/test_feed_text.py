"""Ages, times and text of the feed commands."""

import argparse
import time
from datetime import UTC, datetime, timedelta

import pytest

from chartgate.cli.feed_text import age, columns, point_in_time, progress_after, shown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (172_800, "2 d")],
)
def test_age_is_in_one_unit(seconds: float, words: str) -> None:
    assert age(seconds) == words


def test_time_is_a_moment_or_how_long_ago() -> None:
    assert point_in_time("2026-03-02T14:00+01:00") == datetime(2026, 3, 2, 13, tzinfo=UTC)
    assert point_in_time("2026-03-02").astimezone().hour == 0
    ago = datetime.now(UTC) - point_in_time("90m")
    assert timedelta(minutes=89) < ago < timedelta(minutes=91)


@pytest.mark.parametrize("text", ["", "soon", "5", "5w", "999999d", "2026-02-30", "0001-01-01"])
def test_time_that_is_none_says_how_one_looks(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"is no time; e\.g\. 90m"):
        point_in_time(text)


def test_text_is_shown_without_controls() -> None:
    assert shown("a\r\x1b\x7f\x9b\u202eb") == "a␍␛␡\\u{9B}\\u{202E}b"
    assert columns("a山e\u0301") == 4


def test_progress_is_said_of_long_work_only(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    said: list[str] = []
    progress = progress_after(2.0, said.append)
    for at, done in ((0.5, 1), (1.9, 2), (2.0, 3), (2.5, 4), (3.0, 5)):
        now[0] = at
        progress(done, 9)
    assert said == ["3 of 9", "5 of 9"]
