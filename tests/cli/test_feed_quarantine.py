"""`chartgate feed quarantine list | show | fix | dismiss`."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chartgate.cli import feed_quarantine
from chartgate.cli.halt import operator
from chartgate.cli.session import with_store
from chartgate.config import load_config
from chartgate.gate import Gate
from tests.cli.conftest import Cli
from tests.cli.feeds import send, wrong


@pytest.fixture(autouse=True)
def _quarantined(at_feed: Cli, tmp_path: Path) -> None:
    """Row 1 is a message, row 2 noise that would clear a terminal."""
    send(tmp_path, wrong("bad", "p1"))
    send(tmp_path, b"GET /\x1b[2J", flaw="noise")


def audit_of(folder: Path) -> str:
    async def act(gate: Gate) -> str:
        rows = await gate.database.fetch("SELECT body FROM audit_event WHERE tenant = $1")
        return "\n".join(row["body"].decode() for row in rows)

    return with_store(load_config(folder / "chartgate.toml"), act)


def test_list_shows_rows_and_what_is_open_and_no_patient_data(at_feed: Cli) -> None:
    done = at_feed("feed", "quarantine", "list")
    assert done.code == 0
    newest, oldest = done.out.splitlines()[:2]
    assert "noise  bytes that stand in no frame" in newest
    assert "ADT1|NORTH          ADT^A08" in oldest
    assert "content  PID-7 is not a date" in oldest
    assert "open in all\n  north-adt     content               1 open, seen 1 times" in done.out
    assert "Example" not in done.out


def test_list_in_json_by_class(at_feed: Cli) -> None:
    facts = at_feed("feed", "quarantine", "list", "--reason", "content", "--json").json
    [row] = facts["rows"]
    assert (row["id"], row["class"], row["position"], row["count"]) == (1, "content", "PID-7", 1)
    assert {one["class"]: one["rows"] for one in facts["open"]} == {"content": 1, "noise": 1}


def test_list_says_where_nothing_matches_and_where_there_is_more(at_feed: Cli) -> None:
    assert "nothing matches" in at_feed("feed", "quarantine", "list", "--connection", "x").out
    assert "these are the newest 1" in at_feed("feed", "quarantine", "list", "--limit", "1").out
    assert "nothing matches" in at_feed("feed", "quarantine", "list", "--until", "1d").out


def test_show_points_at_the_field_and_is_in_the_audit(at_feed: Cli, tmp_path: Path) -> None:
    done = at_feed("feed", "quarantine", "show", "1")
    assert done.code == 0
    lines = done.out.splitlines()
    at = next(n for n, line in enumerate(lines) if "19801399" in line)
    start = lines[at].index("19801399")
    assert lines[at + 1] == " " * start + "^^^^^^^^ PID-7 is not a date"
    assert "␍" in "".join(lines[at : at + 5])  # a long line goes on below its mark
    audit = audit_of(tmp_path)
    assert "quarantine.show" in audit
    assert operator().agent in audit
    assert "19801399" not in audit


def test_show_of_noise_cannot_lead_the_terminal_astray(at_feed: Cli) -> None:
    done = at_feed("feed", "quarantine", "show", "2")
    assert "    1 GET /␛[2J\n      (it is about the message as a whole)" in done.out


@pytest.mark.usefixtures("at_feed")
def test_raw_is_the_exact_bytes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "chartgate", "--config", str(tmp_path / "chartgate.toml")]
    done = subprocess.run(
        [*command, "feed", "quarantine", "show", "1", "--raw"], capture_output=True, check=True
    )
    assert done.stdout == wrong("bad", "p1")


def test_fix_only_shows_the_difference_until_it_is_told_to(at_feed: Cli) -> None:
    done = at_feed("feed", "quarantine", "fix", "1", "--set", "PID-7=19801130")
    assert done.code == 0
    minus, plus = [line for line in done.out.splitlines() if line[:4] in ("-PID", "+PID")]
    assert minus.replace("-PID", "+PID").replace("19801399", "19801130") == plus
    assert "places: PID-7\nnothing is done yet: add --yes" in done.out
    assert at_feed("feed", "quarantine", "list", "--json").json["rows"][1]["status"] == "open"


def test_fix_queues_a_copy_which_is_then_delivered(at_feed: Cli, tmp_path: Path) -> None:
    done = at_feed("feed", "quarantine", "fix", "1", "--set", "PID-7=19801130", "--yes", "--json")
    assert (done.json["places"], done.json["id"]) == (["PID-7"], 1)
    assert done.json["digest"] != done.json["copy_digest"]
    send(tmp_path)
    [feed] = at_feed("feed", "status", "--json").json["feeds"]
    assert (feed["delivered"], feed["quarantined"], feed["received"]) == (1, 1, 2)
    assert "19801130" not in audit_of(tmp_path)
    again = at_feed("feed", "quarantine", "fix", "1", "--set", "PID-7=19801130", "--yes")
    assert again.code == 1
    assert f"1 is fixed already by {operator().agent}" in again.err


def test_fix_by_a_file(at_feed: Cli, tmp_path: Path) -> None:
    edited = tmp_path / "edited.hl7"
    edited.write_bytes(wrong("bad", "p1").replace(b"19801399", b"19801130"))
    done = at_feed("feed", "quarantine", "fix", "1", "--file", edited, "--yes")
    assert (done.code, "places: PID-7" in done.out) == (0, True)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("show", "99"), 1, "there is no 99 in the quarantine; `chartgate feed quarantine list`"),
        (("show", "0"), 2, "0 is not from 1"),
        (("show", "x"), 2, "invalid number value"),
        (("fix", "1"), 2, "one of the arguments --set --file is required"),
        (("fix", "1", "--set", "PID-7"), 2, "--set takes PLACE=VALUE"),
        (("fix", "1", "--set", "PID7=x"), 2, "'PID7' is no place in a message; e.g. PID-3.4"),
        (("fix", "1", "--set", "PID-7=x", "--set", "PID-7=y"), 2, "PID-7 is set twice"),
        (("fix", "1", "--set", "MSH-10="), 2, "would be refused: there is no control id"),
        (("fix", "1", "--file", "nowhere.hl7"), 2, "there is no file nowhere.hl7"),
        (("fix", "2", "--set", "PID-7=x"), 2, "edit it as a file"),
        (("dismiss", "1"), 2, "--because"),
        (("dismiss", "1", "--because", " "), 2, "say why, in one line"),
        (("dismiss", "99", "--because", "x"), 1, "there is no 99"),
        (("list", "--since", "soon"), 2, "'soon' is no time; e.g. 90m"),
        (("list", "--since", "2d", "--until", "3d"), 2, "--since is not before --until"),
        (("list", "--limit", "0"), 2, "0 is not from 1 to 10000"),
    ],
)
def test_mistake_says_what_to_do(
    at_feed: Cli, words: tuple[str, ...], code: int, sentence: str
) -> None:
    done = at_feed("feed", "quarantine", *words)
    assert (done.code, done.out) == (code, "")
    assert sentence in done.err


def test_dismissed_row_is_listed_with_its_reason(at_feed: Cli) -> None:
    assert at_feed("feed", "quarantine", "dismiss", "2", "--because", "a scanner").code == 0
    rows = at_feed("feed", "quarantine", "list", "--status", "dismissed", "--json").json["rows"]
    assert [(row["id"], row["because"]) for row in rows] == [(2, "a scanner")]
    assert "dismissed" in at_feed("feed", "quarantine", "list", "--status", "all").out


def test_long_difference_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_quarantine, "DIFF_CHARS_MAX", 10)
    lines: list[Any] = list(feed_quarantine._difference(b"x" * 30, b"y" * 30))
    assert lines[-1] == "+yyyyyyyyy … 21 more characters"
