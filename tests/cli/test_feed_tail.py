"""`chartgate feed tail`."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chartgate.cli import feed_tail
from chartgate.cli.feed_tail import Seen, lag_ms, text_of
from chartgate.store.feed_counts import TailLine
from chartgate.testing.messages import adt
from tests.cli.conftest import Cli
from tests.cli.feeds import send, wrong

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
LINE = TailLine(
    id=1,
    received_at=AT,
    ended_at=None,
    connection="adt",
    sender="A|B",
    message_type="ADT^A01",
    control_id="c\x1b[2J",
    status="queued",
    reason=None,
    edited_from=None,
)


def test_tail_is_one_line_a_message_without_patient_data(at_feed: Cli, tmp_path: Path) -> None:
    send(tmp_path, adt("A08", "1", mrn="p1"), wrong("2", "p2"), adt("A08", "3"))
    done = at_feed("feed", "tail", "-n", "2")
    first, second = done.out.splitlines()
    assert "quarantined" in first
    assert first.endswith("PID-7 is not a date")
    assert "ADT1|NORTH            ADT^A08   3                 delivered" in second
    assert "Example" not in done.out
    facts = [json.loads(x) for x in at_feed("feed", "tail", "--json").out.splitlines()]
    assert [(f["control_id"], f["status"]) for f in facts] == [
        ("1", "delivered"),
        ("2", "quarantined"),
        ("3", "delivered"),
    ]


def test_tail_of_nothing_says_so(at_feed: Cli) -> None:
    assert at_feed("feed", "tail").out == "no message came in of late\n"
    assert at_feed("feed", "tail", "--connection", "x").out == "no message came in over x of late\n"
    assert at_feed("feed", "tail", "-n", "0").code == 2


def test_follow_shows_what_comes_and_what_becomes_of_it(at_feed: Cli, tmp_path: Path) -> None:
    send(tmp_path, adt("A08", "1"))
    command = [sys.executable, "-m", "chartgate", "--config", str(tmp_path / "chartgate.toml")]
    with subprocess.Popen(
        [*command, "feed", "tail", "--follow", "--json"], stdout=subprocess.PIPE, text=True
    ) as following:
        try:
            assert following.stdout is not None
            lines = (json.loads(line) for line in following.stdout)
            assert next(lines)["control_id"] == "1"
            send(tmp_path, adt("A08", "2"), process=False)
            second = next(lines)
            assert (second["control_id"], second["status"]) == ("2", "queued")
            send(tmp_path)
            third = next(lines)
            assert (third["control_id"], third["status"]) == ("2", "delivered")
        finally:
            following.kill()


def test_message_is_printed_once_for_each_status() -> None:
    seen = Seen()
    assert seen.new_of((LINE,)) == (LINE,)
    assert seen.new_of((LINE,)) == ()
    ended = replace(LINE, status="delivered")
    assert seen.new_of((ended,)) == (ended,)


def test_gap_is_noticed_and_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_tail, "AT_ONCE_MAX", 2)
    monkeypatch.setattr(feed_tail, "COUNT_MAX", 2)
    seen = Seen()
    lines = tuple(replace(LINE, id=number) for number in range(1, 9))
    assert not seen.has_gap(lines[:2])
    seen.new_of(lines[:2])
    assert not seen.has_gap(lines[1:3])
    assert seen.has_gap(lines[2:4])
    seen.new_of(lines)
    assert len(seen._statuses) == 4


def test_line_tells_age_or_lag_and_cannot_lead_the_terminal_astray() -> None:
    now = AT + timedelta(seconds=25)
    assert (lag_ms(LINE, now), lag_ms(LINE, AT - timedelta(1))) == (25_000, 0)
    text = text_of(replace(LINE, edited_from=4), now)
    assert "c␛[2J" in text
    assert text.endswith("queued           25 s  (edited copy of 4)")
    assert " 40 ms" in text_of(replace(LINE, ended_at=AT + timedelta(milliseconds=40)), now)
